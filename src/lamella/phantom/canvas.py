"""What the phantom's anatomy is painted on: filled shapes, balls, tubes and trees, tissue over tissue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lamella.phantom.shapes import Array, Box, Grid, Triple, add_tube, ball, inside, spline_path

GAS_HU = -1000.0
"""Air, in the body and around it."""

_SLAB = 8
"""Slices painted at a time where whole volumes of textures would fill the memory."""

Vector = NDArray[np.float64]
Knots = tuple[tuple[float, float, float, float], ...]
"""Rows of x, y, z and radius in mm."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Straight pieces of a tree, parents before children.

    Attributes:
        start, end: (n, 3) LPS mm.
        radius: (n, 2) mm at start and end.
    """

    start: Vector
    end: Vector
    radius: Vector

    def of(self, keep: NDArray[np.bool_]) -> Branches:
        """Some of the pieces."""
        return Branches(self.start[keep], self.end[keep], self.radius[keep])


@dataclass(frozen=True, eq=False)
class Canvas:
    """A volume that is painted in place.

    Attributes:
        hu: (z, y, x) float32 HU.
        grid: where its voxels are.
    """

    hu: Array
    grid: Grid

    @cached_property
    def _share(self) -> Array:
        """Room for the shares of tubes; zero between two paintings."""
        return np.zeros(self.grid.shape, dtype=np.float32)

    def part(self, box: Box) -> Canvas:
        """A (z, y, x) box of indices; what is painted there is painted here."""
        return Canvas(self.hu[box], self.grid.part(box))

    def within(self, low: Triple | Vector, high: Triple | Vector) -> Canvas | None:
        """The part between two (x, y, z) corners in mm; None where the grid does not reach."""
        box = self.grid.box(np.array(low), np.array(high))
        return None if box is None else self.part(box)

    def slabs(self) -> Iterator[tuple[slice, Canvas]]:
        """The volume a few slices at a time."""
        for first in range(0, self.grid.shape[0], _SLAB):
            z = slice(first, first + _SLAB)
            yield z, self.part((z, slice(None), slice(None)))

    def mix(self, share: Array, value_hu: float | Array) -> None:
        """Mix a tissue in: share 1 replaces, share 0 leaves."""
        hu = self.hu
        hu += share * (value_hu - hu)

    def fill(self, distance_mm: Array, value_hu: float | Array, opacity: float | None = None) -> None:
        """Fill a shape, given as signed distance, with a tissue; with an opacity below 1 what lies under it shows through."""
        share = inside(distance_mm, self.grid.edge_mm)
        self.mix(share if opacity is None else opacity * share, value_hu)

    def ball(self, centre: Triple, radius_mm: float, value_hu: float) -> None:
        """Paint a blurred ball."""
        found = ball(self.grid, np.array(centre, dtype=np.float64), radius_mm)
        if found is not None:
            self.part(found[0]).mix(found[1], value_hu)

    def tube(self, knots: Knots, value_hu: float, wall_mm: float = 0.0) -> None:
        """Paint a tube along a smooth curve through knots, its radius grown by `wall_mm`."""
        path = spline_path(np.array(knots, dtype=np.float64))
        radius = np.stack([path[:-1, 3], path[1:, 3]], axis=1)
        self.trees([Branches(path[:-1, :3], path[1:, :3], radius)], value_hu, wall_mm)

    def trees(self, trees: Sequence[Branches], value_hu: float, wall_mm: float = 0.0) -> None:
        """Gather the shares of all pieces, so that forks do not add up, and mix one tissue in."""
        share, grid = self._share, self.grid
        low, high = (np.array([axis[end] for axis in (grid.x, grid.y, grid.z)], dtype=np.float64) for end in (0, -1))
        for tree in trees:
            around = tree.radius.max() + wall_mm + 5.0 * grid.edge_mm
            above = (np.maximum(tree.start, tree.end) > low - around).all(axis=1)
            seen = tree.of(above & (np.minimum(tree.start, tree.end) < high + around).all(axis=1))
            for start, end, radius in zip(seen.start, seen.end, seen.radius, strict=True):
                add_tube(share, grid, start, end, (float(radius[0]) + wall_mm, float(radius[1]) + wall_mm))
        ends = np.concatenate([end for tree in trees for end in (tree.start, tree.end)])
        reach = max(float(tree.radius.max()) for tree in trees) + wall_mm + 5.0 * grid.edge_mm
        box = grid.box(ends.min(axis=0) - reach, ends.max(axis=0) + reach)
        if box is not None:
            self.part(box).mix(share[box], value_hu)
            share[box] = 0.0


def mirrored(knots: Knots, side: float = -1.0) -> Knots:
    """The tube on the other side of the midline; as it is for side +1."""
    return tuple((side * x, y, z, radius) for x, y, z, radius in knots)
