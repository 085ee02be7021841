from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import Spectrum, band_ratio, noise_power_along_z, noise_power_in_plane
from lamella.metrics.spectrum import _squares

PIXEL_MM = (0.8, 0.8)


def everywhere(hu: np.ndarray) -> np.ndarray:
    return np.ones(hu.shape, dtype=np.bool_)


def white(shape: tuple[int, int, int], seed: int = 0, sd_hu: float = 20.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(40, sd_hu, shape)


def test_the_mean_over_all_unit_impulses_is_exactly_flat_in_the_slice():
    # unit impulses at each place are white noise of variance 1 / 64 in every one of the 64 regions, without chance
    impulses = np.eye(64).reshape(64, 8, 8)
    spectrum = noise_power_in_plane(impulses, everywhere(impulses), (0.5, 0.5), roi_px=8)
    assert spectrum.power == pytest.approx(np.full(len(spectrum.power), 0.5**2 / 64))
    assert spectrum.variance_hu2 == pytest.approx(1 / 64)  # Parseval
    # the lowest are the four waves of one period a region, and the four along its diagonals
    assert spectrum.frequency_per_mm[0] == pytest.approx((1 + np.sqrt(2)) / 2 / (8 * 0.5))
    assert spectrum.nyquist_per_mm == 1.0


@pytest.mark.parametrize("run", [8, 9])
def test_the_mean_over_all_unit_impulses_is_exactly_flat_along_z(run):
    impulses = np.tile(np.eye(run)[:, None, :], (1, 64, 1))
    spectrum = noise_power_along_z(impulses, everywhere(impulses), 2.5, run_slices=run)
    assert spectrum.power == pytest.approx(np.full(run // 2, 2.5 / run))
    assert spectrum.variance_hu2 == pytest.approx(1 / run)
    assert spectrum.frequency_per_mm == pytest.approx(np.arange(1, run // 2 + 1) / (run * 2.5))


def test_white_noise_is_flat_and_adds_up_to_its_variance():  # SPEC C8: noise power
    noise = white((40, 80, 80))
    in_plane = noise_power_in_plane(noise, everywhere(noise), PIXEL_MM)
    along_z = noise_power_along_z(noise, everywhere(noise), 1.5)
    assert in_plane.variance_hu2 == pytest.approx(400, rel=0.02)
    assert along_z.variance_hu2 == pytest.approx(400, rel=0.02)
    assert in_plane.power[:-1] == pytest.approx(np.full(len(in_plane.power) - 1, 400 * 0.8**2), rel=0.15)
    assert along_z.power == pytest.approx(np.full(len(along_z.power), 400 * 1.5), rel=0.05)


def test_averaging_two_slices_leaves_the_squared_cosine():
    noise = white((33, 64, 64))
    averaged = (noise[1:] + noise[:-1]) / 2
    before = noise_power_along_z(noise[:32], everywhere(averaged), 1.0)
    after = noise_power_along_z(averaged, everywhere(averaged), 1.0)
    response = np.cos(np.pi * after.frequency_per_mm) ** 2
    # a Hann window mixes neighbouring frequencies with weights 1/6, 4/6, 1/6
    assert after.power[:-1] / before.power[:-1] == pytest.approx(response[:-1], abs=0.05)
    assert after.power[-1] < 0.03 * before.power[-1]


def test_a_wave_stands_at_its_frequency_and_pixels_may_be_oblong():
    y, x = np.mgrid[:48, :48]
    rows = np.broadcast_to(10 * np.sqrt(2) * np.cos(2 * np.pi * y / 4), (4, 48, 48))
    columns = np.broadcast_to(10 * np.sqrt(2) * np.cos(2 * np.pi * x / 4), (4, 48, 48))
    for hu, expected in ((rows, 1 / (4 * 0.5)), (columns, 1 / (4 * 1.0))):
        spectrum = noise_power_in_plane(hu, everywhere(hu), (0.5, 1.0))
        peak = spectrum.power.argmax()
        assert spectrum.frequency_per_mm[peak] == pytest.approx(expected, abs=0.03)
        assert spectrum.power[peak] * spectrum.measure[peak] == pytest.approx(100.0, rel=0.05)  # the plane takes some
        assert spectrum.nyquist_per_mm == 0.5


def test_trends_are_no_noise():
    z, y, x = np.mgrid[:16, :48, :48].astype(np.float64)
    ramp = 5 * z + 3 * y - 2 * x
    assert noise_power_in_plane(ramp, everywhere(ramp), PIXEL_MM).variance_hu2 == pytest.approx(0, abs=1e-9)
    assert noise_power_along_z(ramp, everywhere(ramp), 1.0).variance_hu2 == pytest.approx(0, abs=1e-9)


def test_only_the_mask_decides_where_is_measured():
    noise = white((20, 64, 64))
    mask = everywhere(noise)
    mask[:, :, 40:] = False
    outside = np.where(mask, noise, np.nan)
    for measure, unit in ((noise_power_in_plane, PIXEL_MM), (noise_power_along_z, 1.0)):
        assert np.array_equal(measure(outside, mask, unit).power, measure(noise, mask, unit).power)
        whole = measure(np.rint(noise).astype(np.int16), mask, unit)
        assert whole.variance_hu2 == pytest.approx(measure(noise, mask, unit).variance_hu2 + 1 / 12, rel=0.003)


def test_squares_by_hand():
    mask = np.zeros((7, 8), dtype=np.bool_)
    mask[1:4, 0:7] = True  # two squares of 3 beside each other, one column to spare
    mask[4:7, 4:8] = True  # one below; shifted by one it would also fit
    assert _squares(mask, 3) == [(1, 0), (1, 3), (4, 4)]
    mask[2, 1] = False
    assert _squares(mask, 3) == [(1, 2), (4, 4)]
    assert _squares(mask, 8) == []


def test_band_ratio_by_hand():
    frequency, measure = np.array([0.1, 0.2, 0.3, 0.5]), np.array([1.0, 1.0, 2.0, 1.0])
    truth = Spectrum(frequency, np.array([4.0, 2.0, 1.0, 1.0]), measure, 0.5)
    ours = Spectrum(frequency, np.array([8.0, 1.0, 1.5, 0.0]), measure, 0.5)
    assert band_ratio(ours, truth, 0.0, 0.4) == 2.0  # 0.1 alone: the band ends before 0.4 of 0.5 = 0.2
    assert band_ratio(ours, truth, 0.4, 0.7) == pytest.approx((1 + 2 * 1.5) / (2 + 2 * 1))
    assert band_ratio(ours, truth, 0.7, 1.0) == 0.0
    assert band_ratio(truth, truth, 0.0, 1.0) == 1.0


def test_blurring_along_z_is_seen_along_z_only():
    noise = white((48, 64, 64))
    blurred = ndimage.uniform_filter1d(noise, 3, axis=0)
    mask = everywhere(noise)
    in_plane, along_z = (
        [measure(hu, mask, unit) for hu in (blurred, noise)]
        for measure, unit in ((noise_power_in_plane, PIXEL_MM), (noise_power_along_z, 1.0))
    )
    for low, high in ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)):
        assert band_ratio(*in_plane, low, high) == pytest.approx(1 / 3, rel=0.1)
    assert band_ratio(*along_z, 0.0, 1 / 3) > 0.6
    assert band_ratio(*along_z, 1 / 3, 1.0) < 0.2


def test_refuses_too_little_tissue_other_grids_and_nan():
    noise = white((20, 40, 40))
    few = np.zeros(noise.shape, dtype=np.bool_)
    few[:, 10:22, 10:22] = True
    with pytest.raises(LamellaError, match=r"noise spectrum in the slice\. case-2: found 0 regions of 16 x 16"):
        noise_power_in_plane(noise, few, PIXEL_MM, "case-2")
    with pytest.raises(LamellaError, match=r"noise spectrum along z\. case-2: found 144 columns of 16 slices"):
        noise_power_along_z(noise, few, 1.0, "case-2")
    with pytest.raises(LamellaError, match="found 0 columns"):
        noise_power_along_z(noise[:10], everywhere(noise[:10]), 1.0)
    with pytest.raises(LamellaError, match="mask does not fit"):
        noise_power_in_plane(noise, few[:3], PIXEL_MM)
    noise[9, 9, 9] = np.nan
    for measure, unit in ((noise_power_in_plane, PIXEL_MM), (noise_power_along_z, 1.0)):
        with pytest.raises(NonFiniteError, match="case-2"):
            measure(noise, everywhere(noise), unit, "case-2")


def test_band_ratio_refuses_other_frequencies_and_empty_bands():
    one = Spectrum(np.array([0.1, 0.2]), np.ones(2), np.ones(2), 0.5)
    other = Spectrum(np.array([0.1, 0.3]), np.ones(2), np.ones(2), 0.5)
    with pytest.raises(LamellaError, match="different frequencies"):
        band_ratio(one, other, 0.0, 1.0)
    with pytest.raises(LamellaError, match=r"no noise power between 0.5 and 0.9 .* found 0 frequencies"):
        band_ratio(one, one, 0.5, 0.9)
