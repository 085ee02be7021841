"""Whether a geometry is one that the model was trained for."""

from __future__ import annotations

import math

from lamella.errors import RefusedInput
from lamella.thinning.model import Limits
from lamella.volume import Geometry

_FAR = 1.5
"""Up to this factor beyond the trained range there is a warning; further out the input is refused."""

_TOLERANCE = 0.02
"""Scanners round: a range is exceeded only beyond this share."""

_CONSTANT_GAP = 1.05
"""Spacing above this many thicknesses means tissue that was never scanned."""


def range_warnings(thick: Geometry, grid: Geometry, limits: Limits) -> list[str]:
    """Warnings about the geometry of a result.

    Raises:
        RefusedInput: a value far outside the trained range.
    """
    warnings = []
    checks = (
        ("slice thickness", thick.thickness_mm, limits.thickness_mm, _FAR),
        ("slice spacing", thick.spacing_mm, limits.spacing_mm, _FAR),
        # The projection holds for any target, and a coarser or finer sampling of the same answer is not misleading.
        ("target spacing", grid.spacing_mm, limits.target_mm, math.inf),
    )
    for name, value, (low, high), far in checks:
        if value < low / far or value > high * far:
            advice = (
                "This series is thin already: give the thick one (by its series UID, if the source holds both)."
                if value < low
                else "Give a series of thinner slices, or a model trained for such thick ones."
            )
            raise RefusedInput(
                f"The {name} is far outside what the model was trained for. Found {value:.3g} mm, trained for {low:g} to "
                f"{high:g} mm. {advice}"
            )
        if value < low * (1 - _TOLERANCE) or value > high * (1 + _TOLERANCE):
            warnings.append(
                f"The {name} of {value:.3g} mm is outside the {low:g} to {high:g} mm the model was trained for: "
                "expect less than the published quality."
            )
    if thick.spacing_mm > _CONSTANT_GAP * thick.thickness_mm:
        warnings.append(
            f"Between the slabs lie gaps of {thick.spacing_mm - thick.thickness_mm:.2f} mm that were never scanned; what is "
            "shown there is an estimate without any measurement."
        )
    return warnings
