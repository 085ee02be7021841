"""Training data by its settings: a prepared data set, or series as they lie in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.data.sources import TrainingSource
from lamella.data.views import SeriesSettings, load_views, reformatted_bytes, views_of
from lamella.errors import LamellaError, UsageError
from lamella.machine.memory import available_bytes
from lamella.volume import SAME_GRID_MM, Volume

if TYPE_CHECKING:
    from lamella.data.cache import CachedCase
    from lamella.data.index import Index


@dataclass(frozen=True)
class DataSettings:
    """What to learn from: a data set that `lamella prepare` made (`index`), or series (`folder`). One of the two.

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


def load_sources(settings: DataSettings) -> tuple[list[TrainingSource], list[TrainingSource]]:
    """(to learn from, held out), neither empty.

    Raises:
        UsageError: neither or both are named, one does not exist, or there is nothing to validate on.
        LamellaError: the thin and the thick series of a case lie on different in-plane grids.
    """
    if bool(settings.index) == bool(settings.folder):
        raise UsageError("data: name either index (a prepared data set) or folder with series. Found both or neither.")
    if not settings.index:
        folder = Path(settings.folder)
        if not folder.is_dir():
            raise UsageError(f"The data folder {folder} does not exist. Set data.folder=PATH.")
        return load_views(folder, settings.series), load_views(folder, settings.held_out, "data.held_out")
    from lamella.data.index import Index

    index = Index.load(Path(settings.index))
    train, held_out = case_sources(index, "train"), case_sources(index, "validation")
    if settings.reformat:
        train += reformatted_sources(index, "train", settings.reformat)
    if not held_out:
        raise UsageError("There is nothing to validate on. Name held-out series, or cases of the split validation.")
    return train, held_out


def case_sources(index: Index, split: str) -> list[TrainingSource]:
    """The cases of a split ("train", "validation" or "test"), each with a weight of its slices a millimetre.

    Raises:
        LamellaError: the thin and the thick series of a case lie on different in-plane grids.
    """
    return [_source(index.open(case_id)) for case_id in index.cases(split)]


def _source(case: CachedCase) -> TrainingSource:
    thin, thick = case.thin.geometry, None if case.thick is None else case.thick.geometry
    if thick is not None and thin.apart_mm(thick, in_plane=True) > SAME_GRID_MM:
        raise LamellaError(
            f"The thin and the thick series of case {case.case_id} lie on different in-plane grids. Found "
            f"{thin.shape[1:]} and {thick.shape[1:]} pixels, expected one grid as `lamella prepare` demands it. "
            "Remove the case's folder and run `lamella prepare` again."
        )
    return TrainingSource(
        case.case_id,
        case.thin,
        thin.centres_mm,
        case.thick,
        None if thick is None else thick.centres_mm,
        1 / thin.spacing_mm,
        case.category,
        case.patient_id,
    )


def reformatted_sources(index: Index, split: str, weight: float) -> list[TrainingSource]:
    """The cases of a split seen along their rows and columns (`lamella.data.views`), each view with this weight.

    The views are held in memory: interpolated to square pixels they are not what lies on disk.

    Raises:
        UsageError: they would take more than half of what is free.
    """
    cases = [(case_id, index.open(case_id).thin) for case_id in index.cases(split)]
    needed = sum(reformatted_bytes(thin.geometry) for _, thin in cases)
    free = available_bytes()
    if needed > free / 2:
        raise UsageError(
            f"data.reformat: the {len(cases)} cases seen along rows and columns need {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free. Set data.reformat=0, or train where there is more than twice that."
        )
    sources: list[TrainingSource] = []
    for case_id, thin in cases:
        z, y, x = thin.shape
        volume = Volume(thin[slice(0, z), slice(0, y), slice(0, x)], thin.geometry)
        sources += views_of(case_id, volume, SeriesSettings(case_id, reformat=weight))
    return sources
