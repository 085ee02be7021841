from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from tests.small_model import upright

from lamella.codecs.packed import PackedCodec
from lamella.embedded.noise_texture import NoiseTexture, match_noise_texture, measure_noise_texture
from lamella.embedded.predict import Prediction
from lamella.embedded.scan_noise import ScanNoise
from lamella.metrics import noise_power_in_plane, noise_sd_in_plane
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import SliceOperator
from lamella.thinning.grid import thin_grid
from lamella.volume import Volume

CODEC = PackedCodec(4)
LEVEL_HU = 25.0


def tissue(rows: int = 128) -> tuple[Volume, GridPair, ScanNoise]:
    """Thick slices of 40 HU whose noise a soft kernel has smoothed."""
    thick = upright((6, rows, rows), 5.0, 5.0)
    grid = thin_grid(thick, spacing_mm=1.0)
    noise = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    noise = gaussian_filter(noise, (0, 0.8, 0.8), mode="wrap")
    hu = 40 + 30 * noise / noise.std()
    measured = SliceOperator.between(grid, thick).blur(torch.from_numpy(hu)).numpy().round().astype(np.int16)
    grids = GridPair.between(grid, thick)
    return Volume(measured, thick), grids, ScanNoise(np.ones(thick.shape, bool), grids, 30.0)


def white_sample(grids: GridPair, rows: int) -> torch.Tensor:
    """A packed sample of white noise within the null space."""
    white = torch.randn((1, 1, len(grids.offsets), rows, rows), generator=torch.Generator().manual_seed(1))
    sampled: torch.Tensor = grids.operator.null(LEVEL_HU * CODEC.encode(white)[0])
    return sampled


def matched(sampled: torch.Tensor, log_scale: torch.Tensor, grids: GridPair, noise_texture: NoiseTexture) -> np.ndarray:
    residual = sampled.clone()
    prediction = Prediction(residual, log_scale, torch.empty(0), CODEC)
    match_noise_texture(residual, prediction, torch.full((len(grids.offsets), 1, 1), LEVEL_HU), noise_texture)
    # SPEC C1: still within the null space
    assert float(grids.operator.blur(residual).abs().max()) < 1e-3 * LEVEL_HU
    return CODEC.decode(residual[None])[0, 0].numpy()


def test_sampled_noise_gets_the_spectrum_of_the_thick_slices_and_keeps_its_strength() -> None:
    # SPEC C8: noise power
    thick, grids, noise = tissue()
    noise_texture = measure_noise_texture(thick, noise)
    assert noise_texture is not None
    sampled = white_sample(grids, 128)
    before = CODEC.decode(sampled[None])[0, 0].numpy()
    after = matched(sampled, torch.full(sampled.shape, float(np.log(LEVEL_HU))), grids, noise_texture)
    soft, pixel_mm = np.ones(after.shape, bool), thick.geometry.pixel_mm
    spectra = [noise_power_in_plane(hu, soft, pixel_mm) for hu in (before, after)]
    ratios = [each.power / noise_texture.power.power for each in spectra]
    ranges = [float(r[2:-3].max() / r[2:-3].min()) for r in ratios]  # the last three hold a thousandth of the power
    assert ranges[0] > 30
    assert ranges[1] < 1.1
    assert 0.6 < ratios[1][0] / ratios[1][2] < 1.0  # what may be anatomy is not raised
    strengths = [noise_sd_in_plane(hu, soft) for hu in (before, after)]
    np.testing.assert_allclose(strengths[1], strengths[0], rtol=0.02)


def test_structure_is_left_as_it_was_sampled() -> None:
    thick, grids, noise = tissue()
    noise_texture = measure_noise_texture(thick, noise)
    assert noise_texture is not None
    sampled = white_sample(grids, 128)
    log_scale = torch.full(sampled.shape, float(np.log(LEVEL_HU)))
    log_scale[..., 24:] = float(np.log(50 * LEVEL_HU))  # an edge: the noise is a fiftieth of what is sampled there
    after = matched(sampled, log_scale, grids, noise_texture)
    before = CODEC.decode(sampled[None])[0, 0].numpy()
    assert np.abs(after - before)[..., 106:122].std() < 0.05 * before.std()
    assert np.abs(after - before)[..., 6:88].std() > 0.2 * before.std()


def test_too_little_tissue_has_no_noise_texture() -> None:
    thick, _, noise = tissue(32)
    few = ScanNoise(np.zeros_like(noise.soft), noise.grids, noise.white_hu)
    assert measure_noise_texture(thick, few) is None


def test_tissue_without_noise_has_no_noise_texture() -> None:
    thick, _, noise = tissue()
    still = Volume(np.full_like(thick.hu, 40), thick.geometry)
    assert measure_noise_texture(still, noise) is None


def test_small_regions_serve_where_large_ones_do_not_fit() -> None:
    thick, _, noise = tissue()
    soft = np.zeros_like(noise.soft)
    soft[:, 8:20, 8:20] = soft[:, 40:52, 40:52] = True  # 12 pixels wide
    noise_texture = measure_noise_texture(thick, ScanNoise(soft, noise.grids, noise.white_hu))
    assert noise_texture is not None
    assert noise_texture.side_px == 8
