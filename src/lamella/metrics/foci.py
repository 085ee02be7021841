"""Foci that a restoration made up, and foci that it lost: small dense parts inside the lung.

Made-up structure lies in what the measurement cannot see, so no consistency figure shows it; it has to be counted. The
count follows the literature on thick-slice CT: connected parts above -400 HU of 8 to 1000 voxels of about
0.7 x 0.7 x 1 mm, matched against everything above -400 HU in the other volume. Matching against that volume's own list
of foci would be wrong: a vessel of 1010 voxels in one and 990 in the other would count as made up and as lost.

Pieces of vessels look like foci to any such rule. Read the figures against those of interpolation on the same scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, check_one_region, finite
from lamella.metrics.masks import box_around
from lamella.volume import Geometry

FOCUS_HU = -400.0
"""Above: solid or part-solid tissue; lung parenchyma and its noise lie far below."""

FOCUS_MM3 = (3.9, 490.0)
"""Volume of a focus: 8 to 1000 voxels of 0.7 x 0.7 x 1 mm, balls of 2 to 10 mm across."""

SMOOTHING_MM = 0.5
"""In-plane Gaussian before the threshold, on both volumes: noise alone does not decide what is joined."""


@dataclass(frozen=True)
class Foci:
    """Foci counted in a restoration and its truth.

    Attributes:
        truth_count: foci of the truth.
        prediction_count: foci of the restoration.
        fabricated: foci of the restoration where the truth has nothing above the threshold.
        erased: foci of the truth where the restoration has nothing above the threshold.
    """

    truth_count: int
    prediction_count: int
    fabricated: int
    erased: int

    @property
    def fabricated_rate(self) -> float | None:
        """Share of the restoration's foci that are fabricated; None where it has none."""
        return self.fabricated / self.prediction_count if self.prediction_count else None

    @property
    def erased_rate(self) -> float | None:
        """Share of the truth's foci that are erased; None where it has none."""
        return self.erased / self.truth_count if self.truth_count else None


@dataclass(frozen=True, eq=False)
class DenseParts:
    """What lies above the threshold in one volume, and which of its parts are foci. Made by `dense_parts`.

    Attributes:
        labels: (z, y, x) within the region's box: the part of each voxel above the threshold, of any size, inside and
            outside the region; 0 below the threshold.
        is_focus: (parts + 1,) by label.
    """

    labels: NDArray[np.int32]
    is_focus: NDArray[np.bool_]


def dense_parts(
    hu: Hu,
    region: Mask,
    geometry: Geometry,
    case: str = "prediction",
    *,
    focus_hu: float = FOCUS_HU,
    focus_mm3: tuple[float, float] = FOCUS_MM3,
) -> DenseParts:
    """Find the foci of one volume: parts above `focus_hu` of `focus_mm3` that lie wholly inside the region.

    A part that leaves the region, or reaches the first or last slice, hangs on the chest wall, the diaphragm or the
    hilum, or may do so: blur of a border is no focus. Voxels are joined through faces, after an in-plane Gaussian of
    0.5 mm.

    Args:
        region: (z, y, x) from `lung_region` of the truth, the same for every volume compared.

    Raises:
        LamellaError: shapes differ, or the region is empty.
    """
    check_mask(region, hu, case)
    check_mask(region, np.empty(geometry.shape, dtype=np.bool_), case)
    if not region.any():
        raise LamellaError(f"There is no lung to look for foci in. {case}: the region is empty.")
    box = box_around(region, (1, 1, 1))
    sigma_px = tuple(SMOOTHING_MM / step_mm for step_mm in geometry.pixel_mm)
    planes = (finite(plane.astype(np.float64), case) for plane in hu[box])
    labels, count = ndimage.label(np.stack([ndimage.gaussian_filter(plane, sigma_px) > focus_hu for plane in planes]))
    outside = ~region[box]
    outside[[0, -1]] = True
    size_mm3 = np.bincount(labels.ravel(), minlength=count + 1) * geometry.spacing_mm * np.prod(geometry.pixel_mm)
    is_focus = (size_mm3 >= focus_mm3[0]) & (size_mm3 <= focus_mm3[1])
    is_focus[labels[outside & (labels > 0)]] = False
    is_focus[0] = False
    return DenseParts(labels, is_focus)


def compare_foci(prediction: DenseParts, truth: DenseParts) -> Foci:
    """Count fabricated and erased foci from the parts of both volumes (`dense_parts` with one region).

    A focus is matched where the other volume is above the threshold in at least one of its voxels: one that shrank,
    grew, or grew into its neighbour is neither fabricated nor erased.

    Raises:
        LamellaError: the parts come from different regions.
    """
    check_one_region(prediction.labels, truth.labels, "foci")
    unmatched = []
    for own, other in ((prediction, truth), (truth, prediction)):
        alone = own.is_focus.copy()
        alone[own.labels[other.labels > 0]] = False
        unmatched.append(int(np.count_nonzero(alone)))
    return Foci(
        truth_count=int(np.count_nonzero(truth.is_focus)),
        prediction_count=int(np.count_nonzero(prediction.is_focus)),
        fabricated=unmatched[0],
        erased=unmatched[1],
    )
