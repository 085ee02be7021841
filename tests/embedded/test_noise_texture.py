from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from tests.small_model import upright

from lamella.latent.packed import PackedCodec
from lamella.metrics import noise_power_in_plane, noise_sd_in_plane
from lamella.passage import Passage
from lamella.slices import SliceOperator
from lamella.thinning import thin_grid
from lamella.thinning.grain import Grain, match_grain, measure_grain
from lamella.thinning.scan_noise import ScanNoise
from lamella.volume import Volume

CODEC = PackedCodec(4)
LEVEL_HU = 25.0


def tissue(rows: int = 128) -> tuple[Volume, Passage, ScanNoise]:
    """Thick slices of 40 HU whose noise a soft kernel has smoothed."""
    thick = upright((6, rows, rows), 5.0, 5.0)
    grid = thin_grid(thick, spacing_mm=1.0)
    noise = np.random.default_rng(0).standard_normal(grid.shape).astype(np.float32)
    noise = gaussian_filter(noise, (0, 0.8, 0.8), mode="wrap")
    hu = 40 + 30 * noise / noise.std()
    measured = SliceOperator.between(grid, thick).blur(torch.from_numpy(hu)).numpy().round().astype(np.int16)
    passage = Passage.between(grid, thick)
    nearest = np.abs(passage.offsets).argmin(axis=1)
    return Volume(measured, thick), passage, ScanNoise(np.ones(thick.shape, bool), nearest, 30.0, 0.8)


def white_draw(passage: Passage, rows: int) -> torch.Tensor:
    """A packed draw of white noise within the null space."""
    white = torch.randn((1, 1, len(passage.offsets), rows, rows), generator=torch.Generator().manual_seed(1))
    drawn: torch.Tensor = passage.operator.null(LEVEL_HU * CODEC.encode(white)[0])
    return drawn


def matched(drawn: torch.Tensor, log_scale: torch.Tensor, thick: Volume, passage: Passage, grain: Grain) -> np.ndarray:
    residual = drawn.clone()
    match_grain(residual, log_scale, torch.full((len(passage.offsets), 1, 1), LEVEL_HU), grain, passage, CODEC)
    # SPEC C1: still within the null space
    assert float(passage.operator.blur(residual).abs().max()) < 1e-3 * LEVEL_HU
    return CODEC.decode(residual[None])[0, 0].numpy()


def test_drawn_noise_gets_the_spectrum_of_the_thick_slices_and_keeps_its_strength() -> None:
    # SPEC C8: noise power
    thick, passage, noise = tissue()
    grain = measure_grain(thick, noise, passage)
    assert grain is not None
    drawn = white_draw(passage, 128)
    before = CODEC.decode(drawn[None])[0, 0].numpy()
    after = matched(drawn, torch.full(drawn.shape, float(np.log(LEVEL_HU))), thick, passage, grain)
    soft, pixel_mm = np.ones(after.shape, bool), thick.geometry.pixel_mm
    spectra = [noise_power_in_plane(hu, soft, pixel_mm) for hu in (before, after)]
    ratios = [each.power / grain.power.power for each in spectra]
    ranges = [float(r[2:-3].max() / r[2:-3].min()) for r in ratios]  # the last three hold a thousandth of the power
    assert ranges[0] > 30
    assert ranges[1] < 1.1
    assert 0.6 < ratios[1][0] / ratios[1][2] < 1.0  # what may be anatomy is not raised
    strengths = [noise_sd_in_plane(hu, soft) for hu in (before, after)]
    np.testing.assert_allclose(strengths[1], strengths[0], rtol=0.02)


def test_structure_is_left_as_it_was_drawn() -> None:
    thick, passage, noise = tissue()
    grain = measure_grain(thick, noise, passage)
    assert grain is not None
    drawn = white_draw(passage, 128)
    log_scale = torch.full(drawn.shape, float(np.log(LEVEL_HU)))
    log_scale[..., 24:] = float(np.log(50 * LEVEL_HU))  # an edge: the noise is a fiftieth of what is drawn there
    after = matched(drawn, log_scale, thick, passage, grain)
    before = CODEC.decode(drawn[None])[0, 0].numpy()
    assert np.abs(after - before)[..., 106:122].std() < 0.05 * before.std()
    assert np.abs(after - before)[..., 6:88].std() > 0.2 * before.std()


def test_too_little_tissue_has_no_grain() -> None:
    thick, passage, noise = tissue(32)
    few = ScanNoise(np.zeros_like(noise.soft), noise.nearest, noise.white_hu, noise.null)
    assert measure_grain(thick, few, passage) is None


def test_tissue_without_noise_has_no_grain() -> None:
    thick, passage, noise = tissue()
    still = Volume(np.full_like(thick.hu, 40), thick.geometry)
    assert measure_grain(still, noise, passage) is None


def test_small_regions_serve_where_large_ones_do_not_fit() -> None:
    thick, passage, noise = tissue()
    soft = np.zeros_like(noise.soft)
    soft[:, 8:20, 8:20] = soft[:, 40:52, 40:52] = True  # 12 pixels wide
    grain = measure_grain(thick, ScanNoise(soft, noise.nearest, noise.white_hu, noise.null), passage)
    assert grain is not None
    assert grain.side_px == 8
