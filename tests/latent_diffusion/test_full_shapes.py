"""The description's full size, step by step: shapes on the meta device, and full width with a small field in fact."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.small_model import upright
from torch import Tensor

from lamella.codecs.kl import KlCodec
from lamella.codecs.maisi import maisi_settings
from lamella.data.collate import Item, collate, hu_of
from lamella.diffusion import LossSettings, ScheduleSettings, ddim, ddpm, latent_mask, sample_losses
from lamella.latent_diffusion.condition import (
    Conditioning,
    LatentDiffusionSettings,
    condition_latents,
    denoiser,
    first_state,
)
from lamella.latent_diffusion.model import LatentModel
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import SideInformation
from lamella.networks.diffusion_unet import DiffusionUNet, preset
from lamella.thinning.grid import thin_grid
from lamella.thinning.model import Limits
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Volume
from lamella.window import FULL

MEDIUM = LatentDiffusionSettings(preset("medium"), ScheduleSettings("cosine", zero_terminal_snr=True))


@pytest.fixture
def on_meta() -> Iterator[None]:
    with torch.device("meta"):
        yield


def maisi(side: SideInformation = "none", tile: tuple[int, int, int] | None = None) -> KlCodec:
    network = dataclasses.replace(maisi_settings().network, side_information=side)
    return KlCodec(Autoencoder(network), dataclasses.replace(maisi_settings(), network=network, tile=tile))


def item(thick: int, thin: int, side: int) -> Item:
    """SPEC A5, B8: slices of 6 mm and 1 mm, aligned by position."""
    return Item(
        input=torch.zeros(1, thick, side, side),
        target=torch.zeros(1, thin, side, side),
        category="APE",
        patient_id="p",
        num_thick_slices=thick,
        num_thin_slices=thin,
        thick_mm=6 * torch.arange(thick, device="cpu", dtype=torch.float64),
        thin_mm=-2.5 + torch.arange(thin, device="cpu", dtype=torch.float64),
        name="p",
    )


@pytest.mark.usefixtures("on_meta")
def test_a_batch_of_the_full_size_is_padded_and_masked() -> None:
    # SPEC A5, A6, A13: two scans of unlike depth; masks at latent depth stay binary
    stacks = [item(50, 300, 512), item(45, 270, 512)]
    with torch.device("cpu"):  # masks and positions have values
        batch = collate([{**one, "input": one["input"], "target": one["target"]} for one in stacks])
    assert batch["input"].shape == (2, 1, 50, 512, 512)
    assert batch["target"].shape == (2, 1, 300, 512, 512)
    assert batch["thick_mask"].sum(2).flatten().tolist() == [50, 45]
    mask = latent_mask(batch["thin_mask"], 4)
    assert mask.shape == (2, 1, 75)
    assert mask.sum(2).flatten().tolist() == [75, 68]  # 270 slices end within the 68th cell
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert hu_of(batch["target"].to("meta"), batch["num_thin_slices"].to("meta"), FULL).shape == (2, 1, 300, 512, 512)


@pytest.mark.usefixtures("on_meta")
@pytest.mark.parametrize("tile", [None, (128, 256, 256)])
@pytest.mark.parametrize("side", ["none", "interpolated_thick"])
def test_the_codec_at_full_size(tile: tuple[int, int, int] | None, side: SideInformation) -> None:
    # SPEC A7, A15, A16, B9, B10: 300 slices are 75 latents, 50 are 13; the depth given is the depth returned
    codec = maisi(side, tile)
    for depth, cells in ((300, 75), (50, 13)):
        image = torch.empty(1, 1, depth, 512, 512)
        latent = codec.encode(image)
        assert latent.shape == (1, 4, cells, 128, 128)
        assert codec.decode(latent, (depth, 512, 512), image).shape == image.shape


@pytest.mark.usefixtures("on_meta")
@pytest.mark.parametrize("how", ["thick_latents", "thin_grid"])
@pytest.mark.parametrize("name", ["medium", "base"])
def test_condition_and_network_at_full_size(how: Conditioning, name: str) -> None:
    # SPEC A9, A10, A11: the thick latents on the thin latents' grid, 4 and 4 channels in, 4 out
    thick_mm, thin_mm = (one[None] for one in (item(50, 300, 4)["thick_mm"], item(50, 300, 4)["thin_mm"]))
    condition = condition_latents(maisi(), torch.empty(1, 1, 50, 512, 512), thick_mm, thin_mm, how)
    assert condition.shape == (1, 4, 75, 128, 128)
    network = DiffusionUNet(preset(name))
    assert network(torch.cat([condition, condition], dim=1), torch.empty(1)).shape == condition.shape


@pytest.mark.parametrize("side", ["none", "interpolated_thick"])
def test_maisis_width_in_fact(side: SideInformation) -> None:
    # SPEC A7, A16, B9: 20.9 M parameters on 10 slices of 20 x 24 pixels, untiled and in tiles
    torch.manual_seed(0)
    codec = maisi(side)
    hu = 300 * torch.randn(1, 1, 10, 20, 24)
    latent = codec.encode(hu)
    assert latent.shape == (1, 4, 3, 5, 6)
    for one in (codec, codec.with_settings(tile=(16, 16, 16))):
        back = one.decode(latent, (10, 20, 24), hu)
        assert back.shape == hu.shape
        assert bool(back.isfinite().all())


@pytest.mark.slow
def test_the_full_width_runs_through_every_step() -> None:
    # SPEC A5 to A16 at width 192 (599.7 M parameters, 2.4 GB): loss, both samplers, thin; 30 slices of 16 x 16 pixels
    with torch.device("meta"):
        unet = DiffusionUNet(preset("medium"))
    unet.to_empty(device="cpu")
    draw = torch.Generator().manual_seed(0)
    for parameter in unet.parameters():
        parameter.data.normal_(0, 0.02, generator=draw)
    torch.manual_seed(0)
    model = LatentModel("full", "", "Apache-2.0", MEDIUM, maisi(), unet, Limits())
    batch = collate([item(5, 30, 16)])
    condition = condition_latents(
        model.codec, 400 * torch.randn(1, 1, 5, 16, 16), batch["thick_mm"], batch["thin_mm"], "thick_latents"
    )
    predict = denoiser(unet, MEDIUM)
    x0, noise = torch.randn(condition.shape), torch.randn(condition.shape)
    assert x0.shape == (1, 4, 8, 4, 4)
    mask, settings = latent_mask(batch["thin_mask"], 4), LossSettings(min_snr_gamma=5.0)
    with torch.no_grad():
        losses = sample_losses(predict, x0, condition, torch.tensor([999]), noise, mask=mask, settings=settings)
    assert losses.shape == (1,)
    state = first_state(predict, condition, noise, 2)
    again: list[Tensor] = [
        ddim(predict, state, condition, 2),
        ddpm(
            predict,
            state,
            condition,
            2,
            lambda step: torch.randn(noise.shape, generator=torch.Generator().manual_seed(step)),
        ),
    ]
    assert all(one.shape == x0.shape for one in again)
    hu = np.random.default_rng(0).normal(0, 300, (5, 16, 16)).astype(np.int16)
    thick = Volume(hu, upright(hu.shape, 6.0, 6.0))
    asked = ThinSettings(mode="sample", steps=1, samples=1, spread=False, device="cpu")
    found = thin(thick, model, thin_grid(thick.geometry, slices=30), asked)
    assert found.volume.hu.shape == (30, 16, 16)
    assert found.report["consistency_rmse_hu"] <= 0.5
