"""A scan of spheres on any planes, whole or broken: tilted, with a gap, uneven. What the tests of repairs start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamella.metrics.spheres import Sphere, distance_mm, sphere_box, sphere_share
from lamella.volume import Geometry, Volume
from tests.dicom_builder import build_series

BACKGROUND_HU, SPHERE_HU = -800.0, 40.0
PIXEL_MM = 0.8
ORIGIN_MM = (-30.0, -25.0, 100.0)


def axes_of(tilt_deg: float) -> NDArray[np.float64]:
    """(3, 3) columns: normal, direction of rising row index, of rising column index; tilted about the left-right axis."""
    angle = np.radians(tilt_deg)
    row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(angle), np.sin(angle)])
    return np.stack([np.cross(row, column), column, row], axis=1)


def scanned(
    spheres: Sequence[Sphere],
    positions_mm: NDArray[np.float64],
    axes: NDArray[np.float64],
    thickness_mm: float,
    pixels: tuple[int, int],
    noise_hu: float = 0.0,
) -> NDArray[np.int16]:
    """(slices, rows, columns) HU of slabs about planes whose first voxels lie at the positions, whatever these are.

    The share of a sphere in a voxel is exact along the normal.
    """
    plane = Geometry((1, *pixels), _affine(axes, 1.0, positions_mm[0]), thickness_mm)
    rows, columns = (np.arange(n) * PIXEL_MM for n in pixels)
    hu = np.full((len(positions_mm), *pixels), BACKGROUND_HU)
    for k, position in enumerate(positions_mm):
        for one in spheres:
            z, y, x = axes.T @ (position - np.array(one.centre_mm))
            share = sphere_share((np.array([z]), rows + y, columns + x), plane, one.diameter_mm / 2)[0]
            hu[k] += share * (SPHERE_HU - BACKGROUND_HU)
    hu += np.random.default_rng(0).normal(0.0, noise_hu, hu.shape) if noise_hu else 0.0
    return np.rint(hu).astype(np.int16)


def write(
    folder: Path,
    hu: NDArray[np.int16],
    positions_mm: NDArray[np.float64],
    axes: NDArray[np.float64],
    thickness_mm: float,
) -> Path:
    """The scan as a DICOM series."""
    build_series(
        folder,
        hu,
        thickness_mm=thickness_mm,
        pixel_mm=(PIXEL_MM, PIXEL_MM),
        orientation=(*axes[:, 2], *axes[:, 1]),
        positions_mm=positions_mm.tolist(),
    )
    return folder


def centre_mm(volume: Volume, sphere: Sphere, reach_mm: float) -> NDArray[np.float64]:
    """LPS position of the middle of what stands out from the background around a sphere."""
    box, offsets = sphere_box(volume.geometry, sphere, sphere.diameter_mm / 2 + reach_mm)
    weight = np.clip(volume.hu[box] - (BACKGROUND_HU + 0.2 * (SPHERE_HU - BACKGROUND_HU)), 0.0, None)
    weight[distance_mm(offsets) > sphere.diameter_mm / 2 + reach_mm] = 0.0
    spread_out = [weight.sum(axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    moved = [np.average(offset, weights=one) for offset, one in zip(offsets, spread_out, strict=True)]
    return np.asarray(volume.geometry.axes @ np.array(moved) + np.array(sphere.centre_mm))


def _affine(axes: NDArray[np.float64], spacing_mm: float, origin_mm: Sequence[float]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([spacing_mm, PIXEL_MM, PIXEL_MM])
    affine[:3, 3] = origin_mm
    return affine
