from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import mean_error_hu, psnr, rmse_hu, ssim


def test_rmse_and_mean_error_by_hand():
    truth = np.zeros((2, 1, 2), dtype=np.int16)
    prediction = np.array([[[3, -4]], [[0, 5]]], dtype=np.int16)
    assert rmse_hu(prediction, truth) == pytest.approx(np.sqrt((9 + 16 + 25) / 4))
    assert mean_error_hu(prediction, truth) == pytest.approx(1.0)
    mask = np.array([[[True, True]], [[False, False]]])
    assert rmse_hu(prediction, truth, mask) == pytest.approx(np.sqrt(12.5))
    assert mean_error_hu(prediction, truth, mask) == pytest.approx(-0.5)


def test_int16_differences_do_not_wrap_around():
    low, high = np.full((1, 2, 2), -32768, np.int16), np.full((1, 2, 2), 32767, np.int16)
    assert rmse_hu(high, low) == 65535.0


def test_psnr_by_hand():
    truth = np.zeros((1, 2, 2))
    # an error of a tenth of the range everywhere is 20 dB; of 4095 / 100 HU, 40 dB
    assert psnr(truth + 409.5, truth, 4095) == pytest.approx(20.0)
    assert psnr(truth + 40.95, truth, 4095) == pytest.approx(40.0)


@pytest.mark.parametrize(("wide", "narrow", "offset_db"), [(4095, 3072, 2.50), (3072, 400, 17.71)])
def test_psnr_grows_with_the_range_it_is_told(wide, narrow, offset_db):  # SPEC B13
    truth = np.zeros((1, 4, 4))
    prediction = truth + 20.0
    assert psnr(prediction, truth, wide) - psnr(prediction, truth, narrow) == pytest.approx(offset_db, abs=0.005)


def test_psnr_is_bounded():  # SPEC A19: mean squared error floored at 1e-8, PSNR within 0 to 100 dB
    truth = np.zeros((1, 4, 4))
    assert psnr(truth, truth, 4095) == pytest.approx(80.0)
    assert psnr(truth + 1e6, truth, 4095) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("metric", [rmse_hu, mean_error_hu])
def test_non_finite_prediction_names_its_case(metric, bad):  # SPEC A19
    truth = np.zeros((2, 4, 4))
    prediction = truth.copy()
    prediction[1, 2, 3] = bad
    with pytest.raises(NonFiniteError, match="case-17"):
        metric(prediction, truth, case="case-17")


def test_nan_is_an_error_in_psnr_and_ssim_never_0_db():  # SPEC A19
    truth = np.zeros((2, 12, 12))
    prediction = truth.copy()
    prediction[1, 2, 3] = np.nan
    with pytest.raises(NonFiniteError, match="case-17"):
        psnr(prediction, truth, 4095, case="case-17")
    with pytest.raises(NonFiniteError, match="case-17"):
        ssim(prediction, truth, 4095, case="case-17")


def test_a_nan_outside_the_mask_does_not_count():
    truth = np.zeros((1, 2, 2))
    prediction = np.array([[[np.nan, 3.0], [3.0, 3.0]]])
    assert rmse_hu(prediction, truth, prediction == 3.0) == 3.0


def test_refuses_other_grids_empty_masks_and_ranges():
    a = np.zeros((2, 3, 4))
    with pytest.raises(LamellaError, match=r"same grid.*\(2, 3, 4\)"):
        rmse_hu(a, a[:1])
    with pytest.raises(LamellaError, match="No voxel counts"):
        rmse_hu(a, a, np.zeros(a.shape, dtype=np.bool_))
    with pytest.raises(LamellaError, match="mask does not fit"):
        rmse_hu(a, a, np.ones(a.shape))
    with pytest.raises(LamellaError, match="data range must be a positive number"):
        psnr(a, a, 0)
    with pytest.raises(LamellaError, match="11 x 11"):
        ssim(a, a, 4095)


def test_ssim_parity_with_the_sum_over_one_window():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 100, (1, 11, 11)), rng.normal(0, 100, (1, 11, 11))
    b += a
    # the formula of Wang et al. 2004 on the single window that fits, weights written out
    offset = np.arange(-5, 6)
    weight = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    mean_a, mean_b = (weight * a[0]).sum(), (weight * b[0]).sum()
    var_a, var_b = (weight * (a[0] - mean_a) ** 2).sum(), (weight * (b[0] - mean_b) ** 2).sum()
    cov = (weight * (a[0] - mean_a) * (b[0] - mean_b)).sum()
    c1, c2 = (0.01 * 400) ** 2, (0.03 * 400) ** 2
    expected = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    assert ssim(a, b, 400) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_equals_is_1_and_falls_with_noise():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 100, (2, 16, 20))
    little, much = truth + rng.normal(0, 10, truth.shape), truth + rng.normal(0, 100, truth.shape)
    assert ssim(truth, truth, 4095) == pytest.approx(1.0)
    assert 1.0 > ssim(little, truth, 400) > ssim(much, truth, 400) > 0.0
