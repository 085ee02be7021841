"""How sharp the plane of a scan is: the frequency at which contrast falls to half, from edges that are in the scan anyway.

Skin against air, lung against chest wall and bone against tissue are steps. Their profiles, moved onto each other by where
they cross the middle, sample one edge more finely than pixels do; the spectrum of its slope is the modulation transfer
function. So Sanders, Hurwitz and Samei measure it in patients ("Patient-specific quantification of image quality", Medical
Physics 43, 5330, 2016). It is that of kernel, focal spot and pixels together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu

FEWEST_EDGES = 100
"""Fewer profiles say nothing reliable."""

_STEP_HU = 300.0
_REACH_MM, _GUARD_MM = 4.0, 1.5
"""Plateaus lie between these distances on either side of a step."""

_FLAT, _UPRIGHT, _ACROSS = 0.08, 0.15, 0.25
"""Of a step: largest deviation along a plateau; largest change to the next slice, or the surface lies oblique in it. And the
largest slope along the edge, over that across it."""

_BIN_MM, _HALF_MM, _TAPER_MM = 0.1, 3.0, 1.0

Profiles = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(n,) distance from the middle of a step in mm, (n,) share of the step, of all profiles together."""


def sharpness_in_plane(hu: Hu, pixel_mm: tuple[float, float], case: str = "image") -> float:
    """Frequency in cycles a mm at which the modulation transfer function of the plane is 0.5.

    Args:
        hu: (z, y, x); steps are looked for in all slices but the first and the last.
        pixel_mm: between rows, between columns.

    Raises:
        LamellaError: fewer than `FEWEST_EDGES` steps.
    """
    found: list[Profiles] = []
    for below, plane, above in zip(hu[:-2], hu[1:-1], hu[2:], strict=True):
        along = np.asarray(above, np.float32) - below
        found.append(_profiles(plane, along, pixel_mm[1]))
        found.append(_profiles(plane.T, along.T, pixel_mm[0]))
    edges = sum(len(share) for _, share in found)
    if edges < FEWEST_EDGES:
        raise LamellaError(
            f"Too few steep edges to measure the sharpness of the plane. {case}: found {edges}, expected {FEWEST_EDGES}."
        )
    at, share = (np.concatenate([part[which].ravel() for part in found]) for which in (0, 1))
    return _half_contrast(at, share)


def _profiles(plane: Hu, along_z: NDArray[np.float32], pixel_mm: float) -> Profiles:
    """The steps along the rows of a slice: (n, k) distances and shares; `along_z` is the difference of its neighbours."""
    reach, guard = math.ceil(_REACH_MM / pixel_mm), math.ceil(_GUARD_MM / pixel_mm)
    v = np.asarray(plane, np.float32)
    if v.shape[1] < 2 * reach + 3 or v.shape[0] < 3:
        return np.empty((0, 1)), np.empty((0, 1))
    down, across = np.gradient(v, axis=0), np.gradient(v, axis=1)
    steep = np.abs(across)
    peaks = (steep >= ndimage.maximum_filter1d(steep, 2 * reach + 1, axis=1)) & (np.abs(down) < _ACROSS * steep)
    peaks[:, : reach + 1], peaks[:, -reach - 1 :] = False, False
    y, x = np.nonzero(peaks & (steep > 0))
    steps = np.arange(-reach, reach + 1)
    profiles = v[y[:, None], x[:, None] + steps].astype(np.float64)
    rising = across[y, x] > 0
    profiles = np.where(rising[:, None], profiles, profiles[:, ::-1])
    low, high = profiles[:, : reach - guard + 1], profiles[:, reach + guard :]
    bottom = low.mean(axis=1)
    height = high.mean(axis=1) - bottom
    good = (height > _STEP_HU) & (np.maximum(low.std(axis=1), high.std(axis=1)) < _FLAT * height)
    good &= np.abs(along_z[y, x]) / 2 < _UPRIGHT * height
    shares = (profiles[good] - bottom[good, None]) / height[good, None]
    # Where each crosses the middle, between the two pixels next to the steepest place.
    crosses = (shares[:, :-1] < 0.5) & (shares[:, 1:] >= 0.5)
    first = np.where(crosses, np.abs(steps[:-1] + 0.5), reach).argmin(axis=1)
    each = np.arange(len(shares))
    before, after = shares[each, first], shares[each, first + 1]
    middle = steps[first] + (0.5 - before) / np.maximum(after - before, 1e-6)
    near = crosses[each, first] & (np.abs(middle) < 2)
    return (steps - middle[:, None])[near] * pixel_mm, shares[near]


def _half_contrast(at_mm: NDArray[np.float64], share: NDArray[np.float64]) -> float:
    """Where the transfer function of the edge that all profiles sample falls to a half."""
    count = round(2 * _HALF_MM / _BIN_MM)
    bins = np.floor((at_mm + _HALF_MM) / _BIN_MM).astype(int)
    centres = (np.arange(count) + 0.5) * _BIN_MM - _HALF_MM
    edge = np.array([np.median(share[bins == k]) if (bins == k).any() else np.nan for k in range(count)])
    known = np.isfinite(edge)
    ends = np.clip((_HALF_MM - np.abs(centres)) / _TAPER_MM, 0.0, 1.0)
    slope = np.gradient(np.interp(centres, centres[known], edge[known]), _BIN_MM) * ends
    frequencies = np.arange(0.0, 0.5 / _BIN_MM, 0.005)
    passed = np.abs(np.exp(-2j * np.pi * frequencies[:, None] * centres) @ slope)
    return float(frequencies[int(np.argmax(passed < 0.5 * passed[0]))])
