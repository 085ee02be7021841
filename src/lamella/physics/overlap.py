"""Slices that overlap, as reconstructions do: thicker than they are apart.

They are averages of abutting slices. Within those the image counts as smooth, not as constant: its integral along z is known
at every boundary and a cubic spline between them (a histospline: Boneva, Kendall, Stefanov, J. Royal Statistical Society B
33, 1971). So a slab that ends within a slice is as wide as it shall be; with constant slices, 1.25 mm every 0.8 mm would be
as wide as 1.85 mm (the box of equal variance).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lamella.physics.slice_operator import along_z, profile_matrix
from lamella.volume import Geometry, Volume, round_hu

_SAME = 1e-6
_ROWS = 32
"""Rows averaged at a time: no float copy of the volume."""


def overlaps(grid: Geometry) -> bool:
    """Whether slices are thicker than they are apart."""
    return grid.thickness_mm > grid.spacing_mm * (1 + _SAME)


def abutting_grid(grid: Geometry) -> Geometry:
    """The slices that those of `grid` are averages of: in the same places, and beyond the ends as far as its slabs reach.

    A grid that does not overlap is its own.
    """
    if not overlaps(grid):
        return grid
    spacing_mm = grid.spacing_mm
    beyond = math.ceil((grid.thickness_mm / spacing_mm - 1) / 2 - _SAME)
    return grid.with_slices(grid.shape[0] + 2 * beyond, spacing_mm, -beyond * spacing_mm, spacing_mm)


def overlap_matrix(grid: Geometry) -> NDArray[np.float64]:
    """(J, D) averages over the slabs of `grid`, of the slices of `abutting_grid`; rows sum to 1.

    Where slabs tile a range between two boundaries, so do their averages: its mean is kept.
    """
    abutting = abutting_grid(grid)
    spacing_mm, centres_mm = grid.spacing_mm, grid.centres_mm
    boundaries = abutting.centres_mm[0] - spacing_mm / 2 + spacing_mm * np.arange(abutting.shape[0] + 1)
    integrals = np.tril(np.full((len(boundaries), abutting.shape[0]), spacing_mm), -1)
    integral = CubicSpline(boundaries, integrals, axis=0)
    half = grid.thickness_mm / 2
    return np.asarray((integral(centres_mm + half) - integral(centres_mm - half)) / grid.thickness_mm)


def overlapping(abutting: Volume, grid: Geometry) -> Volume:
    """The slices of `grid`, of those on its `abutting_grid`; in the same number format."""
    return _averaged(abutting, grid, overlap_matrix(grid))


def overlapping_spread(abutting: Volume, grid: Geometry) -> Volume:
    """The most that the standard deviation of the averages can be: what cancels between neighbouring slices is unknown."""
    slices = abutting.geometry
    return _averaged(
        abutting, grid, profile_matrix(slices.centres_mm, slices.spacing_mm, grid.centres_mm, grid.thickness_mm)
    )


def _averaged(abutting: Volume, grid: Geometry, matrix: NDArray[np.float64]) -> Volume:
    hu = np.empty(grid.shape, abutting.hu.dtype)
    for first in range(0, grid.shape[1], _ROWS):
        rows = slice(first, first + _ROWS)
        part = along_z(matrix, torch.from_numpy(abutting.hu[:, rows].astype(np.float32))).numpy()
        hu[:, rows] = round_hu(part) if hu.dtype == np.int16 else part
    return Volume(hu, grid, abutting.header)
