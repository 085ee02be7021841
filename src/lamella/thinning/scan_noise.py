"""How noisy the thick slices of a scan are, in homogeneous soft tissue, whatever the grain of their noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.metrics import IN_PLANE_WINDOW_PX, noise_sd_in_plane, soft_tissue_mask
from lamella.passage import Passage
from lamella.volume import Geometry, Volume

_LEAST_VOXELS = 1000
"""Fewer voxels of homogeneous tissue than this say nothing reliable about noise: some 100 independent ones."""

_ENOUGH_VOXELS = 5000
"""Fewer voxels of muscle, blood and parenchyma than this, and fat is added to them."""

_WITH_FAT_HU = (-150.0, 150.0)
"""Homogeneous tissue in small fields of view, which hold little of anything."""

_WINDOW_MM = 4.0
"""Noise is what differs from the mean of so many millimetres around: in pixels, coarse noise in fine pixels would be missed."""

_WIDE_MM = 12.0
"""How much noise is coarser than that, as soft kernels leave it, is read off differences of slices with this window."""

_PAIRS = 40
"""So many pairs of slices, evenly spread, tell that."""


@dataclass(frozen=True, eq=False)
class ScanNoise:
    """Noise of the thick slices in homogeneous tissue, and what follows from it for thin ones.

    Attributes:
        soft: (K, y, x) where it was measured.
        nearest: (D,) the thick slice nearest to each thin one.
        white_hu: standard deviation in HU of a thin slice whose noise is white along z: sigma_y / |row of A|.
        null: share of that variance that the measurement leaves open.
        window_px: side of the window in the slice that noise is measured with.
        coarse: noise over what that window shows of it, at least 1.
        wide_px: side of the window that shows it all, and in a slice some anatomy.
    """

    soft: NDArray[np.bool_]
    nearest: NDArray[np.intp]
    white_hu: float
    null: float
    window_px: int = IN_PLANE_WINDOW_PX
    coarse: float = 1.0
    wide_px: int = IN_PLANE_WINDOW_PX

    def counts(self) -> NDArray[np.int64]:
        """(K,) voxels that count in each thick slice: around those at the rim of the image the window does not fit."""
        return np.asarray(_within(self.soft, self.window_px).sum(axis=(1, 2)))

    def in_plane_hu(self, hu: NDArray[Any], soft: NDArray[np.bool_], case: str) -> float:
        """Noise in the slice of (z, y, x) HU, which has the grain of the scan's."""
        return self.coarse * noise_sd_in_plane(hu, soft, case, self.window_px)

    def drawn_hu(self, hu: NDArray[Any], soft: NDArray[np.bool_]) -> float:
        """Noise in the slice of (z, y, x) HU of any grain that show no anatomy."""
        fits = int(_within(soft, self.wide_px).sum()) >= _LEAST_VOXELS
        return noise_sd_in_plane(hu, soft, "draw", self.wide_px if fits else self.window_px)

    def open_hu(self, share: float) -> float:
        """Noise that the measurement leaves open, `share` of it if it were white."""
        return share * self.white_hu * math.sqrt(self.null)

    @property
    def passed_hu(self) -> float:
        """Noise that the measurement passes on to a thin slice."""
        return self.white_hu * math.sqrt(1 - self.null)


def measure_noise(thick: Volume, passage: Passage) -> ScanNoise | None:
    """Measure the noise of thick slices; None where there is too little homogeneous tissue."""
    window_px, wide_px = (_side_px(thick.geometry, mm) for mm in (_WINDOW_MM, _WIDE_MM))
    soft = soft_tissue_mask(thick.hu, thick.geometry)
    if int(_within(soft, window_px).sum()) < _ENOUGH_VOXELS:
        soft = soft_tissue_mask(thick.hu, thick.geometry, range_hu=_WITH_FAT_HU)
    if int(_within(soft, window_px).sum()) < _LEAST_VOXELS:
        return None
    row = float(np.sqrt((passage.operator.matrix**2).sum(axis=1)).mean())
    coarse = _coarse_noise(thick, soft, window_px, wide_px)
    if coarse is None:
        coarse, wide_px = 1.0, window_px
    return ScanNoise(
        soft,
        np.abs(passage.offsets).argmin(axis=1),
        coarse * noise_sd_in_plane(thick.hu, soft, "thick slices", window_px) / row,
        float(passage.operator.null_fraction.mean()),
        window_px,
        coarse,
        wide_px,
    )


def _side_px(geometry: Geometry, window_mm: float) -> int:
    """Odd side of a window of so many millimetres."""
    return max(IN_PLANE_WINDOW_PX, 2 * round((window_mm / min(geometry.pixel_mm) - 1) / 2) + 1)


def _coarse_noise(thick: Volume, soft: NDArray[np.bool_], window_px: int, wide_px: int) -> float | None:
    """Noise over what a window shows of it, at least 1; None where too little tissue goes on from slice to slice.

    In a slice a wide window takes anatomy for noise. In the difference of two slices that share no measurement most of it
    cancels. What is left grows with their distance, and noise does not: with v and v' the variances at one and at twice
    the distance, 2 v - v' is that of noise if what is left grows evenly (the nugget of a linear variogram; Cressie,
    "Statistics for Spatial Data", Wiley 1993, section 2.3).
    """
    apart = math.ceil(thick.geometry.thickness_mm / thick.geometry.spacing_mm - 1e-6)
    near = _variances(thick.hu, soft, apart, (window_px, wide_px))
    far = _variances(thick.hu, soft, 2 * apart, (window_px, wide_px))
    if near is None or far is None:
        return None
    nugget = 2 * near - far
    if nugget.min() <= 0:  # nothing but anatomy
        return 1.0
    return math.sqrt(max(1.0, min(near[1] / near[0], nugget[1] / nugget[0])))


def _variances(
    hu: NDArray[Any], soft: NDArray[np.bool_], apart: int, windows_px: tuple[int, int]
) -> NDArray[np.float64] | None:
    """(2,) variance of the difference of slices so many apart, as each window shows it; None with too little tissue."""
    if len(hu) <= apart:
        return None
    some = np.unique(np.linspace(0, len(hu) - 1 - apart, _PAIRS).round().astype(int))
    both = soft[some] & soft[some + apart]
    if int(_within(both, max(windows_px)).sum()) < _ENOUGH_VOXELS:
        return None
    change = hu[some + apart].astype(np.float32) - hu[some]
    return np.array([noise_sd_in_plane(change, both, "thick slices", side) for side in windows_px]) ** 2


def _within(soft: NDArray[np.bool_], window_px: int) -> NDArray[np.bool_]:
    """What lies so far from the rim that the window stays within the image; nothing in an image smaller than that."""
    margin = window_px // 2
    return soft[:, margin:-margin, margin:-margin]
