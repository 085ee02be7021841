"""The answer for one volume."""

from lamella.thinning.grid import thin_grid
from lamella.thinning.pipeline import Thinned, consistency, thin
from lamella.thinning.plan import MemoryPlan, Runtime, plan, runtime
from lamella.thinning.settings import Mode, ThinSettings

__all__ = [
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
]
