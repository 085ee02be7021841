from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.volume import SAME_GRID_MM, Geometry, Volume, round_hu
from tests.small_model import upright


def test_the_affine_maps_indices_to_the_patient() -> None:
    grid = upright((10, 20, 30), 5.0, 4.0, pixel_mm=0.8)
    np.testing.assert_allclose(grid.position(2, 3, 4), (-50 + 3.2, -40 + 2.4, 120 + 10))
    assert grid.spacing_mm == 5.0
    assert grid.pixel_mm == (0.8, 0.8)
    assert grid.thickness_mm == 4.0
    np.testing.assert_allclose(grid.centres_mm[:3], (120, 125, 130))


def test_positions_of_an_oblique_grid_run_along_its_normal() -> None:
    # SPEC C2
    turn = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    upright_grid = upright((4, 5, 6), 3.0, 3.0)
    affine = np.array(upright_grid.affine)
    affine[:3] = turn @ affine[:3]
    grid = Geometry((4, 5, 6), affine, 3.0)
    np.testing.assert_allclose(np.diff(grid.centres_mm), 3.0)
    steps = np.diff([grid.position(z) for z in range(4)], axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(3.0 * grid.axes[:, 0], (3, 3)))


def test_other_slices_on_the_same_axis() -> None:
    thick = upright((4, 5, 6), 5.0, 5.0)
    thin = thick.with_slices(20, 1.0, -2.0, 1.0)
    assert thin.shape == (20, 5, 6)
    np.testing.assert_allclose(thin.centres_mm, 118 + np.arange(20))
    np.testing.assert_allclose(thin.affine[:, 1:3], thick.affine[:, 1:3])


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": (11, 20, 30)},
        {"shape": (10, 21, 30)},
        {"shape": (10, 20, 31)},
        {"thickness_mm": 4.5},
        *({"affine": (i, j)} for i in range(3) for j in (3,)),
        {"affine": (2, 0)},
        {"affine": (1, 1)},
        {"affine": (0, 2)},
    ],
)
def test_a_change_in_any_field_makes_geometries_unequal(changed: dict[str, object]) -> None:
    grid = upright((10, 20, 30), 5.0, 4.0)
    fields = {"shape": grid.shape, "affine": np.array(grid.affine), "thickness_mm": grid.thickness_mm}
    same = Geometry(**fields)  # type: ignore[arg-type]
    assert grid == same
    assert hash(grid) == hash(same)
    if "affine" in changed:
        fields["affine"][changed["affine"]] += 0.5  # type: ignore[index]
    else:
        fields |= changed
    assert grid != Geometry(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("shape", (0, 2, 2), "at least one voxel"),
        ("thickness_mm", 0.0, "must be a positive number"),
        ("thickness_mm", float("nan"), "must be a positive number"),
        ("affine", np.full((4, 4), np.nan), "finite"),
        ("affine", np.diag((0.0, 1, 1, 1)), "spacing must be positive"),
        ("affine", np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "not perpendicular"),
    ],
)
def test_impossible_geometries_are_refused(field: str, value: object, message: str) -> None:
    fields: dict[str, object] = {"shape": (2, 2, 2), "affine": np.eye(4), "thickness_mm": 1.0, field: value}
    with pytest.raises(LamellaError, match=message):
        Geometry(**fields)  # type: ignore[arg-type]


def test_the_affine_cannot_be_changed_from_outside() -> None:
    source = np.eye(4)
    grid = Geometry((2, 2, 2), source, 1.0)
    source[0, 3] = 99
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 1


def test_a_volume_needs_hu_of_a_known_kind_and_the_shape_of_its_grid() -> None:
    grid = upright((2, 3, 4), 1.0, 1.0)
    with pytest.raises(LamellaError, match="float32 or int16"):
        Volume(np.zeros((2, 3, 4)), grid)  # type: ignore[arg-type]
    with pytest.raises(LamellaError, match="shape"):
        Volume(np.zeros((2, 3, 5), np.float32), grid)


def test_a_part_keeps_its_place() -> None:
    grid = upright((6, 8, 10), 5.0, 4.0, pixel_mm=0.8)
    hu = np.arange(480, dtype=np.int16).reshape(6, 8, 10)
    part = Volume(hu, grid, "header").part(slice(2, 5), slice(1, None), slice(3, 9))
    assert part.hu.tolist() == hu[2:5, 1:, 3:9].tolist()
    assert part.header == "header"
    assert part.geometry.thickness_mm == 4.0
    np.testing.assert_allclose(part.geometry.position(0, 0, 0), grid.position(2, 1, 3))
    np.testing.assert_allclose(part.geometry.position(2, 6, 5), grid.position(4, 7, 8))


def test_how_far_two_grids_are_apart() -> None:
    grid = upright((6, 8, 10), 5.0, 4.0, pixel_mm=0.8)
    assert grid.apart_mm(grid) == 0.0
    assert grid.apart_mm(grid.with_slices(6, 5.0, 3.0, 4.0)) == pytest.approx(3.0)
    assert grid.apart_mm(grid.with_slices(6, 6.0, 0.0, 4.0)) == pytest.approx(5.0)
    assert grid.apart_mm(grid.with_slices(5, 5.0, 0.0, 4.0)) == np.inf
    assert grid.apart_mm(grid.with_slices(5, 7.0, 3.0, 4.0), in_plane=True) < 1e-9 < SAME_GRID_MM
    moved = np.array(grid.affine)
    moved[:3, 3] += 0.3 * grid.axes[:, 2] + 7.0 * grid.axes[:, 0]
    assert grid.apart_mm(Geometry(grid.shape, moved, 4.0), in_plane=True) == pytest.approx(0.3)
    turned = np.array(grid.affine)
    turned[:3, 1] *= -1
    assert grid.apart_mm(Geometry(grid.shape, turned, 4.0), in_plane=True) == np.inf


# SPEC B14
def test_rounding_keeps_the_whole_range_from_air_on_and_saturates() -> None:
    hu = np.array([[[-40000, -32768.4, -1024.5, -0.5, 0.5, 1.5, 3071.49, 32767.4, 1e9]]], dtype=np.float32)
    assert round_hu(hu).tolist() == [[[-1024, -1024, -1024, 0, 0, 2, 3071, 32767, 32767]]]
    assert round_hu(hu).dtype == np.int16


# SPEC A20
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error_that_names_the_slice(bad: float) -> None:
    hu = np.zeros((3, 2, 2), dtype=np.float32)
    hu[1, 0, 1] = bad
    with pytest.raises(NonFiniteError, match="Slice 1 of the result"):
        round_hu(hu)
