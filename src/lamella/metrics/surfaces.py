"""The surface of bone, finer than a voxel: how far a restoration's lies from the truth's.

A surface is where HU, interpolated linearly between neighbouring voxels, cross a level: the corners of the triangles of
marching cubes (Lorensen and Cline, Computer Graphics 21(4), 1987). Distances run from the corners of each surface to
the nearest piece of the other: a disc across the gradient at its nearest corner, half a voxel's diagonal in radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.metrics.masks import box_around
from lamella.volume import Geometry

BONE_LEVELS_HU = (250.0, 500.0)
"""Trabecular bone with its shell, and compact bone: levels at which bone is segmented for models and implants."""

NEAR_MM = 5.0
"""Surfaces count this far around the truth's bone: noise elsewhere crosses 250 HU too, and is no bone."""

WITHIN_MM = (0.5, 1.0)
"""Shares of the surface nearer than these are given."""

MOST_POINTS = 60_000
"""Distances are measured from so many corners of each surface, every n-th, to all corners of the other."""

Points = NDArray[np.float64]
"""(n, 3) along z, y and x."""


@dataclass(frozen=True, eq=False)
class Surface:
    """A surface as pieces around its corners. Made by `surface_of`.

    Attributes:
        points: (n, 3) mm from the middle of the box's first voxel.
        normals: (n, 3) unit vectors along the gradient of HU; 0 where it vanishes.
        disc_mm: radius of a piece.
    """

    points: Points
    normals: Points
    disc_mm: float


@dataclass(frozen=True)
class SurfaceMatch:
    """Two surfaces beside each other, both directions together.

    Attributes:
        mean_mm: mean distance of the corners of each from the other.
        p95_mm: the larger of the two 95th percentiles.
        within: share of the corners of both within each of `WITHIN_MM`.
    """

    mean_mm: float
    p95_mm: float
    within: tuple[float, ...]


def near_bone(bone: Mask, geometry: Geometry, reach_mm: float = NEAR_MM) -> Mask:
    """(z, y, x) voxels within a box of so many millimetres on every side of bone (`bone_mask` of the truth)."""
    near = bone
    for axis, step_mm in enumerate((geometry.spacing_mm, *geometry.pixel_mm)):
        near = ndimage.maximum_filter1d(near, 2 * round(reach_mm / step_mm) + 1, axis=axis, mode="constant")
    return np.asarray(near)


def surface_of(hu: Hu, where: Mask, geometry: Geometry, level_hu: float, case: str = "prediction") -> Surface:
    """The surface at a level: a corner on each edge between neighbouring voxels whose HU lie on either side of it.

    Args:
        where: (z, y, x) from `near_bone`; both voxels of an edge lie in it.
        level_hu: of the surface; a voxel at the level counts as above it.

    Raises:
        LamellaError: shapes differ, or there is no bone.
    """
    check_mask(where, hu, case)
    if not where.any():
        raise LamellaError(f"There is no bone to look for a surface of. {case}: the region is empty.")
    box = box_around(where, (0, 0, 0))
    over, inside = finite(hu[box] - np.float64(level_hu), case), where[box]
    above, steps_mm = over >= 0, np.array([geometry.spacing_mm, *geometry.pixel_mm])
    points, slopes = [], []
    for axis in range(3):
        first, second = ((*[slice(None)] * axis, cut) for cut in (slice(None, -1), slice(1, None)))
        here = np.argwhere((above[first] != above[second]) & inside[first] & inside[second])
        there = here + np.eye(3, dtype=np.intp)[axis]
        low, high = over[tuple(here.T)], over[tuple(there.T)]
        part = (low / (low - high))[:, None]
        points.append(here + part * (there - here))
        slopes.append((1 - part) * _gradient(over, here, steps_mm) + part * _gradient(over, there, steps_mm))
    slope = np.concatenate(slopes)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = np.divide(slope, length, out=np.zeros_like(slope), where=length > 0)
    return Surface(np.concatenate(points) * steps_mm, normals, float(np.linalg.norm(steps_mm)) / 2)


def compare_surfaces(prediction: Surface, truth: Surface) -> SurfaceMatch:
    """Distances between two surfaces (`surface_of` in one region): average surface distance, HD95 and surface Dice.

    Raises:
        LamellaError: one of them has no point.
    """
    for surface, whose in ((prediction, "prediction"), (truth, "truth")):
        if not len(surface.points):
            raise LamellaError(f"There is no surface at this level in the {whose}.")
    distances = [_distances_mm(*both) for both in ((prediction, truth), (truth, prediction))]
    every = np.concatenate(distances)
    return SurfaceMatch(
        mean_mm=float(every.mean()),
        p95_mm=max(float(np.percentile(one, 95)) for one in distances),
        within=tuple(float((every <= limit).mean()) for limit in WITHIN_MM),
    )


def _distances_mm(surface: Surface, other: Surface) -> NDArray[np.float64]:
    """Distance of a surface's corners from the disc around the nearest corner of another."""
    some = surface.points[:: -(-len(surface.points) // MOST_POINTS)]
    nearest_mm, index = spatial.cKDTree(other.points, balanced_tree=False).query(some)
    normals = other.normals[index]
    along = np.abs(np.einsum("ij,ij->i", some - other.points[index], normals))
    along[~normals.any(axis=1)] = nearest_mm[~normals.any(axis=1)]
    aside = np.sqrt(np.maximum(nearest_mm**2 - along**2, 0.0))
    return np.asarray(np.hypot(along, np.maximum(aside - other.disc_mm, 0.0)))


def _gradient(hu: NDArray[np.float64], at: NDArray[np.intp], steps_mm: NDArray[np.float64]) -> Points:
    """(n, 3) HU/mm at voxels: central differences, one-sided at the ends of the array."""
    found = np.empty(at.shape)
    for axis in range(3):
        low, high = at.copy(), at.copy()
        low[:, axis] = np.maximum(at[:, axis] - 1, 0)
        high[:, axis] = np.minimum(at[:, axis] + 1, hu.shape[axis] - 1)
        apart_mm = np.maximum(high[:, axis] - low[:, axis], 1) * steps_mm[axis]
        found[:, axis] = (hu[tuple(high.T)] - hu[tuple(low.T)]) / apart_mm
    return found
