"""Which numbers can be Hounsfield units: air is near -1000, water near 0, and nearly every field holds some of both."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.volume import AIR_HU, MAX_HU

MAX_ABS_HU = 32767
"""CT with the extended scale reaches 30,710 HU."""

AIR_BELOW_HU = -500
"""Air, lung and gas in the bowel lie below this; everything else in a body lies above it."""

_AIR_SHARE = 1e-4
"""A field whose voxels below `AIR_BELOW_HU` are fewer than this holds no air."""

_DENSE_HU = 1500
"""Nothing that dense fills all corners of all slices; air does where its sign was lost."""

_PADDED_SHARE, _RIM_PX, _RIM_HIGH = 0.01, 2, 75
"""Where so much of a volume is padding, what lies this near to it shows what lies around the body, as corners else do; but a
body may reach it: the highest of these values is that percentile."""

_CORNER = 16
"""The corners of a slice are squares of this part of its shorter side."""

_AIR_TO_BODY_HU = 700
"""Soft tissue is 1000 HU above air, and little but dense bone this much above fat: a surround darker by it is air."""

SUNKEN_HU, _SUNKEN_SHARE = -1200, 0.05
"""Padding is one value; metal sinks few voxels below this. More of them, of many values, are air of a wrong scale."""

_FAT_HU, _SOFT_HU, _MIDDLE_HU, _SOFT_SHARE = -300, 300, 1000, 0.08
"""Of what is denser than `_FAT_HU`, half lies below `_MIDDLE_HU`, or at least this share below `_SOFT_HU`: soft tissue."""

_SAMPLED_PX = 128
"""Pixels of a side that percentiles look at."""

_LEAST_PIXELS = 1024
"""Fewer say nothing."""

_SURROUND_HU = -950
"""Air around a body, with its noise."""

_AIRY_NEIGHBOURS, _AIRY_NEIGHBOUR = 0.1, 0.3
"""Between two slices, or behind one at an end, of which this share is air, a slice holds some air too."""

_TORN_ROWS, _BODY_SHARE = 4, 0.1
"""Rows of one value beside rows of which this share is body: as many are no measurement."""

_LEAST_IN_TURN, _TURN_HU, _TURN_SHARE, _TURN_ALIKE, _BLOCKS = 6, 2.0, 0.8, 0.85, 32
"""Slices take turns where so many are more like the next but one than like their neighbours, which differ by so much."""

_NOT_AIR_HU, _NOISE_HU, _DENSER_SHARE = -920, 300, 0.05
"""Air without much noise is not above this; of what is denser than air in a body, more than this share is denser than fat."""

_MASKED_SHARE, _LOOKED_AT = 0.75, 16
"""No measured value fills so much of the corners; the border of what does is looked at in so many slices."""


def why_not_hu(lowest: float, highest: float) -> str | None:
    """Why a range of values cannot be that of a CT; None where it can: every body and scanner field goes below water."""
    if max(abs(lowest), abs(highest)) > MAX_ABS_HU:
        return f"beyond +-{MAX_ABS_HU}"
    if lowest >= 0:
        return "an 8-bit picture or stored values" if highest <= 255 else "nothing below 0: neither air nor fat"
    if lowest >= -1 and highest <= 1:
        return "a picture scaled to [-1, 1]"
    return None


def why_not_hu_volume(hu: NDArray[Any], above: float, airy: float, sunken: float) -> str | None:
    """Why a volume within a possible range is none in Hounsfield units; None where nothing speaks against it.

    A tight crop of a head, or a phantom that fills the field, has no air and is none the worse. What is refused without air is
    a field whose corners show what lies around a body: one and the same value throughout, or the darkest thing there is.

    Args:
        hu: (z, y, x) values.
        above, airy: shares of the measured voxels above `MAX_HU`, and of those that `airy` counts.
        sunken: share of those below `SUNKEN_HU`, but for their lowest value.
    """
    if sunken > _SUNKEN_SHARE:
        return f"{100 * sunken:.0f} % of the voxels, of many values, lie below {SUNKEN_HU}"
    if above > 0.5:
        return f"{100 * above:.0f} % of the voxels lie above {MAX_HU}"
    corners, highest = _corners(hu), 99
    level = float(np.median(corners))
    if np.percentile(corners, 1) > _DENSE_HU:
        return f"what lies around the body is near {level:.0f}, denser than bone"
    if np.percentile(corners, 99) < _SURROUND_HU and _SURROUND_HU < hu.max() < AIR_BELOW_HU:
        return f"air lies around the body, and nothing above {AIR_BELOW_HU}"
    step = max(1, min(hu.shape[1:]) // _SAMPLED_PX)
    sample = hu[:, ::step, ::step]
    dense = sample[sample > _FAT_HU]
    soft = float((dense < _SOFT_HU).mean()) if dense.size >= _LEAST_PIXELS else 1.0
    if airy >= _AIR_SHARE and soft < _SOFT_SHARE and np.median(dense) > _MIDDLE_HU:
        return f"what is denser than fat is near {np.median(dense):.0f}, where water should be near 0"
    if level <= AIR_BELOW_HU:
        if airy >= _AIR_SHARE:
            return None
        corners, highest, sample = _rim(hu), _RIM_HIGH, sample[sample > AIR_HU]  # all that is as dark as air is padding
        if min(corners.size, sample.size) < _LEAST_PIXELS:
            return None
        level = float(np.median(corners))
    elif airy > max(_AIR_SHARE, float((corners < AIR_BELOW_HU).mean())):
        return f"everything around the body is {level:g}" if _surround(hu) == "masked" else None
    elif corners.min() == corners.max() and hu.min() < hu.max():
        return f"everything around the body is {level:g}, and nothing lies below {AIR_BELOW_HU}"
    low, high = np.percentile(corners, (1, highest))
    darkest = np.percentile(sample, 1) >= low - (high - low)
    body = min(np.percentile(sample, 80), np.percentile(_middle(hu), 75))
    if darkest and high + _AIR_TO_BODY_HU <= body:
        return f"what lies around the body is near {level:.0f}, and hardly anything lies below {AIR_BELOW_HU}"
    return None


def airy(hu: NDArray[Any]) -> int:
    """How many of these values are those of air, lung or gas; padding that no header names lies below them."""
    return int(np.count_nonzero((hu < AIR_BELOW_HU) & (hu >= SUNKEN_HU)))


def sunken(hu: NDArray[Any]) -> int:
    """How many of these values lie below `SUNKEN_HU`, but for the lowest one, which may be padding."""
    low = hu[hu < SUNKEN_HU]
    return int(np.count_nonzero(low > low.min())) if low.size else 0


def odd_slice(hu: NDArray[Any]) -> tuple[int, str] | None:
    """A slice that cannot have been measured together with its neighbours, from 0, and why; None where there is none.

    Only rows with noise count as a body: phantoms by computation may have empty slices between or beyond their parts.

    Args:
        hu: (z, y, x) values.
    """
    blank = np.stack([plane.min(1) == plane.max(1) for plane in hu])
    body = np.stack([_measured_rows(plane) for plane in hu])
    full = np.flatnonzero(~blank.all(1)).tolist()
    for k in np.flatnonzero(blank.any(1)).tolist():
        beside = [*full[: bisect_left(full, k)][-1:], *full[bisect_right(full, k) :][:1]]
        torn = blank[k] & body[beside].all(0) if beside else np.zeros_like(blank[k])
        # At an end of the stack a body may end as well, but not from one row to the next.
        ends = len(beside) > 1 or blank[k].all() or (torn[1:] & body[k, :-1]).any() or (torn[:-1] & body[k, 1:]).any()
        if torn.sum() >= _TORN_ROWS and ends:
            at = "the slices beside it show" if len(beside) > 1 else "the slice beside it shows"
            return k, f"{torn.sum()} of its {hu.shape[1]} rows are empty where {at} a body"
    if hu[0].size < _LEAST_PIXELS:
        return None
    air = np.array([float((plane[::2, ::2] < AIR_BELOW_HU).mean()) for plane in hu])
    for k, plane in enumerate(hu):
        beside = [*air[max(k - 1, 0) : k].tolist(), *air[k + 1 : k + 2].tolist()]
        wanted = _AIRY_NEIGHBOURS if len(beside) > 1 else _AIRY_NEIGHBOUR
        if air[k] == 0 and beside and min(beside) >= wanted and plane.min() > AIR_BELOW_HU:
            return (
                k,
                f"nothing in it lies below {AIR_BELOW_HU}, and {100 * min(beside):.0f} % of what is beside it does",
            )
    return None


def doubts(hu: NDArray[Any], names: Sequence[str]) -> list[str]:
    """What a report must say of values that can be Hounsfield units and are yet no measurement.

    Args:
        hu: (z, y, x) values that were not refused.
        names: of the slices.
    """
    notes = []
    if _surround(hu):
        level = np.median(_corners(hu))
        notes.append(
            f"everything around the body is {level:g} HU, where air should be near -1000: if it was masked or filled, set it "
            "to -1000; edges beside it are made thin as if it had been measured"
        )
    notes += _scale_doubts(hu)
    empty = [name for name, plane in zip(names, hu, strict=True) if plane.min() == plane.max()]
    if 0 < len(empty) < len(hu):
        notes.append(
            f"{len(empty)} slices hold a single value each, the first {empty[0]}: nothing was measured there, and the result "
            "has nothing there that was"
        )
    if take_turns(hu):
        notes.append(
            f"every second slice, {names[0]}, {names[2]} and so on, is more like the next but one than like its neighbour: two "
            "scans, times or phases may take turns along the stack"
        )
    same = [k for k, (one, other) in enumerate(pairwise(hu)) if one.min() < one.max() and np.array_equal(one, other)]
    if same:
        notes.append(
            f"{len(same)} slices hold the same pixels as the one before, the first {names[same[0] + 1]}: a copy, unless the "
            "images were computed"
        )
    return notes


def _scale_doubts(hu: NDArray[Any]) -> list[str]:
    """Notes on a scale that is possible and unlikely: air that is not near -1000, a body that is hardly denser than air."""
    corners, step = _corners(hu), max(1, min(hu.shape[1:]) // _SAMPLED_PX)
    sample = hu[:, ::step, ::step]
    level, low, high = (float(one) for one in np.percentile(corners, (50, 1, 99)))
    wrong = "RescaleSlope or RescaleIntercept may be wrong"
    if (
        _NOT_AIR_HU < level <= AIR_BELOW_HU
        and high - low < _NOISE_HU
        and np.percentile(sample, 1) >= low - (high - low)
    ):
        return [f"everything around the body is near {level:.0f} HU, where air should be near -1000: {wrong}"]
    dense = sample[sample > _NOT_AIR_HU]
    if high < _SURROUND_HU and dense.size >= _LEAST_PIXELS and (dense > _FAT_HU).mean() < _DENSER_SHARE:
        return [f"hardly anything in the body is denser than {_FAT_HU} HU, as fat, water and muscle are: {wrong}"]
    return []


def take_turns(hu: NDArray[Any]) -> bool:
    """Whether slices are more like the next but one than like their neighbours, which no single scan's slices are."""
    side = max(2, min(hu.shape[1:]) // _BLOCKS)
    rows, columns = hu.shape[1] // side, hu.shape[2] // side
    if len(hu) < _LEAST_IN_TURN or not rows * columns:
        return False
    means = np.stack(
        [p[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3)) for p in hu]
    )
    one, two = (np.abs(means[step:] - means[:-step]).mean(axis=(1, 2)) for step in (1, 2))
    nearest = np.minimum(one[:-1], one[1:])
    return bool((two < _TURN_ALIKE * nearest).mean() >= _TURN_SHARE and np.median(nearest) > _TURN_HU)


def _surround(hu: NDArray[Any]) -> str:
    """What is known of corners that are denser than air and hold one value: "masked", "filled", or "" where they are neither.

    A mask ends at a noisy body. A field that was filled ends in air, and computed images have no noise: their values are
    right, whatever lies around them.
    """
    corners = _corners(hu)
    level = np.median(corners)
    if level <= AIR_BELOW_HU or (corners == level).mean() < _MASKED_SHARE or hu.min() == hu.max():
        return ""
    rim, noisy = [], []
    for plane in hu[:: max(1, len(hu) // _LOOKED_AT)]:
        regions, _ = ndimage.label(plane == level)
        outside = np.isin(regions, np.setdiff1d(regions[[0, 0, -1, -1], [0, -1, 0, -1]], 0))
        rim.append(plane[ndimage.binary_dilation(outside, iterations=2) & ~outside])
        noisy.append((plane[:, 1:] != plane[:, :-1])[~(outside[:, 1:] | outside[:, :-1])])
    beside, changes = np.concatenate(rim), np.concatenate(noisy)
    if not beside.size or not changes.size:
        return ""
    if changes.mean() < 1 / 2:
        return "filled"
    return "filled" if np.median(beside) < _SURROUND_HU else "masked"


def _measured_rows(plane: NDArray[Any]) -> NDArray[np.bool_]:
    noisy = np.count_nonzero(plane[:, 1:] != plane[:, :-1], axis=1) * 2 > plane.shape[1]
    return np.asarray(noisy & ((plane > _FAT_HU).mean(1) >= _BODY_SHARE))


def _corners(hu: NDArray[Any]) -> NDArray[Any]:
    side = max(1, min(hu.shape[1:]) // _CORNER)
    ends = (slice(None, side), slice(-side, None))
    return np.concatenate([hu[:, rows, columns].ravel() for rows in ends for columns in ends])


def _rim(hu: NDArray[Any]) -> NDArray[Any]:
    """What lies beside the padding around a scanned field; nothing where there is hardly any."""
    padding = hu[:: max(1, len(hu) // _LOOKED_AT)] == AIR_HU
    if padding.mean() < _PADDED_SHARE:
        return np.empty(0)
    near = ndimage.binary_dilation(padding, np.ones((1, 3, 3)), iterations=_RIM_PX) & ~padding
    return np.asarray(hu[:: max(1, len(hu) // _LOOKED_AT)][near])


def _middle(hu: NDArray[Any]) -> NDArray[Any]:
    rows, columns = hu.shape[1:]
    return hu[:, rows * 3 // 8 : rows * 5 // 8 + 1, columns * 3 // 8 : columns * 5 // 8 + 1].ravel()
