from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_model import upright

from lamella.errors import LamellaError
from lamella.physics.slice_operator import (
    SAFE_CONDITION,
    SliceOperator,
    along_z,
    covering_grid,
    cubic_matrix,
    profile_matrix,
    thick_grid,
)

PROFILES = ("box", "gaussian", "trapezoid")
GEOMETRIES = [(5.0, 5.0), (5.0, 7.0), (3.0, 3.0), (5.0, 2.5), (4.0, 5.0), (3.3, 2.9), (2.0, 10.0)]


def operator(thickness_mm: float, spacing_mm: float, profile: str = "box", ridge: float | None = None) -> SliceOperator:
    thin = upright((60, 2, 2), 0.9, 0.9)
    return SliceOperator.between(thin, thick_grid(thin, thickness_mm, spacing_mm, profile), profile, ridge)  # type: ignore[arg-type]


def test_an_example_by_hand() -> None:
    """Ten 1 mm slices; 2.5 mm slabs every 4 mm, the first centred on the border between slices 1 and 2 (at 1.5).

    slab 0 covers [0.25, 2.75]: 1/4 of slice 0 (its cell ends at 0.5), all of 1 and 2, 1/4 of slice 3.
    """
    matrix = profile_matrix(np.arange(10.0), 1.0, np.array([1.5, 5.5]), 2.5)
    expected = np.zeros((2, 10))
    expected[0, :4] = np.array([0.25, 1, 1, 0.25]) / 2.5
    expected[1, 4:8] = np.array([0.25, 1, 1, 0.25]) / 2.5
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("thickness_mm", "spacing_mm"), GEOMETRIES)
def test_laws_of_the_operator(thickness_mm: float, spacing_mm: float, profile: str) -> None:
    # SPEC C1, C2
    a = operator(thickness_mm, spacing_mm, profile, ridge=0.0)
    rng = torch.Generator().manual_seed(0)
    count_thick, count_thin = a.matrix.shape
    x = torch.randn((count_thin, 3, 2), generator=rng, dtype=torch.float64)
    y = torch.randn((count_thick, 3, 2), generator=rng, dtype=torch.float64)
    np.testing.assert_allclose(a.matrix.sum(axis=1), 1.0, atol=1e-12)
    torch.testing.assert_close(a.blur(torch.full_like(x, 7.0)), torch.full_like(y, 7.0))
    # adjoint: <A x, y> = <x, A^T y>
    torch.testing.assert_close((a.blur(x) * y).sum(), (x * along_z(a.matrix.T, y)).sum())
    # consistent, idempotent, and what the measurement cannot see stays unseen
    fixed = a.project(x, y)
    assert float(a.residual(fixed, y).abs().max()) < 1e-8
    torch.testing.assert_close(a.project(fixed, y), fixed, atol=1e-8, rtol=1e-8)
    assert float(a.blur(a.null(x)).abs().max()) < 1e-8
    # the smallest change: it lies in the row space, orthogonal to everything unseen
    assert abs(float(((fixed - x) * a.null(x)).sum())) < 1e-6


@pytest.mark.parametrize("profile", PROFILES)
def test_the_mass_of_a_bright_slice_is_spread_and_none_is_lost(profile: str) -> None:
    thin = upright((61, 1, 1), 1.0, 1.0)
    abutting = thick_grid(thin, 5.0, 5.0, "box")
    a = SliceOperator.between(*covering_grid(thin, abutting, profile)[:1], abutting, profile)  # type: ignore[arg-type]
    first = a.matrix.shape[1] // 2 - 12
    inner = a.matrix[:, first : first + 25].sum(axis=0)
    # five thin cells make one thick one: the weights of any five neighbours add up to one thick slice
    np.testing.assert_allclose(inner.reshape(5, 5).sum(axis=1), 1.0, atol=1e-9)
    if profile == "box":
        np.testing.assert_allclose(inner, 0.2, atol=1e-12)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_thickness_is_the_full_width_at_half_maximum(profile: str) -> None:
    cells = np.arange(-10, 10, 0.01)
    density = profile_matrix(cells, 0.01, np.array([0.0]), 5.0, profile)[0] / 0.01  # type: ignore[arg-type]
    above = cells[density >= density.max() / 2 - 1e-9]
    assert above.max() - above.min() == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_order_of_slices_does_not_matter(profile: str) -> None:
    thin, thick = np.arange(40) * 0.7, 6 + np.arange(4) * 4.0
    forward = profile_matrix(thin, 0.7, thick, 4.0, profile)  # type: ignore[arg-type]
    mirrored = profile_matrix(-thin[::-1], 0.7, -thick[::-1], 4.0, profile)  # type: ignore[arg-type]
    np.testing.assert_allclose(mirrored[::-1, ::-1], forward, atol=1e-12)


def test_condition_numbers_and_ridge() -> None:
    assert operator(5.0, 5.0).condition < 1.2
    assert operator(5.0, 7.0).ridge == 0.0
    overlapped = operator(5.0, 2.5)
    assert overlapped.condition > SAFE_CONDITION
    assert overlapped.ridge > 0
    # the ridge at least halves what a unit of error in the measurement does to a thin slice
    damped, exact = (np.abs(o.inverse).sum(axis=1).max() for o in (overlapped, operator(5.0, 2.5, ridge=0.0)))
    assert damped < exact / 2


def test_slabs_past_the_grid_are_refused_and_a_covering_grid_holds_them() -> None:
    thick = upright((6, 2, 2), 2.5, 5.0)
    thin = thick.with_slices(15, 1.0, -0.75, 1.0)
    with pytest.raises(LamellaError, match=r"reach past the thin grid.*covering_grid"):
        SliceOperator.between(thin, thick)
    longer, wanted = covering_grid(thin, thick)
    np.testing.assert_allclose(longer.centres_mm[wanted], thin.centres_mm)
    assert SliceOperator.between(longer, thick).matrix.shape == (6, longer.shape[0])


def test_thick_slabs_lie_within_the_series() -> None:
    thin = upright((101, 2, 2), 1.25, 1.25)
    thick = thick_grid(thin, 5.0, 7.0)
    low, high = thin.centres_mm[0] - 0.625, thin.centres_mm[-1] + 0.625
    assert thick.centres_mm[0] - 2.5 >= low - 1e-9
    assert thick.centres_mm[-1] + 2.5 <= high + 1e-9
    assert thick.centres_mm[0] - low == pytest.approx(high - thick.centres_mm[-1])
    assert (high - low) - (thick.centres_mm[-1] - thick.centres_mm[0] + 5.0) < 7.0
    with pytest.raises(LamellaError, match="too short to thicken"):
        thick_grid(upright((3, 2, 2), 1.0, 1.0), 5.0, 5.0)


def test_unknown_profiles_and_turned_grids_are_refused() -> None:
    thin = upright((20, 2, 2), 1.0, 1.0)
    with pytest.raises(LamellaError, match="Unknown slice profile 'triangle'"):
        SliceOperator.between(thin, thick_grid(thin, 5.0, 5.0), "triangle")  # type: ignore[arg-type]
    turned = np.array(thin.affine)[:, [1, 0, 2, 3]]
    other = type(thin)((20, 2, 2), turned, 1.0)
    with pytest.raises(LamellaError, match="different orientations"):
        SliceOperator.between(thin, other)


def test_cubic_interpolation_reproduces_a_cubic_and_is_flat_beyond_the_ends() -> None:
    thick, thin = np.arange(8) * 5.0, np.linspace(-2, 37, 40)
    values = 2 + thick - 0.2 * thick**2 + 0.003 * thick**3
    read = cubic_matrix(thick, thin) @ values
    inside = np.clip(thin, 0, 35)
    np.testing.assert_allclose(read, 2 + inside - 0.2 * inside**2 + 0.003 * inside**3, atol=1e-9)
    np.testing.assert_allclose(cubic_matrix(np.array([3.0]), thin), 1.0)


@settings(max_examples=60, deadline=None)
@given(
    thickness_mm=st.floats(1.5, 8.0),
    spacing_mm=st.floats(1.5, 10.0),
    thin_mm=st.floats(0.5, 1.5),
    profile=st.sampled_from(PROFILES),
)
def test_any_two_grids_have_an_operator_whose_start_is_consistent(
    thickness_mm: float, spacing_mm: float, thin_mm: float, profile: str
) -> None:
    # SPEC C2
    thick = upright((5, 1, 1), spacing_mm, thickness_mm)
    thin = thick.with_slices(max(1, round(5 * spacing_mm / thin_mm)), thin_mm, (thin_mm - spacing_mm) / 2, thin_mm)
    longer, _ = covering_grid(thin, thick, profile)  # type: ignore[arg-type]
    a = SliceOperator.between(longer, thick, profile)  # type: ignore[arg-type]
    start = a.consistent(cubic_matrix(thick.centres_mm, longer.centres_mm))
    np.testing.assert_allclose(start.sum(axis=1), 1.0, atol=1e-6)
    if a.ridge == 0.0:
        np.testing.assert_allclose(a.matrix @ start, np.eye(5), atol=1e-7)
