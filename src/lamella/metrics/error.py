"""How far a prediction lies from the truth: RMSE, mean error, PSNR and SSIM.

Arrays are (z, y, x) in HU. Sums run slice by slice in float64, so a whole CT never exists twice in double precision.
A non-finite prediction is an error that names its case, never a figure (SPEC A19): averaged into a table, 0 dB looks
like a poor result instead of a broken one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels

PSNR_MSE_FLOOR = 1e-8
"""Least mean squared error, in units of the squared data range, that PSNR tells from zero (SPEC A19)."""

PSNR_BOUNDS_DB = (0.0, 100.0)
"""PSNR is reported within these bounds (SPEC A19); the floor above already makes 80 dB the highest value reached."""

_SSIM_SIGMA_PX = 1.5
_SSIM_RADIUS_PX = 5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


def rmse_hu(prediction: Hu, truth: Hu, mask: Mask | None = None, case: str = "prediction") -> float:
    """Root mean squared error in HU.

    Args:
        prediction: (z, y, x) HU.
        truth: (z, y, x) HU.
        mask: (z, y, x) voxels that count; None counts every voxel.
        case: name of the prediction for error messages.

    Raises:
        NonFiniteError: a counted voxel is not finite.
        LamellaError: shapes differ, or no voxel counts.
    """
    count, _, squares = _error_sums(prediction, truth, mask, case)
    return math.sqrt(squares / count)


def mean_error_hu(prediction: Hu, truth: Hu, mask: Mask | None = None, case: str = "prediction") -> float:
    """Mean of prediction minus truth in HU: the bias that densitometry would see. Arguments and errors as `rmse_hu`."""
    count, total, _ = _error_sums(prediction, truth, mask, case)
    return total / count


def psnr(prediction: Hu, truth: Hu, data_range_hu: float, mask: Mask | None = None, case: str = "prediction") -> float:
    """Peak signal-to-noise ratio in dB: -10 log10 of the mean squared error in units of the squared range.

    A PSNR means nothing without its range (SPEC B13): 4095 full CT, 3072 for [-1024, 2048], 400 for the soft-tissue
    window. Nothing is clipped here: clip both arrays first where the range is a window.

    Args:
        prediction: (z, y, x) HU.
        truth: (z, y, x) HU.
        data_range_hu: peak to peak range in HU, above 0.
        mask: (z, y, x) voxels that count; None counts every voxel.
        case: name of the prediction for error messages.

    Returns:
        dB within `PSNR_BOUNDS_DB`.

    Raises:
        NonFiniteError: a counted voxel is not finite.
        LamellaError: shapes differ, no voxel counts, or the range is not a positive number.
    """
    _check_range(data_range_hu)
    count, _, squares = _error_sums(prediction, truth, mask, case)
    mse = max(squares / count / data_range_hu**2, PSNR_MSE_FLOOR)
    lowest, highest = PSNR_BOUNDS_DB
    return min(max(-10.0 * math.log10(mse), lowest), highest)


def ssim(prediction: Hu, truth: Hu, data_range_hu: float, case: str = "prediction") -> float:
    """Structural similarity of the axial slices, averaged over slices.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
    TIP 13(4), 2004, equation 13: 11 x 11 Gaussian window of sigma 1.5 pixels, K1 = 0.01, K2 = 0.03, population
    (co)variances. Only windows that lie wholly inside the slice count. For coronal or sagittal SSIM move that axis to
    the front first.

    Args:
        prediction: (z, y, x) HU, rows and columns at least 11.
        truth: (z, y, x) HU.
        data_range_hu: peak to peak range in HU, above 0.
        case: name of the prediction for error messages.

    Raises:
        NonFiniteError: a voxel is not finite.
        LamellaError: shapes differ, slices smaller than the window, or the range is not a positive number.
    """
    _check_range(data_range_hu)
    check_grid(prediction, truth, case)
    width = 2 * _SSIM_RADIUS_PX + 1
    if min(prediction.shape[1:]) < width:
        raise LamellaError(f"SSIM needs slices of at least {width} x {width}. {case}: found {prediction.shape[1:]}.")
    total = 0.0
    for index in range(len(truth)):
        predicted = finite(prediction[index].astype(np.float64), case)
        total += _ssim_slice(predicted, finite(truth[index].astype(np.float64), f"truth of {case}"), data_range_hu)
    return total / len(truth)


def _ssim_slice(a: NDArray[np.float64], b: NDArray[np.float64], data_range_hu: float) -> float:
    c1, c2 = (_SSIM_K1 * data_range_hu) ** 2, (_SSIM_K2 * data_range_hu) ** 2

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth = ndimage.gaussian_filter(image, _SSIM_SIGMA_PX, radius=_SSIM_RADIUS_PX)
        inner = slice(_SSIM_RADIUS_PX, -_SSIM_RADIUS_PX)
        return np.asarray(smooth[inner, inner])

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float(similarity.mean())


def _error_sums(prediction: Hu, truth: Hu, mask: Mask | None, case: str) -> tuple[int, float, float]:
    """(voxels that count, sum of errors, sum of squared errors)."""
    check_grid(prediction, truth, case)
    check_mask(mask, truth, case)
    count, total, squares = 0, 0.0, 0.0
    for index in range(len(truth)):
        chosen = slice(None) if mask is None else mask[index]
        predicted = finite(prediction[index][chosen].astype(np.float64), case)
        error = predicted - finite(truth[index][chosen].astype(np.float64), f"truth of {case}")
        count += error.size
        total += float(error.sum())
        squares += float(np.vdot(error, error))
    return some_voxels(count, case), total, squares


def _check_range(data_range_hu: float) -> None:
    if not (math.isfinite(data_range_hu) and data_range_hu > 0):
        raise LamellaError(f"The data range must be a positive number of HU. Found {data_range_hu:g}.")
