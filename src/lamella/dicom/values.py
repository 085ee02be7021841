"""Stored values -> Hounsfield units, and which volumes cannot be in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.dicom.decode import Stored
from lamella.dicom.header import Slice
from lamella.errors import RefusedInput
from lamella.physics.hounsfield import AIR_BELOW_HU, airy, doubts, odd_slice, sunken, why_not_hu, why_not_hu_volume
from lamella.volume import AIR_HU, MAX_HU

_AIR_TOP_HU = -900
"""Padding whose own value lies between `AIR_HU` and this is air wherever it lies."""

_LEVELS, _LEAST_PIXELS = tuple(range(5, 100, 10)), 1024
_SCALE_APART_HU, _SCALE_ALIKE = 100, 0.25
"""Neighbours whose percentiles differ by so much on average, and by less than this part of it under one scale, have one."""

_RING_PX = 5
"""Side of the neighbourhood that decides whether a hole lies in tissue."""


@dataclass(frozen=True)
class SliceValues:
    """Counts of one slice. `lowest` and `highest` are those of the measured pixels: padding is none.

    Attributes:
        padded: pixels that were padding.
        below: other pixels below -1024.
        measured, above, airy: pixels that are no padding; of these above 3071 HU, and air (`lamella.physics.hounsfield.airy`).
        sunken: of these, see `lamella.physics.hounsfield.sunken`.
        lowest, highest: HU; inf and -inf where nothing was measured.
    """

    padded: int
    below: int
    measured: int
    above: int
    airy: int
    sunken: int
    lowest: float
    highest: float


def to_hu(stored: Stored, one: Slice, out: NDArray[np.generic]) -> SliceValues:
    """Writes one slice's HU into `out` (float32, or int16 where slope and intercept are integers).

    HU = slope * stored + intercept (PS3.3 C.11.1.1.2), in float64. Padding and everything below -1024 becomes air,
    -1024; nothing is cut off above.

    Raises:
        RefusedInput: padding inside the body, or nothing but padding; unsigned values under a header that says signed.
    """
    _check_sign(stored, one)
    hu: NDArray[np.int32] | NDArray[np.float64]
    if out.dtype == np.int16:
        hu = stored.astype(np.int32)
        if one.slope != 1:
            hu *= int(one.slope)
        hu += int(one.intercept)
    else:
        hu = stored * np.float64(one.slope) + np.float64(one.intercept)
    padded, measured = 0, hu
    if one.padding is not None:
        mask = (stored >= one.padding[0]) & (stored <= one.padding[1])
        padded = int(np.count_nonzero(mask))
        if padded == mask.size:
            raise RefusedInput(
                f"{one.name} holds nothing but padding, so nothing was measured there. Expected a slice of the body. Export "
                "the series again, or take the file out."
            )
        if padded:
            _check_padding(mask, hu, one)
            measured = hu[~mask]
            hu[mask] = AIR_HU
    below = int(np.count_nonzero(measured < AIR_HU))
    found = SliceValues(
        padded=padded,
        below=below,
        measured=measured.size,
        above=int(np.count_nonzero(measured > MAX_HU)),
        airy=airy(measured),
        sunken=sunken(measured),
        lowest=max(float(measured.min()), AIR_HU) if measured.size else np.inf,
        highest=float(measured.max()) if measured.size else -np.inf,
    )
    if below:
        np.maximum(hu, AIR_HU, out=hu)
    out[...] = hu
    return found


def _check_sign(stored: Stored, one: Slice) -> None:
    """Refuses numbers whose highest bit was taken for a sign: bone, as if it lay 1024 HU and more below air.

    With a RescaleIntercept of -1024 or less no signed number below zero is a measurement, apart from noise. One value at the
    border of the image may be padding.
    """
    half = (one.highest_stored + 1) // 2
    if stored.dtype.kind == "u" or one.highest_stored == np.iinfo(np.int16).max or one.intercept > AIR_HU:
        return
    low = stored < -half
    if one.padding is not None:
        low &= (stored < one.padding[0]) | (stored > one.padding[1])
    if not low.any():
        return
    edges = np.concatenate([low[0], low[-1], low[:, 0], low[:, -1]])
    wrong = int(np.count_nonzero(low & (stored > stored[low].min()))) if edges.any() else int(low.sum())
    if wrong:
        raise RefusedInput(
            f"The pixels of {one.name} look unsigned, and its header says that they are signed. Found PixelRepresentation 1, "
            f"RescaleIntercept {one.intercept:g} and {wrong:,} stored values below {-half}; expected PixelRepresentation 0, "
            f"with which they are above {one.highest_stored}, as in bone. Export the series again with the right header."
        )


def _check_padding(mask: NDArray[np.bool_], own: NDArray[Any], one: Slice) -> None:
    """Refuses padding in tissue: it may be a measurement that has the padding's value, or a hole. Neither is air."""
    doubtful = mask & ((own < AIR_HU) | (own > _AIR_TOP_HU))
    if not doubtful.any() or one.padding is None:
        return
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    edges = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    outside = np.zeros(regions.max() + 1, bool)
    outside[edges] = True
    outside[0] = True
    tissue = ~outside
    if tissue.any():
        around = ndimage.uniform_filter(np.where(mask, 0.0, own), _RING_PX, mode="nearest")
        share = ndimage.uniform_filter((~mask).astype(np.float64), _RING_PX, mode="nearest")
        rim = mask & (share > 1e-6)
        number = np.maximum(np.bincount(regions[rim], minlength=len(tissue)), 1)
        mean = np.bincount(regions[rim], around[rim] / share[rim], minlength=len(tissue)) / number
        tissue &= mean > AIR_BELOW_HU
    inside = tissue[regions] & doubtful
    measured = doubtful & (own > _AIR_TOP_HU) & (own <= MAX_HU)
    if one.padding[0] < one.padding[1] and len(np.unique(own[measured])) > 1:
        inside |= measured  # a range that takes in tissue: no scanner fills with several values
    if not inside.any():
        return
    row, column = (int(index) for index in np.argwhere(inside)[0])
    what = "\\".join(str(value) for value in sorted(set(one.padding)))
    raise RefusedInput(
        f"Padding occurs inside the body in {one.name}: {int(inside.sum()):,} pixels, the first in row {row + 1}, column "
        f"{column + 1} ({own[row, column]:g} HU if it is a measurement). Found PixelPaddingValue {what}; expected padding "
        "outside the scanned field only. Where the value is a measurement, remove PixelPaddingValue and "
        "PixelPaddingRangeLimit from the files; where it is a hole, export the series again."
    )


def check_scale(hu: NDArray[Any], slices: Sequence[Slice]) -> None:
    """Refuses neighbours of different scale whose stored values say that they have one and the same.

    Args:
        hu: (z, y, x) HU.
        slices: of this volume.
    """
    for k, (one, other) in enumerate(pairwise(slices)):
        if (one.slope, one.intercept) == (other.slope, other.intercept):
            continue
        here, there = (plane[plane > AIR_HU] for plane in hu[k : k + 2])
        if min(here.size, there.size) < _LEAST_PIXELS:
            continue
        levels, beside = np.percentile(here, _LEVELS), np.percentile(there, _LEVELS)
        apart = np.abs(levels - beside).mean()
        under_one = (beside - other.intercept) / other.slope * one.slope + one.intercept
        if apart > _SCALE_APART_HU and np.abs(levels - under_one).mean() < _SCALE_ALIKE * apart:
            raise RefusedInput(
                f"RescaleSlope and RescaleIntercept of {one.name} and {other.name} contradict their pixels. Found "
                f"{one.slope:g} and {one.intercept:g}, then {other.slope:g} and {other.intercept:g}, which leaves the "
                f"neighbours {apart:.0f} HU apart; with one scale they are alike. Export the series again."
            )


def check_hu(
    hu: NDArray[Any], found: Sequence[SliceValues], series_uid: str, unspecified: str, names: Sequence[str]
) -> list[str]:
    """Refuses a volume whose values cannot be Hounsfield units, and returns notes on what is no measurement.

    Args:
        hu: (z, y, x) HU.
        found: of each slice.
        series_uid: for the message.
        unspecified: the name of a slice whose RescaleType leaves the unit open (US): there air must prove it; or empty.
        names: of the slices.
    """
    measured = max(1, sum(one.measured for one in found))
    lowest, highest = min(one.lowest for one in found), max(one.highest for one in found)
    above, air, sunk = (sum(getattr(one, name) for one in found) / measured for name in ("above", "airy", "sunken"))
    why = why_not_hu(lowest, highest) or why_not_hu_volume(hu, above, air, sunk)
    if why is None and unspecified and air == 0:
        why = f"RescaleType of {unspecified} is US, unspecified, and nothing lies below {AIR_BELOW_HU}"
    if why:
        raise RefusedInput(
            f"The values of the series {series_uid} cannot be Hounsfield units ({why}). Found {lowest:g} to {highest:g}; "
            "expected CT, with air near -1000 and water near 0. Choose the series of CT images, not a map of a material or "
            "of raw numbers; where RescaleSlope or RescaleIntercept is wrong, export the series again. Where the surround was "
            "masked, set it to -1000."
        )
    if odd := odd_slice(hu):
        raise RefusedInput(
            f"{names[odd[0]]} cannot be a slice of this scan: {odd[1]}. Its pixels were lost or never measured, or its "
            "RescaleIntercept is wrong. Export the series again, or take the file out."
        )
    return doubts(hu, names)
