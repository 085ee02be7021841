"""Does the predicted standard deviation mean what it says, and does it know where the large errors are?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels

NOMINAL = (0.5, 0.68, 0.8, 0.9, 0.95)
"""Shares of a normal distribution of a calibration curve."""

LARGE_SHARE = 0.1
"""Errors above this top share of their size count as large."""

MOST_VOXELS = 1_000_000
"""More voxels than this are not ranked: the area under the curve is then within about 0.001 of the whole volume's."""


def coverage_curve(
    error_hu: Hu,
    spread_hu: Hu,
    nominal: Sequence[float] = NOMINAL,
    mask: Mask | None = None,
    case: str = "prediction",
) -> tuple[float, ...]:
    """Fraction of voxels within the interval that a normal distribution of the predicted spread gives each share.

    Args:
        spread_hu: (z, y, x) predicted standard deviation, HU, at least 0.
        nominal: shares, between 0 and 1; 0.68 stands for 0.994 standard deviations to either side.

    Returns:
        The measured share for each nominal one: equal where the prediction is calibrated, more where it is too cautious.

    Raises:
        LamellaError: shapes differ, a share is not between 0 and 1, a spread is negative, or no voxel counts.
    """
    wrong = [share for share in nominal if not 0.0 < share < 1.0]
    if wrong:
        raise LamellaError(f"A nominal share must lie between 0 and 1. Found {wrong[0]:g}.")
    limits = [float(scipy.special.ndtri((1.0 + share) / 2.0)) for share in nominal]
    return tuple(_within(error_hu, spread_hu, limits, mask, case))


def error_detection_auc(
    error_hu: Hu,
    spread_hu: Hu,
    mask: Mask | None = None,
    threshold_hu: float | None = None,
    case: str = "prediction",
) -> float:
    """Area under the ROC curve of the spread as a detector of large errors.

    The probability that the spread is larger at a voxel with a large error than at one without, ties counted half
    (Mann and Whitney; Hanley and McNeil, Radiology 143(1), 1982). 0.5 knows nothing, 1 knows all. Large are the errors
    whose size exceeds the 90th percentile of the sizes in the mask, or `threshold_hu`. Of more than `MOST_VOXELS`
    voxels every n-th is ranked.

    Args:
        spread_hu: (z, y, x) predicted standard deviation, HU.
        threshold_hu: size above which an error is large; None for the 90th percentile.

    Raises:
        LamellaError: shapes differ, no voxel counts, or all errors are large or none.
    """
    check_grid(error_hu, spread_hu, case)
    check_mask(mask, error_hu, case)
    counted = error_hu.size if mask is None else int(np.count_nonzero(mask))
    step = -(-some_voxels(counted, case) // MOST_VOXELS)
    chosen = slice(None, None, step) if mask is None else np.flatnonzero(mask)[::step]
    sizes = np.abs(finite(error_hu.reshape(-1)[chosen].astype(np.float64), case))
    spread = finite(spread_hu.reshape(-1)[chosen].astype(np.float64), f"spread of {case}")
    limit_hu = float(np.quantile(sizes, 1.0 - LARGE_SHARE)) if threshold_hu is None else threshold_hu
    large = sizes > limit_hu
    positives, negatives = int(np.count_nonzero(large)), int(np.count_nonzero(~large))
    if not (positives and negatives):
        raise LamellaError(
            f"Large errors cannot be told from small ones. {case}: {positives} of {len(large)} errors exceed "
            f"{limit_hu:g} HU, expected some and not all. Choose another threshold."
        )
    ranks = scipy.stats.rankdata(spread)[large].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def _within(error_hu: Hu, spread_hu: Hu, limits: Sequence[float], mask: Mask | None, case: str) -> list[float]:
    """Fractions of voxels whose error lies within each number of predicted standard deviations."""
    check_grid(error_hu, spread_hu, case)
    check_mask(mask, error_hu, case)
    count, within = 0, np.zeros(len(limits), dtype=np.int64)
    for index in range(error_hu.shape[0]):
        chosen = slice(None) if mask is None else mask[index]
        error: NDArray[np.float64] = np.abs(finite(error_hu[index][chosen].astype(np.float64), case))
        spread = finite(spread_hu[index][chosen].astype(np.float64), f"spread of {case}")
        if (spread < 0).any():
            raise LamellaError(f"A standard deviation is negative. {case}: found {spread.min():g} HU.")
        count += error.size
        within += [np.count_nonzero(error <= limit * spread) for limit in limits]
    return [int(hits) / some_voxels(count, case) for hits in within]
