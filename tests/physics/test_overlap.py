"""Slices that overlap are exact averages over their slabs. Issue 26, output choices: --output-thickness-mm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_model import upright

from lamella.physics.overlap import abutting_grid, overlap_matrix, overlapping, overlapping_spread
from lamella.physics.slice_operator import profile_matrix
from lamella.volume import Geometry, Volume

spacings = st.floats(0.5, 2.0)
widths = st.floats(1.01, 6.0)  # thickness over spacing


def grid_of(spacing_mm: float, width: float, count: int = 9) -> Geometry:
    return upright((count, 2, 3), spacing_mm, spacing_mm * width)


def slab_means(power: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean of z^power over each slab."""
    return (high ** (power + 1) - low ** (power + 1)) / ((power + 1) * (high - low))


@settings(max_examples=100, deadline=None)
@given(spacings, widths)
def test_slabs_are_as_wide_as_asked_for(spacing_mm: float, width: float) -> None:
    """Means of slices -> means of wider slabs, exact for every parabola: centre and variance of the profile are right."""
    grid = grid_of(spacing_mm, width)
    abutting, middle = abutting_grid(grid), grid.centres_mm.mean()
    matrix = overlap_matrix(grid)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-9)
    cells, slabs = abutting.centres_mm - middle, grid.centres_mm - middle
    for power in (1, 2):
        given_means = slab_means(power, cells - spacing_mm / 2, cells + spacing_mm / 2)
        expected = slab_means(power, slabs - grid.thickness_mm / 2, slabs + grid.thickness_mm / 2)
        np.testing.assert_allclose(matrix @ given_means, expected, atol=1e-7)


def test_constant_slices_would_be_wider() -> None:
    """What the module's text says: 1.25 mm every 0.8 mm would be as wide as 1.85 mm."""
    grid = grid_of(0.8, 1.25 / 0.8)
    abutting = abutting_grid(grid)
    weights = profile_matrix(abutting.centres_mm, 0.8, grid.centres_mm, 1.25)[4]
    variance = weights @ (abutting.centres_mm - grid.centres_mm[4]) ** 2 + 0.8**2 / 12
    assert np.sqrt(12 * variance) == pytest.approx(1.85, abs=0.005)


@pytest.mark.parametrize("times", [3, 5])
def test_slabs_of_whole_slices_are_their_plain_mean(times: int) -> None:
    grid = grid_of(1.0, times)
    abutting = abutting_grid(grid)
    assert abutting.shape[0] == 9 + times - 1
    expected = [[1 / times if 0 <= d - j < times else 0 for d in range(abutting.shape[0])] for j in range(9)]
    np.testing.assert_allclose(overlap_matrix(grid), expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(spacings, st.sampled_from([3, 5]), st.integers(0, 2**31))
def test_slabs_that_tile_a_range_keep_its_mean(spacing_mm: float, times: int, seed: int) -> None:
    grid = grid_of(spacing_mm, times, count=4 * times)
    image = np.random.default_rng(seed).normal(0, 300, abutting_grid(grid).shape[0])
    tiles = (overlap_matrix(grid) @ image)[::times]
    assert tiles.mean() == pytest.approx(image[: len(tiles) * times].mean(), abs=1e-6)


@pytest.mark.parametrize("width", [1.0, 1.0 + 1e-9])
def test_slices_that_do_not_overlap_are_their_own(width: float) -> None:
    grid = grid_of(0.8, width)
    assert abutting_grid(grid) is grid


@settings(max_examples=50, deadline=None)
@given(st.floats(1.01, 3.0), st.integers(0, 2**31))
def test_whole_numbers_stay_whole_and_the_spread_is_a_bound(width: float, seed: int) -> None:
    grid, rng = grid_of(0.8, width), np.random.default_rng(seed)
    abutting = abutting_grid(grid)
    hu = rng.integers(-1024, 3000, abutting.shape).astype(np.int16)
    made = overlapping(Volume(hu, abutting), grid)
    assert made.hu.dtype == np.int16
    assert made.geometry == grid
    exact = np.tensordot(overlap_matrix(grid), hu.astype(np.float64), 1).clip(-1024)
    assert np.abs(made.hu - exact).max() <= 0.501
    spread = rng.uniform(1, 50, abutting.shape).astype(np.float32)
    bound = overlapping_spread(Volume(spread, abutting), grid).hu
    weights = profile_matrix(abutting.centres_mm, 0.8, grid.centres_mm, grid.thickness_mm)
    shared = rng.uniform(0, 1)  # of the errors of two slices
    correlation = shared + (1 - shared) * np.eye(len(spread))
    parts = weights[:, :, None, None] * spread
    possible = np.sqrt(np.einsum("jdyx,de,jeyx->jyx", parts, correlation, parts))
    assert (possible <= bound * (1 + 1e-5)).all()
    assert bound.dtype == np.float32
