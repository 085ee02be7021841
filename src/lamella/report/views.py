"""Planes cut out of volumes for the eye: which plane, which way up, which millimetres.

A view is fixed in LPS millimetres, so that every volume shown with it shows exactly the same piece of the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError
from lamella.volume import Geometry, Volume

Image = NDArray[np.floating[Any]]

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
"""Letters at the low and the high end of x, y and z in LPS."""

_NAMES = ("sagittal", "coronal", "axial")
"""Name of the plane across x, y, z."""


@dataclass(frozen=True, eq=False)
class View:
    """A rectangle in a plane that contains the slice axis.

    Attributes:
        name: sagittal, coronal or axial, by the dominant direction of the plane's normal.
        axes: array axes (0 slice, 1 row, 2 column) that run across, down and through the picture.
        signs: +1 where the picture's direction (right, down) is that of rising index, else -1.
        letters: patient directions at left, right, top, bottom, by dominant direction.
        across_mm, down_mm: (low, high) edges along the array axes' unit vectors, from the LPS origin.
        through_mm: position of the plane along its normal.
    """

    name: str
    axes: tuple[int, int, int]
    signs: tuple[int, int]
    letters: tuple[str, str, str, str]
    across_mm: tuple[float, float]
    down_mm: tuple[float, float]
    through_mm: float

    @property
    def size_mm(self) -> tuple[float, float]:
        """(width, height)."""
        return self.across_mm[1] - self.across_mm[0], self.down_mm[1] - self.down_mm[0]

    def cut(self, across_mm: tuple[float, float], down_mm: tuple[float, float]) -> View:
        """The same plane, another rectangle."""
        return View(self.name, self.axes, self.signs, self.letters, across_mm, down_mm, self.through_mm)


def step_mm(geometry: Geometry, axis: int) -> float:
    """Distance between voxels along an array axis."""
    return float(np.linalg.norm(geometry.affine[:3, axis]))


def edges_mm(geometry: Geometry, axis: int) -> tuple[float, float]:
    """Outer edges of the voxels along an array axis, in mm from the LPS origin along that axis."""
    start, step = float(geometry.axes[:, axis] @ geometry.affine[:3, 3]), step_mm(geometry, axis)
    return start - step / 2, start + (geometry.shape[axis] - 0.5) * step


def common_region(geometries: list[Geometry]) -> list[tuple[float, float]]:
    """(low, high) mm along each array axis of the box that all grids cover.

    Raises:
        LamellaError: the grids differ in orientation, or have nothing in common.
    """
    first = geometries[0]
    region = []
    for geometry in geometries[1:]:
        if not geometry.same_axes(first):
            raise LamellaError(
                "The volumes of a preview have different orientations. Expected the same slice, row and column "
                "directions. Show volumes of the same scan together."
            )
    for axis in range(3):
        edges = np.array([edges_mm(geometry, axis) for geometry in geometries])
        low, high = float(edges[:, 0].max()), float(edges[:, 1].min())
        if high <= low:
            raise LamellaError(
                f"The volumes of a preview do not overlap along axis {axis} (slice, row, column). "
                "Show volumes of the same scan together."
            )
        region.append((low, high))
    return region


def views_along_slices(
    geometry: Geometry, region: list[tuple[float, float]], through_mm: tuple[float, float]
) -> list[View]:
    """The two planes that contain the slice axis, the upright way: where thick slices show.

    Args:
        geometry: any of the volumes'.
        region: from `common_region`.
        through_mm: positions of the planes across rows and across columns.

    Returns:
        Two views in the order coronal, sagittal, axial. Coronal and axial have the patient's right on the left,
        sagittal the front on the left; the head (axial: the front) is up.
    """
    matrix = np.abs(geometry.axes)
    patient = max(permutations(range(3)), key=lambda p: sum(matrix[p[axis], axis] for axis in range(3)))
    views = []
    for normal, position in zip((1, 2), through_mm, strict=True):
        across, down = (0, 3 - normal)
        # Across the picture runs x, or y where x is the normal; down runs z, or y where z is.
        if patient[across] > patient[down]:
            across, down = down, across
        signs, letters = [], []
        for axis, wanted in ((across, 1), (down, -1 if patient[down] == 2 else 1)):
            direction = patient[axis]
            rising = 1 if geometry.axes[direction, axis] > 0 else -1
            signs.append(rising * wanted)
            low, high = _LETTERS[direction]
            letters += [low, high] if wanted > 0 else [high, low]
        views.append(
            View(
                _NAMES[patient[normal]],
                (across, down, normal),
                (signs[0], signs[1]),
                (letters[0], letters[1], letters[2], letters[3]),
                region[across],
                region[down],
                position,
            )
        )
    return sorted(views, key=lambda view: ("coronal", "sagittal", "axial").index(view.name))


def sample(volume: Volume, view: View, size_px: tuple[int, int], as_slices: bool = False) -> Image:
    """(height, width) HU of a view.

    Args:
        volume: what is cut.
        view: where.
        size_px: (width, height).
        as_slices: take the nearest slice, as a viewer that does not interpolate; else linear between slices.
    """
    geometry = volume.geometry
    across, down, through = view.axes
    positions = []
    for axis, limits, sign, count in (
        (across, view.across_mm, view.signs[0], size_px[0]),
        (down, view.down_mm, view.signs[1], size_px[1]),
    ):
        step = (limits[1] - limits[0]) / count
        line = limits[0] + (np.arange(count, dtype=np.float64) + 0.5) * step
        positions.append(_index(geometry, axis, line[::sign]))
    place = float(np.rint(_index(geometry, through, np.array([view.through_mm]))[0]))
    plane_index = int(np.clip(place, 0, geometry.shape[through] - 1))
    plane = np.asarray(np.take(volume.hu, plane_index, axis=through), dtype=np.float32)
    if across < down:
        plane = plane.T
    plane = _resample(plane, positions[1], nearest=as_slices and down == 0)
    return _resample(plane.T, positions[0], nearest=as_slices and across == 0).T


def _index(geometry: Geometry, axis: int, at_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((at_mm - float(geometry.axes[:, axis] @ geometry.affine[:3, 3])) / step_mm(geometry, axis))


def _resample(image: Image, rows: NDArray[np.float64], nearest: bool) -> Image:
    """Rows of an image at fractional indices; constant beyond the ends."""
    rows = np.clip(rows, 0.0, len(image) - 1.0)
    if nearest:
        return np.asarray(image[np.rint(rows).astype(int)])
    low = np.minimum(rows.astype(int), max(0, len(image) - 2))
    high = np.minimum(low + 1, len(image) - 1)
    share = (rows - low).astype(np.float32)[:, None]
    return np.asarray(image[low] + share * (image[high] - image[low]))
