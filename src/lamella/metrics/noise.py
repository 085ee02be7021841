"""How noisy an image is, in the slice and across slices.

Robust standard deviations: 1.4826 times the median absolute deviation of a high-pass, so that a stray vessel or edge in
the mask does not count as noise (Rousseeuw and Croux, JASA 88(424), 1993, section 1). Every high-pass is scaled to unit
gain for white noise: white noise of 20 HU reads 20 HU in both directions. The noise of CT is not white, so the figures
serve as ratios between two images of one grid.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.machine.cores import on_all_cores
from lamella.metrics.checks import Hu, Mask, check_mask, finite

MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

IN_PLANE_WINDOW_PX = 5
"""The in-plane high-pass is a voxel minus the mean of the 5 x 5 voxels around it in its slice."""

LEAST_NOISE_VOXELS = 1000
"""Fewer voxels of homogeneous tissue than this say nothing reliable about a scan's noise: some 100 independent ones."""


def noise_sd_in_plane(hu: Hu, mask: Mask, case: str = "image", window_px: int = IN_PLANE_WINDOW_PX) -> float:
    """Robust standard deviation in HU of the in-plane high-pass, `(v - mean of 5 x 5 around v) / sqrt(1 - 1/25)`.

    Args:
        mask: (z, y, x) homogeneous tissue (`soft_tissue_mask` of the truth); the outer rows and columns, where the
            window leaves the image, never count.
        window_px: side of the window, odd.

    Raises:
        LamellaError: shapes differ or fewer than two voxels count.
    """
    check_mask(mask, hu, case)
    planes = [(plane, chosen) for plane, chosen in zip(hu, mask, strict=True) if chosen.any()]
    return robust_sd(on_all_cores(lambda pair: high_passed(*pair, window_px), planes), case)


def high_passed(plane: Hu, chosen: Mask, window_px: int = IN_PLANE_WINDOW_PX) -> NDArray[np.float64]:
    """(n,) in-plane high-pass, of unit gain for white noise, of the chosen voxels of a slice whose window lies in it."""
    margin = window_px // 2
    inner = (slice(margin, -margin),) * 2
    values = plane.astype(np.float64)
    high = (values - ndimage.uniform_filter(values, window_px)) / math.sqrt(1.0 - 1.0 / window_px**2)
    return np.asarray(high[inner][chosen[inner]])


def noise_sd_along_z(hu: Hu, mask: Mask, case: str = "image") -> float:
    """Robust standard deviation in HU of the difference of neighbouring slices, `(v[z + 1] - v[z]) / sqrt(2)`.

    A pair counts where both voxels lie in the mask. Noise that is smooth along z reads lower than in the plane: an
    interpolated volume a fraction of its real scan, flicker between slices more than it. Differences of whole HU are
    whole HU, and so would their median be, a step of 10 % at 10 HU: integer images get a fixed dither of +- 0.5 HU,
    which adds 1/12 HU^2 to the variance of the difference.

    Arguments and errors as `noise_sd_in_plane`.
    """
    check_mask(mask, hu, case)
    dither = np.random.default_rng(0) if np.issubdtype(hu.dtype, np.integer) else None
    parts = []
    for index in range(hu.shape[0] - 1):
        chosen = mask[index] & mask[index + 1]
        step = hu[index + 1][chosen].astype(np.float64) - hu[index][chosen]
        if dither is not None:
            step += dither.uniform(-0.5, 0.5, step.shape)
        parts.append(step / math.sqrt(2.0))
    return robust_sd(parts, case)


def robust_sd(parts: list[NDArray[np.float64]], case: str) -> float:
    """Standard deviation of all values, from their median absolute deviation."""
    values = np.concatenate(parts) if parts else np.empty(0)
    if values.size < 2:
        raise LamellaError(
            f"Too little homogeneous tissue to measure noise. {case}: found {values.size} voxels, expected at least 2."
        )
    finite(values, case)
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
