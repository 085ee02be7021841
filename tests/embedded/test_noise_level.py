from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.small_model import upright

from lamella.codecs.packed import PackedCodec
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.noise_level import (
    NO_SOFT_TISSUE,
    NoiseFit,
    fit_noise,
    level_noise,
    limit_scale,
    scale_to_noise,
    temper_structure,
    typical_scale,
)
from lamella.embedded.predict import Prediction
from lamella.embedded.scan_noise import ScanNoise, measure_noise
from lamella.embedded.weights import Calibration
from lamella.metrics import soft_tissue_mask
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import SliceOperator
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Geometry, Volume

THIN_SD = 30.0
CODEC = PackedCodec(4)
WHITE = Calibration(noise_share=1.0)
MODES: tuple[Mode, Mode] = ("mean", "sample")


def noisy_tissue(factor: int = 5) -> tuple[Volume, GridPair, Geometry]:
    """A block of 40 HU in air with noise of 30 HU, white along z, averaged to slices `factor` times as thick."""
    thick = upright((8, 96, 96), float(factor), float(factor))
    grid = thin_grid(thick, spacing_mm=1.0)
    rng = np.random.default_rng(0)
    hu = np.full(grid.shape, -1000.0, np.float32)
    hu[:, 8:-8, 8:-8] = 40.0
    hu += rng.normal(0, THIN_SD, grid.shape).astype(np.float32)
    measured = SliceOperator.between(grid, thick).blur(torch.from_numpy(hu)).numpy()
    return Volume(measured.round().astype(np.int16), thick), GridPair.between(grid, thick), grid


def found(volume: Volume, grids: GridPair) -> ScanNoise:
    """The noise, which there is."""
    noise = measure_noise(volume, grids)
    assert noise is not None
    return noise


@pytest.mark.parametrize("factor", [3, 5])
def test_the_open_noise_is_what_averaging_leaves_of_white_noise(factor: int) -> None:
    # SPEC C3: sd sqrt(1 - 1/R) of the thin noise, read off the thick slices alone
    volume, grids, _ = noisy_tissue(factor)
    assert found(volume, grids).open_hu(1.0) == pytest.approx(THIN_SD * np.sqrt(1 - 1 / factor), rel=0.04)


@pytest.mark.parametrize("guess_hu", [8.0, 27.0, 80.0])
def test_whatever_the_network_guesses_the_noise_part_comes_out_as_measured(guess_hu: float) -> None:
    volume, grids, grid = noisy_tissue()
    shape = (16, grid.shape[0], 24, 24)
    log_scale = torch.full(shape, float(np.log(guess_hu)), dtype=torch.float16)
    log_scale[:, :, 0, 0] = float(np.log(10 * guess_hu))  # an edge
    prediction = Prediction(torch.zeros(shape), log_scale, torch.empty(0), CODEC)
    fit = fit_noise(prediction, found(volume, grids), Calibration(noise_share=0.9))
    scale_to_noise(prediction.log_scale, fit, sampled=False)
    expected = 0.9 * THIN_SD * np.sqrt(0.8)
    assert float(torch.exp(prediction.log_scale[0, 0, 12, 12])) == pytest.approx(expected, rel=0.05)
    # uncertain structure stays: 100 m^2 loses or gains one m^2 at most
    edge = float(torch.exp(prediction.log_scale[0, 0, 0, 0]))
    assert edge == pytest.approx(np.sqrt((10 * guess_hu) ** 2 - guess_hu**2 + expected**2), rel=0.02)


def scaled(fit: NoiseFit, scales_hu: list[float], *, sampled: bool) -> list[float]:
    """What becomes of scales."""
    log_scale = torch.log(torch.tensor(scales_hu)).view(1, -1, 1, 1)
    scale_to_noise(log_scale, fit, sampled=sampled)
    return torch.exp(log_scale).flatten().tolist()


def test_a_sample_of_a_quiet_scan_counts_scales_near_the_median_as_noise_and_its_spread_does_not() -> None:
    # SPEC C3: a head of 3 HU of noise, for which the network expects 20
    quiet = NoiseFit(predicted_hu=20.0, measured_hu=3.0)
    assert scaled(quiet, [10.0, 20.0, 40.0], sampled=True) == pytest.approx([1.5, 3.0, 6.0], rel=1e-3)
    spread = scaled(quiet, [20.0, 40.0], sampled=False)
    assert spread[0] == pytest.approx(6.0, rel=1e-3)  # no less than 0.3 of the guess
    assert spread[1] == pytest.approx(np.sqrt(40**2 - 20**2 + 6**2), rel=1e-3)
    edge = scaled(quiet, [400.0], sampled=True)[0]
    assert edge == pytest.approx(np.sqrt(400**2 - 40**2 + 6**2), rel=1e-3)


@pytest.mark.parametrize("measured_hu", [20.0, 35.0])
def test_a_scan_no_quieter_than_expected_is_sampled_at_the_scale_of_its_spread(measured_hu: float) -> None:
    fit = NoiseFit(predicted_hu=20.0, measured_hu=measured_hu)
    assert scaled(fit, [10.0, 30.0, 90.0], sampled=True) == scaled(fit, [10.0, 30.0, 90.0], sampled=False)


def test_noise_that_the_mean_adds_counts_as_its_error() -> None:
    volume, grids, grid = noisy_tissue()
    shape = (16, grid.shape[0], 24, 24)
    passed = THIN_SD * np.sqrt(0.2)
    mean = float(np.hypot(passed, 20.0)) * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    prediction = Prediction(mean, torch.full(shape, 3.0).half(), torch.empty(0), CODEC)
    fit = fit_noise(prediction, found(volume, grids), WHITE)
    scale_to_noise(prediction.log_scale, fit, sampled=False)
    expected = np.hypot(THIN_SD * np.sqrt(0.8), 20.0)
    assert float(torch.exp(prediction.log_scale[0, 0, 12, 12])) == pytest.approx(expected, rel=0.05)


def test_without_soft_tissue_nothing_is_changed_and_a_warning_says_so(
    small_model: EmbeddedModel, thick_volume: Volume
) -> None:
    # SPEC C6
    settings = ThinSettings(precision="fp32", device="cpu")
    report = thin(thick_volume, small_model, thin_grid(thick_volume.geometry, spacing_mm=1.0), settings).report
    assert NO_SOFT_TISSUE in report["warnings"]
    volume, _, grid = noisy_tissue()
    assert NO_SOFT_TISSUE not in thin(volume, small_model, grid, settings).report["warnings"]


def test_a_small_piece_of_tissue_is_enough() -> None:
    # 1000 voxels, as thick slices of a head phantom have
    volume, grids, grid = noisy_tissue()
    bone = np.full(volume.hu.shape, 900, np.int16)
    bone[:, 30:66, 30:66] = volume.hu[:, 30:66, 30:66]
    assert 1000 < soft_tissue_mask(bone, volume.geometry).sum() < 5000
    shape = (16, grid.shape[0], 24, 24)
    prediction = Prediction(torch.zeros(shape), torch.full(shape, 4.0), torch.empty(0), CODEC)
    fit = fit_noise(prediction, found(Volume(bone, volume.geometry), grids), WHITE)
    scale_to_noise(prediction.log_scale, fit, sampled=False)
    assert float(torch.exp(prediction.log_scale[0, 0, 12, 12])) == pytest.approx(THIN_SD * np.sqrt(0.8), rel=0.15)


@pytest.mark.parametrize("mode", ["mean", "texture", "sample"])
@pytest.mark.parametrize("rim_px", [4, 16])
def test_tissue_at_the_rim_of_the_image_alone_is_no_failure(
    small_model: EmbeddedModel, mode: Mode, rim_px: int
) -> None:
    # SPEC C2: a targeted lung; the window that measures noise leaves the image where the tissue lies
    thick = upright((8, 128, 128), 5.0, 5.0, pixel_mm=0.5)
    hu = np.full(thick.shape, -860.0)
    hu[:4, :, -32:] = 45.0
    hu[4:, :, -rim_px:] = 45.0
    hu += np.random.default_rng(0).normal(0, 12, hu.shape)
    settings = ThinSettings(mode=mode, steps=2, spread=True, device="cpu", precision="fp32")
    done = thin(Volume(hu.round().astype(np.int16), thick), small_model, thin_grid(thick, spacing_mm=2.5), settings)
    assert NO_SOFT_TISSUE not in done.report["warnings"]
    assert done.spread is not None
    assert np.isfinite(done.spread.hu).all()


def test_an_image_narrower_than_the_window_has_no_tissue_to_measure() -> None:
    thick = upright((8, 3, 4000), 5.0, 5.0, pixel_mm=0.5)
    hu = np.random.default_rng(0).normal(45, 12, thick.shape).round().astype(np.int16)
    grids = GridPair.between(thin_grid(thick, spacing_mm=1.0), thick)
    assert measure_noise(Volume(hu, thick), grids) is None


def test_a_small_field_of_view_takes_fat_for_want_of_muscle() -> None:
    # SPEC C3: 15 HU of noise were sampled in scans of 3, whose few voxels of muscle were not enough
    volume, grids, _ = noisy_tissue()
    fat = np.full(volume.hu.shape, 900, np.int16)
    fat[:, 30:66, 30:66] = volume.hu[:, 30:66, 30:66] - 140
    assert soft_tissue_mask(fat, volume.geometry).sum() == 0
    noise = found(Volume(fat, volume.geometry), grids)
    assert noise.open_hu(1.0) == pytest.approx(THIN_SD * np.sqrt(0.8), rel=0.15)
    fat[:, 8:-8, 8:-8] = volume.hu[:, 8:-8, 8:-8]
    fat[:, 60:66, 8:-8] -= 140
    both = found(Volume(fat, volume.geometry), grids)
    np.testing.assert_array_equal(both.soft, soft_tissue_mask(fat, volume.geometry))  # muscle enough: no fat


def test_where_noise_cannot_be_measured_a_sample_is_tempered_towards_the_typical_scale(
    small_model: EmbeddedModel, thick_volume: Volume
) -> None:
    # SPEC C3: no sample runs away because a scan has no soft tissue
    def away_from_mean(temperature: float) -> float:
        figures = dataclasses.replace(small_model.calibration, sample_temperature=temperature)
        model = dataclasses.replace(small_model, calibration=figures)
        grid = thin_grid(thick_volume.geometry, spacing_mm=1.0)
        done = [thin(thick_volume, model, grid, ThinSettings(m, precision="fp32", device="cpu")) for m in MODES]
        assert NO_SOFT_TISSUE in done[0].report["warnings"]
        mean, sample = (one.volume.hu.astype(float) for one in done)
        return float(np.sqrt(np.square(sample - mean).mean()))

    assert away_from_mean(0.2) < 0.9 * away_from_mean(1.0)


def test_the_typical_scale_is_the_median_and_texture_draws_nothing_above_it() -> None:
    log_scale = torch.log(torch.tensor([5.0, 20.0, 200.0])).view(1, 3, 1, 1)
    assert float(typical_scale(log_scale)) == pytest.approx(20.0)
    temper_structure(log_scale, torch.tensor(20.0), 0.0)
    np.testing.assert_allclose(torch.exp(log_scale).flatten().numpy(), [5.0, 20.0, 20.0], rtol=1e-5)


def test_the_spread_of_tissue_is_its_noise_whatever_the_weights(small_model: EmbeddedModel) -> None:
    volume, _, grid = noisy_tissue()
    model = dataclasses.replace(small_model, calibration=dataclasses.replace(small_model.calibration, noise_share=1.0))
    result = thin(volume, model, grid, ThinSettings(precision="fp32", device="cpu", spread=True))
    assert result.spread is not None
    middle = float(np.median(result.spread.hu[:, 24:-24, 24:-24]))
    assert middle == pytest.approx(THIN_SD * np.sqrt(0.8), rel=0.1)


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("weight", [0.0, 1.0], ids=["noise-free mean", "interpolated mean"])
def test_mean_and_sample_together_are_as_noisy_in_every_slice(factor: int, weight: float) -> None:
    # SPEC C3: no stripes at the distance of the thick slices, whatever noise the mean holds where
    volume, grids, grid = noisy_tissue(factor)
    packed = CODEC.encode(torch.from_numpy(volume.hu).float()[None, None])[0]
    start = torch.from_numpy(weight * grids.start_matrix + (1 - weight) * grids.operator.inverse).float()
    mean = torch.einsum("dk,nkyx->ndyx", start, packed)
    phases = torch.linspace(0, 6.0, grid.shape[0]).sin()[:, None, None]
    log_scale = (float(np.log(27.0)) + 0.2 * phases).expand(mean.shape).half().clone()
    prediction = Prediction(mean, log_scale, torch.empty(0), CODEC)
    levels = level_noise(prediction, found(volume, grids), WHITE)
    torch.testing.assert_close(
        torch.exp(prediction.log_scale[0, :, 12, 12].float()), levels.flatten(), rtol=0.02, atol=0
    )
    white = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    sampled = grids.operator.null(torch.exp(prediction.log_scale.float()) * grids.null_gain * white)
    inner = slice(4, -4)
    noise = (mean + sampled)[:, :, inner, inner].std(dim=(0, 2, 3)).numpy()[2 * factor : -2 * factor]
    alone = mean[:, :, inner, inner].std(dim=(0, 2, 3)).numpy()[2 * factor : -2 * factor]
    assert noise.mean() == pytest.approx(THIN_SD, rel=0.07)
    assert np.ptp(noise) / noise.mean() < 0.15
    if weight:
        assert np.ptp(alone) / alone.mean() > np.ptp(noise) / noise.mean()


def test_slices_without_tissue_are_levelled_as_their_neighbours() -> None:
    volume, grids, grid = noisy_tissue()
    hu = volume.hu.copy()
    hu[5:] = 900
    shape = (16, grid.shape[0], 24, 24)
    prediction = Prediction(torch.zeros(shape), torch.full(shape, 3.0).half(), torch.empty(0), CODEC)
    levels = level_noise(prediction, found(Volume(hu, volume.geometry), grids), WHITE)
    assert bool(levels.isfinite().all())
    assert float(levels[-1]) == pytest.approx(float(levels[0]), rel=0.1)


def test_the_last_slice_with_tissue_does_not_speak_for_all_above_it() -> None:
    # a field of view that leaves the heart: most slices have no soft tissue, the last that has is uncertain
    volume, grids, grid = noisy_tissue()
    hu = volume.hu.copy()
    hu[4:] = 900  # the mask keeps away from it
    shape = (16, grid.shape[0], 24, 24)
    log_scale = torch.full(shape, 3.0).half()
    log_scale[:, 10:15] = 4.5  # the third thick slice
    prediction = Prediction(torch.zeros(shape), log_scale, torch.empty(0), CODEC)
    noise = found(Volume(hu, volume.geometry), grids)
    assert fit_noise(prediction, noise, WHITE).predicted_hu == pytest.approx(np.exp(3.0), rel=0.01)
    levels = level_noise(prediction, noise, WHITE)
    above = torch.exp(prediction.log_scale[0, 20:, 12, 12].float())  # what the network said, brought to the level
    np.testing.assert_allclose(above, levels[20:, 0, 0], rtol=0.01)


def test_the_scale_approaches_its_limit_and_small_ones_stay() -> None:
    log_scale = torch.log(torch.tensor([10.0, 300.0, 800.0])).view(1, 3, 1, 1).half()
    limit_scale(log_scale, float("inf"))
    np.testing.assert_allclose(torch.exp(log_scale.float()).flatten().numpy(), [10, 300, 800], rtol=5e-3)
    limit_scale(log_scale, 300.0)
    expected = [10.0, 300 / 2**0.5, 800 / (1 + (800 / 300) ** 2) ** 0.5]
    np.testing.assert_allclose(torch.exp(log_scale.float()).flatten().numpy(), expected, rtol=5e-3)


def test_a_temperature_leaves_noise_alone_and_shrinks_structure() -> None:
    log_scale = torch.log(torch.tensor([5.0, 20.0, 200.0])).view(1, 3, 1, 1).half()
    untouched = log_scale.clone()
    temper_structure(untouched, torch.tensor(20.0), 1.0)
    torch.testing.assert_close(untouched, log_scale, atol=2e-3, rtol=0)
    temper_structure(log_scale, torch.tensor(20.0), 0.5)
    expected = [5.0, 20.0, np.sqrt(400 + 0.25 * (40_000 - 400))]
    np.testing.assert_allclose(torch.exp(log_scale.float()).flatten().numpy(), expected, rtol=5e-3)
