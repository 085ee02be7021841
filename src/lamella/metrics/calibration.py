"""Does the predicted standard deviation mean what it says?"""

from __future__ import annotations

import numpy as np

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels


def coverage(error_hu: Hu, spread_hu: Hu, k: float = 1.0, mask: Mask | None = None, case: str = "prediction") -> float:
    """Fraction of voxels whose error lies within `k` predicted standard deviations.

    A calibrated normal prediction gives 0.683 at k = 1 and 0.954 at k = 2; a Laplace one 0.757 and 0.941.

    Args:
        error_hu: (z, y, x) prediction minus truth, HU.
        spread_hu: (z, y, x) predicted standard deviation, HU, at least 0.
        k: how many standard deviations.
        mask: (z, y, x) voxels that count; None counts every voxel.
        case: name of the prediction for error messages.

    Raises:
        NonFiniteError: a counted voxel is not finite.
        LamellaError: shapes differ, a spread is negative, or no voxel counts.
    """
    check_grid(error_hu, spread_hu, case)
    check_mask(mask, error_hu, case)
    count, within = 0, 0
    for index in range(error_hu.shape[0]):
        chosen = slice(None) if mask is None else mask[index]
        error = np.abs(finite(error_hu[index][chosen].astype(np.float64), case))
        limit = k * finite(spread_hu[index][chosen].astype(np.float64), f"spread of {case}")
        if (limit < 0).any():
            raise LamellaError(f"A standard deviation is negative. {case}: found {limit.min() / k:g} HU.")
        count += error.size
        within += int(np.count_nonzero(error <= limit))
    return within / some_voxels(count, case)
