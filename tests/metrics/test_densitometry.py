from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import histogram_distance_hu, laa_percent, perc15_hu


def test_low_attenuation_by_hand():
    hu = np.array([[[-1000, -951, -950, -949, -900, 40]]], dtype=np.int16)
    lung = hu < 0
    assert laa_percent(hu, lung) == pytest.approx(100 * 2 / 5)  # -950 itself does not count
    assert laa_percent(hu, lung, -910) == pytest.approx(100 * 4 / 5)


def test_percentile_by_hand():
    hu = np.arange(-1000, -899)[None, None, :].astype(np.float32)  # 101 voxels, one a HU
    assert perc15_hu(hu, hu < 0) == pytest.approx(-985.0)
    assert perc15_hu(hu + 3, hu < 0) == pytest.approx(-982.0)
    four = np.array([-940.0, -980.0, -960.0, -920.0])[None, None, :]
    assert perc15_hu(four, four < 0) == pytest.approx(-980 + 0.45 * 20)  # 15 % of the way from the first to the fourth


def test_noise_biases_both_and_smoothing_the_other_way():  # SPEC C8: densitometry
    rng = np.random.default_rng(0)
    lung = np.ones((8, 40, 40), dtype=np.bool_)
    clean = rng.normal(-870, 30, lung.shape)
    noisy = clean + rng.normal(0, 40, lung.shape)
    assert laa_percent(noisy, lung) > laa_percent(clean, lung) + 3
    assert perc15_hu(noisy, lung) < perc15_hu(clean, lung) - 15


def test_histogram_distance_by_hand():
    truth = np.array([[[-900, -800, -700, 0]]], dtype=np.int16)
    prediction = np.array(
        [[[-700, -890, -800, 5000]]], dtype=np.int16
    )  # sorted -890, -800, -700: 10 HU off in one of 3
    mask = truth < 0
    assert histogram_distance_hu(prediction, truth, mask) == pytest.approx(10 / 3)
    assert histogram_distance_hu(truth + 7, truth, mask) == 7.0
    assert histogram_distance_hu(truth[..., ::-1], truth, np.ones_like(mask)) == 0.0


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_histogram_distance_parity_with_scipy(dtype):
    rng = np.random.default_rng(0)
    truth = rng.normal(-850, 60, (3, 30, 30)).astype(dtype)
    prediction = (rng.normal(-840, 40, truth.shape)).astype(dtype)
    mask = rng.random(truth.shape) < 0.5
    theirs = wasserstein_distance(prediction[mask].astype(np.float64), truth[mask].astype(np.float64))
    assert histogram_distance_hu(prediction, truth, mask) == pytest.approx(theirs, rel=1e-9)


def test_the_widest_integers_do_not_wrap_around():
    low, high = np.full((1, 2, 2), -32768, np.int16), np.full((1, 2, 2), 32767, np.int16)
    assert histogram_distance_hu(high, low, np.ones(low.shape, dtype=np.bool_)) == 65535.0


def test_refuses_empty_lungs_other_grids_and_nan():
    hu = np.full((2, 4, 4), -850.0)
    nothing = np.zeros(hu.shape, dtype=np.bool_)
    measures = (
        laa_percent,
        perc15_hu,
        lambda hu, lung, case: histogram_distance_hu(hu, np.zeros(hu.shape), lung, case),
    )
    for measure in measures:
        with pytest.raises(LamellaError, match=r"No voxel counts\. case-6"):
            measure(hu, nothing, case="case-6")
        with pytest.raises(LamellaError, match="mask does not fit"):
            measure(hu, nothing[:1], case="case-6")
        broken = np.where(np.arange(4) == 1, np.nan, hu)
        with pytest.raises(NonFiniteError, match="case-6"):
            measure(broken, ~nothing, case="case-6")
    with pytest.raises(LamellaError, match="same grid"):
        histogram_distance_hu(hu, hu[:1], nothing)
