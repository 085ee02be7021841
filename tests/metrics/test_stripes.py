from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import (
    aligned_cubic,
    noise_per_slice,
    noise_sd_in_plane,
    stripe_power_ratio,
)

THICK, RATIO = 20, 5
THIN_MM = np.arange(THICK * RATIO) + 0.5
THICK_MM = RATIO * (np.arange(THICK) + 0.5)


def white(slices: int, seed: int = 0, sd_hu: float = 20.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(40, sd_hu, (slices, 48, 48))


def everywhere(hu: np.ndarray) -> np.ndarray:
    return np.ones(hu.shape, dtype=np.bool_)


def test_noise_of_each_slice_is_that_of_the_whole_measure():
    hu = white(4) * np.array([1.0, 2.0, 0.5, 3.0])[:, None, None]
    levels = noise_per_slice(hu, everywhere(hu))
    assert levels == pytest.approx([noise_sd_in_plane(plane[None], everywhere(plane[None])) for plane in hu])
    assert levels[1] / levels[0] == pytest.approx(2.0, rel=0.05)


def test_slices_without_tissue_are_interpolated():
    hu = white(7)
    mask = everywhere(hu)
    mask[[0, 3]] = False
    mask[4, :, 4:] = False  # 48 x 4 voxels, two columns of which the window leaves out: too few
    levels = noise_per_slice(hu, mask)
    assert levels[0] == levels[1]
    assert levels[3] == pytest.approx((2 * levels[2] + levels[5]) / 3)
    assert levels[4] == pytest.approx((levels[2] + 2 * levels[5]) / 3)


def test_cubic_interpolation_of_thick_noise_has_stripes_and_thin_noise_has_none():  # SPEC C8
    thin = white(THICK * RATIO)
    thick = thin.reshape(THICK, RATIO, 48, 48).mean(axis=1)
    smooth = aligned_cubic(thick, THICK_MM, THIN_MM)
    ratios = [stripe_power_ratio(noise_per_slice(hu, everywhere(hu)), 1.0, RATIO) for hu in (smooth, thin)]
    assert ratios[0] > 30
    assert ratios[1] < 4


def test_series_without_stripes_read_about_1_on_average():
    rng = np.random.default_rng(0)
    ratios = [stripe_power_ratio(rng.normal(20, 1, 60), 1.0, 5.0) for _ in range(400)]
    assert np.mean(ratios) == pytest.approx(1.1, abs=0.12)


@pytest.mark.parametrize(("spacing_mm", "period_mm"), [(1.0, 5.0), (1.25, 5.0), (1.0, 2.0), (0.7, 3.0), (2.0, 5.0)])
def test_a_comb_stands_out_at_its_own_period_whatever_the_grid(spacing_mm, period_mm):
    z_mm = spacing_mm * np.arange(80)
    rng = np.random.default_rng(0)
    comb = 20 + 0.2 * z_mm + np.cos(2 * np.pi * z_mm / period_mm) + rng.normal(0, 0.3, len(z_mm))
    assert stripe_power_ratio(comb, spacing_mm, period_mm) > 50
    assert stripe_power_ratio(comb, spacing_mm, 1.37 * period_mm) < 3
    assert stripe_power_ratio(5 * comb - 7, spacing_mm, period_mm) == pytest.approx(
        stripe_power_ratio(comb, spacing_mm, period_mm)
    )


def test_a_harmonic_alone_is_found():
    z_mm = np.arange(60.0)
    levels = np.cos(2 * np.pi * z_mm / 2.5) + np.random.default_rng(0).normal(0, 0.3, 60)
    assert stripe_power_ratio(levels, 1.0, 5.0) > 20


def test_refuses_short_series_long_gaps_constants_and_nan():
    with pytest.raises(LamellaError, match=r"Stripes of 5 mm cannot be told in this series\. case-4: found 29 slices"):
        stripe_power_ratio(np.arange(29.0), 1.0, 5.0, "case-4")
    with pytest.raises(LamellaError, match="period of at least two slices"):
        stripe_power_ratio(np.arange(100.0), 1.0, 1.9)
    with pytest.raises(LamellaError, match="constant"):
        stripe_power_ratio(np.zeros(60), 1.0, 5.0)
    with pytest.raises(NonFiniteError, match="case-4"):
        stripe_power_ratio(np.full(60, np.nan), 1.0, 5.0, "case-4")
    hu = white(5)
    mask = everywhere(hu)
    mask[2:] = False
    with pytest.raises(LamellaError, match="found 2 of 5 slices with at least 200 voxels, expected 50%"):
        noise_per_slice(hu, mask, "case-4")
    with pytest.raises(LamellaError, match="mask does not fit"):
        noise_per_slice(hu, mask[:2], "case-4")
    hu[1, 9, 9] = np.nan
    with pytest.raises(NonFiniteError, match="case-4"):
        noise_per_slice(hu, everywhere(hu), "case-4")
