"""What a result makes of flat material: bands inside it, and overshoot where it ends.

A noiseless picture of the truth says where material is uniform: a run of slices of one column in which it stays the same.
A run inside a plate and the run beyond its face are the two levels of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, check_mask, finite

Runs = NDArray[np.int32]

LEAST_MM = 4.0
"""A shorter run is no flat material."""

_STEP_HU, _STEP_SD, _GAP_MM = 10.0, 4.0, 8.0
"""Least step between two runs of a column, in HU and in standard deviations of the noise, whose mean over some columns would
count as overshoot of a smaller one; and how far one run lies from the other at most."""

_BESIDE_MM = 6.0
"""Overshoot is looked for so far from an edge."""

_FEWEST = 30
"""Columns whose edges lie in the same slice; fewer would leave their noise in the mean profile."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Edges along the slice axis between two flat runs of a column.

    Attributes:
        place: (n, 3) last flat voxel (z, y, x) of the lower run, by index.
        gap: (n,) slices from there to the first flat voxel of the upper run.
        lower, upper: (n,) levels, HU.
        below, above: (n,) flat slices that the lower and the upper run have, at most those that are looked at.
    """

    place: NDArray[np.int_]
    gap: NDArray[np.int_]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    below: NDArray[np.int_]
    above: NDArray[np.int_]


def flat_runs(clean: Hu, spacing_mm: float, tolerance_hu: float = 1.0, least_mm: float = LEAST_MM) -> Runs:
    """Runs along z in which a noiseless picture does not change.

    Args:
        clean: (z, y, x) HU without noise.
        tolerance_hu: a slice may differ from the next by this much, and as much from its neighbours in the plane.
        least_mm: shortest run.

    Returns:
        (z, y, x) number of the run that each voxel is in, 0 for none.
    """
    clean = clean.astype(np.float32)
    in_plane = (1, 3, 3)
    even = ndimage.maximum_filter(clean, in_plane) - ndimage.minimum_filter(clean, in_plane) <= tolerance_hu
    same = (np.abs(np.diff(clean, axis=0)) <= tolerance_hu) & even[1:] & even[:-1]
    # A run of n slices is n - 1 neighbouring pairs that are the same.
    pairs = max(1, math.ceil(least_mm / spacing_mm - 1e-6) - 1)
    to_next = np.zeros(clean.shape, dtype=np.bool_)
    to_next[:-1] = ndimage.binary_opening(same, np.ones((pairs, 1, 1), dtype=bool))
    to_last = np.zeros_like(to_next)
    to_last[1:] = to_next[:-1]
    columns = np.moveaxis(to_next & ~to_last, 0, -1)
    numbers = np.moveaxis(np.cumsum(columns.ravel()).reshape(columns.shape), -1, 0)
    return np.asarray(numbers * (to_next | to_last), dtype=np.int32)


def band_sd_hu(hu: Hu, runs: Runs, case: str = "prediction") -> float:
    """Standard deviation in HU along z inside flat runs, each about its own mean, as RMS over their voxels.

    Raises:
        LamellaError: shapes differ, or nothing is flat.
    """
    check_mask(runs > 0, hu, case)
    values, numbers = finite(hu[runs > 0], case).astype(np.float64), runs[runs > 0]
    if not len(values):
        raise LamellaError(f"There is no flat material. {case}: no run of slices of one column stays the same.")
    number = np.bincount(numbers)
    mean = np.bincount(numbers, values) / np.maximum(number, 1)
    squares = np.square(values - mean[numbers]).sum()
    return math.sqrt(squares / (len(values) - np.count_nonzero(number)))


def find_steps(clean: Hu, runs: Runs, spacing_mm: float, noise_hu: float = 0.0) -> Steps:
    """Steps of at least 10 HU, and four times the noise, between two flat runs of a column at most 8 mm apart."""
    check_mask(runs > 0, clean, "truth")
    reach, most = round(_BESIDE_MM / spacing_mm), max(1, round(_GAP_MM / spacing_mm))
    above, below = (_length(runs, up, reach) for up in (True, False))
    ends = np.argwhere((runs[:-1] > 0) & (runs[:-1] != runs[1:]))
    found = [np.zeros((0, 4), dtype=np.int_)]
    for gap in range(1, most + 1):
        ends = ends[ends[:, 0] + gap < len(runs)]
        met = runs[ends[:, 0] + gap, ends[:, 1], ends[:, 2]] > 0
        found.append(np.column_stack([ends[met], np.full(met.sum(), gap)]))
        ends = ends[~met]
    z, y, x, gaps = np.concatenate(found).T
    lower, upper = clean[z, y, x].astype(np.float64), clean[z + gaps, y, x].astype(np.float64)
    kept = np.abs(upper - lower) >= max(_STEP_HU, _STEP_SD * noise_hu)
    parts = np.column_stack([z, y, x]), gaps, lower, upper, below[z, y, x], above[z + gaps, y, x]
    return Steps(*(part[kept] for part in parts))


def overshoot_percent(hu: Hu, steps: Steps, case: str = "prediction") -> float:
    """How far the mean profile of edges along z leaves the two levels of its step beside it, in % of the step.

    Edges with as many slices between their runs that lie in the same slice stand alike to the thick slices; their profiles
    are averaged with the square of the step as weight, so that noise does not count as overshoot. The figure is the mean over
    these groups of the largest excursion beyond either level, within 6 mm.

    Raises:
        LamellaError: no slice has enough edges.
    """
    key = steps.place[:, 0] * 1000 + steps.gap
    total, columns = 0.0, 0
    for group in np.unique(key):
        chosen = np.flatnonzero(key == group)
        if len(chosen) < _FEWEST:
            continue
        excursion = max(_excursion(hu, steps, chosen, True, case), _excursion(hu, steps, chosen, False, case))
        total += len(chosen) * excursion
        columns += len(chosen)
    if not columns:
        raise LamellaError(f"No edges of flat material to measure. {case}: no slice has {_FEWEST} of them.")
    return 100.0 * total / columns


def _excursion(hu: Hu, steps: Steps, chosen: NDArray[np.int_], upper: bool, case: str) -> float:
    """Largest mean excursion of a group beyond one of its levels, away from the other, over the step."""
    place, length = steps.place[chosen].copy(), (steps.above if upper else steps.below)[chosen]
    place[:, 0] += steps.gap[chosen] if upper else 0
    level = (steps.upper if upper else steps.lower)[chosen]
    step = (steps.upper - steps.lower)[chosen] * (1.0 if upper else -1.0)
    largest = 0.0
    for offset in range(int(length.max())):
        inside = length > offset
        if inside.sum() < _FEWEST:
            break
        z, y, x = place[inside].T
        values = finite(hu[z + (offset if upper else -offset), y, x], case).astype(np.float64)
        weight = step[inside]
        largest = max(largest, float(((values - level[inside]) * weight).sum() / np.square(weight).sum()))
    return largest


def _length(runs: Runs, up: bool, most: int) -> NDArray[np.int16]:
    """Slices of its run from each voxel on, itself included, upwards or downwards, at most `most`."""
    length = np.zeros(runs.shape, dtype=np.int16)
    last, before = np.zeros_like(runs[0]), np.zeros(runs.shape[1:], dtype=np.int16)
    for z in reversed(range(len(runs))) if up else range(len(runs)):
        before = np.where(runs[z] == 0, 0, np.where(runs[z] == last, np.minimum(before + 1, most), 1)).astype(np.int16)
        last, length[z] = runs[z], before
    return length
