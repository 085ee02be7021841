"""Soft-edged shapes on a grid in millimetres: what the phantom's anatomy is painted with.

A shape is a signed distance in mm (negative inside). Painted, its edge is as soft as a scanner's point spread, so that
no voxel shows a stair. Thin tubes and small balls use the exact blur of a disc and a ball, so that a vessel thinner
than a voxel fades as it does in a real scan instead of vanishing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import chndtr

from lamella.volume import Geometry

Array = NDArray[np.floating[Any]]
"""float32 on the grid; float64 for a handful of points."""

Triple = tuple[float, float, float]
Box = tuple[slice, slice, slice]
"""Indices along z, y and x."""

EDGE_MM = 0.7
"""Softness of edges as a usual kernel leaves them."""

_LATTICE_MM = 640.0
"""Random fields repeat after this many mm, far more than a thorax is wide."""

_TABLE_RADII = np.linspace(0.0, 12.0, 97)
_TABLE_STEP = 0.05
_TABLE_DISTANCES = np.arange(0.0, 18.0, _TABLE_STEP)


@dataclass(frozen=True, eq=False)
class Grid:
    """An axis-aligned grid: x to the left, y to the back, z to the head.

    Attributes:
        z, y, x: coordinates of the voxel centres in LPS mm, rising and evenly spaced.
        edge_mm: standard deviation of the edges' softness.
    """

    z: Array
    y: Array
    x: Array
    edge_mm: float

    @classmethod
    def of(cls, geometry: Geometry, edge_mm: float = EDGE_MM) -> Grid:
        """The grid of an axis-aligned geometry (not checked: the phantom makes its own)."""
        axes = []
        for axis in range(3):
            step = float(geometry.affine[2 - axis, axis])
            axes.append((geometry.affine[2 - axis, 3] + step * np.arange(geometry.shape[axis])).astype(np.float32))
        edge_mm = max(edge_mm, 0.5 * max(geometry.spacing_mm, *geometry.pixel_mm))
        return cls(axes[0], axes[1], axes[2], edge_mm)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def mesh(self) -> tuple[Array, Array, Array]:
        """Broadcastable coordinates x (1, 1, n), y (1, n, 1), z (n, 1, 1)."""
        return self.x[None, None, :], self.y[None, :, None], self.z[:, None, None]

    def part(self, box: Box) -> Grid:
        """The grid of a (z, y, x) box of indices."""
        return Grid(self.z[box[0]], self.y[box[1]], self.x[box[2]], self.edge_mm)

    def box(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box | None:
        """Indices of the voxels between two (x, y, z) corners in mm; None where there are none."""
        slices = []
        for coordinates, axis in ((self.z, 2), (self.y, 1), (self.x, 0)):
            step = float(coordinates[1] - coordinates[0]) if len(coordinates) > 1 else 1.0
            first = max(0, int(np.ceil((low[axis] - coordinates[0]) / step)))
            last = min(len(coordinates), int(np.floor((high[axis] - coordinates[0]) / step)) + 1)
            if last <= first:
                return None
            slices.append(slice(first, last))
        return slices[0], slices[1], slices[2]


def inside(distance_mm: Array, edge_mm: float) -> Array:
    """Share of a voxel inside a shape, 0 to 1, from the signed distance: a smooth step 3.4 standard deviations wide."""
    share = np.clip(0.5 - distance_mm / (3.4 * edge_mm), 0.0, 1.0)
    return np.asarray(share * share * (3.0 - 2.0 * share))


def smooth_min(a: Array, b: Array, radius_mm: float) -> Array:
    """Union of two shapes with the seam rounded (polynomial smooth minimum)."""
    h = np.maximum(radius_mm - np.abs(a - b), 0.0) / radius_mm
    return np.asarray(np.minimum(a, b) - 0.25 * radius_mm * h * h)


def smooth_max(a: Array, b: Array, radius_mm: float) -> Array:
    """Intersection of two shapes with the seam rounded."""
    return -smooth_min(-a, -b, radius_mm)


def step(t: Array) -> Array:
    """Smooth step: 0 below 0, 1 above 1."""
    t = np.clip(t, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def ellipsoid(x: Array, y: Array, z: Array, centre: Triple, radii: Triple, turn: Array | None = None) -> Array:
    """Signed distance, to first order, from an ellipsoid; `turn` is a 3 x 3 rotation whose rows are its axes."""
    p = [x - np.float32(centre[0]), y - np.float32(centre[1]), z - np.float32(centre[2])]
    if turn is not None:
        p = [turn[i, 0] * p[0] + turn[i, 1] * p[1] + turn[i, 2] * p[2] for i in range(3)]
    q = [component / np.float32(radius) for component, radius in zip(p, radii, strict=True)]
    rho = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
    slope = np.sqrt(sum((component / np.float32(radius)) ** 2 for component, radius in zip(q, radii, strict=True)))
    return np.asarray(rho * (rho - 1.0) / np.maximum(slope, 1e-6))


def oval(x: Array, y: Array, half_x: Array, half_y: Array) -> Array:
    """Signed in-plane distance, to first order, from the superellipse |x/a|^2.5 + |y/b|^2.5 = 1: a thorax's outline."""
    u, v = np.abs(x / half_x), np.abs(y / half_y)
    u_slope, v_slope = u * np.sqrt(u), v * np.sqrt(v)
    log = np.log(np.maximum(u_slope * u + v_slope * v, 1e-6))
    slope = np.exp(-0.6 * log) * np.sqrt((u_slope / half_x) ** 2 + (v_slope / half_y) ** 2)
    return np.asarray((np.exp(0.4 * log) - 1.0) / np.maximum(slope, 1e-3))


@cache
def _blurred(dimensions: int) -> NDArray[np.float64]:
    """Value at distance d of a disc (2) or ball (3) of radius r blurred by a unit Gaussian: P(|N(d, 1)| < r).

    This is the noncentral chi-square distribution function at r^2 with noncentrality d^2. Rows: r, columns: d.
    """
    radii, distances = np.meshgrid(_TABLE_RADII**2, _TABLE_DISTANCES**2, indexing="ij")
    return np.asarray(np.nan_to_num(chndtr(radii, float(dimensions), distances)))


def _profile(radius: float, dimensions: int) -> tuple[NDArray[np.float64], float]:
    """(row of the table for a radius in edge widths, how far to shift distances where the radius is past the table)."""
    table = _blurred(dimensions)
    shift = max(0.0, radius - float(_TABLE_RADII[-1]))
    at = (radius - shift) / float(_TABLE_RADII[1])
    low = min(int(at), len(table) - 2)
    return np.asarray(table[low] + (at - low) * (table[low + 1] - table[low])), shift


def _look_up(row: NDArray[np.float64], distance: NDArray[np.float64]) -> Array:
    index = np.minimum(distance * (1.0 / _TABLE_STEP), len(row) - 1.001)
    low = index.astype(np.intp)
    return np.asarray(row[low] + (index - low) * (row[low + 1] - row[low]), dtype=np.float32)


def ball(grid: Grid, centre: NDArray[np.float64], radius_mm: float) -> tuple[Box, Array] | None:
    """(box of indices, share) of a blurred ball; None where it lies off the grid."""
    reach = radius_mm + 4.0 * grid.edge_mm
    box = grid.box(centre - reach, centre + reach)
    if box is None:
        return None
    x, y, z = grid.part(box).mesh
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    row, shift = _profile(radius_mm / grid.edge_mm, 3)
    return box, _look_up(row, np.maximum(distance / grid.edge_mm - shift, 0.0))


def add_tube(
    share: Array, grid: Grid, start: NDArray[np.float64], end: NDArray[np.float64], radii_mm: tuple[float, float]
) -> None:
    """Raise `share` (z, y, x) in place to a blurred, tapering tube with round ends. Touches its own box only."""
    edge_mm, (r0, r1) = grid.edge_mm, radii_mm
    reach = max(r0, r1) + 3.2 * edge_mm
    box = grid.box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
    if box is None:
        return
    x, y, z = grid.part(box).mesh
    x, y, z = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
    a, b, c = (float(v) for v in end - start)
    length2 = max(a * a + b * b + c * c, 1e-9)
    t = np.clip(x * (a / length2) + y * (b / length2) + z * (c / length2), 0.0, 1.0)
    distance = np.sqrt((x - t * a) ** 2 + (y - t * b) ** 2 + (z - t * c) ** 2)
    middle = 0.5 * (r0 + r1)
    row, shift = _profile(middle / edge_mm, 2)
    # The taper moves the wall inwards along the tube; the table row is that of the tube's middle.
    scaled = np.maximum((distance + t * (r0 - r1) + (middle - r0)) / edge_mm - shift, 0.0)
    np.maximum(share[box], _look_up(row, scaled), out=share[box])


def spline_path(knots: NDArray[np.float64], step_mm: float = 3.0) -> NDArray[np.float64]:
    """(n, columns) points about every `step_mm` along a smooth curve through knots of x, y, z and anything else."""
    lengths = np.linalg.norm(np.diff(knots[:, :3], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(2, int(np.ceil(along[-1] / step_mm)) + 1)
    return np.asarray(PchipInterpolator(along, knots, axis=0)(np.linspace(0.0, along[-1], count)))


class Texture:
    """A smooth random field fixed in space: the same value at the same millimetre, whatever the grid.

    Unit variance; uniform B-spline interpolation of random numbers on a cubic lattice.
    """

    def __init__(self, grid: Grid, scale_mm: float, rng: np.random.Generator) -> None:
        count = round(_LATTICE_MM / scale_mm)
        lattice = rng.standard_normal((count, count, count), dtype=np.float32)
        self._y, self._x = (_weights(axis, count, _LATTICE_MM / count) for axis in (grid.y, grid.x))
        along_z = _weights(grid.z, count, _LATTICE_MM / count)
        self._rows = (along_z @ lattice.reshape(count, -1)).reshape(-1, count, count)

    def slab(self, z: slice) -> Array:
        """(slices, rows, columns) values on some slices of the grid."""
        return np.asarray(self._y @ self._rows[z] @ self._x.T)


def _weights(at_mm: Array, count: int, scale_mm: float) -> Array:
    """(n, count) periodic cubic B-spline weights, scaled so that the field has unit variance on average."""
    place = at_mm.astype(np.float64) / scale_mm
    low = np.floor(place).astype(int)
    t = place - low
    parts = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = np.zeros((len(place), count))
    for k, part in enumerate(parts):
        np.add.at(weights, (np.arange(len(place)), (low + k - 1) % count), part / 6)
    # The mean square weight of a uniform cubic B-spline is 151/315.
    return np.asarray(weights / np.sqrt(151.0 / 315.0), dtype=np.float32)
