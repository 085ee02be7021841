from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_model import upright

from lamella.errors import RefusedInput, UsageError
from lamella.thinning.grid import thin_grid
from lamella.volume import Geometry


@settings(max_examples=300, deadline=None)
@given(count=st.integers(1, 400), spacing_mm=st.floats(0.5, 12.0), factor=st.floats(1.0, 20.0))
def test_exactly_as_many_slices_as_asked_for_whatever_the_count(count: int, spacing_mm: float, factor: float) -> None:
    # SPEC B8, B9: every thick count from 1 upward, every number of slices not coarser than the input
    thick = upright((count, 4, 4), spacing_mm, spacing_mm)
    wanted = max(count, int(count * factor))
    grid = thin_grid(thick, slices=wanted)
    assert grid.shape[0] == wanted
    low, high = thick.centres_mm[0] - spacing_mm / 2, thick.centres_mm[-1] + spacing_mm / 2
    assert grid.centres_mm[0] - grid.spacing_mm / 2 == pytest.approx(low, abs=1e-6)
    assert grid.centres_mm[-1] + grid.spacing_mm / 2 == pytest.approx(high, abs=1e-6)


def test_fifty_thick_slices_give_three_hundred() -> None:
    # SPEC A15, B8: 300 slices of 1 mm need 6 mm between thick slices
    grid = thin_grid(upright((50, 4, 4), 6.0, 5.0), slices=300)
    assert grid.shape[0] == 300
    assert grid.spacing_mm == pytest.approx(1.0)
    assert thin_grid(upright((50, 4, 4), 5.0, 5.0), spacing_mm=1.0).shape[0] == 250


def test_centres_follow_the_contract() -> None:
    thick = upright((55, 4, 4), 5.0, 5.0)
    grid = thin_grid(thick, spacing_mm=1.0)
    assert grid.shape[0] == 275
    np.testing.assert_allclose(grid.centres_mm, thick.centres_mm[0] - 2.5 + (np.arange(275) + 0.5), atol=1e-9)
    np.testing.assert_allclose(grid.centres_mm.reshape(55, 5).mean(axis=1), thick.centres_mm, atol=1e-9)
    assert grid.thickness_mm == 1.0


def test_like_takes_the_centres_of_another_series_within_the_covered_range() -> None:
    thick = upright((10, 4, 4), 5.0, 5.0)
    other = thick.with_slices(80, 0.7, -6.0, 0.9)
    grid = thin_grid(thick, like=other)
    assert grid.thickness_mm == 0.7  # what was made, not what the other series is
    assert set(np.round(grid.centres_mm, 6)) <= set(np.round(other.centres_mm, 6))
    assert grid.centres_mm[0] - 0.35 >= thick.centres_mm[0] - 2.51
    assert grid.centres_mm[0] - 0.35 - 0.7 < thick.centres_mm[0] - 2.51


def test_like_meets_the_other_series_in_the_middle_of_its_images() -> None:
    # SPEC B6: directions in headers are rounded; half a metre from the origin that must not move a slice
    thick = upright((10, 401, 401), 5.0, 5.0)
    affine = np.array(thick.with_slices(50, 1.0, -2.0, 1.0).affine)
    affine[:3, 3] += (500.0, -300.0, 0.0)

    def leaning(turn: float) -> Geometry:
        bent = affine.copy()
        bent[:3, :3] = np.array([[1, 0, -turn], [0, 1, 0], [turn, 0, 1]]) @ affine[:3, :3]
        return Geometry((50, 401, 401), bent, 1.0)

    other = leaning(1.5e-4)
    grid = thin_grid(thick, like=other)
    first = int(np.argmin(np.abs(other.centres_mm - grid.centres_mm[0])))
    height = other.position(first, 200, 200)[2]
    assert grid.position(0, 200, 200)[2] == pytest.approx(height, abs=1e-6)
    with pytest.raises(RefusedInput, match="different orientations"):
        thin_grid(thick, like=leaning(5e-4))


def test_what_makes_no_sense_is_refused() -> None:
    thick = upright((10, 4, 4), 5.0, 5.0)
    with pytest.raises(RefusedInput, match=r"coarser than the input.*6 mm.*5 mm"):
        thin_grid(thick, spacing_mm=6.0)
    with pytest.raises(RefusedInput, match="coarser than the input"):
        thin_grid(thick, slices=9)
    with pytest.raises(RefusedInput, match="none of its slices lies within the input"):
        thin_grid(thick, like=thick.with_slices(20, 1.0, 500.0, 1.0))
    turned = type(thick)((10, 4, 4), np.array(thick.affine)[:, [2, 1, 0, 3]], 1.0)
    with pytest.raises(RefusedInput, match="different orientations"):
        thin_grid(thick, like=turned)
    with pytest.raises(UsageError, match="exclude each other"):
        thin_grid(thick, spacing_mm=1.0, slices=50)
    with pytest.raises(UsageError, match="at least 1"):
        thin_grid(thick, slices=0)
    with pytest.raises(UsageError, match="positive number"):
        thin_grid(thick, spacing_mm=float("nan"))
