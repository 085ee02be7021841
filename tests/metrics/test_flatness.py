"""Flat material by hand: where it is, its bands, the overshoot beside its edges (issue: no bands in flat material)."""

from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import band_sd_hu, find_steps, flat_runs, overshoot_percent

COLUMN = np.array([0, 0, 0, 0, 0, 50, 100, 100, 100, 100, 100, 100], np.float32)
"""A step of 100 HU with one slice in between."""


def wide(column: np.ndarray) -> np.ndarray:
    """The same in 8 x 8 columns."""
    return np.repeat(np.repeat(column[:, None, None], 8, axis=1), 8, axis=2)


def test_runs_of_the_same_value_are_flat_and_edges_and_short_runs_are_not() -> None:
    flat = flat_runs(wide(COLUMN), 1.0)
    np.testing.assert_array_equal(flat[:, 4, 4] > 0, COLUMN != 50)
    assert flat[0, 4, 4] != flat[-1, 4, 4]
    np.testing.assert_array_equal(flat_runs(wide(COLUMN), 1.0, least_mm=6.0)[:, 0, 0] > 0, COLUMN == 100)
    # Half as far apart, six slices are 3 mm.
    assert not flat_runs(wide(COLUMN), 0.5).any()


def test_a_hard_edge_parts_two_runs() -> None:
    clean = wide(np.repeat(np.array([0, 80], np.float32), 6))
    flat = flat_runs(clean, 1.0)
    assert (flat > 0).all()
    assert band_sd_hu(clean, flat) == 0.0
    assert set(find_steps(clean, flat, 1.0).gap) == {1}


def test_what_changes_in_the_plane_is_not_flat() -> None:
    clean = wide(np.zeros(12, np.float32))
    clean[:, :, 4:] = 40.0
    flat = flat_runs(clean, 1.0)
    np.testing.assert_array_equal(flat[5, 5] > 0, [True] * 3 + [False] * 2 + [True] * 3)


def test_bands_are_the_deviation_of_each_run_about_its_own_mean() -> None:
    clean = wide(COLUMN)
    flat = flat_runs(clean, 1.0)
    assert band_sd_hu(clean, flat) == 0.0
    result = clean.copy()
    result[:5] += np.array([3, -3, 3, -3, 0], np.float32)[:, None, None]  # squares add to 36
    result[6:] += 7.0  # a level that is wrong is no band
    # 36 over 11 voxels less the two means of a column
    assert band_sd_hu(result, flat) == pytest.approx(2.0)


def test_overshoot_is_the_largest_excursion_beyond_either_level() -> None:
    clean = wide(COLUMN)
    steps = find_steps(clean, flat_runs(clean, 1.0), 1.0)
    assert len(steps.place) == 64
    assert set(steps.place[:, 0]) == {4}
    assert set(steps.gap) == {2}
    assert overshoot_percent(clean, steps) == 0.0
    assert len(find_steps(clean, flat_runs(clean, 1.0), 1.0, noise_hu=26.0).place) == 0
    result = clean.copy()
    result[7] += 9.0  # above the upper level
    result[3] -= 4.0  # below the lower one
    result[9] -= 30.0  # towards the other level: blur, no overshoot
    assert overshoot_percent(result, steps) == pytest.approx(9.0)
    assert overshoot_percent(-result, find_steps(-clean, flat_runs(clean, 1.0), 1.0)) == pytest.approx(9.0)


def test_noise_that_averages_out_is_no_overshoot() -> None:
    clean = wide(COLUMN)
    sign = np.where(np.indices((8, 8)).sum(axis=0) % 2, 1.0, -1.0)
    steps = find_steps(clean, flat_runs(clean, 1.0), 1.0)
    assert overshoot_percent(clean + 20.0 * sign, steps) == pytest.approx(0.0, abs=1e-9)


def test_large_steps_count_more_than_small_ones() -> None:
    clean = wide(COLUMN)
    clean[:, :, 4:] *= 0.5
    steps = find_steps(clean, flat_runs(clean, 1.0), 1.0)
    assert len(steps.place) == 48  # less the two columns beside the border
    result = clean + 10.0 * (np.arange(12) == 7)[:, None, None]
    # 24 columns of 100 HU and 24 of 50 HU, 10 HU each: 10 (100 + 50) / (100^2 + 50^2)
    assert overshoot_percent(result, steps) == pytest.approx(12.0)


def test_nothing_flat_is_said() -> None:
    noise = np.random.default_rng(0).normal(0, 50, (12, 8, 8))
    flat = flat_runs(noise, 1.0)
    with pytest.raises(LamellaError, match="no flat material"):
        band_sd_hu(noise, flat)
    with pytest.raises(LamellaError, match="No edges of flat material"):
        overshoot_percent(noise, find_steps(noise, flat, 1.0))
    broken = wide(COLUMN)
    broken[3, 2, 2] = np.nan
    with pytest.raises(NonFiniteError):
        band_sd_hu(broken, flat_runs(wide(COLUMN), 1.0))
