"""Which numbers can be Hounsfield units: air is near -1000, water near 0, and nearly every field holds some of both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.volume import MAX_HU

MAX_ABS_HU = 32767
"""CT with the extended scale reaches 30,710 HU."""

AIR_BELOW_HU = -500
"""Air, lung and gas in the bowel lie below this; everything else in a body lies above it."""

_AIR_SHARE = 1e-4
"""A field whose voxels below `AIR_BELOW_HU` are fewer than this holds no air."""

_DENSE_HU = 1500
"""Nothing that dense fills all corners of all slices; air does where its sign was lost."""

_CORNER = 16
"""The corners of a slice are squares of this part of its shorter side."""

_AIR_TO_BODY_HU = 700
"""Soft tissue is 1000 HU above air, and little but dense bone this much above fat: a surround darker by it is air."""


def why_not_hu(lowest: float, highest: float) -> str | None:
    """Why a range of values cannot be that of a CT; None where it can: every body and scanner field goes below water."""
    if max(abs(lowest), abs(highest)) > MAX_ABS_HU:
        return f"beyond +-{MAX_ABS_HU}"
    if lowest >= 0:
        return "an 8-bit picture or stored values" if highest <= 255 else "nothing below 0: neither air nor fat"
    if lowest >= -1 and highest <= 1:
        return "a picture scaled to [-1, 1]"
    return None


def why_not_hu_volume(hu: NDArray[Any], above: float, airy: float) -> str | None:
    """Why a volume within a possible range is none in Hounsfield units; None where nothing speaks against it.

    A tight crop of a head, or a phantom that fills the field, has no air and is none the worse. What is refused without air is
    a field whose corners show what lies around a body: one and the same value throughout, or the darkest thing there is.

    Args:
        hu: (z, y, x) values.
        above, airy: shares of the measured voxels above `MAX_HU` and below `AIR_BELOW_HU`.
    """
    if above > 0.5:
        return f"{100 * above:.0f} % of the voxels lie above {MAX_HU}"
    corners = _corners(hu)
    level = float(np.median(corners))
    if np.percentile(corners, 1) > _DENSE_HU:
        return f"what lies around the body is near {level:.0f}, denser than bone"
    if airy >= _AIR_SHARE:
        return None
    if level <= AIR_BELOW_HU:
        return None
    if corners.min() == corners.max() and hu.min() < hu.max():
        return f"everything around the body is {level:g}, and nothing lies below {AIR_BELOW_HU}"
    sample = hu[:, ::4, ::4]
    low, high = np.percentile(corners, (1, 99))
    darkest = np.percentile(sample, 1) >= low - (high - low)
    body = min(np.percentile(sample, 80), np.percentile(_middle(hu), 75))
    if darkest and high + _AIR_TO_BODY_HU <= body:
        return f"what lies around the body is near {level:.0f}, and nothing lies below {AIR_BELOW_HU}"
    return None


def _corners(hu: NDArray[Any]) -> NDArray[Any]:
    side = max(1, min(hu.shape[1:]) // _CORNER)
    ends = (slice(None, side), slice(-side, None))
    return np.concatenate([hu[:, rows, columns].ravel() for rows in ends for columns in ends])


def _middle(hu: NDArray[Any]) -> NDArray[Any]:
    rows, columns = hu.shape[1:]
    return hu[:, rows * 3 // 8 : rows * 5 // 8 + 1, columns * 3 // 8 : columns * 5 // 8 + 1].ravel()
