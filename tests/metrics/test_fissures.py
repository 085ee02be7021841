from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import Sheets, find_sheets, sheets_seen
from lamella.volume import Geometry

SHAPE = (50, 64, 60)
STEPS_MM = (1.0, 0.8, 0.8)
LUNG = np.ones(SHAPE, dtype=np.bool_)
NOTHING = ~LUNG


def geometry() -> Geometry:
    """Slices from the head downwards, rows and columns turned in the plane: every axis differs from LPS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0.8, 0.6], [0.0, -0.6, 0.8], [-1.0, 0.0, 0.0]]) * STEPS_MM
    affine[:3, 3] = [-12.0, 30.0, 70.0]
    return Geometry(SHAPE, affine, 1.0)


NORMAL = np.array([0.3, 0.4, math.sqrt(0.75)])
MIDDLE = geometry().position(24.5, 31.5, 29.5)


def away_mm() -> NDArray[np.float64]:
    """(z, y, x) distance from a plane through the middle, across `NORMAL`."""
    index = np.indices(SHAPE).reshape(3, -1).T
    lps = index @ geometry().affine[:3, :3].T + geometry().affine[:3, 3]
    return ((lps - MIDDLE) @ NORMAL).reshape(SHAPE)


def sheet(height_hu: float = 100.0) -> NDArray[np.float64]:
    return -860.0 + height_hu * np.exp(-0.5 * (away_mm() / 0.8) ** 2)


def test_a_sheet_is_found_where_it_is() -> None:
    found = find_sheets(sheet(), LUNG, NOTHING, geometry())
    assert len(found.points_mm) > 1000
    inner = np.abs(found.points_mm - MIDDLE).max(axis=1) < 14
    assert np.abs((found.points_mm[inner] - MIDDLE) @ NORMAL).max() < 0.15  # of a voxel of 1 mm
    assert np.abs(found.normals[inner] @ NORMAL).min() > 0.99


def test_a_vessel_a_faint_sheet_and_a_small_one_are_none() -> None:
    z, y, x = np.indices(SHAPE)
    tube = -860.0 + 240.0 * np.exp(-0.5 * (((y - 30) * 0.8) ** 2 + ((x - 30) * 0.8) ** 2))
    small = np.where((np.abs(z - 25) < 4) & (np.abs(y - 32) < 5), sheet(), -860.0)
    for hu in (tube, sheet(8.0), small):
        assert len(find_sheets(hu, LUNG, NOTHING, geometry()).points_mm) == 0


def test_what_lies_beside_a_vessel_is_left_out() -> None:
    vessel = NOTHING.copy()
    vessel[20:30] = True
    found = find_sheets(sheet(), LUNG, vessel, geometry())
    index = (found.points_mm - geometry().affine[:3, 3]) @ np.linalg.inv(geometry().affine[:3, :3]).T
    assert len(index)
    assert ((index[:, 0] < 17.5) | (index[:, 0] > 31.5)).all()


def known() -> Sheets:
    """A grid of points on the plane around its middle."""
    one = np.cross(NORMAL, [0.0, 0.0, 1.0])
    one /= np.linalg.norm(one)
    a, b = (part.ravel()[:, None] for part in np.mgrid[-5:5:21j, -5:5:21j])
    return Sheets(MIDDLE + a * one + b * np.cross(NORMAL, one), np.tile(NORMAL, (441, 1)))


def test_contrast_by_hand_and_all_of_it_visible() -> None:
    """A Gaussian of 0.8 mm blurred by 1 mm: 0.8 / sqrt(1.64) of its height is left, and little of it 3 mm away."""
    seen = sheets_seen(sheet(), LUNG, geometry(), known())
    left = 0.8 / math.sqrt(1.64) * 100
    beside = np.mean([left * math.exp(-0.5 * mm**2 / 1.64) for mm in (3, 4, 5)])
    assert seen.contrast_hu == pytest.approx(left - beside, abs=4.0)  # voxels blur, too
    assert seen.visible == 1.0


def test_in_noise_alone_a_fifth_is_visible_by_chance() -> None:
    noise = (np.random.default_rng(seed).normal(0, 60, SHAPE) for seed in range(20))
    seen = [sheets_seen(-860.0 + one, LUNG, geometry(), known()) for one in noise]
    assert np.mean([one.visible for one in seen]) == pytest.approx(0.2, abs=0.06)
    assert np.mean([one.by_chance for one in seen]) == pytest.approx(0.2, abs=0.06)
    assert abs(np.mean([one.contrast_hu for one in seen])) < 3.0


def test_blur_along_the_slices_hides_a_sheet() -> None:
    noise = np.random.default_rng(1).normal(0, 25, SHAPE)
    thin = sheets_seen(sheet(60.0) + noise, LUNG, geometry(), known())
    thick = sheets_seen(ndimage.uniform_filter1d(sheet(60.0), 9, axis=0) + noise, LUNG, geometry(), known())
    assert thin.visible > 0.9
    assert thick.visible < thin.visible
    assert thick.contrast_hu < 0.8 * thin.contrast_hu


def test_refusals() -> None:
    far = Sheets(known().points_mm + 500.0, known().normals)
    with pytest.raises(LamellaError, match="no fissure to look at"):
        sheets_seen(sheet(), LUNG, geometry(), far)
    with pytest.raises(NonFiniteError):
        sheets_seen(sheet() * np.nan, LUNG, geometry(), known())
    with pytest.raises(LamellaError, match="mask does not fit"):
        find_sheets(sheet(), LUNG[:5], NOTHING, geometry())


def test_parity_with_curvatures_of_scikit_image() -> None:
    """A plate by another library's second derivatives, in cubic voxels: one steep curvature down, two that are flat."""
    cubes = Geometry(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], 1.0)
    z, y, x = np.indices(SHAPE) - np.array([25, 32, 30])[:, None, None, None]
    hu = -860.0 + 100.0 * np.exp(-0.5 * ((0.6 * z + 0.8 * y) / 0.8) ** 2) + 0.0 * x
    curvature = hessian_matrix_eigvals(hessian_matrix(hu, sigma=1.0, order="rc", use_gaussian_derivatives=False))
    plate = (curvature[2] < -15.0) & (np.abs(curvature[:2]).max(axis=0) < -0.4 * curvature[2])
    index = np.rint(find_sheets(hu, LUNG, NOTHING, cubes).points_mm[:, ::-1]).astype(int)
    assert len(index) > 1000
    inner = ((index > 3) & (index < np.array(SHAPE) - 4)).all(axis=1)
    assert plate[tuple(index[inner].T)].mean() > 0.99
