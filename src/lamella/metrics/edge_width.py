"""How sharp a real edge is along z: its 10-90 % width in mm, at edges that the truth alone has chosen.

Blur along z is what thick slices do, and the width is what a reader sees of it: an ideal step averaged over T mm is
0.8 T wide, one blurred by a Gaussian of standard deviation s is 2.563 s wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite

STEP_HU = 300.0
"""Least height of a step: lung or gas against tissue, bone or contrast medium against soft tissue; no noise, no fat."""

FLAT = 0.06
"""Largest standard deviation along a plateau, as a share of the step."""

REACH_MM = 8.0
"""A profile runs this far to either side of its step: blur of thick slices must have died away before it ends."""

GUARD_MM = 2.0
"""What lies nearer to the step than this is the edge itself; the rest of the profile is plateau."""

MOST_EDGES = 4000

_TILE_PX = 3
"""Profiles are means of 3 x 3 columns, so that noise does not choose the edges or set their width."""


@dataclass(frozen=True, eq=False)
class EdgeSet:
    """Isolated steps along z between two plateaus, at fixed places of one grid.

    Attributes:
        shape: (slices, rows, columns) of the grid.
        reach: slices of a profile on either side of the step.
        slices: (n,) the last slice before each step; the step lies half a slice above it.
        rows: (n,) first row of the 3 x 3 columns.
        columns: (n,) first column of them.
        low_hu: (n,) plateau before the step, on the truth.
        high_hu: (n,) plateau after it; above or below `low_hu`.
    """

    shape: tuple[int, int, int]
    reach: int
    slices: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    low_hu: NDArray[np.float64]
    high_hu: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.slices)


def find_edges_z(
    truth: Hu, spacing_mm: float, mask: Mask | None = None, step_hu: float = STEP_HU, most: int = MOST_EDGES
) -> EdgeSet:
    """Choose strong isolated steps along z from the truth alone.

    On means of 3 x 3 columns, which tile the slice and so never share a voxel: the plateaus, `GUARD_MM` to `REACH_MM`
    on either side, differ by at least `step_hu`; the standard deviation along each is below `FLAT` of that; and no
    difference of neighbouring slices within reach is larger than the step's own. Where more than `most` are found,
    every n-th in the order of the array.

    Args:
        mask: (z, y, x) where to look (the body); a step counts where the middle column lies in it on both sides.
        step_hu: least height.
        most: largest number of edges.

    Returns:
        The edges; none where the truth is too short or has no such step.
    """
    check_mask(mask, truth, "truth")
    reach, guard = round(REACH_MM / spacing_mm), math.ceil(GUARD_MM / spacing_mm - 1e-6)
    tiles = finite(_tile_means(truth), "truth")
    count = len(tiles) - 2 * reach + 1
    found = np.zeros((max(count, 0), *tiles.shape[1:]), dtype=np.bool_)
    low = high = np.zeros(found.shape)
    if count > 0 and reach - guard >= 2:
        # entry k of what follows belongs to the step between the slices k + reach - 1 and k + reach
        low, low_sd = _plateaus(tiles[: len(tiles) - reach - guard], reach - guard)
        high, high_sd = _plateaus(tiles[reach + guard :], reach - guard)
        height = np.abs(high - low)
        found = (height >= step_hu) & (np.maximum(low_sd, high_sd) <= FLAT * height) & _peaks(tiles, reach)
    if mask is not None and found.size:
        middle = mask[:, 1 : 3 * tiles.shape[1] : _TILE_PX, 1 : 3 * tiles.shape[2] : _TILE_PX]
        found &= (middle[1:] & middle[:-1])[reach - 1 : reach - 1 + count]
    at = np.flatnonzero(found)
    if len(at) > most:
        at = at[np.linspace(0, len(at) - 1, most).round().astype(np.intp)]
    z, y, x = np.unravel_index(at, found.shape)
    return EdgeSet(
        (truth.shape[0], truth.shape[1], truth.shape[2]),
        reach,
        z + reach - 1,
        y * _TILE_PX,
        x * _TILE_PX,
        low.ravel()[at],
        high.ravel()[at],
    )


def edge_width_z_mm(volume: Hu, edges: EdgeSet, spacing_mm: float, case: str = "prediction") -> float:
    """Median 10-90 % width in mm of the given edges (see `edge_widths_z_mm`).

    A profile that does not cross counts as wider than all others: left out, it would flatter the image that blurred it
    away. Where half of the profiles or more do not cross, the answer is the length of a profile, 2 * `REACH_MM`: read
    it as "at least".

    Arguments and errors as `edge_widths_z_mm`, and LamellaError where there is no edge.
    """
    if len(edges) == 0:
        raise LamellaError(f"No edge to measure. {case}: the truth has no isolated step of {STEP_HU:g} HU along z.")
    return min(float(np.median(edge_widths_z_mm(volume, edges, spacing_mm, case))), 2 * edges.reach * spacing_mm)


def edge_widths_z_mm(volume: Hu, edges: EdgeSet, spacing_mm: float, case: str = "prediction") -> NDArray[np.float64]:
    """10-90 % width in mm of each edge, between slices by linear interpolation.

    Profiles are normalised by the plateaus of the truth: 0 before the step, 1 after it. From the 50 % crossing nearest
    to the step of the truth, the width runs outwards to the first slice at or below 10 % and at or above 90 %.

    Args:
        volume: (z, y, x) HU on the grid the edges were found on.
        edges: from `find_edges_z` of the truth.

    Returns:
        (n,) widths; inf where the profile does not cross all three levels within `REACH_MM`.

    Raises:
        LamellaError: the volume lies on another grid.
    """
    if volume.shape != edges.shape:
        raise LamellaError(
            f"The edges belong to another grid. {case}: found shape {volume.shape}, expected {edges.shape}."
        )
    z = edges.slices[:, None] + np.arange(1 - edges.reach, edges.reach + 1)
    profiles = np.zeros(z.shape)
    for dy in range(_TILE_PX):
        for dx in range(_TILE_PX):
            profiles += volume[z, edges.rows[:, None] + dy, edges.columns[:, None] + dx]
    profiles = finite(profiles / _TILE_PX**2, case) - edges.low_hu[:, None]
    return _widths(profiles / (edges.high_hu - edges.low_hu)[:, None]) * spacing_mm


def _widths(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 10-90 % widths in slices of (n, 2 * reach) profiles that rise from 0 to 1 across their middle."""
    n, length = profiles.shape
    index, each = np.arange(length), np.arange(n)
    rises = (profiles[:, :-1] < 0.5) & (profiles[:, 1:] >= 0.5)
    distance = np.where(rises, np.abs(index[:-1] - (length // 2 - 1)), length)
    start = distance.argmin(axis=1)
    below = (profiles <= 0.1) & (index <= start[:, None])
    above = (profiles >= 0.9) & (index > start[:, None])
    whole = rises.any(axis=1) & below.any(axis=1) & above.any(axis=1)
    last = np.where(whole, length - 1 - below[:, ::-1].argmax(axis=1), 0)
    first = np.where(whole, above.argmax(axis=1), 1)
    ends = []
    for lower, level in ((last, 0.1), (first - 1, 0.9)):
        before, after = profiles[each, lower], profiles[each, lower + 1]
        rise = np.where(whole, after - before, 1.0)
        ends.append(lower + (level - before) / rise)
    return np.asarray(np.where(whole, ends[1] - ends[0], np.inf))


def _tile_means(hu: Hu) -> NDArray[np.float64]:
    """(z, y // 3, x // 3) means of 3 x 3 columns."""
    rows, columns = (size // _TILE_PX * _TILE_PX for size in hu.shape[1:])
    tiled = hu[:, :rows, :columns].reshape(len(hu), rows // _TILE_PX, _TILE_PX, columns // _TILE_PX, _TILE_PX)
    return np.asarray(tiled.mean(axis=(2, 4), dtype=np.float64))


def _plateaus(tiles: NDArray[np.float64], length: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every run of `length` slices, (z - length + 1, y, x) each."""
    sums = []
    for power in (1, 2):
        total = np.concatenate([np.zeros((1, *tiles.shape[1:])), np.cumsum(tiles**power, axis=0)])
        sums.append((total[length:] - total[:-length]) / length)
    return sums[0], np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0.0))


def _peaks(tiles: NDArray[np.float64], reach: int) -> NDArray[np.bool_]:
    """Where the difference of two neighbouring slices is the largest of its profile; the first of two equals."""
    change = np.abs(np.diff(tiles, axis=0))
    largest = ndimage.maximum_filter1d(change, 2 * reach - 1, axis=0, mode="constant") == change
    largest[1:] &= ~largest[:-1]
    return np.asarray(largest[reach - 1 : len(change) - reach + 1])
