"""The fixed inputs of the golden outputs: a small phantom of whole numbers, made without any code of Lamella.

Every value is an integer, from comparisons and from `RandomState`, whose stream never changes, so that each processor and
each version of NumPy paints the very same voxels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lamella.volume import Geometry, Volume

Profile = Literal["5 mm every 5 mm", "5 mm every 2.5 mm", "5 mm every 7 mm"]
SPACING_MM: dict[Profile, float] = {"5 mm every 5 mm": 5.0, "5 mm every 2.5 mm": 2.5, "5 mm every 7 mm": 7.0}

_CELL_MM = 0.5
_SLAB = round(5.0 / _CELL_MM)
"""Fine slices that a thick slice averages."""


def thick_phantom(slices: int, pixels: int, pixel_mm: float, profile: Profile) -> Volume:
    """(slices, pixels, pixels) int16 HU: soft tissue, lungs, vessels, a spine and an oblique plate, with air at the sides."""
    spacing_mm = SPACING_MM[profile]
    step = round(spacing_mm / _CELL_MM)
    fine = _fine_slices((slices - 1) * step + _SLAB, pixels, pixel_mm)
    sums = np.concatenate([np.zeros((1, pixels, pixels), np.int64), np.cumsum(fine, axis=0)])
    first = step * np.arange(slices)
    hu = (sums[first + _SLAB] - sums[first]) // _SLAB
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm, pixel_mm, pixel_mm
    affine[:, 3] = (-20.0, -30.0, 100.0, 1.0)
    return Volume(np.maximum(hu, -1024).astype(np.int16), Geometry((slices, pixels, pixels), affine, 5.0))


def _fine_slices(count: int, pixels: int, pixel_mm: float) -> NDArray[np.int64]:
    z, y, x = np.ogrid[:count, :pixels, :pixels]
    z_mm, middle = (z - count // 2) * _CELL_MM, (pixels - 1) / 2
    y_mm, x_mm = (y - middle) * pixel_mm, (x - middle) * pixel_mm
    half = middle * pixel_mm
    hu = np.full((count, pixels, pixels), -1000, np.int64)
    hu[np.broadcast_to(_ellipse(x_mm, y_mm, 0.0, 0.0, 0.82 * half, 0.7 * half), hu.shape)] = 45
    for side in (-1, 1):
        hu[_ellipse(x_mm - 0.1 * z_mm, y_mm, side * 0.42 * half, -0.1 * half, 0.26 * half, 0.4 * half)] = -860
        for start in (-0.3, 0.0, 0.2):  # vessels that rise through the lung
            at_x, at_y = side * 0.42 * half + 0.5 * side * z_mm, start * half + 0.2 * z_mm
            hu[_ellipse(x_mm - at_x, y_mm - at_y, 0.0, 0.0, 1.6, 1.6) & (hu == -860)] = 60
    hu[_ellipse(x_mm, y_mm, 0.0, 0.45 * half, 0.16 * half, 0.16 * half) & (np.abs(z_mm % 18 - 9) > 2)] = 320
    plate = np.abs(y_mm + 0.5 * half + 0.6 * z_mm) < 1.5
    hu[plate & (np.abs(x_mm) < 0.15 * half)] = 700
    # noise of unit cells summed over 3 x 3 pixels, as a soft kernel correlates it; the mean of a slab keeps about 15 HU
    white = np.random.RandomState(7).randint(-60, 61, (count, pixels + 2, pixels + 2))
    rows = white[:, :-2] + white[:, 1:-1] + white[:, 2:]
    return hu + (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) // 2


def _ellipse(x_mm: NDArray, y_mm: NDArray, at_x: float, at_y: float, wide: float, high: float) -> NDArray[np.bool_]:
    return ((x_mm - at_x) / wide) ** 2 + ((y_mm - at_y) / high) ** 2 < 1
