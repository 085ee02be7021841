"""The places where two volumes differ most, and what the truth shows there.

An average hides what is rare. So the peaks of the smoothed difference are listed, and sorted into kinds by the truth's own
values around them alone: metal, motion, vessel, edge, and noise for what is none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.volume import Geometry

Kind = Literal["metal", "motion", "vessel", "edge", "noise"]

SMOOTHING_MM = 1.0
"""Gaussian on the difference: a peak of noise in one voxel is no place."""

METAL_HU = 2500.0
"""Above: metal, tooth enamel; compact bone lies below."""

MOTION_HU = 60.0
"""Step from slice to slice, after smoothing in the slice; four times what noise of 100 HU leaves."""

EDGE_HU_PER_MM = 50.0
"""Steepness of an edge after smoothing: fat beside muscle over two millimetres."""

METAL_MM, VESSEL_MM, EDGE_MM, MOTION_MM = 10.0, 2.0, 2.0, 3.0
"""Each is looked for so far around a place, along every axis (motion: within the slice)."""

_EDGE_SMOOTHING_MM, _MOTION_SMOOTHING_MM = 1.0, 2.0
_STEPS = 3
"""Steps of motion in a row, up and down in turn; a vessel or a plate that is a slice thick makes two."""


@dataclass(frozen=True)
class Place:
    """A peak of the difference of two volumes.

    Attributes:
        at: its voxel (z, y, x).
        difference_hu: there, smoothed.
    """

    at: tuple[int, int, int]
    difference_hu: float


def largest_differences(
    hu: Hu,
    other: Hu,
    where: Mask,
    geometry: Geometry,
    count: int,
    apart_mm: float,
    smoothing_mm: float = SMOOTHING_MM,
    case: str = "prediction",
) -> list[Place]:
    """The largest local maxima of the size of the smoothed difference, whose cubes do not overlap.

    Args:
        hu, other: (z, y, x) HU; `hu` minus `other` is looked at.
        where: (z, y, x) places lie in it.
        count: how many at most.
        apart_mm: side of the cubes around them.
        smoothing_mm: Gaussian on the difference.

    Returns:
        The largest first; of equal ones the first in array order.

    Raises:
        LamellaError: shapes differ.
    """
    check_mask(where, hu, case)
    check_mask(where, other, case)
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    for volume in (hu, other):
        if not np.issubdtype(volume.dtype, np.integer):
            finite(volume, case)
    difference = hu.astype(np.float32) - other
    for axis, step_mm in enumerate(steps_mm):
        difference = ndimage.gaussian_filter1d(difference, smoothing_mm / step_mm, axis=axis, mode="nearest")
    size = np.abs(difference)
    peaks = np.argwhere(where & (size > 0) & (size == ndimage.maximum_filter(size, 3, mode="nearest")))
    order = np.argsort(-size[tuple(peaks.T)], kind="stable")
    peaks = peaks[order]
    found: list[Place] = []
    while len(peaks) and len(found) < count:
        z, y, x = (int(one) for one in peaks[0])
        found.append(Place((z, y, x), float(difference[z, y, x])))
        peaks = peaks[(np.abs(peaks - peaks[0]) * steps_mm >= apart_mm).any(axis=1)]
    return found


def kind_of(
    truth: Hu,
    vessels: Mask,
    geometry: Geometry,
    at: tuple[int, int, int],
    metal_hu: float = METAL_HU,
    motion_hu: float = MOTION_HU,
    edge_hu_per_mm: float = EDGE_HU_PER_MM,
) -> Kind:
    """What the truth shows at a place: the first of these that holds.

    - metal: a voxel within 10 mm exceeds `metal_hu`.
    - motion: within 3 mm in the slice, HU smoothed in the slice by 2 mm step up, down and up again (or the reverse) from
      slice to slice, each time by `motion_hu`, across the place: what moved between the scanner's turns.
    - vessel: a voxel of `vessels` (`vessel_mask`) lies within 2 mm.
    - edge: HU smoothed by 1 mm change by `edge_hu_per_mm` within 2 mm.
    - noise: none of these.
    """
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    if (truth[_around(at, METAL_MM / steps_mm, truth.shape)] > metal_hu).any():
        return "metal"
    if _moves(truth, steps_mm, at, motion_hu):
        return "motion"
    if vessels[_around(at, VESSEL_MM / steps_mm, truth.shape)].any():
        return "vessel"
    return "edge" if _steepness(truth, steps_mm, at) >= edge_hu_per_mm else "noise"


def _moves(truth: Hu, steps_mm: NDArray[np.float64], at: tuple[int, int, int], motion_hu: float) -> bool:
    """Whether columns near a place go up and down in turn."""
    beside = (MOTION_MM + 3 * _MOTION_SMOOTHING_MM) / steps_mm
    box = _around(at, np.array([_STEPS, *beside[1:]]), truth.shape)
    part = truth[box].astype(np.float32)
    for axis in (1, 2):
        part = ndimage.gaussian_filter1d(part, _MOTION_SMOOTHING_MM / steps_mm[axis], axis=axis, mode="nearest")
    near = tuple(
        slice(max(0, at[axis] - one.start - reach), at[axis] - one.start + reach + 1)
        for axis, one, reach in ((a, box[a], int(MOTION_MM / steps_mm[a])) for a in (1, 2))
    )
    steps = np.diff(part[:, near[0], near[1]], axis=0)
    turned = steps * np.where(np.arange(len(steps)) % 2, -1.0, 1.0)[:, None, None]
    runs = range(len(steps) - _STEPS + 1)
    return any(bool((sign * turned[n : n + _STEPS] >= motion_hu).all(axis=0).any()) for n in runs for sign in (1, -1))


def _steepness(truth: Hu, steps_mm: NDArray[np.float64], at: tuple[int, int, int]) -> float:
    """The largest gradient near a place, HU/mm."""
    box = _around(at, (EDGE_MM + 4 * _EDGE_SMOOTHING_MM) / steps_mm, truth.shape)
    part = truth[box].astype(np.float32)
    for axis, step_mm in enumerate(steps_mm):
        part = ndimage.gaussian_filter1d(part, _EDGE_SMOOTHING_MM / step_mm, axis=axis, mode="nearest")
    squares = [
        np.gradient(part, step_mm, axis=axis) ** 2 for axis, step_mm in enumerate(steps_mm) if part.shape[axis] > 1
    ]
    centre = tuple(int(index - one.start) for index, one in zip(at, box, strict=True))
    near = _around(centre, EDGE_MM / steps_mm, part.shape)
    return float(np.sqrt(np.sum(squares, axis=0)[near].max())) if squares else 0.0


def _around(at: tuple[int, ...], reach: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    """The voxels within so many of a voxel along every axis, inside the volume."""
    z, y, x = (
        slice(max(0, index - int(far)), min(size, index + int(far) + 1))
        for index, far, size in zip(at, reach, shape, strict=True)
    )
    return z, y, x
