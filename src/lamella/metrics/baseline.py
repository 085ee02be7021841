"""The baselines every gain is measured against, and the check that nothing is merely shifted.

An interpolation that is placed by array index instead of by position lies up to half a thick slice off and loses 3 dB;
gains over such a baseline are not gains (SPEC C8). So every baseline is evaluated at physical positions, and
`best_shift_mm` shows for baseline and prediction alike that no other position would have scored better.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError
from lamella.metrics.checks import Mask, check_grid, check_mask
from lamella.metrics.error import rmse_hu

Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]

INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
"""The baselines: what a viewer does without a model, from the plainest to the sharpest."""

SHIFTS_MM = tuple(0.25 * step for step in range(-8, 9))
"""The shifts tried by default: -2 to 2 mm in quarters of a millimetre."""

_PARABOLA_MM = 1.0

_ROWS_A_CHUNK = 64

_LANCZOS_LOBES = 3

_TIE_MM = 1e-6
"""A position this close to the middle between two slices counts as the middle, however the numbers were rounded."""

_EVEN = 1e-3
"""Share of the mean spacing by which a slice may be off its place and the slices still count as evenly spaced."""

Positions = NDArray[np.float64]
"""(slices,) centres in mm along the slice axis, strictly rising."""


def aligned_interpolation(
    thick_hu: NDArray[Any], thick_centres_mm: Positions, thin_centres_mm: Positions, kind: Interpolation
) -> NDArray[np.float32]:
    """Interpolation along z, evaluated at the physical positions of the thin slices.

    nearest: the slice whose centre is nearest, the lower one of two. linear: between the two neighbours. cubic: spline
    with not-a-knot ends (a parabola through three slices, a line through two). These three are constant beyond the
    outer thick centres. lanczos: windowed sinc of three lobes (Duchon, J. Appl. Meteorol. 18(8), 1979), weights scaled
    to sum to 1, the outer slices repeated past the ends.

    Args:
        thick_hu: (z, y, x) HU.
        thick_centres_mm: (z,) their positions.
        thin_centres_mm: (n,) positions asked for, same axis and origin.
        kind: one of `INTERPOLATIONS`.

    Returns:
        (n, y, x) float32 HU.

    Raises:
        LamellaError: positions do not rise strictly or do not fit the array, an unknown kind, or slices that are not
            evenly spaced where the kind needs it (lanczos).
    """
    if thick_hu.ndim != 3 or thick_centres_mm.shape != thick_hu.shape[:1] or not np.all(np.diff(thick_centres_mm) > 0):
        raise LamellaError(
            f"Slice positions must rise strictly, one a slice. Found {thick_centres_mm.shape} positions for an array "
            f"of shape {thick_hu.shape}."
        )
    if kind not in INTERPOLATIONS:
        raise LamellaError(f"Unknown interpolation {kind!r}. Expected one of {', '.join(INTERPOLATIONS)}.")
    weights = _weights(kind, thick_centres_mm, thin_centres_mm).astype(np.float32)
    thin = np.empty((len(thin_centres_mm), *thick_hu.shape[1:]), dtype=np.float32)
    for first in range(0, thick_hu.shape[1], _ROWS_A_CHUNK):
        rows = slice(first, first + _ROWS_A_CHUNK)
        columns = thick_hu[:, rows].astype(np.float32)
        thin[:, rows] = np.tensordot(weights, columns, axes=(1, 0))
    return thin


def aligned_cubic(
    thick_hu: NDArray[Any], thick_centres_mm: Positions, thin_centres_mm: Positions
) -> NDArray[np.float32]:
    """The baseline that every gain in this project is quoted against: `aligned_interpolation` by cubic spline."""
    return aligned_interpolation(thick_hu, thick_centres_mm, thin_centres_mm, "cubic")


def _nearest(thick_mm: Positions, thin_mm: Positions) -> NDArray[np.float64]:
    middles = (thick_mm[1:] + thick_mm[:-1]) / 2
    return np.asarray(np.eye(len(thick_mm))[np.searchsorted(middles + _TIE_MM, thin_mm)])


def _lanczos(thick_mm: Positions, thin_mm: Positions) -> NDArray[np.float64]:
    count = len(thick_mm)
    if count == 1:
        return np.ones((len(thin_mm), 1))
    spacing_mm = (thick_mm[-1] - thick_mm[0]) / (count - 1)
    off_mm = float(np.abs(thick_mm - np.linspace(thick_mm[0], thick_mm[-1], count)).max())
    if off_mm > _EVEN * spacing_mm:
        raise LamellaError(
            f"Lanczos interpolation needs evenly spaced slices. Found a slice {off_mm:.3f} mm off its place at "
            f"{spacing_mm:g} mm spacing. Use cubic."
        )
    at = (thin_mm - thick_mm[0]) / spacing_mm
    weights = np.zeros((len(thin_mm), count))
    for step in range(1 - _LANCZOS_LOBES, _LANCZOS_LOBES + 1):
        index = np.floor(at) + step
        distance = at - index
        kernel = np.sinc(distance) * np.sinc(distance / _LANCZOS_LOBES) * (np.abs(distance) < _LANCZOS_LOBES)
        weights[np.arange(len(at)), np.clip(index, 0, count - 1).astype(np.intp)] += kernel
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _weights(kind: Interpolation, thick_mm: Positions, thin_mm: Positions) -> NDArray[np.float64]:
    """(n, z) weights of each thick slice."""
    # Loads torch, which takes seconds; other measurements, such as those of `lamella inspect`, need none.
    from lamella.physics.slice_operator import cubic_matrix, linear_matrix

    every = {"nearest": _nearest, "linear": linear_matrix, "cubic": cubic_matrix, "lanczos": _lanczos}
    return every[kind](thick_mm, thin_mm)


"""Kind -> (thin x thick) weights from the positions of both; rows sum to 1."""


def best_shift_mm(
    prediction: NDArray[Any],
    truth: NDArray[Any],
    centres_mm: Positions,
    shifts_mm: tuple[float, ...] = SHIFTS_MM,
    case: str = "prediction",
    mask: Mask | None = None,
    stride: int = 1,
) -> tuple[float, dict[float, float]]:
    """The shift along z, among `shifts_mm`, at which the prediction fits the truth best.

    At shift d the prediction is read (cubic spline) at d beyond each position: a positive best shift means that its
    structures lie that far too high. Every shift is scored on the same slices, those that no shift takes past the ends.

    Args:
        truth: (z, y, x) HU on the same grid.
        centres_mm: (z,) positions of the slices.
        shifts_mm: shifts to try.
        mask: (z, y, x) voxels that count, for the shift of one region; None counts every voxel.
        stride: look at every n-th row and column only. On a CT of 340 x 430 pixels every eighth gives the refined shift of
            every second within 0.02 mm.

    Returns:
        The best shift in mm (the smaller one of two equals), and the RMSE in HU at each.

    Raises:
        NonFiniteError: a prediction is not finite.
        LamellaError: shapes differ, no slice stays inside at every shift, or no voxel counts.
    """
    check_grid(prediction, truth, case)
    check_mask(mask, truth, case)
    columns = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    prediction, truth = prediction[columns], truth[columns]
    reach_mm = max(abs(shift) for shift in shifts_mm) + 1e-6
    inner = (centres_mm - reach_mm >= centres_mm[0]) & (centres_mm + reach_mm <= centres_mm[-1])
    if reach_mm > 2e-6 and not inner.any():
        raise LamellaError(
            f"The volume is too short to shift. {case}: {len(centres_mm)} slices over {np.ptp(centres_mm):g} mm, "
            f"shifts up to {reach_mm:g} mm."
        )
    truth, counted = truth[inner], None if mask is None else mask[columns][inner]
    scores = {}
    for shift in shifts_mm:
        moved = aligned_cubic(prediction, centres_mm, centres_mm[inner] + shift) if shift else prediction[inner]
        scores[shift] = rmse_hu(moved, truth, counted, case=case)
    return min(scores, key=lambda shift: (scores[shift], abs(shift))), scores


def refined_shift_mm(scores: dict[float, float]) -> float:
    """The lowest point in mm of the parabola through the scores of `best_shift_mm` within 1 mm of the best.

    Squared errors are nearly quadratic in a small shift, so this is finer than the grid. It is also fairer: an image
    read between its slices is a little smoother, and a staircase (nearest) fits better for that alone, a quarter of a
    millimetre to either side. The parabola sees both sides. At the end of the grid, or with fewer than three shifts,
    the best shift itself.
    """
    shifts = np.array(sorted(scores))
    squares = np.array([scores[shift] for shift in shifts]) ** 2
    best = float(shifts[squares.argmin()])
    reach_mm = min(_PARABOLA_MM, best - shifts[0], shifts[-1] - best)
    near = np.abs(shifts - best) <= reach_mm + 1e-6
    if np.count_nonzero(near) < 3:
        return best
    curvature, slope, _ = np.polyfit(shifts[near] - best, squares[near], 2)
    return best - float(slope / (2 * curvature)) if curvature > 0 and math.isfinite(slope) else best
