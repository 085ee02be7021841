"""The noise floor: the least RMSE any restoration can reach on a truth that is itself noisy.

A thin scan is anatomy plus noise. Even who knew the anatomy would still have to guess the noise, and knows only its
averages over the thick slices. For Gaussian noise of covariance C along z, seen through A, the best guess leaves the
covariance C - C A^T (A C A^T)^-1 A C (the posterior of a linear Gaussian model, e.g. Rasmussen and Williams, "Gaussian
Processes for Machine Learning", MIT Press 2006, equation A.6). K abutting slabs fix K of the N degrees of freedom of white
noise and leave the share 1 - K / N of its variance; noise correlated along z can be guessed better, so its floor is lower.

The floor holds where the noise was measured: compare it with the RMSE in the same soft tissue, not in the lungs.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg, ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.metrics.noise import IN_PLANE_WINDOW_PX

LEAST_PAIRS = 500
"""Pairs of voxels at a lag below which its correlation is not measured."""


def noise_correlation_z(hu: Hu, mask: Mask, lags: int = 4, case: str = "truth") -> NDArray[np.float64]:
    """Correlation along z of the in-plane high-passed noise, from robust variances of differences of slices.

    The high-pass (a voxel minus the mean of 5 x 5 around it) takes away the anatomy that neighbouring slices share. With
    h the high-pass, the correlation at lag k is 1 - var(h[z + k] - h[z]) / (2 var(h)), both variances from median
    absolute deviations over the pairs of voxels that lie in the mask. Integer images get a fixed dither of +- 0.5 HU as
    in `noise_sd_along_z`.

    Args:
        hu: (z, y, x) HU of the real thin scan.
        mask: (z, y, x) homogeneous tissue (`soft_tissue_mask`).
        lags: highest lag, in slices.

    Returns:
        (lags + 1,) correlation at lags 0 (which is 1) to `lags`, each within -1 to 1.

    Raises:
        LamellaError: shapes differ, fewer than `LEAST_PAIRS` pairs at a lag, or a mask without noise.
    """
    check_mask(mask, hu, case)
    high = _high_pass(hu, mask, case)
    margin = IN_PLANE_WINDOW_PX // 2
    used = np.zeros_like(mask)
    used[:, margin:-margin, margin:-margin] = mask[:, margin:-margin, margin:-margin]
    correlation = np.ones(lags + 1)
    for lag in range(1, lags + 1):
        both = used[lag:] & used[:-lag]
        above, below = high[lag:][both], high[:-lag][both]
        if above.size < LEAST_PAIRS:
            raise LamellaError(
                f"Too little homogeneous tissue to correlate noise along z. {case}: found {above.size} pairs of voxels "
                f"{lag} slices apart, expected at least {LEAST_PAIRS}. Leave the figure out for this scan."
            )
        variance = _robust_square(np.concatenate([above, below]))
        if variance == 0.0:
            raise LamellaError(f"The tissue has no noise, so no correlation of noise. {case}: the deviation is 0 HU.")
        correlation[lag] = max(1.0 - _robust_square(above - below) / (2.0 * variance), -1.0)
    return correlation


def noise_floor_hu(
    sd_hu: float, correlation: NDArray[np.float64], matrix: NDArray[np.float64], inside: slice = slice(None)
) -> float:
    """Least RMSE in HU any restoration can reach on a truth with this noise, averaged over thin slices.

    Args:
        sd_hu: standard deviation of the thin scan's noise where the floor shall hold. `noise_sd_in_plane` misses what is
            coarser than its window; `coarse_noise_ratio` says how much.
        correlation: (lags + 1,) along z at lags 0, 1, ... (`noise_correlation_z`); 0 beyond. `[1.0]` is white noise.
        matrix: (K, N) measurement of N thin slices (`lamella.physics.slice_operator.SliceOperator.matrix`).
        inside: those of the N to average over, where slabs reach past the ones that are wanted (`covering_grid`).

    Raises:
        LamellaError: the correlation does not begin with 1, or a figure is not finite.
    """
    if not (len(correlation) and correlation[0] == 1.0 and np.isfinite(correlation).all() and math.isfinite(sd_hu)):
        raise LamellaError(
            f"The noise must have a finite deviation and a correlation of 1 at lag 0. Found {sd_hu:g} HU and "
            f"{np.asarray(correlation)}."
        )
    covariance = _covariance(np.asarray(correlation, dtype=np.float64), matrix.shape[1])
    seen = matrix @ covariance
    # A pseudo-inverse: slabs that overlap, or noise without power at some frequency, leave A C A^T singular.
    known = seen.T @ np.linalg.pinv(seen @ matrix.T, rcond=1e-10, hermitian=True) @ seen
    return sd_hu * math.sqrt(max(0.0, float(np.diag(covariance - known)[inside].mean())))


def _covariance(correlation: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(count, count) positive semi-definite Toeplitz matrix with ones on its diagonal.

    A correlation that is measured, and cut off after some lags, need not be one that noise can have. Its spectrum along z
    tells: where it is negative it is set to 0, then scaled back to unit variance. A stationary covariance is positive
    semi-definite where its spectrum is nowhere negative (Bochner), and one that was possible is not changed.
    """
    period = fft.next_fast_len(2 * max(count, len(correlation)))
    circle = np.zeros(period)
    circle[: len(correlation)] = correlation
    circle[period - len(correlation) + 1 :] = correlation[:0:-1]
    spectrum = np.maximum(fft.fft(circle).real, 0.0)
    possible = fft.ifft(spectrum).real
    return np.asarray(linalg.toeplitz(possible[:count] / possible[0]))


def _high_pass(hu: Hu, mask: Mask, case: str) -> NDArray[np.float32]:
    """(z, y, x) voxel minus the mean of 5 x 5 around it, in the slices that the mask touches; 0 elsewhere."""
    dither = np.random.default_rng(0) if np.issubdtype(hu.dtype, np.integer) else None
    high = np.zeros(hu.shape, dtype=np.float32)
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        values = hu[index].astype(np.float64)
        if dither is not None:
            values += dither.uniform(-0.5, 0.5, values.shape)
        plane = values - ndimage.uniform_filter(values, IN_PLANE_WINDOW_PX)
        finite(plane[mask[index]], case)
        high[index] = plane
    return high


def _robust_square(values: NDArray[np.float32]) -> float:
    """Squared median absolute deviation: a variance but for a factor that cancels in ratios."""
    return float(np.median(np.abs(values - np.median(values)))) ** 2
