"""Small structure that a restoration made up or lost anywhere in the body: blobs without a counterpart.

A blob is a connected part that stands out, bright or dark, from what is around it: HU smoothed by a Gaussian of 1 mm exceed the
mean of a cube of 9 mm around (or fall below it) by a stated contrast. It has a counterpart where the other volume stands out
alike by half of that contrast in at least one of its voxels, so that a structure that is only paler, smaller or larger is
neither invented nor erased.

Pieces of edges look like blobs to any such rule. Read the figures beside those of interpolation on the same scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, check_one_region, finite
from lamella.metrics.foci import FOCUS_MM3
from lamella.metrics.masks import box_around
from lamella.volume import Geometry

BLOB_HU = 100.0
"""Contrast of a blob: ten times what noise of 50 HU leaves after smoothing."""

BLOB_MM3 = FOCUS_MM3
"""Volume of a blob: balls of 2 to 10 mm across."""

SMOOTHING_MM, AROUND_MM = 1.0, 9.0
"""Gaussian, and side of the cube whose mean is the surroundings."""

COUNTERPART = 0.5
"""Share of the contrast that a counterpart has."""


@dataclass(frozen=True, eq=False)
class Blobs:
    """The blobs of one volume. Made by `blobs_of`.

    Attributes:
        contrast_hu: (z, y, x) int16 within the region's box: how far each voxel stands out.
        parts: labels of the bright and of the dark parts, and which of them are blobs, by label.
        least_hu: contrast of a blob.
    """

    contrast_hu: NDArray[np.int16]
    parts: tuple[tuple[NDArray[np.int32], NDArray[np.bool_]], ...]
    least_hu: float

    @property
    def count(self) -> int:
        """How many."""
        return sum(int(np.count_nonzero(is_blob)) for _, is_blob in self.parts)


def blobs_of(
    hu: Hu,
    region: Mask,
    geometry: Geometry,
    least_hu: float = BLOB_HU,
    volumes_mm3: tuple[float, float] = BLOB_MM3,
    case: str = "prediction",
) -> Blobs:
    """Find the blobs of a volume that lie wholly inside a region, off its first and last slice.

    Args:
        region: (z, y, x) mask of the truth, such as the body; the same for every volume compared.
        least_hu: contrast of a blob.
        volumes_mm3: least and greatest volume of one.

    Raises:
        LamellaError: shapes differ, or the region is empty.
    """
    check_mask(region, hu, case)
    if not region.any():
        raise LamellaError(f"There is nothing to look for blobs in. {case}: the region is empty.")
    box, steps_mm = box_around(region, (1, 1, 1)), (geometry.spacing_mm, *geometry.pixel_mm)
    if not np.issubdtype(hu.dtype, np.integer):
        finite(hu[box], case)
    fine = around = hu[box].astype(np.float32)
    for axis, step_mm in enumerate(steps_mm):
        fine = ndimage.gaussian_filter1d(fine, SMOOTHING_MM / step_mm, axis=axis, mode="nearest")
        around = ndimage.uniform_filter1d(around, 2 * round(AROUND_MM / step_mm / 2) + 1, axis=axis, mode="nearest")
    contrast = np.clip(np.rint(fine - around), -32768, 32767).astype(np.int16)
    outside = ~region[box]
    outside[[0, -1]] = True
    parts = (contrast >= least_hu, contrast <= -least_hu)
    return Blobs(
        contrast, tuple(_chosen(part, outside, float(np.prod(steps_mm)), volumes_mm3) for part in parts), least_hu
    )


def compare_blobs(prediction: Blobs, truth: Blobs) -> tuple[int, int]:
    """(invented, erased): blobs of the restoration without a counterpart in the truth, and the reverse.

    Raises:
        LamellaError: the blobs come from different regions.
    """
    check_one_region(prediction.contrast_hu, truth.contrast_hu, "blobs")
    return _alone(prediction, truth), _alone(truth, prediction)


def _chosen(
    mask: Mask, outside: Mask, voxel_mm3: float, volumes_mm3: tuple[float, float]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Labels of a mask's parts, and which are neither too small nor too large nor outside, by label."""
    labels, count = ndimage.label(mask)
    size_mm3 = np.bincount(labels.ravel(), minlength=count + 1) * voxel_mm3
    is_blob = (size_mm3 >= volumes_mm3[0]) & (size_mm3 <= volumes_mm3[1])
    is_blob[labels[outside]] = False
    is_blob[0] = False
    return labels, is_blob


def _alone(own: Blobs, other: Blobs) -> int:
    """How many blobs have no counterpart."""
    alone = 0
    for sign, (labels, is_blob) in zip((1, -1), own.parts, strict=True):
        at = np.flatnonzero(is_blob[labels])
        label = labels.ravel()[at]
        matched = sign * other.contrast_hu.ravel()[at].astype(np.int32) >= COUNTERPART * own.least_hu
        found = is_blob.copy()
        found[label[matched]] = False
        alone += int(np.count_nonzero(found))
    return alone
