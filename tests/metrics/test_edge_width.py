from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import EdgeSet, edge_width_z_mm, edge_widths_z_mm, find_edges_z

LOW_HU, HIGH_HU = 40.0, -860.0
COUNT, SPACING_MM = 60, 0.5


def column(profile: np.ndarray, rows: int = 6, columns: int = 9) -> np.ndarray:
    """A volume of equal columns; `profile` rises from 0 to 1."""
    return LOW_HU + (HIGH_HU - LOW_HU) * profile[:, None, None] * np.ones((1, rows, columns))


def from_step_mm() -> np.ndarray:
    """Distance of each slice's centre from the border between slices 29 and 30."""
    return (np.arange(COUNT) - 29.5) * SPACING_MM


def ideal() -> np.ndarray:
    return column((from_step_mm() > 0).astype(float))


def test_edges_lie_where_the_step_is_and_tile_the_slice():
    edges = find_edges_z(ideal(), SPACING_MM)
    assert len(edges) == 2 * 3  # 6 x 9 columns in tiles of 3 x 3
    assert set(edges.slices) == {29}
    assert sorted(set(edges.rows)) == [0, 3]
    assert sorted(set(edges.columns)) == [0, 3, 6]
    assert np.all(edges.low_hu == LOW_HU)
    assert np.all(edges.high_hu == HIGH_HU)
    assert edge_width_z_mm(ideal(), edges, SPACING_MM) == pytest.approx(0.8 * SPACING_MM)


@pytest.mark.parametrize("thickness_mm", [1.5, 3.0, 5.0])
def test_a_step_averaged_over_a_slab_is_four_fifths_of_it_wide(thickness_mm):
    edges = find_edges_z(ideal(), SPACING_MM)
    blurred = column(np.clip(from_step_mm() / thickness_mm + 0.5, 0, 1))
    assert edge_width_z_mm(blurred, edges, SPACING_MM) == pytest.approx(0.8 * thickness_mm, rel=0.02)
    turned = find_edges_z(ideal()[::-1], SPACING_MM)
    assert edge_width_z_mm(blurred[::-1], turned, SPACING_MM) == pytest.approx(0.8 * thickness_mm, rel=0.02)


@pytest.mark.parametrize("sigma_mm", [1.0, 2.0])
def test_a_gaussian_edge_is_as_wide_as_its_quantiles(sigma_mm):
    edges = find_edges_z(ideal(), SPACING_MM)
    blurred = column(0.5 + 0.5 * erf(from_step_mm() / sigma_mm / np.sqrt(2)))
    assert edge_width_z_mm(blurred, edges, SPACING_MM) == pytest.approx(2.563 * sigma_mm, rel=0.02)


def test_sharpening_narrows_and_overshoot_is_no_edge():
    edges = find_edges_z(ideal(), SPACING_MM)
    soft = column(0.5 + 0.5 * erf(from_step_mm() / 1.5 / np.sqrt(2)))
    sharp = soft - 1.5 * ndimage.gaussian_filter1d(soft, 3, axis=0, mode="nearest") + 1.5 * soft
    assert sharp.max() > LOW_HU + 40  # it does overshoot
    assert edge_width_z_mm(sharp, edges, SPACING_MM) < 0.8 * edge_width_z_mm(soft, edges, SPACING_MM)


def test_the_width_is_that_of_the_edge_nearest_to_the_truths():
    edges = find_edges_z(ideal(), SPACING_MM)
    position = from_step_mm()
    wiggle = np.where(np.abs(position + 6) < 0.4, 0.7, (position > 0).astype(float))  # a wall 6 mm below the edge
    assert edge_width_z_mm(column(wiggle), edges, SPACING_MM) == pytest.approx(0.8 * SPACING_MM)


def test_noise_hardly_moves_the_width():
    rng = np.random.default_rng(0)
    truth = column((from_step_mm() > 0).astype(float), 60, 60)
    edges = find_edges_z(truth + rng.normal(0, 40, truth.shape), SPACING_MM)
    assert len(edges) == 400
    blurred = column(np.clip(from_step_mm() / 4 + 0.5, 0, 1), 60, 60) + rng.normal(0, 40, truth.shape)
    assert edge_width_z_mm(blurred, edges, SPACING_MM) == pytest.approx(3.2, rel=0.03)


def test_a_profile_that_does_not_cross_counts_as_the_widest():
    edges = find_edges_z(ideal(), SPACING_MM)
    volume = ideal()
    volume[:, :3, :6] = LOW_HU  # 2 of the 6 edges are lost
    widths = edge_widths_z_mm(volume, edges, SPACING_MM)
    assert np.count_nonzero(np.isinf(widths)) == 2
    assert edge_width_z_mm(volume, edges, SPACING_MM) == pytest.approx(0.8 * SPACING_MM)
    volume[:, 3:, :3] = LOW_HU  # 3 of the 6
    assert edge_width_z_mm(volume, edges, SPACING_MM) == 16.0


def test_no_edge_without_plateaus_height_or_room():
    position = from_step_mm()
    weak = column(0.3 * (position > 0))  # 270 HU
    thin_wall = column((np.abs(position - 1.5) < 1.5).astype(float))  # 3 mm
    ramp = column(np.clip(position / 12 + 0.5, 0, 1))
    noise = np.random.default_rng(0).normal(0, 200, (COUNT, 30, 30))
    for truth in (weak, thin_wall, ramp, noise, ideal()[22:38], ideal()[::12]):
        assert len(find_edges_z(truth, SPACING_MM)) == 0
    assert len(find_edges_z(ideal()[13:46], SPACING_MM)) == 6  # 8 mm on either side suffice
    with pytest.raises(LamellaError, match=r"No edge to measure.*case-7"):
        edge_width_z_mm(weak, find_edges_z(weak, SPACING_MM), SPACING_MM, case="case-7")


def test_mask_and_limit_choose_among_the_edges():
    mask = np.zeros(ideal().shape, dtype=np.bool_)
    mask[29:31, 1, 4] = True  # the middle of the second tile, on both sides of the step
    mask[29, 4, 7] = True  # on one side only
    edges = find_edges_z(ideal(), SPACING_MM, mask)
    assert (edges.rows.tolist(), edges.columns.tolist()) == ([0], [3])
    assert find_edges_z(ideal(), SPACING_MM, most=3).columns.tolist() == [0, 6, 6]  # tiles 0, 2, 5 of 0 to 5
    with pytest.raises(LamellaError, match="mask does not fit"):
        find_edges_z(ideal(), SPACING_MM, mask[1:])


def test_integers_and_two_runs_give_the_same_edges():
    truth = np.rint(ideal() + np.random.default_rng(0).normal(0, 10, ideal().shape))
    one, two = find_edges_z(truth, SPACING_MM), find_edges_z(truth.astype(np.int16), SPACING_MM)
    for field in dataclasses.fields(EdgeSet):
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name))
    assert edge_width_z_mm(truth, one, SPACING_MM) == edge_width_z_mm(truth.astype(np.int16), two, SPACING_MM)


def test_refuses_nan_and_another_grid():
    edges = find_edges_z(ideal(), SPACING_MM)
    with pytest.raises(NonFiniteError, match="case-8"):
        edge_width_z_mm(ideal() * np.nan, edges, SPACING_MM, case="case-8")
    with pytest.raises(LamellaError, match="another grid"):
        edge_width_z_mm(ideal()[1:], edges, SPACING_MM)
    with pytest.raises(NonFiniteError, match="truth"):
        find_edges_z(ideal() * np.nan, SPACING_MM)
