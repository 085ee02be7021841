from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import calibration, coverage_curve, error_detection_auc


def coverage(error, spread, k=1.0, mask=None, case="prediction"):
    """Share of the errors within k standard deviations."""
    (share,) = coverage_curve(error, spread, [float(2 * norm.cdf(k) - 1)], mask, case)
    return share


def test_coverage_by_hand():
    error = np.array([[[0.0, -0.999, 1.999, -4.0]]])
    spread = np.array([[[0.0, 1.0, 1.0, 3.0]]])  # within, just within, outside, outside
    assert coverage(error, spread) == 0.5
    assert coverage(error, spread, k=2.0) == 1.0
    assert coverage(error, spread, mask=error > 1) == 0.0


@pytest.mark.parametrize(("k", "expected"), [(1.0, 0.6827), (2.0, 0.9545)])
def test_a_calibrated_normal_error_gives_the_normal_fractions(k, expected):
    rng = np.random.default_rng(0)
    spread = rng.uniform(5, 300, (4, 64, 64)).astype(np.float32)
    error = rng.normal(0, spread)
    assert coverage(error, spread, k=k) == pytest.approx(expected, abs=0.01)
    assert coverage(error, spread / 2, k=k) < expected < coverage(error, spread * 2, k=k)


def test_refuses_nan_negative_spread_and_other_grids():
    ones = np.ones((1, 2, 2))
    with pytest.raises(NonFiniteError, match="spread of case-4"):
        coverage(ones, ones * np.nan, case="case-4")
    with pytest.raises(LamellaError, match="negative"):
        coverage(ones, -ones)
    with pytest.raises(LamellaError, match="same grid"):
        coverage(ones, np.ones((1, 2, 3)))
    with pytest.raises(LamellaError, match="No voxel counts"):
        coverage(ones, ones, mask=ones > 1)


def test_coverage_curve_by_hand():
    error = np.array([[[0.5, -0.7, 1.1, -1.7, 2.5]]])
    # 0.674, 0.994 (0.68), 1.645 and 1.960 standard deviations to either side
    found = coverage_curve(error, np.ones_like(error), (0.5, 0.68, 0.9, 0.95))
    assert found == (1 / 5, 2 / 5, 3 / 5, 4 / 5)
    assert coverage_curve(error, np.ones_like(error), (0.5,), mask=error > 1) == (0.0,)
    for share in (0.0, 1.0, 95.0):
        with pytest.raises(LamellaError, match="between 0 and 1"):
            coverage_curve(error, np.ones_like(error), (0.5, share))


def test_coverage_curve_of_a_calibrated_and_of_a_timid_spread():
    rng = np.random.default_rng(0)
    spread = rng.uniform(5, 300, (4, 64, 64)).astype(np.float32)
    error = rng.normal(0, spread)
    assert coverage_curve(error, spread) == pytest.approx(calibration.NOMINAL, abs=0.015)
    assert all(more > share for more, share in zip(coverage_curve(error, 2 * spread), calibration.NOMINAL, strict=True))


def test_detection_by_hand():
    error = np.array([[[1.0, -9.0, 2.0, 8.0, 0.0]]])  # large: the second and fourth
    spread = np.array([[[3.0, 5.0, 4.0, 4.0, 1.0]]])
    # 5 against 3, 4, 1: all three; 4 against 3 and 1: two, and against 4: half
    assert error_detection_auc(error, spread, threshold_hu=5.0) == pytest.approx(5.5 / 6)
    assert error_detection_auc(error, -spread, threshold_hu=5.0) == pytest.approx(0.5 / 6)
    assert error_detection_auc(error, np.ones_like(spread), threshold_hu=5.0) == 0.5
    assert error_detection_auc(error, spread, threshold_hu=5.0, mask=spread != 4.0) == 1.0


def test_detection_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    spread = np.round(rng.gamma(2.0, 20.0, (3, 10, 10)))  # whole HU: many ties
    error = rng.normal(0, spread + 1)
    large = np.abs(error) > np.quantile(np.abs(error), 0.9)
    assert large.sum() == 30
    pairs = spread[large][:, None] - spread[~large][None, :]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert error_detection_auc(error, spread) == pytest.approx(expected, abs=1e-12)


def test_detection_on_a_share_of_the_voxels(monkeypatch):
    rng = np.random.default_rng(0)
    spread = rng.gamma(2.0, 20.0, (8, 60, 60))
    error = rng.normal(0, spread)
    mask = rng.random(spread.shape) < 0.7
    whole = error_detection_auc(error, spread, mask)
    monkeypatch.setattr(calibration, "MOST_VOXELS", 5000)
    part = error_detection_auc(error, spread, mask)
    assert part == error_detection_auc(error, spread, mask)
    assert part != whole
    assert part == pytest.approx(whole, abs=0.03)


def test_detection_refuses_what_it_cannot_tell_apart():
    ones = np.ones((1, 3, 4))
    for threshold_hu in (None, 0.5, 2.0):
        with pytest.raises(LamellaError, match=r"cannot be told from small ones.*case-6"):
            error_detection_auc(ones, ones, threshold_hu=threshold_hu, case="case-6")
    with pytest.raises(NonFiniteError, match="spread of case-6"):
        error_detection_auc(ones, ones * np.nan, case="case-6")
    with pytest.raises(LamellaError, match="No voxel counts"):
        error_detection_auc(ones, ones, mask=ones > 1)
