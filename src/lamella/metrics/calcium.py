"""Calcium-like specks: the score of Agatston et al. (J Am Coll Cardiol 15:827, 1990), on slices of any distance.

In each slice, voxels of at least 130 HU that touch form a lesion of at least 1 mm^2, which scores its area times 1 to 4 by
its densest voxel. The original adds slices of 3 mm; here each slice counts by its distance over 3 mm. On noisy thin slices
the score is not that of a clinical protocol, so it is compared with the truth's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.metrics.spheres import Sphere, distance_mm, sphere_box
from lamella.volume import Geometry

CALCIUM_HU = 130.0
LESION_MM2 = 1.0
STEPS_HU = (200.0, 300.0, 400.0)
"""From each of these on, a lesion's area counts once more."""

SLICE_MM = 3.0

AROUND_MM = 3.0
"""A lesion within this distance of a speck is its own."""

_TOUCH = np.ones((3, 3))


def agatston_scores(
    hu: Hu, where: Mask, geometry: Geometry, threshold_hu: float = CALCIUM_HU, case: str = "image"
) -> NDArray[np.float64]:
    """(z, y, x) score of each voxel, which sums to the score of the volume.

    Args:
        where: (z, y, x) where lesions are looked for.
        threshold_hu: of a lesion.

    Raises:
        LamellaError: shapes differ.
    """
    check_mask(where, hu, case)
    pixel_mm2 = geometry.pixel_mm[0] * geometry.pixel_mm[1]
    scores = np.zeros(hu.shape)
    for plane, chosen, out in zip(hu, where, scores, strict=True):
        values = np.where(chosen, plane, -np.inf)
        finite(plane[chosen].astype(np.float64), case)
        labels, count = ndimage.label(values >= threshold_hu, _TOUCH)
        if count:
            number = np.arange(count + 1)
            area = np.bincount(labels.ravel()) * pixel_mm2
            peak = ndimage.maximum(values, labels, number)
            weight = np.where(area >= LESION_MM2 - 1e-9, 1 + np.digitize(peak, STEPS_HU), 0.0)
            weight[0] = 0.0
            out[:] = weight[labels] * pixel_mm2 * geometry.spacing_mm / SLICE_MM
    return scores


def speck_scores(
    scores: NDArray[np.float64], geometry: Geometry, specks: Sequence[Sphere]
) -> tuple[NDArray[np.float64], float]:
    """The score of each known speck, and the score of what is farther from all of them.

    Args:
        scores: from `agatston_scores`.
        specks: where they are; apart from each other by more than twice `AROUND_MM`.

    Returns:
        (specks,) scores within `AROUND_MM` of each; the sum elsewhere.
    """
    own, elsewhere = [], scores.copy()
    for speck in specks:
        reach = speck.diameter_mm / 2 + AROUND_MM
        box, offsets = sphere_box(geometry, speck, reach)
        near = distance_mm(offsets) <= reach
        own.append(float(scores[box][near].sum()))
        elsewhere[box][near] = 0.0
    return np.array(own), float(elsewhere.sum())
