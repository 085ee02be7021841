from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from tests.small_model import upright

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import compare_surfaces, near_bone, surface_of

GEOMETRY = upright((20, 30, 34), spacing_mm=1.25, thickness_mm=1.25, pixel_mm=0.7)
EVERYWHERE = np.ones(GEOMETRY.shape, dtype=np.bool_)


def ramp(height: float) -> np.ndarray:
    """1000 HU above a level plane at `height` slices, 0 below, rising over two slices across it."""
    z = np.arange(20.0)[:, None, None]
    return np.broadcast_to(np.clip(500 + 500 * (z - height), 0, 1000), GEOMETRY.shape)


def test_points_of_a_plane_by_hand() -> None:
    surface = surface_of(ramp(9.3), EVERYWHERE, GEOMETRY, 500.0)
    points = surface.points
    assert len(points) == 30 * 34
    assert surface.normals == pytest.approx(np.tile([1.0, 0.0, 0.0], (30 * 34, 1)))
    assert surface.disc_mm == pytest.approx(math.sqrt(1.25**2 + 2 * 0.7**2) / 2)
    assert points[:, 0] == pytest.approx(9.3 * 1.25)
    assert points[:3, 1:] == pytest.approx(np.array([[0, 0], [0, 0.7], [0, 1.4]]))


def test_distance_of_two_planes_by_hand() -> None:
    truth, moved = (surface_of(ramp(height), EVERYWHERE, GEOMETRY, 500.0) for height in (9.3, 9.7))
    found = compare_surfaces(moved, truth)
    assert found.mean_mm == pytest.approx(0.4 * 1.25)
    assert found.p95_mm == pytest.approx(0.5)
    farther = compare_surfaces(surface_of(ramp(10.1), EVERYWHERE, GEOMETRY, 500.0), truth)
    assert farther.mean_mm == pytest.approx(1.0)
    assert farther.within[0] == 0.0
    assert compare_surfaces(truth, truth).within == (1.0, 1.0)
    assert compare_surfaces(truth, truth).mean_mm == 0.0


def test_what_one_of_them_lacks_counts_both_ways() -> None:
    """A plane, and a half of it: the other half lies up to 17 columns away."""
    whole = surface_of(ramp(9.3), EVERYWHERE, GEOMETRY, 500.0)
    kept = whole.points[:, 2] < 16.5 * 0.7
    half = replace(whole, points=whole.points[kept], normals=whole.normals[kept])
    found, back = compare_surfaces(half, whole), compare_surfaces(whole, half)
    assert found == back
    beyond = np.repeat(np.arange(1, 18), 30) * 0.7 - whole.disc_mm  # 17 columns beyond the last
    there = np.maximum(beyond, 0.0)
    assert found.mean_mm == pytest.approx(there.sum() / (len(whole.points) + len(half.points)))
    assert found.p95_mm == pytest.approx(np.percentile(np.concatenate([np.zeros(len(half.points)), there]), 95))


@pytest.mark.parametrize("level", [250.5, 500.5])
def test_points_are_the_corners_of_marching_cubes(level: float) -> None:
    z, y, x = np.mgrid[:20, :30, :34]
    radius = np.sqrt((1.25 * (z - 9.6)) ** 2 + (0.7 * (y - 14.2)) ** 2 + (0.7 * (x - 17.1)) ** 2)
    hu = np.rint(1000 * np.exp(-((radius / 8) ** 4)) + np.random.default_rng(0).normal(0, 20, radius.shape))
    ours = surface_of(hu.astype(np.int16), EVERYWHERE, GEOMETRY, level).points
    theirs = marching_cubes(hu.astype(np.float32), level, spacing=(1.25, 0.7, 0.7))[0]
    assert len(ours) == len(theirs)
    for some, others in ((ours, theirs), (theirs, ours)):
        assert cKDTree(others).query(some)[0].max() < 1e-3


def test_a_ball_that_grew_by_a_third_of_a_millimetre() -> None:
    geometry = upright((40, 60, 60), spacing_mm=1.0, thickness_mm=1.0, pixel_mm=0.7)
    z, y, x = np.mgrid[:40, :60, :60]
    radius = np.sqrt((z - 19.5) ** 2 + (0.7 * (y - 29.5)) ** 2 + (0.7 * (x - 29.5)) ** 2)
    where = np.ones(geometry.shape, dtype=np.bool_)
    balls = [surface_of(np.clip(500 + 250 * (r - radius), 0, 1000), where, geometry, 500.0) for r in (12, 12.333)]
    assert compare_surfaces(*balls).mean_mm == pytest.approx(1 / 3, rel=0.05)
    corners = cKDTree(balls[0].points).query(balls[1].points)[0].mean()
    assert corners > 1.2 / 3  # from corner to corner the way is a third longer


def test_only_the_surroundings_of_bone_count() -> None:
    bone = np.zeros(GEOMETRY.shape, dtype=np.bool_)
    bone[10, 15, 17] = True
    near = near_bone(bone, GEOMETRY, 2.5)
    assert near.sum() == 5 * 9 * 9  # 2 slices of 1.25 mm and 4 pixels of 0.7 mm on every side
    assert len(surface_of(ramp(9.3), near, GEOMETRY, 500.0).points) == 81


def test_refusals() -> None:
    with pytest.raises(LamellaError, match="no bone"):
        surface_of(ramp(9.3), ~EVERYWHERE, GEOMETRY, 250.0)
    with pytest.raises(NonFiniteError):
        surface_of(ramp(9.3) * np.nan, EVERYWHERE, GEOMETRY, 250.0)
    nothing, plane = (surface_of(ramp(9.3), EVERYWHERE, GEOMETRY, level) for level in (2000.0, 500.0))
    with pytest.raises(LamellaError, match="no surface at this level in the prediction"):
        compare_surfaces(nothing, plane)
