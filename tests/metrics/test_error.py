from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import PSNR_WINDOWS_HU, mae_hu, mean_error_hu, psnr, psnr_windowed, rmse_hu


def test_rmse_and_mean_error_by_hand():
    truth = np.zeros((2, 1, 2), dtype=np.int16)
    prediction = np.array([[[3, -4]], [[0, 5]]], dtype=np.int16)
    assert rmse_hu(prediction, truth) == pytest.approx(np.sqrt((9 + 16 + 25) / 4))
    assert mean_error_hu(prediction, truth) == pytest.approx(1.0)
    assert mae_hu(prediction, truth) == pytest.approx((3 + 4 + 0 + 5) / 4)
    mask = np.array([[[True, True]], [[False, False]]])
    assert rmse_hu(prediction, truth, mask) == pytest.approx(np.sqrt(12.5))
    assert mean_error_hu(prediction, truth, mask) == pytest.approx(-0.5)
    assert mae_hu(prediction, truth, mask) == pytest.approx(3.5)


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
@pytest.mark.parametrize("metric", [rmse_hu, mae_hu, mean_error_hu])
def test_non_finite_prediction_names_its_case(metric, bad):  # SPEC A19
    truth = np.zeros((2, 4, 4))
    prediction = truth.copy()
    prediction[1, 2, 3] = bad
    with pytest.raises(NonFiniteError, match="case-17"):
        metric(prediction, truth, case="case-17")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_is_an_error_in_psnr_never_0_db_nor_clipped_away(bad):  # SPEC A19
    truth = np.zeros((2, 4, 4))
    prediction = truth.copy()
    prediction[1, 2, 3] = bad
    with pytest.raises(NonFiniteError, match="case-17"):
        psnr(prediction, truth, 4095, case="case-17")
    with pytest.raises(NonFiniteError, match="case-17"):
        psnr_windowed(prediction, truth, -160, 240, case="case-17")


def test_windowed_psnr_by_hand():
    truth = np.array([[[-1000.0, 0.0, 300.0, 100.0]]])
    prediction = np.array([[[-700.0, 40.0, 200.0, 100.0]]])
    # in [-160, 240]: both -160; 0 and 40; 240 and 200; equal. Mean square (0 + 1600 + 1600 + 0) / 4 = 800
    assert psnr_windowed(prediction, truth, -160, 240) == pytest.approx(10 * np.log10(400**2 / 800))
    mask = np.array([[[True, False, False, True]]])
    assert psnr_windowed(prediction, truth, -160, 240, mask) == pytest.approx(80.0)  # the floor: no error is left


def test_windows_are_as_wide_as_their_names_and_the_full_one_clips_nothing():  # SPEC B13
    assert {name: high - low for name, (low, high) in PSNR_WINDOWS_HU.items()} == {
        4095: 4095,
        3072: 3072,
        2000: 2000,
        400: 400,
    }
    rng = np.random.default_rng(0)
    truth, prediction = (rng.integers(-1024, 3072, (2, 5, 6)).astype(np.int16) for _ in range(2))
    assert psnr_windowed(prediction, truth, *PSNR_WINDOWS_HU[4095]) == pytest.approx(psnr(prediction, truth, 4095))


@pytest.mark.parametrize("span", list(PSNR_WINDOWS_HU))
def test_parity_with_torchmetrics(span):  # which clips to a range given as a pair
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 700, (2, 16, 16))
    prediction = truth + rng.normal(0, 30, truth.shape)
    theirs = peak_signal_noise_ratio(
        torch.from_numpy(prediction), torch.from_numpy(truth), data_range=PSNR_WINDOWS_HU[span]
    )
    assert psnr_windowed(prediction, truth, *PSNR_WINDOWS_HU[span]) == pytest.approx(float(theirs), abs=1e-5)


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
    with pytest.raises(LamellaError, match="data range must be a positive number"):
        psnr_windowed(a, a, 240, -160)
