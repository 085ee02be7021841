"""What a run reads: endless training batches, and a few fixed ones of what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_warn

from lamella.data.samples import SampleBatches, SampleSettings, for_validation
from lamella.data.sources import TrainingSource

Batches = TypeVar("Batches", bound=SampleBatches)  # type: ignore[type-arg]  # whatever its batches are


def datasets(
    kind: type[Batches],
    sources: tuple[Sequence[TrainingSource], Sequence[TrainingSource]],
    settings: SampleSettings,
    items: int,
    validation_batches: int,
    key: str = "data.series",
) -> tuple[Batches, Batches]:
    """(to learn from, held out); warns of training volumes that are too small for any sample.

    Args:
        kind: of the batches.
        sources: to learn from, and held out.
        settings: how samples are drawn.
        items: batches of the whole run.
        validation_batches: fixed batches a validation.
        key: setting that lists the first of the sources.

    Raises:
        UsageError: no volume is large enough.
    """
    train = kind(sources[0], settings, items, key)
    if names := train.left_out:
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        rank_zero_warn(
            f"{len(names)} training volumes are too small for the samples and left out: {', '.join(names[:4])}{more}."
        )
    return train, kind(sources[1], for_validation(settings), validation_batches, "data.held_out")
