"""The one entry for every kind of model."""

from __future__ import annotations

from lamella.latent_model import LatentModel
from lamella.model import Model
from lamella.thinning.latent import thin_latent
from lamella.thinning.latent_plan import LatentPlan, latent_plan
from lamella.thinning.pipeline import Progress, Thinned, silent
from lamella.thinning.pipeline import thin as thin_embedded
from lamella.thinning.plan import MemoryPlan
from lamella.thinning.plan import plan as embedded_plan
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry, Volume


def thin(
    volume: Volume,
    model: Model | LatentModel,
    grid: Geometry,
    settings: ThinSettings | None = None,
    progress: Progress = silent,
) -> Thinned:
    """Thin a volume.

    Args:
        volume: thick slices.
        model: the embedded model, or a latent diffusion model.
        grid: thin slices wanted (`thin_grid`).
        settings: mode, steps, seed, device.
        progress: told how far each stage is.

    Raises:
        UsageError: the model cannot do what the settings ask.
        RefusedInput: too large for the memory, or far outside what the model was trained for.
        NonFiniteError: a value that is not finite, with the step it appeared in.
    """
    if isinstance(model, LatentModel):
        return thin_latent(volume, model, grid, settings, progress)
    return thin_embedded(volume, model, grid, settings, progress)


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
