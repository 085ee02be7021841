"""The entry for every model: the checks before and the report after that all of them share."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

import lamella
from lamella.errors import NonFiniteError, RefusedInput
from lamella.physics.overlap import abutting_grid, overlapping, overlapping_spread, overlaps
from lamella.physics.repair import Bridged
from lamella.thinning.bridged import with_bridged
from lamella.thinning.consistency import consistency, misfit_warnings
from lamella.thinning.limits import range_warnings
from lamella.thinning.model import Plan, ThinModel
from lamella.thinning.result import Progress, Thinned, silent
from lamella.thinning.settings import ThinSettings
from lamella.volume import AIR_HU, Geometry, Volume


def thin(
    volume: Volume,
    model: ThinModel,
    grid: Geometry,
    settings: ThinSettings | None = None,
    progress: Progress = silent,
    plan: Plan | None = None,
    bridged: Bridged | None = None,
) -> Thinned:
    """Thin a volume.

    Args:
        volume: thick slices; what lies below -1024 HU is set to that, and the report says so.
        model: what makes them thin.
        grid: thin slices wanted (`thin_grid`); those that overlap are averages of the model's on `abutting_grid`.
        settings: mode, steps, seed, device.
        progress: called with each stage and the fraction of it that is done.
        plan: the model's plan for this volume and `abutting_grid(grid)`, where it was made before.
        bridged: a thick slice that was never measured: the spread holds its error, and it does not count as consistent.

    Raises:
        UsageError: the model cannot do what the settings ask.
        RefusedInput: too large for the memory, or far outside what the model was trained for.
        NonFiniteError: a value that is not finite, with the step it appeared in.
    """
    settings = model.defaults(settings or ThinSettings())
    volume, notes = _checked(volume)
    warnings = range_warnings(volume.geometry, grid, model.limits)
    abutting = abutting_grid(grid)
    plan = plan or model.plan(volume.geometry, abutting, settings)
    done, shrunk = _within_memory(volume, model, abutting, settings, plan, progress)
    kept = consistency(done.volume, volume, bridged)
    if bridged is not None and done.spread is not None:
        done = dataclasses.replace(done, spread=with_bridged(done.spread, volume.geometry, bridged))
    misfits = misfit_warnings(kept, done.report["ridge"]) if settings.project else []
    report: dict[str, Any] = {
        "lamella": lamella.__version__,
        "model": {"name": model.name, "sha256": model.sha256, "licence": model.licence},
        "settings": dataclasses.asdict(settings),
        "seed": settings.seed,
        **done.report,
        **kept,
        "warnings": [*warnings, *done.report["warnings"], *misfits, *notes, *shrunk],
    }
    done = dataclasses.replace(done, report=report)
    return _overlapping(done, grid) if overlaps(grid) else done


def _within_memory(
    volume: Volume, model: ThinModel, grid: Geometry, settings: ThinSettings, plan: Plan, progress: Progress
) -> tuple[Thinned, list[str]]:
    """The answer, and a note if the memory ran out: then again in the next smaller pieces, as long as there are any.

    Raises:
        RefusedInput: it ran out in the smallest pieces; the message holds their plan.
    """
    notes: list[str] = []
    while True:
        try:
            return model.thin(volume, grid, settings, plan, progress), notes
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
        notes = ["memory: it ran out, and the volume was done again in smaller pieces"]
        try:
            plan = model.plan(volume.geometry, grid, settings, smaller_than=plan)
        except RefusedInput:
            raise RefusedInput(
                f"The memory ran out in the smallest pieces that there are. Found {plan.describe()}. Ask for fewer slices or a "
                "coarser spacing, end what else runs, or use a machine with more memory."
            ) from None


def _out_of_memory(error: Exception) -> bool:
    """torch says it by a RuntimeError of its own on accelerators, by plain ones in main memory (the last is oneDNN's)."""
    said = ("allocate memory", "could not create a primitive", "could not execute a primitive")
    known = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    return known or any(words in str(error) for words in said)


def _overlapping(done: Thinned, grid: Geometry) -> Thinned:
    samples = tuple(overlapping(one, grid) for one in done.samples)
    spread = None if done.spread is None else overlapping_spread(done.spread, grid)
    return dataclasses.replace(done, volume=samples[0], samples=samples, spread=spread)


def _checked(volume: Volume) -> tuple[Volume, list[str]]:
    """The volume as the readers would give it, and what was changed; other arrays may hold any value."""
    lowest, highest = float(volume.hu.min()), float(volume.hu.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        count = int((~np.isfinite(volume.hu)).sum())
        raise NonFiniteError(
            f"The input holds NaN or infinity in {count:,} voxels. Expected HU in all: replace them first."
        )
    if lowest >= AIR_HU:
        return volume, []
    below = int((volume.hu < AIR_HU).sum())
    clipped = dataclasses.replace(volume, hu=np.maximum(volume.hu, volume.hu.dtype.type(AIR_HU)))
    return clipped, [f"{below:,} voxels below {AIR_HU} HU set to air ({AIR_HU} HU)"]
