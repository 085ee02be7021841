"""Noise as filtered back projection leaves it.

Each projection's noise is as strong as the body is thick along its rays, it is sharpened by the ramp filter, and
smeared back along the rays: hence more noise, and streaks, through the shoulders, less in the lungs, and a texture that
is band-passed in plane and nearly white along z (Riederer, Pelc, Chesler, "The noise power spectrum in computed X-ray
tomography", Phys Med Biol 23:446, 1978).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse
from scipy.ndimage import correlate1d

from lamella.phantom.shapes import EDGE_MM, Array, Grid

_DIRECTIONS = 6
_WATER_PER_MM = 0.0192
"""Attenuation of water at about 70 keV, 1/mm."""

_MODULATION = 0.8
"""Share of the attenuation that tube current modulation and bow-tie filter leave in the noise's variance."""

_CUTOFF_PER_MM = 0.36
"""The soft kernel exp(-(f/cutoff)^2) puts the peak of the ramp at 0.25 cycles/mm."""

_ALONG_Z_MM = 0.45
"""Standard deviation of the slight smoothing along z."""

_COARSE_MM = 6.0


def add_noise(hu: Array, grid: Grid, level_hu: float, rng: np.random.Generator, edge_mm: float = EDGE_MM) -> None:
    """Add noise to `hu` (z, y, x) in place; `level_hu` is its median standard deviation in voxels of 0 to 120 HU.

    The sharper the kernel is that leaves edges of `edge_mm`, the finer is its grain.
    """
    levels = _levels(hu, grid, level_hu)
    filters = _filters(grid, _CUTOFF_PER_MM * (EDGE_MM / edge_mm))
    smoothing = _smoothing(grid)
    half = len(smoothing) // 2
    shape = grid.shape[1:]
    white = [rng.standard_normal(shape, dtype=np.float32) for _ in range(2 * half + 1)]
    rows = np.linspace(0, levels.shape[2] - 1, shape[0])
    columns = np.linspace(0, levels.shape[3] - 1, shape[1])
    for z in range(grid.shape[0]):
        mixed = np.tensordot(smoothing, np.stack(white), axes=1)
        spectrum = fft.rfft2(mixed)
        for direction in range(_DIRECTIONS):
            level = _bilinear(levels[direction, z], rows, columns)
            hu[z] += level * fft.irfft2(spectrum * filters[direction], s=shape)
        white = [*white[1:], rng.standard_normal(shape, dtype=np.float32)]


def _bilinear(image: Array, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Array:
    low, left = np.minimum(rows.astype(int), len(image) - 2), np.minimum(columns.astype(int), image.shape[1] - 2)
    t, u = (rows - low)[:, None].astype(np.float32), (columns - left).astype(np.float32)
    tall = image[low] + t * (image[low + 1] - image[low])
    return np.asarray(tall[:, left] + u * (tall[:, left + 1] - tall[:, left]))


def _smoothing(grid: Grid) -> Array:
    """Weights over neighbouring slices, of unit energy."""
    spacing_mm = float(grid.z[1] - grid.z[0]) if len(grid.z) > 1 else 1.0
    half = int(np.ceil(3.0 * _ALONG_Z_MM / spacing_mm))
    weights = np.exp(-0.5 * (np.arange(-half, half + 1) * spacing_mm / _ALONG_Z_MM) ** 2)
    return np.asarray(weights / np.sqrt((weights**2).sum()), dtype=np.float32)


def _filters(grid: Grid, cutoff_per_mm: float) -> list[Array]:
    """One in-plane filter per direction: ramp and soft kernel, in a wedge of frequencies across the rays.

    All act on the same noise, so the wedges themselves add up to the whole ring. Scaled so that white noise of unit
    variance keeps it.
    """
    step_y, step_x = (float(axis[1] - axis[0]) if len(axis) > 1 else 1.0 for axis in (grid.y, grid.x))
    fy, fx = np.meshgrid(fft.fftfreq(len(grid.y), step_y), fft.rfftfreq(len(grid.x), step_x), indexing="ij")
    frequency, angle = np.hypot(fy, fx), np.arctan2(fy, fx)
    power = frequency * np.exp(-2.0 * (frequency / cutoff_per_mm) ** 2)
    full = np.abs(fft.fftfreq(len(grid.x), step_x))
    whole = np.hypot(fft.fftfreq(len(grid.y), step_y)[:, None], full[None, :])
    power /= (whole * np.exp(-2.0 * (whole / cutoff_per_mm) ** 2)).mean()
    filters = []
    for direction in range(_DIRECTIONS):
        # Frequencies at +f and -f are the same wave: angles count modulo pi.
        away = np.abs((angle - direction * np.pi / _DIRECTIONS + np.pi / 2) % np.pi - np.pi / 2)
        wedge = np.where(away < np.pi / _DIRECTIONS, np.cos(0.5 * _DIRECTIONS * away) ** 2, 0.0)
        filters.append((np.sqrt(power) * wedge).astype(np.float32))
    return filters


def _levels(hu: Array, grid: Grid, level_hu: float) -> Array:
    """(directions, z, y, x) standard deviation of each direction's noise, in plane on a grid of about 6 mm."""
    spacing_mm = float(grid.y[1] - grid.y[0]) if len(grid.y) > 1 else 1.0
    skip = max(1, round(_COARSE_MM / spacing_mm))
    rows, columns = (np.unique(np.linspace(0, n - 1, max(2, n // skip)).round().astype(int)) for n in grid.shape[1:])
    coarse = hu[:, rows[:, None], columns[None, :]]
    y, x = np.meshgrid(grid.y[rows], grid.x[columns], indexing="ij")
    step_y, step_x = ((axis[-1] - axis[0]) / max(1, len(axis) - 1) for axis in (grid.y[rows], grid.x[columns]))
    attenuation = np.maximum(coarse.reshape(len(hu), -1) / 1000.0 + 1.0, 0.0) * _WATER_PER_MM
    variance = []
    for direction in range(_DIRECTIONS):
        turn = direction * np.pi / _DIRECTIONS
        across = (np.cos(turn) * x + np.sin(turn) * y).ravel()
        bins = (across - across.min()) / _COARSE_MM
        low = bins.astype(int)
        t, index = bins - low, np.arange(len(bins))
        spread = sparse.csr_matrix(
            (np.r_[1 - t, t], (np.r_[index, index], np.r_[low, low + 1])), shape=(len(bins), int(low.max()) + 2)
        )
        paths = (attenuation @ spread) * float(step_y * step_x) / _COARSE_MM
        paths = correlate1d(paths, np.array([0.25, 0.5, 0.25]), axis=1, mode="nearest")
        variance.append((np.exp(_MODULATION * paths) @ spread.T).reshape(coarse.shape))
    levels = np.sqrt(np.stack(variance)).astype(np.float32)
    soft = (coarse > 0) & (coarse < 120)
    total = np.sqrt((levels**2).mean(axis=0))
    usual = float(np.median(total[soft])) if soft.any() else float(np.median(total))
    return np.asarray(levels * np.float32(level_hu / usual))
