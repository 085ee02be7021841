"""How far a prediction lies from the truth: RMSE, mean absolute and mean error, PSNR.

Arrays are (z, y, x) in HU. Sums run slice by slice in float64, so a whole CT never exists twice in double precision.
A non-finite prediction is an error that names its case, never a figure (SPEC A19): averaged into a table, 0 dB looks
like a poor result instead of a broken one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels

PSNR_MSE_FLOOR = 1e-8
"""Least mean squared error, in units of the squared data range, that PSNR tells from zero (SPEC A19)."""

PSNR_BOUNDS_DB = (0.0, 100.0)
"""PSNR is reported within these bounds (SPEC A19); the floor above already makes 80 dB the highest value reached."""

FULL_HU = (-1024.0, 3071.0)
"""All a 12-bit CT stores: range 4095 HU."""

BENCHMARK_HU = (-1024.0, 2048.0)
"""The window of the published thick-to-thin benchmarks (RPLHR-CT, CTHNet, MSS-CT): range 3072 HU."""

CHEST_HU = (-1000.0, 1000.0)
"""The window of latent diffusion models of CT and of some re-evaluations on lungs: range 2000 HU."""

SOFT_TISSUE_WINDOW_HU = (-160.0, 240.0)
"""The soft-tissue display window: range 400 HU. Lung and most bone are clipped to a constant and count as right."""

PSNR_WINDOWS_HU = {4095: FULL_HU, 3072: BENCHMARK_HU, 2000: CHEST_HU, 400: SOFT_TISSUE_WINDOW_HU}
"""The windows PSNR is reported in (SPEC B13), by their range in HU."""


def rmse_hu(prediction: Hu, truth: Hu, mask: Mask | None = None, case: str = "prediction") -> float:
    """Root mean squared error in HU."""
    sums = _error_sums(prediction, truth, mask, case)
    return math.sqrt(sums.squares / sums.count)


def mae_hu(prediction: Hu, truth: Hu, mask: Mask | None = None, case: str = "prediction") -> float:
    """Mean absolute error in HU; unlike the RMSE hardly moved by a few edges. Arguments and errors as `rmse_hu`."""
    sums = _error_sums(prediction, truth, mask, case)
    return sums.absolute / sums.count


def mean_error_hu(prediction: Hu, truth: Hu, mask: Mask | None = None, case: str = "prediction") -> float:
    """Mean of prediction minus truth in HU: the bias that densitometry would see. Arguments and errors as `rmse_hu`."""
    sums = _error_sums(prediction, truth, mask, case)
    return sums.total / sums.count


def psnr(prediction: Hu, truth: Hu, data_range_hu: float, mask: Mask | None = None, case: str = "prediction") -> float:
    """Peak signal-to-noise ratio in dB: -10 log10 of the mean squared error in units of the squared range.

    A PSNR means nothing without its range (SPEC B13): 4095 full CT, 3072 for [-1024, 2048], 400 for the soft-tissue
    window. Nothing is clipped here: `psnr_windowed` is for a range that is a window.

    Args:
        data_range_hu: peak to peak range in HU, above 0.

    Returns:
        dB within `PSNR_BOUNDS_DB`.

    Raises:
        LamellaError: shapes differ, no voxel counts, or the range is not a positive number.
    """
    check_range(data_range_hu)
    sums = _error_sums(prediction, truth, mask, case)
    return _decibels(sums.squares / sums.count, data_range_hu)


def psnr_windowed(
    prediction: Hu, truth: Hu, low_hu: float, high_hu: float, mask: Mask | None = None, case: str = "prediction"
) -> float:
    """PSNR in dB of both images clipped to a window, its range the window's width (`PSNR_WINDOWS_HU`).

    Clipping hides errors: where truth and prediction both lie beyond the window the error is 0. In a narrow window most
    of a chest does, so figures of different windows cannot be compared.

    Args:
        low_hu: lower end of the window.
        high_hu: upper end, above `low_hu`.

    Returns:
        dB within `PSNR_BOUNDS_DB`.

    Raises:
        NonFiniteError: a counted voxel is not finite, before clipping.
        LamellaError: shapes differ, no voxel counts, or the window has no positive width.
    """
    check_range(high_hu - low_hu)
    sums = _error_sums(prediction, truth, mask, case, (low_hu, high_hu))
    return _decibels(sums.squares / sums.count, high_hu - low_hu)


def _decibels(mse_hu2: float, data_range_hu: float) -> float:
    mse = max(mse_hu2 / data_range_hu**2, PSNR_MSE_FLOOR)
    lowest, highest = PSNR_BOUNDS_DB
    return min(max(-10.0 * math.log10(mse), lowest), highest)


@dataclass(frozen=True)
class _Sums:
    """Voxels that count, and the sums over them of the errors, their magnitudes and their squares."""

    count: int
    total: float
    absolute: float
    squares: float


def _error_sums(
    prediction: Hu, truth: Hu, mask: Mask | None, case: str, window_hu: tuple[float, float] | None = None
) -> _Sums:
    check_grid(prediction, truth, case)
    check_mask(mask, truth, case)
    count, total, absolute, squares = 0, 0.0, 0.0, 0.0
    for index in range(len(truth)):
        chosen = slice(None) if mask is None else mask[index]
        # Finite first: clipping would turn an infinite prediction into a plausible one.
        predicted = finite(prediction[index][chosen].astype(np.float64), case)
        true = finite(truth[index][chosen].astype(np.float64), f"truth of {case}")
        if window_hu is not None:
            predicted, true = np.clip(predicted, *window_hu), np.clip(true, *window_hu)
        error = predicted - true
        count += error.size
        total += float(error.sum())
        absolute += float(np.abs(error).sum())
        squares += float(np.vdot(error, error))
    return _Sums(some_voxels(count, case), total, absolute, squares)


def check_range(data_range_hu: float) -> None:
    """Raise LamellaError unless the range is a positive, finite number of HU."""
    if not (math.isfinite(data_range_hu) and data_range_hu > 0):
        raise LamellaError(f"The data range must be a positive number of HU. Found {data_range_hu:g}.")
