"""The baseline every gain is measured against, and the check that nothing is merely shifted.

A cubic spline that is placed by array index instead of by position lies up to half a thick slice off and loses 3 dB;
gains over such a baseline are not gains (SPEC C8). So the baseline is evaluated at physical positions, and
`best_shift_mm` shows for baseline and prediction alike that no other position would have scored better.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError
from lamella.metrics.error import rmse_hu
from lamella.slices import cubic_matrix

SHIFTS_MM = tuple(0.25 * step for step in range(-8, 9))
"""The shifts tried by default: -2 to 2 mm in quarters of a millimetre."""

_ROWS_A_CHUNK = 64

Positions = NDArray[np.float64]
"""(slices,) centres in mm along the slice axis, strictly rising."""


def aligned_cubic(
    thick_hu: NDArray[Any], thick_centres_mm: Positions, thin_centres_mm: Positions
) -> NDArray[np.float32]:
    """Cubic spline along z, evaluated at the physical positions of the thin slices.

    Not-a-knot ends (a parabola through three slices, a line through two); constant beyond the outer thick centres.

    Args:
        thick_hu: (z, y, x) HU.
        thick_centres_mm: (z,) their positions.
        thin_centres_mm: (n,) positions asked for, same axis and origin.

    Returns:
        (n, y, x) float32 HU.

    Raises:
        LamellaError: positions do not rise strictly or do not fit the array.
    """
    if thick_hu.ndim != 3 or thick_centres_mm.shape != thick_hu.shape[:1] or not np.all(np.diff(thick_centres_mm) > 0):
        raise LamellaError(
            f"Slice positions must rise strictly, one a slice. Found {thick_centres_mm.shape} positions for an array "
            f"of shape {thick_hu.shape}."
        )
    weights = cubic_matrix(thick_centres_mm, thin_centres_mm).astype(np.float32)
    thin = np.empty((len(thin_centres_mm), *thick_hu.shape[1:]), dtype=np.float32)
    for first in range(0, thick_hu.shape[1], _ROWS_A_CHUNK):
        rows = slice(first, first + _ROWS_A_CHUNK)
        columns = thick_hu[:, rows].astype(np.float32)
        thin[:, rows] = np.tensordot(weights, columns, axes=(1, 0))
    return thin


def best_shift_mm(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    centres_mm: Positions,
    shifts_mm: tuple[float, ...] = SHIFTS_MM,
    case: str = "prediction",
) -> tuple[float, dict[float, float]]:
    """The shift along z, among `shifts_mm`, at which the prediction fits the truth best.

    At shift d the prediction is read (cubic spline) at d beyond each position: a positive best shift means that its
    structures lie that far too high. Every shift is scored on the same slices, those that no shift takes past the ends.

    Args:
        prediction: (z, y, x) HU.
        truth: (z, y, x) HU on the same grid.
        centres_mm: (z,) positions of the slices.
        shifts_mm: shifts to try.
        case: name of the prediction for error messages.

    Returns:
        The best shift in mm (the smaller one of two equals), and the RMSE in HU at each.

    Raises:
        NonFiniteError: a prediction is not finite.
        LamellaError: shapes differ, or no slice stays inside at every shift.
    """
    reach_mm = max(abs(shift) for shift in shifts_mm) + 1e-6
    inner = (centres_mm - reach_mm >= centres_mm[0]) & (centres_mm + reach_mm <= centres_mm[-1])
    if reach_mm > 2e-6 and not inner.any():
        raise LamellaError(
            f"The volume is too short to shift. {case}: {len(centres_mm)} slices over {np.ptp(centres_mm):g} mm, "
            f"shifts up to {reach_mm:g} mm."
        )
    scores = {}
    for shift in shifts_mm:
        moved = aligned_cubic(prediction, centres_mm, centres_mm[inner] + shift) if shift else prediction[inner]
        scores[shift] = rmse_hu(moved, truth[inner], case=case)
    return min(scores, key=lambda shift: (scores[shift], abs(shift))), scores


def refined_shift_mm(scores: dict[float, float]) -> float:
    """The lowest point in mm of the parabola through the best score of `best_shift_mm` and its two neighbours.

    Squared errors are nearly quadratic in a small shift, so this is finer than the grid. At the end of the grid, or
    with fewer than three shifts, the best shift itself.
    """
    shifts = sorted(scores)
    best = min(range(len(shifts)), key=lambda i: scores[shifts[i]])
    if best in (0, len(shifts) - 1):
        return shifts[best]
    at = shifts[best - 1 : best + 2]
    curvature, slope, _ = np.polyfit(at, [scores[shift] ** 2 for shift in at], 2)
    return float(-slope / (2 * curvature)) if curvature > 0 and math.isfinite(slope) else shifts[best]
