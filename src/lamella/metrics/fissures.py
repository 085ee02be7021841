"""Fissures between the lobes of a lung: is the thin sheet still to be seen?

A fissure is a sheet less than a millimetre thick and some 100 HU denser than lung. Where it is, is either known (a phantom)
or found in the truth as a plate by its second derivatives (after Wiemker et al., Int Congr Ser 1281:1121, 2005). A piece of
it is visible in a volume where HU on it exceed all that are read beside it, 3 to 5 mm along its normal on both sides. By
chance a point among lung is so in about one of five; how often it is where there is no sheet is given, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.metrics.masks import box_around
from lamella.volume import Geometry

SMOOTHING_MM = 1.0
"""Gaussian before anything is read, on every volume alike."""

PLATE_HU_PER_MM2 = 15.0
"""Least curvature across a plate: three times what noise of 50 HU leaves after smoothing."""

FLAT = 0.4
"""Largest curvature along a plate over that across it, and largest slope along it over what that makes in a millimetre; the
curvatures of a vessel are alike, and its flanks slope."""

SHEET_HU = (-950.0, -600.0)
"""Of a plate once smoothed: no vessel, no airway."""

VESSEL_MM = 3.0
"""Plates keep clear of vessels by this much; their flanks look like plates."""

SHEET_MM2 = 150.0
"""Least surface of a connected plate."""

BESIDE_MM = (3.0, 4.0, 5.0)
"""Where the surroundings are read, on both sides."""

ELSEWHERE_MM = 9.0
"""So far beside a sheet, on both sides, there is none."""

MOST_POINTS = 20_000

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sheets:
    """Points on thin sheets.

    Attributes:
        points_mm: (n, 3) LPS positions.
        normals: (n, 3) unit vectors across the sheet.
    """

    points_mm: Points
    normals: Points


@dataclass(frozen=True)
class SheetsSeen:
    """How well sheets are seen.

    Attributes:
        visible: share of the points where the sheet is denser than all beside it.
        by_chance: the same share where there is no sheet.
        contrast_hu: median of HU on the sheet minus the mean beside it.
    """

    visible: float
    by_chance: float
    contrast_hu: float


def find_sheets(
    truth: Hu,
    region: Mask,
    vessels: Mask,
    geometry: Geometry,
    plate_hu_per_mm2: float = PLATE_HU_PER_MM2,
    sheet_mm2: float = SHEET_MM2,
) -> Sheets:
    """Plates of the truth inside the lungs: fissures, and whatever else is thin and flat.

    Args:
        region, vessels: (z, y, x) from `lung_region` and `vessel_mask`.
        plate_hu_per_mm2: least curvature across a plate.
        sheet_mm2: least surface of a connected plate.

    Returns:
        One point for each voxel that a ridge passes through, moved onto the ridge; every n-th of more than `MOST_POINTS`.
    """
    for mask in (region, vessels):
        check_mask(mask, truth, "truth")
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    box = box_around(region, (0, 0, 0))
    hu = finite(truth[box].astype(np.float64), "truth").astype(np.float32)
    clear = region[box] & (
        ndimage.distance_transform_edt(~vessels[box], sampling=steps_mm) > VESSEL_MM if vessels[box].any() else True
    )
    smooth = _smoothed(hu, steps_mm)
    clear &= (smooth > SHEET_HU[0]) & (smooth < SHEET_HU[1])
    second = {(a, b): np.gradient(np.gradient(smooth, steps_mm[a], axis=a), steps_mm[b], axis=b) for a, b in _PAIRS}
    likely = np.argwhere(clear & (second[0, 0] + second[1, 1] + second[2, 2] < -plate_hu_per_mm2 * (1 - 2 * FLAT)))
    if not len(likely):
        return Sheets(np.zeros((0, 3)), np.zeros((0, 3)))
    at = tuple(likely.T)
    matrix = np.empty((len(likely), 3, 3))
    for a, b in _PAIRS:
        matrix[:, a, b] = matrix[:, b, a] = second[a, b][at]
    curvature, axes = np.linalg.eigh(matrix)
    plate = (curvature[:, 0] < -plate_hu_per_mm2) & (np.abs(curvature[:, 1:]).max(axis=1) < -FLAT * curvature[:, 0])
    likely, across, curvature = likely[plate], axes[plate, :, 0], curvature[plate, 0]
    slope = np.stack([np.gradient(smooth, steps_mm[a], axis=a)[tuple(likely.T)] for a in range(3)], axis=1)
    off_mm = -np.einsum("ij,ij->i", slope, across) / curvature
    along = np.linalg.norm(slope + (curvature * off_mm)[:, None] * across, axis=1)
    ridge = (np.abs(off_mm[:, None] * across) <= steps_mm / 2 + 1e-6).all(axis=1)
    ridge &= along <= -FLAT * curvature * SMOOTHING_MM
    likely, across, off_mm = likely[ridge], across[ridge], off_mm[ridge]
    large = _in_large_parts(likely, across, hu.shape, steps_mm, sheet_mm2)
    first = [one.start for one in box]
    index = likely[large] + first + off_mm[large, None] * across[large] / steps_mm
    every = -(-max(len(index), 1) // MOST_POINTS)
    points_mm = index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    return Sheets(points_mm[::every], (across[large] @ geometry.axes.T)[::every])


def sheets_seen(hu: Hu, region: Mask, geometry: Geometry, sheets: Sheets, case: str = "prediction") -> SheetsSeen:
    """How well a volume shows sheets whose place is known.

    Points whose surroundings leave the image are left out.

    Args:
        region: (z, y, x) from `lung_region` of the truth; only within a centimetre around it is read.

    Raises:
        LamellaError: shapes differ, or no point can be judged.
    """
    check_mask(region, hu, case)
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    margin = np.ceil(10.0 / steps_mm).astype(int)
    box = box_around(region, (int(margin[0]), int(margin[1]), int(margin[2])))
    smooth = _smoothed(finite(hu[box].astype(np.float64), case).astype(np.float32), steps_mm)
    to_index = np.linalg.inv(geometry.affine[:3, :3])
    index = (sheets.points_mm - geometry.affine[:3, 3]) @ to_index.T - [one.start for one in box]
    step = sheets.normals @ to_index.T  # a millimetre across the sheet, in voxels
    reach = (ELSEWHERE_MM + max(BESIDE_MM)) * np.abs(step)
    kept = ((index - reach >= 0) & (index + reach <= np.array(smooth.shape) - 1)).all(axis=1)
    if not kept.any():
        raise LamellaError(
            f"There is no fissure to look at. {case}: found {len(kept)} points, none with room around it."
        )
    index, step = index[kept], step[kept]
    on, beside = _read(smooth, index, step)
    lost = [_read(smooth, index + sign * ELSEWHERE_MM * step, step) for sign in (-1, 1)]
    return SheetsSeen(
        visible=float((on > beside.max(axis=0)).mean()),
        by_chance=float(np.mean([(one > around.max(axis=0)).mean() for one, around in lost])),
        contrast_hu=float(np.median(on - beside.mean(axis=0))),
    )


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _read(smooth: NDArray[np.float32], index: Points, step: Points) -> tuple[Points, Points]:
    """(n,) HU at points, and (2 * len(BESIDE_MM), n) those beside them."""
    offsets = [0.0, *(sign * mm for mm in BESIDE_MM for sign in (-1, 1))]
    found = [ndimage.map_coordinates(smooth, (index + mm * step).T, order=1, mode="nearest") for mm in offsets]
    return found[0], np.stack(found[1:])


def _smoothed(hu: NDArray[np.float32], steps_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    for axis, step_mm in enumerate(steps_mm):
        hu = ndimage.gaussian_filter1d(hu, SMOOTHING_MM / step_mm, axis=axis, mode="nearest")
    return hu


def _in_large_parts(
    at: NDArray[np.intp], across: Points, shape: tuple[int, ...], steps_mm: NDArray[np.float64], least_mm2: float
) -> NDArray[np.bool_]:
    """(n,) points of connected plates of at least so much surface: a voxel has the surface that cuts through it."""
    mask = np.zeros(shape, dtype=np.bool_)
    mask[tuple(at.T)] = True
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    own = labels[tuple(at.T)]
    area_mm2 = np.prod(steps_mm) / (np.abs(across) * steps_mm).max(axis=1)
    return np.asarray(np.bincount(own, area_mm2)[own] >= least_mm2) if len(own) else np.zeros(0, dtype=np.bool_)
