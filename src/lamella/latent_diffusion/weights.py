"""A latent diffusion model as one folder: codec and denoising network in `weights.safetensors`, the rest in `model.yaml`.

The codec is part of the model: a network trained on one codec's latents, at one scale, means nothing with another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.errors import ModelError
from lamella.latent_diffusion.condition import LatentDiffusionSettings
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.diffusion_unet import DiffusionUNet
from lamella.networks.folder import read_folder, save_folder
from lamella.thinning.model import Limits

KIND = "latent-diffusion"


@dataclass(frozen=True, eq=False)
class LatentWeights:
    """What the model folder holds.

    The networks are taken over: `eval()`, no gradients.

    Attributes:
        name: of the folder's card.
        sha256: of the weights file; empty for a model that was never saved.
        licence: of the weights.
        settings: schedule, head, condition and shape of the denoising network.
        codec: HU <-> latents, with its measured scale.
        unet: raw network of the denoiser.
        limits: geometry it was trained for.

    Raises:
        ModelError: codec and network have different numbers of latent channels.
    """

    name: str
    sha256: str
    licence: str
    settings: LatentDiffusionSettings
    codec: KlCodec
    unet: DiffusionUNet
    limits: Limits

    def __post_init__(self) -> None:
        if self.codec.channels != self.settings.unet.out_channels:
            raise ModelError(
                f"Codec and denoising network of model {self.name} do not belong together. Found {self.codec.channels} "
                f"latent channels of the codec, {self.settings.unet.out_channels} of the network."
            )
        self.unet.eval().requires_grad_(False)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read a model folder.

        Raises:
            ModelError: a file is missing, its SHA-256 differs from the card's, its tensors do not fit the settings, or
                it is a model of another kind.
        """
        held = read_folder(folder, KIND)
        settings = held.settings(LatentDiffusionSettings, "settings")
        codec = held.settings(CodecSettings, "codec")
        with torch.device("meta"):  # random weights that are replaced at once would only cost time
            network, unet = Autoencoder(codec.network), DiffusionUNet(settings.unet)
        held.fill_networks({"autoencoder": network, "unet": unet})
        limits = held.settings(Limits, "limits", optional=True)
        return cls(**held.identity, settings=settings, codec=KlCodec(network, codec), unet=unet, limits=limits)

    def save(self, folder: Path, about: Mapping[str, Any], *, overwrite: bool = True) -> None:
        """Write weights and card; `about` holds what only the training run knows (data, steps, metrics, commit)."""
        card = {
            "name": self.name,
            "kind": KIND,
            "licence": self.licence,
            "settings": self.settings,
            "codec": self.codec.settings,
            "limits": self.limits,
            **about,
        }
        save_folder(folder, card, {"autoencoder": self.codec.network, "unet": self.unet}, overwrite=overwrite)
