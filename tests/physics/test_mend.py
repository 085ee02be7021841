"""Repairs of a stack: exact where they can be, and honest about what bridging errs."""

from __future__ import annotations

import numpy as np
import pytest
from tests.broken_scans import axes_of
from tests.small_model import upright

from lamella.physics.mend import Bridge, MakeEven, Unshear
from lamella.volume import AIR_HU, Geometry

# Issue 26, item 7


def sheared(shape: tuple[int, int, int], lean_px: tuple[float, float], tilt_deg: float = 10.0) -> np.ndarray:
    """An oblique affine whose slices lie `lean_px` (rows, columns) further within the plane, each than the one below."""
    affine = np.eye(4)
    affine[:3, :3] = axes_of(tilt_deg) * np.array([5.0, 0.8, 0.6])
    affine[:3, 0] += affine[:3, 1:3] @ np.array(lean_px)
    affine[:3, 3] = (-40.0, 30.0, 7.0)
    return affine


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("lean_px", [(2.0, 0.0), (-1.0, 0.0), (0.0, 3.0), (-2.0, 1.0)])
def test_a_shear_by_whole_pixels_keeps_every_voxel_at_its_place(lean_px: tuple[float, float], dtype: type) -> None:
    hu = np.random.default_rng(0).integers(-1000, 2000, (5, 11, 9)).astype(dtype)
    affine = sheared(hu.shape, lean_px)
    unshear = Unshear.of(hu.shape, affine)
    found, repair = unshear(hu)
    grid = Geometry(found.shape, unshear.affine, 5.0)  # refuses axes that are not perpendicular
    assert found.dtype == dtype
    assert repair.kind == "tilt"
    for z, y, x in np.ndindex(*hu.shape):
        place = affine[:3] @ (z, y, x, 1.0)
        index = np.rint(np.linalg.inv(grid.affine) @ (*place, 1.0))[:3].astype(int)
        np.testing.assert_allclose(grid.position(*index), place, atol=1e-9)
        assert found[tuple(index)] == pytest.approx(hu[z, y, x], abs=1e-3)
    assert np.count_nonzero(found != AIR_HU) <= hu.size  # nothing but air is added


def test_the_spacing_is_the_step_along_the_table_times_the_cosine() -> None:
    """PS3.3 C.7.6.2.1.1: positions are in the patient system; planes are as far apart as their normal says."""
    axes, step = axes_of(20.0), np.array([0.0, 0.0, 5.0])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([step, 0.8 * axes[:, 1], 0.8 * axes[:, 2]], axis=1)
    unshear = Unshear.of((9, 20, 20), affine)
    assert unshear.angle_deg == pytest.approx(20.0)
    assert np.linalg.norm(unshear.affine[:3, 0]) == pytest.approx(5.0 * np.cos(np.radians(20.0)))
    assert unshear.shape == (9, 20 + int(np.ceil(8 * 5.0 * np.sin(np.radians(20.0)) / 0.8)), 20)


def test_a_shear_by_parts_of_a_pixel_interpolates_smooth_slices() -> None:
    y, x = np.mgrid[:40, :12]
    hu = np.stack([300 * np.sin((y + 0.37 * k) / 4) + 10 * x for k in range(6)]).astype(np.float32)
    found, _ = Unshear.of(hu.shape, sheared(hu.shape, (0.37, 0.0)))(hu)
    inner = found[:, 4:36]
    np.testing.assert_allclose(inner, np.broadcast_to(inner[0], inner.shape), atol=0.3)


@pytest.mark.parametrize("index", [2, 5, 8])
def test_a_bridge_is_exact_on_a_cubic_along_the_normal(index: int) -> None:
    z = np.arange(11.0)[:, None, None]
    whole = (0.9 * z**3 - 7 * z**2 + z * np.arange(8.0) + np.zeros((11, 8, 8))).astype(np.float32)
    found, repair = Bridge(index, 10, 0.0)(np.delete(whole, index, axis=0))
    np.testing.assert_allclose(found, whole, atol=1e-3)
    assert repair.bridged is not None
    assert repair.bridged.index == index
    assert float(repair.bridged.error_hu.max()) < 1e-3


@pytest.mark.parametrize(("index", "measured"), [(1, 9), (8, 9), (3, 4), (2, 6)])
def test_near_the_ends_and_in_short_stacks_a_bridge_is_the_mean_of_its_neighbours(index: int, measured: int) -> None:
    hu = np.random.default_rng(1).normal(0, 100, (measured, 6, 7)).astype(np.float32)
    found, _ = Bridge(index, measured, 0.0)(hu)
    np.testing.assert_allclose(found[index], (hu[index - 1] + hu[index]) / 2, atol=1e-4)


def test_without_three_measured_neighbours_nothing_is_known_about_the_error() -> None:
    assert [Bridge(index, 4, 0.0).known for index in (1, 2, 3)] == [True, False, True]


def test_the_expected_error_of_white_noise_is_that_of_its_weights() -> None:
    hu = np.random.default_rng(2).normal(0, 20, (16, 64, 64)).astype(np.float32)
    _, repair = Bridge(7, 16, 0.0)(hu)
    assert repair.bridged is not None
    expected = 20 * np.sqrt(1 + 2 * (4 / 9) + 2 / 36)
    assert float(np.sqrt((repair.bridged.error_hu**2).mean())) == pytest.approx(expected, rel=0.03)


def test_the_expected_error_is_larger_where_the_neighbours_differ() -> None:
    """A cone: at its border, and nowhere else, slices differ from each other."""
    z, y, x = np.ogrid[:15, :64, :64]
    hu = np.where(np.hypot(y - 32, x - 32) < 8 + z, 40, -800).astype(np.int16)
    _, repair = Bridge(7, 14, 0.0)(np.delete(hu, 7, axis=0))
    assert repair.bridged is not None
    error, border = repair.bridged.error_hu, np.abs(np.hypot(*np.mgrid[-32:32, -32:32]) - 15) < 1
    assert float(error[border].mean()) > 100
    assert float(error[32, 32]) < 1
    assert float(error[2, 2]) < 1


def test_even_slices_are_exact_on_a_cubic_and_keep_the_ends() -> None:
    at = np.array([0.0, 5.2, 9.7, 15.6, 19.4, 26.0, 30.0])
    even = MakeEven.of(at)
    np.testing.assert_allclose(even.even_mm, np.arange(7) * 5.0)
    curve = np.polynomial.Polynomial([3.0, -4.0, 0.5, -0.01])
    hu = (curve(at)[:, None, None] + np.zeros((7, 3, 4))).astype(np.float32)
    found, repair = even(hu)
    np.testing.assert_allclose(found[:, 1, 2], curve(even.even_mm), atol=1e-3)
    assert repair.kind == "uneven"
    assert f"{np.diff(at).min():.4g} to {np.diff(at).max():.4g} mm apart" in repair.note


def test_each_slice_names_what_it_is_made_of() -> None:
    assert Bridge(3, 12, 0.0).made_of[2:5] == ((2,), (2, 3, 1, 4), (3,))
    assert MakeEven.of(np.array([0.0, 4.0, 10.0, 15.0])).made_of == ((0,), (1, 2), (2,), (3,))
    assert Unshear.of((2, 4, 4), upright((2, 4, 4), 5.0, 5.0).affine).made_of == ((0,), (1,))
