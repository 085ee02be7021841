"""The answer for one volume, whatever the model."""

from lamella.thinning.consistency import consistency
from lamella.thinning.grid import thin_grid
from lamella.thinning.model import Limits, Plan, Provenance, ThinModel
from lamella.thinning.result import Thinned
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin

__all__ = [
    "Limits",
    "Mode",
    "Plan",
    "Provenance",
    "ThinModel",
    "ThinSettings",
    "Thinned",
    "consistency",
    "thin",
    "thin_grid",
]
