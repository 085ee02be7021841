"""A latent diffusion model with random weights and MAISI's shape at a small width, for tests."""

from __future__ import annotations

import torch

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.diffusion import ScheduleSettings
from lamella.latent_diffusion.condition import Conditioning, LatentDiffusionSettings
from lamella.latent_diffusion.model import LatentModel
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.networks.diffusion_unet import DiffusionUNet, DiffusionUNetSettings
from lamella.thinning.model import Limits

SMALL_UNET = DiffusionUNetSettings(
    in_channels=8,
    out_channels=4,
    width=8,
    multipliers=(1, 2),
    blocks=1,
    attention_levels=(1,),
    heads=2,
    time_embedding=32,
)


def small_codec(groups: int = 4, tile: tuple[int, int, int] | None = None) -> KlCodec:
    """MAISI's shape: 4 x 4 x 4 voxels a cell, 4 channels, axes RAS; `groups=0` for tiles that change nothing."""
    network = AutoencoderSettings(channels=(8, 8, 16), blocks=(1, 1, 1), latent_channels=4, groups=groups)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        autoencoder = Autoencoder(network)
    return KlCodec(autoencoder, CodecSettings(network, axes="ras_xyz", scale=1.5, tile=tile))


def small_latent_model(condition: Conditioning = "thick_latents", groups: int = 4) -> LatentModel:
    """A whole model that has never been saved."""
    settings = LatentDiffusionSettings(
        SMALL_UNET, ScheduleSettings("cosine", zero_terminal_snr=True), head="v", condition=condition
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        unet = DiffusionUNet(SMALL_UNET)
        for parameter in unet.parameters():  # layers that begin at zero would hide what they are given
            if not bool(parameter.any()):
                torch.nn.init.normal_(parameter, std=0.05)
    return LatentModel("small latent", "", "Apache-2.0", settings, small_codec(groups), unet, Limits())
