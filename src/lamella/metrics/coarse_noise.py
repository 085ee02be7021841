"""How much of an image's noise is coarser than a window in the slice shows, as soft kernels leave it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lamella.metrics.checks import Hu, Mask
from lamella.metrics.noise import IN_PLANE_WINDOW_PX, noise_sd_in_plane
from lamella.volume import Geometry

WIDE_MM = 12.0
"""A window of so many millimetres shows all noise but that of the very softest kernels."""

LEAST_VOXELS = 5000
"""Fewer voxels of tissue than this tell no ratio: some 100 independent ones where noise is coarse."""

PAIRS = 40
"""So many pairs of slices, evenly spread, tell it."""


def window_side_px(pixel_mm: float, window_mm: float) -> int:
    """Odd side in pixels of a window of so many millimetres, at least that of `noise_sd_in_plane`."""
    return max(IN_PLANE_WINDOW_PX, 2 * round((window_mm / pixel_mm - 1) / 2) + 1)


def slices_apart(geometry: Geometry) -> int:
    """How many slices further lies the nearest that shares no measurement with a slice."""
    return math.ceil(geometry.thickness_mm / geometry.spacing_mm - 1e-6)


def coarse_noise_ratio(hu: Hu, mask: Mask, apart: int, windows_px: tuple[int, int]) -> float | None:
    """Noise that a wide window shows over what a narrow one does, at least 1, anatomy left out.

    In a slice a wide window takes anatomy for noise. In the difference of two slices that share no measurement most of it
    cancels. What is left grows with their distance, and noise does not: with v and v' the variances at one and at twice
    the distance, 2 v - v' is that of noise if what is left grows evenly (the nugget of a linear variogram; Cressie,
    "Statistics for Spatial Data", Wiley 1993, section 2.3).

    Args:
        mask: (z, y, x) homogeneous tissue.
        apart: distance in slices at which noise is independent (`slices_apart`).
        windows_px: odd sides of the narrow and of the wide window.

    Returns:
        The ratio; None where too little tissue goes on from slice to slice.
    """
    near, far = (_variances(hu, mask, distance, windows_px) for distance in (apart, 2 * apart))
    if near is None or far is None:
        return None
    nugget = 2 * near - far
    if nugget.min() <= 0:  # nothing but anatomy
        return 1.0
    return math.sqrt(max(1.0, min(near[1] / near[0], nugget[1] / nugget[0])))


def _variances(hu: Hu, mask: Mask, apart: int, windows_px: tuple[int, int]) -> NDArray[np.float64] | None:
    """(2,) variance of the difference of slices so many apart, as each window shows it; None with too little tissue."""
    if len(hu) <= apart:
        return None
    some = np.unique(np.linspace(0, len(hu) - 1 - apart, PAIRS).round().astype(int))
    both = mask[some] & mask[some + apart]
    margin = max(windows_px) // 2
    if int(both[:, margin:-margin, margin:-margin].sum()) < LEAST_VOXELS:
        return None
    change = hu[some + apart].astype(np.float32) - hu[some]
    return np.array([noise_sd_in_plane(change, both, "difference of slices", side) for side in windows_px]) ** 2
