from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import edge_second_difference_ratio, gradient_error_z, steep_edges


def diaphragm(noise_hu: float = 0.0, seed: int = 0) -> np.ndarray:
    """Lung over liver: a slanted border, 40 HU below and -850 above."""
    z, y, x = np.mgrid[:8, :24, :24]
    hu = np.where(z + 0.2 * x + 0.0 * y < 6, 40.0, -850.0)
    return hu + np.random.default_rng(seed).normal(0, noise_hu, hu.shape)


def test_steep_edges_are_in_mm_and_away_from_the_border():
    step = np.zeros((6, 5, 5))
    step[3:] = 300.0
    # central difference over two slices of 1 mm: 150 HU/mm at slices 2 and 3, 75 HU/mm at 2 mm
    expected = np.zeros(step.shape, dtype=np.bool_)
    expected[2:4, 1:-1, 1:-1] = True
    assert np.array_equal(steep_edges(step, 1.0), expected)
    assert not steep_edges(step, 2.0).any()
    assert np.array_equal(steep_edges(step.astype(np.int16), 1.0), expected)


def test_noise_alone_is_no_edge():
    assert not steep_edges(np.random.default_rng(0).normal(0, 40, (6, 32, 32)), 1.0).any()


def test_second_difference_ratio_by_hand():
    truth = np.zeros((3, 3, 3))
    truth[2] = 300.0  # 150 HU/mm at the middle slice, whose only inner voxel is (1, 1, 1)
    truth[1, 1] = 10.0, 20.0, 10.0  # along columns |10 - 40 + 10| = 20, along rows |0 - 40 + 0| = 40: mean 30
    prediction = np.zeros((3, 3, 3))
    prediction[1, 1, 1] = 24.0  # 48 in both directions
    assert edge_second_difference_ratio(prediction, truth, 1.0) == pytest.approx(48 / 30)


def test_ratio_tells_speckle_from_blur():
    truth = diaphragm(noise_hu=15)
    assert edge_second_difference_ratio(truth, truth, 1.0) == 1.0
    assert edge_second_difference_ratio(diaphragm(noise_hu=60, seed=1), truth, 1.0) > 1.2
    blurred = (np.roll(truth, 1, axis=2) + truth + np.roll(truth, -1, axis=2)) / 3
    assert edge_second_difference_ratio(blurred, truth, 1.0) < 0.8


def test_ratio_looks_only_where_it_is_told():
    truth = diaphragm(noise_hu=15)
    speckled = truth.copy()
    speckled[:, 12:] += np.random.default_rng(2).normal(0, 300, speckled[:, 12:].shape)
    upper = np.zeros(truth.shape, dtype=np.bool_)
    upper[:, :11] = True
    assert edge_second_difference_ratio(speckled, truth, 1.0, mask=upper) == 1.0
    assert edge_second_difference_ratio(speckled, truth, 1.0) > 1.5


def test_gradient_error_by_hand():
    truth = np.zeros((3, 1, 1))
    prediction = np.array([0.0, 6.0, 4.0])[:, None, None]
    # differences 6 and -2 HU over 2 mm: 3 and -1 HU/mm
    assert gradient_error_z(prediction, truth, 2.0) == pytest.approx(np.sqrt((9 + 1) / 2))
    lower = np.array([True, True, False])[:, None, None]
    assert gradient_error_z(prediction, truth, 2.0, lower) == pytest.approx(3.0)
    assert gradient_error_z(prediction + 100.0, prediction, 2.0) == pytest.approx(0.0)


def test_refuses_flat_truth_nan_and_other_grids():
    flat = np.zeros((4, 8, 8))
    with pytest.raises(LamellaError, match="No edge to measure"):
        edge_second_difference_ratio(flat, flat, 1.0)
    with pytest.raises(LamellaError, match="No voxel counts"):
        gradient_error_z(flat[:1], flat[:1], 1.0)
    with pytest.raises(LamellaError, match="same grid"):
        gradient_error_z(flat, flat[:3], 1.0)
    truth = diaphragm()
    broken = np.where(steep_edges(truth, 1.0), np.nan, truth)
    with pytest.raises(NonFiniteError, match="case-9"):
        edge_second_difference_ratio(broken, truth, 1.0, case="case-9")
    with pytest.raises(NonFiniteError, match="case-9"):
        gradient_error_z(broken, truth, 1.0, case="case-9")
