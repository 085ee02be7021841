"""What happens at edges across slices: speckle in the plane, and errors of the gradient along z.

A model that guesses where an edge lies between two thick slices may guess differently from pixel to pixel: salt and
pepper in the plane, invisible to PSNR, obvious to the eye.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels

STEEP_HU_PER_MM = 100.0
"""A gradient along z that no noise and no soft tissue makes: lung, bone, contrast medium and gas have such borders."""

_STEEPNESS_WINDOW_PX = 3


def steep_edges(truth: Hu, spacing_mm: float, steep_hu_per_mm: float = STEEP_HU_PER_MM) -> Mask:
    """Voxels where the truth is steep along z.

    The central difference along z of the truth, averaged over 3 x 3 voxels of its slice so that noise does not choose
    the voxels, exceeds `steep_hu_per_mm`.

    Args:
        spacing_mm: distance between its slice centres.
        steep_hu_per_mm: threshold in HU/mm.

    Returns:
        (z, y, x) mask; the first and last slice, and the outer rows and columns, are never in it.
    """
    mask = np.zeros(truth.shape, dtype=np.bool_)
    for index in range(1, truth.shape[0] - 1):
        slope = (truth[index + 1].astype(np.float32) - truth[index - 1]) / np.float32(2 * spacing_mm)
        steep = np.abs(ndimage.uniform_filter(slope, _STEEPNESS_WINDOW_PX)) > steep_hu_per_mm
        mask[index, 1:-1, 1:-1] = steep[1:-1, 1:-1]
    return mask


def edge_second_difference_ratio(
    prediction: Hu, truth: Hu, spacing_mm: float, mask: Mask | None = None, case: str = "prediction"
) -> float:
    """In-plane second differences of the prediction over the truth's, at edges steep along z.

    The mean of |v[i-1] - 2 v[i] + v[i+1]| along rows and along columns, over the voxels of `steep_edges`. 1 is as rough
    as the real thin scan, below 1 smoother, well above 1 speckle.

    Args:
        mask: (z, y, x) where to look besides (the body); None looks everywhere.

    Raises:
        LamellaError: shapes differ, there is no steep edge, or the truth is linear at all of them.
    """
    check_grid(prediction, truth, case)
    check_mask(mask, truth, case)
    edges = steep_edges(truth, spacing_mm)
    if mask is not None:
        edges &= mask
    sums = [0.0, 0.0]
    for index in np.flatnonzero(edges.any(axis=(1, 2))):
        for which, volume in enumerate((prediction, truth)):
            rough = _second_differences(volume[index])[edges[index, 1:-1, 1:-1]]
            sums[which] += float(finite(rough, case).sum())
    if sums[1] == 0.0:
        raise LamellaError(
            f"No edge to measure. {case}: no voxel of the truth exceeds {STEEP_HU_PER_MM:g} HU/mm along z."
        )
    return sums[0] / sums[1]


def gradient_error_z(
    prediction: Hu, truth: Hu, spacing_mm: float, mask: Mask | None = None, case: str = "prediction"
) -> float:
    """Root mean squared error in HU/mm of the gradient along z (difference of neighbouring slices over their distance).

    Args:
        prediction: (z, y, x) HU, at least two slices.
        mask: (z, y, x); a pair of slices counts where both voxels lie in it. None counts everything.

    Raises:
        LamellaError: shapes differ or no pair of voxels counts.
    """
    check_grid(prediction, truth, case)
    check_mask(mask, truth, case)
    count, squares = 0, 0.0
    below = prediction[0].astype(np.float64) - truth[0]
    for index in range(1, truth.shape[0]):
        above = prediction[index].astype(np.float64) - truth[index]
        step = (above - below)[slice(None) if mask is None else mask[index] & mask[index - 1]]
        count += step.size
        squares += float((finite(step, case) ** 2).sum())
        below = above
    return math.sqrt(squares / some_voxels(count, case)) / spacing_mm


def _second_differences(plane: Hu) -> NDArray[np.float64]:
    """(y - 2, x - 2): mean of the absolute second differences along rows and along columns."""
    v = plane.astype(np.float64)
    centre = 2.0 * v[1:-1, 1:-1]
    along_rows = np.abs(v[:-2, 1:-1] - centre + v[2:, 1:-1])
    along_columns = np.abs(v[1:-1, :-2] - centre + v[1:-1, 2:])
    return np.asarray((along_rows + along_columns) / 2.0)
