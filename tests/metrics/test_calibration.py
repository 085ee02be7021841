from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import coverage


def test_coverage_by_hand():
    error = np.array([[[0.0, -1.0, 2.0, -4.0]]])
    spread = np.array([[[0.0, 1.0, 1.0, 3.0]]])  # within, on the limit (counts), outside, outside
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
