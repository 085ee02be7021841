"""The one entry for every kind of model."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from lamella.errors import NonFiniteError
from lamella.latent_model import LatentModel
from lamella.model import Model
from lamella.thinning.latent import thin_latent
from lamella.thinning.latent_plan import LatentPlan, latent_plan
from lamella.thinning.pipeline import Progress, Thinned, silent
from lamella.thinning.pipeline import thin as thin_embedded
from lamella.thinning.plan import MemoryPlan
from lamella.thinning.plan import plan as embedded_plan
from lamella.thinning.settings import ThinSettings
from lamella.volume import AIR_HU, Geometry, Volume


def thin(
    volume: Volume,
    model: Model | LatentModel,
    grid: Geometry,
    settings: ThinSettings | None = None,
    progress: Progress = silent,
) -> Thinned:
    """Thin a volume.

    Args:
        volume: thick slices; what lies below -1024 HU is set to that, and the report says so.
        model: the embedded model, or a latent diffusion model.
        grid: thin slices wanted (`thin_grid`).
        settings: mode, steps, seed, device.
        progress: told how far each stage is.

    Raises:
        UsageError: the model cannot do what the settings ask.
        RefusedInput: too large for the memory, or far outside what the model was trained for.
        NonFiniteError: a value that is not finite, with the step it appeared in.
    """
    volume, notes = _checked(volume)
    if isinstance(model, LatentModel):
        done = thin_latent(volume, model, grid, settings, progress)
    else:
        done = thin_embedded(volume, model, grid, settings, progress)
    done.report["warnings"] += notes
    return done


def _checked(volume: Volume) -> tuple[Volume, list[str]]:
    """The volume as the readers would give it, and what was changed; an array from elsewhere may hold anything."""
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


def plan(
    thick: Geometry, grid: Geometry, model: Model | LatentModel, settings: ThinSettings
) -> MemoryPlan | LatentPlan:
    """Choose the largest pieces that fit the memory.

    Raises:
        UsageError: the model cannot do what the settings ask.
        RefusedInput: not even the smallest pieces fit; the message holds the plan.
    """
    if isinstance(model, LatentModel):
        return latent_plan(thick, grid, model, settings)
    return embedded_plan(thick, grid, model, settings)
