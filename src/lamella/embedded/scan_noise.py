"""How noisy the thick slices of a scan are in homogeneous soft tissue, whatever the texture of that noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.metrics import (
    IN_PLANE_WINDOW_PX,
    LEAST_NOISE_VOXELS,
    WIDE_MM,
    coarse_noise_ratio,
    noise_sd_in_plane,
    slices_apart,
    soft_tissue_mask,
    window_side_px,
)
from lamella.physics.grid_pair import GridPair
from lamella.volume import Volume

_ENOUGH_VOXELS = 5000
"""Fewer voxels of muscle, blood and parenchyma than this, and fat is added to them."""

_WITH_FAT_HU = (-150.0, 150.0)
"""Homogeneous tissue in small fields of view, which hold little of any kind."""

_WINDOW_MM = 4.0
"""Noise is the difference from the mean of so many millimetres around: a window in pixels would miss coarse noise."""


@dataclass(frozen=True, eq=False)
class ScanNoise:
    """Noise of the thick slices in homogeneous tissue, and what follows from it for thin ones.

    Attributes:
        soft: (K, y, x) where it was measured.
        grids: the geometry.
        white_hu: standard deviation in HU of a thin slice whose noise is white along z: sigma_y / |row of A|.
        window_px: side of the window in the slice that noise is measured with.
        coarse: noise over what that window shows of it, at least 1.
        wide_px: side of the window that shows it all, and in a slice some anatomy.
    """

    soft: NDArray[np.bool_]
    grids: GridPair
    white_hu: float
    window_px: int = IN_PLANE_WINDOW_PX
    coarse: float = 1.0
    wide_px: int = IN_PLANE_WINDOW_PX

    @cached_property
    def nearest(self) -> NDArray[np.intp]:
        """(D,) the thick slice nearest to each thin one."""
        return np.asarray(np.abs(self.grids.offsets).argmin(axis=1))

    @cached_property
    def null(self) -> float:
        """Share of the variance of white noise that the measurement leaves open."""
        return float(self.grids.operator.null_fraction.mean())

    def counts(self) -> NDArray[np.int64]:
        """(K,) voxels that count in each thick slice: at the rim of the image the window does not fit."""
        return np.asarray(_within(self.soft, self.window_px).sum(axis=(1, 2)))

    def in_plane_hu(self, hu: NDArray[Any], soft: NDArray[np.bool_], case: str) -> float:
        """Noise in the slice of (z, y, x) HU whose noise has the texture of the scan's."""
        return self.coarse * noise_sd_in_plane(hu, soft, case, self.window_px)

    def sampled_hu(self, hu: NDArray[Any], soft: NDArray[np.bool_]) -> float:
        """Noise in the slice of (z, y, x) HU without anatomy, whatever its texture."""
        fits = int(_within(soft, self.wide_px).sum()) >= LEAST_NOISE_VOXELS
        return noise_sd_in_plane(hu, soft, "sample", self.wide_px if fits else self.window_px)

    def open_hu(self, share: float) -> float:
        """Noise that the measurement leaves open, `share` of it if it were white."""
        return share * self.white_hu * math.sqrt(self.null)

    @property
    def passed_hu(self) -> float:
        """Noise that the measurement passes on to a thin slice."""
        return self.white_hu * math.sqrt(1 - self.null)


def measure_noise(thick: Volume, grids: GridPair) -> ScanNoise | None:
    """Measure the noise of thick slices; None where there is too little homogeneous tissue."""
    window_px, wide_px = (window_side_px(min(thick.geometry.pixel_mm), mm) for mm in (_WINDOW_MM, WIDE_MM))
    soft = soft_tissue_mask(thick.hu, thick.geometry)
    if int(_within(soft, window_px).sum()) < _ENOUGH_VOXELS:
        soft = soft_tissue_mask(thick.hu, thick.geometry, range_hu=_WITH_FAT_HU)
    if int(_within(soft, window_px).sum()) < LEAST_NOISE_VOXELS:
        return None
    row = float(np.sqrt((grids.operator.matrix**2).sum(axis=1)).mean())
    coarse = coarse_noise_ratio(thick.hu, soft, slices_apart(thick.geometry), (window_px, wide_px))
    if coarse is None:
        coarse, wide_px = 1.0, window_px
    return ScanNoise(
        soft,
        grids,
        coarse * noise_sd_in_plane(thick.hu, soft, "thick slices", window_px) / row,
        window_px,
        coarse,
        wide_px,
    )


def _within(soft: NDArray[np.bool_], window_px: int) -> NDArray[np.bool_]:
    """The part so far from the rim that the window stays within the image; empty in an image smaller than that."""
    margin = window_px // 2
    return soft[:, margin:-margin, margin:-margin]
