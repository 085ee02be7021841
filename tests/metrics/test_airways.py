from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from lamella.errors import LamellaError
from lamella.metrics import measure_airway
from lamella.volume import Geometry

SHAPE = (44, 60, 60)


def geometry() -> Geometry:
    """Slices from the head downwards, rows and columns turned in the plane: every axis differs from LPS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0.8, 0.6], [0.0, -0.6, 0.8], [-1.0, 0.0, 0.0]]) * [0.5, 0.4, 0.4]
    affine[:3, 3] = [-12.0, 30.0, 70.0]
    return Geometry(SHAPE, affine, 0.5)


MIDDLE = geometry().position(21.5, 29.5, 29.5)


def tube(axis: NDArray[np.float64], inner: float, outer: float, soft_mm: float = 0.2) -> NDArray[np.float64]:
    """A wall of 20 HU around gas in lung, its borders rising over so many mm to either side."""
    index = np.indices(SHAPE).reshape(3, -1).T
    away = index @ geometry().affine[:3, :3].T + geometry().affine[:3, 3] - MIDDLE
    r = np.linalg.norm(away - np.outer(away @ axis, axis), axis=1)
    inside, within = (np.clip(0.5 + (limit - r) / (2 * soft_mm), 0, 1) for limit in (inner, outer))
    return (-860 + 880 * within - 1005 * inside).reshape(SHAPE)


@pytest.mark.parametrize("tilt", [0.0, 0.7, math.pi / 2])
def test_lumen_and_wall_of_a_sharp_airway_by_hand(tilt: float) -> None:
    axis = np.array([math.sin(tilt), 0.0, math.cos(tilt)])
    found = measure_airway(tube(axis, 3.0, 4.5), geometry(), MIDDLE, axis, 4.5)
    assert found is not None
    assert found.area_mm2 == pytest.approx(math.pi * 9.0, rel=0.04)
    assert found.wall_mm == pytest.approx(1.5, abs=0.1)


def test_a_faint_wall_is_no_wall() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    faint = -860 + (tube(axis, 3.0, 4.5) + 860) * 0.05
    assert measure_airway(faint, geometry(), MIDDLE, axis, 4.5) is None


def test_a_wall_that_half_of_the_rays_miss_is_lost() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    torn = tube(axis, 3.0, 4.5)
    torn[:, :33] = -900.0
    assert measure_airway(torn, geometry(), MIDDLE, axis, 4.5) is None


def test_refusals() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    with pytest.raises(LamellaError, match="Array and geometry differ"):
        measure_airway(np.zeros((2, 2, 2)), geometry(), MIDDLE, axis, 2.0)
    with pytest.raises(LamellaError, match="reaches past the image"):
        measure_airway(tube(axis, 3.0, 4.5), geometry(), MIDDLE + 9.0, axis, 4.5)


@pytest.mark.parametrize("inner", [1.5, 2.5, 3.5])
def test_parity_with_areas_of_regions_of_scikit_image(inner: float) -> None:
    """Across the slices, an independent reading: pixels below half way from gas to wall, and those of lumen and wall."""
    axis = np.array([0.0, 0.0, 1.0])
    hu = tube(axis, inner, inner + 1.2)
    found = measure_airway(hu, geometry(), MIDDLE, axis, inner + 1.2)
    assert found is not None
    plane, pixel_mm2 = hu[22], 0.4 * 0.4
    gas, wall = plane.min(), plane.max()
    lumen = label(plane < (gas + wall) / 2)[29, 29]
    areas = {one.label: one.area for one in regionprops(label(plane < (gas + wall) / 2))}
    assert found.area_mm2 == pytest.approx(areas[lumen] * pixel_mm2, rel=0.08)
    (whole,) = regionprops((plane > (-860 + wall) / 2).astype(int))
    outer = math.sqrt(whole.area_filled * pixel_mm2 / math.pi)
    assert found.wall_mm == pytest.approx(outer - math.sqrt(areas[lumen] * pixel_mm2 / math.pi), abs=0.15)
