"""What every metric asks of its arrays: one grid, a fitting mask, finite numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError, NonFiniteError

Hu = NDArray[Any]
"""(z, y, x) Hounsfield units, any real dtype."""

Mask = NDArray[np.bool_]
"""(z, y, x), True where a voxel counts."""


def check_grid(prediction: Hu, truth: Hu, case: str) -> None:
    """Raise LamellaError unless both are 3-D arrays of one shape."""
    if prediction.ndim != 3 or prediction.shape != truth.shape:
        raise LamellaError(
            f"Prediction and truth do not lie on the same grid. {case}: found shapes {prediction.shape} and "
            f"{truth.shape}, expected one (z, y, x) shape. Restore on the slices of the truth first."
        )


def check_one_region(prediction: NDArray[Any], truth: NDArray[Any], what: str) -> None:
    """Raise LamellaError unless both were cut out of one region, given what was found in it."""
    if prediction.shape != truth.shape:
        raise LamellaError(
            f"The {what} were found in different regions. Found boxes of {prediction.shape} and {truth.shape} voxels. "
            "Use the truth's region for both."
        )


def check_mask(mask: Mask | None, image: Hu, case: str) -> None:
    """Raise LamellaError unless the mask is None or bool of the image's 3-D shape."""
    if mask is not None and (image.ndim != 3 or mask.shape != image.shape or mask.dtype != np.bool_):
        raise LamellaError(
            f"The mask does not fit. {case}: found {mask.dtype} of shape {mask.shape}, expected bool of {image.shape}."
        )


def finite(values: NDArray[np.float64], case: str) -> NDArray[np.float64]:
    """The values, float64; NonFiniteError if one of them is NaN or infinite (SPEC A19)."""
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise NonFiniteError(f"Voxels are not finite numbers. {case}: found {bad} NaN or infinite values.")
    return values


def some_voxels(count: int, case: str) -> int:
    """The count; LamellaError if it is 0."""
    if count == 0:
        raise LamellaError(f"No voxel counts. {case}: the mask is empty. Choose a region that exists in this scan.")
    return count
