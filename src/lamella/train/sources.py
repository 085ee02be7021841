"""Where training blocks come from: a prepared data set, or series as they lie in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from lamella.data.blocks import LatentBlocks
from lamella.data.sources import BlockSource, case_sources, reformatted_sources, view_sources
from lamella.data.views import SeriesSettings, load_views
from lamella.errors import UsageError


@dataclass(frozen=True)
class SourceSettings:
    """One of the two.

    Attributes:
        index: folder that `lamella prepare` made; its splits `train` and `validation` are used.
        reformat: weight of the views along rows and columns of the prepared training cases; 0 leaves them out. A case seen
            along its slices weighs its slices a millimetre.
        folder: holds the series named below.
        series: to learn from, each with its views and weights.
        held_out: for the validation curve; never trained on.
    """

    index: str = ""
    reformat: float = 0.0
    folder: str = ""
    series: tuple[SeriesSettings, ...] = ()
    held_out: tuple[SeriesSettings, ...] = ()


def tell_left_out(blocks: LatentBlocks) -> None:
    """Warn of training volumes that are too small for any block."""
    if names := blocks.left_out:
        rank_zero_warn(
            f"{len(names)} training volumes are too small for the blocks and left out: {', '.join(names[:4])}"
            f"{f' and {len(names) - 4} more' if len(names) > 4 else ''}."
        )


def load_sources(settings: SourceSettings) -> tuple[list[BlockSource], list[BlockSource]]:
    """(to learn from, held out).

    Raises:
        UsageError: neither or both are named, or one does not exist.
    """
    if bool(settings.index) == bool(settings.folder):
        raise UsageError("data: name either index (a prepared data set) or folder with series. Found both or neither.")
    if settings.index:
        from lamella.data.index import Index

        index = Index.load(Path(settings.index))
        train = case_sources(index, "train")
        if settings.reformat:
            train += reformatted_sources(index, "train", settings.reformat)
        return train, case_sources(index, "validation")
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise UsageError(f"The data folder {folder} does not exist. Set data.folder=PATH.")
    views = load_views(folder, settings.series), load_views(folder, settings.held_out, "data.held_out")
    return view_sources(views[0]), view_sources(views[1])
