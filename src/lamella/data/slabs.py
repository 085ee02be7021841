"""How thick slices lie over thin ones: the geometries that models learn from, in units of the thin spacing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lamella.physics.slice_operator import Profile, SliceOperator, profile_matrix

_REACH: dict[Profile, float] = {"box": 1.0, "trapezoid": 1.5, "gaussian": 2.6}
"""What a slab takes up, in units of its full width at half maximum; beyond, a Gaussian's weights are negligible."""

MARGIN = 2
"""Thin slices kept beyond the outermost slab, so that smooth profiles fit."""


@dataclass(frozen=True)
class Slab:
    """How thick slices average.

    Attributes:
        factor: distance between their centres.
        thickness: full width at half maximum of the profile.
        profile: its shape.
    """

    factor: float
    thickness: float
    profile: Profile = "box"

    @property
    def reach(self) -> float:
        """Thin slices that a slab and its share of the spacing take up."""
        return max(self.factor, self.thickness * _REACH[self.profile])

    def depth(self, count: int) -> int:
        """Thin slices that `count` slabs take up."""
        return int(np.ceil((count - 1) * self.factor + self.reach)) + MARGIN

    def count(self, depth: int) -> int:
        """Slabs that fit into a depth of thin slices."""
        return int((depth - self.reach) / self.factor) + 1

    def placed(self, rng: np.random.Generator, count: int) -> Slabs:
        """`count` slabs at a random phase."""
        depth, length = self.depth(count), (count - 1) * self.factor + self.reach
        first = -0.5 + self.reach / 2 + rng.uniform(0, depth - length)
        return Slabs(self, depth, np.asarray(first + self.factor * np.arange(count), np.float64))


@dataclass(frozen=True, eq=False)
class Slabs:
    """Slabs over a block of thin slices.

    Attributes:
        slab: their shape.
        depth: thin slices of the block.
        centres: (K,) of the slabs among the thin slices, counted from 0.
    """

    slab: Slab
    depth: int
    centres: NDArray[np.float64]

    @property
    def grid(self) -> NDArray[np.float64]:
        """(D,) centres of the thin slices: 0, 1, 2, ..."""
        return np.arange(self.depth, dtype=np.float64)

    @cached_property
    def operator(self) -> SliceOperator:
        """The measurement that they make."""
        matrix = profile_matrix(self.grid, 1.0, self.centres, self.slab.thickness, self.slab.profile)
        return SliceOperator.from_matrix(matrix, ridge=0.0)


def draw_slab(
    rng: np.random.Generator,
    factors: tuple[float, float],
    other_profile: float,
    thicknesses: tuple[float, float],
) -> Slab:
    """Spacing log-uniform; half the slabs abut, a fifth leave gaps, the rest overlap up to twofold.

    Args:
        rng: where the chances come from.
        factors: smallest and largest spacing, in thin slices; three in ten are rounded to a whole number.
        other_profile: chance of a profile other than a box.
        thicknesses: smallest and largest thickness, in thin slices.
    """
    factor = float(np.exp(rng.uniform(*np.log(factors))))
    if rng.random() < 0.3:
        factor = float(max(2, round(factor)))
    kind = rng.random()
    stretch = 1.0 if kind < 0.5 else rng.uniform(0.6, 1.0) if kind < 0.7 else rng.uniform(1.0, 2.0)
    thickness = float(np.clip(factor * stretch, *thicknesses))
    profile: Profile = "box"
    if rng.random() < other_profile:
        profile = "gaussian" if rng.random() < 0.5 else "trapezoid"
    return Slab(factor, thickness, profile)
