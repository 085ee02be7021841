"""The answer for one volume."""

from lamella.thinning.dispatch import plan, thin
from lamella.thinning.finish import consistency
from lamella.thinning.grid import thin_grid
from lamella.thinning.latent import thin_latent
from lamella.thinning.latent_plan import LatentPlan
from lamella.thinning.pipeline import Thinned
from lamella.thinning.plan import MemoryPlan, Runtime, runtime
from lamella.thinning.settings import Mode, ThinSettings

__all__ = [
    "LatentPlan",
    "MemoryPlan",
    "Mode",
    "Runtime",
    "ThinSettings",
    "Thinned",
    "consistency",
    "plan",
    "runtime",
    "thin",
    "thin_grid",
    "thin_latent",
]
