from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError
from lamella.volume import Geometry, Volume
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
