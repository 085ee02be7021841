"""A latent diffusion model as one folder: codec and denoising network in `weights.safetensors`, the rest in `model.yaml`.

The codec is part of the model: a network trained on one codec's latents, at one scale, means nothing with another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml
from safetensors.torch import save_file

from lamella.diffusion_unet import DiffusionUNet
from lamella.errors import ModelError
from lamella.latent.autoencoder import Autoencoder
from lamella.latent.codec_kl import CodecSettings, KlCodec
from lamella.latent.folder import CARD, WEIGHTS, plain
from lamella.latent_diffusion import LatentDiffusionSettings
from lamella.model import LATENT, Limits, Model, build, fill_part, kind_of, open_model
from lamella.publish import sha256_of, staged_folder

_AUTOENCODER, _UNET = "autoencoder.", "unet."
"""What the names of each network's tensors begin with."""


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A latent diffusion model, ready to use.

    The networks are taken over: `eval()`, no gradients.

    Attributes:
        name: of the folder's card.
        sha256: of the weights file; empty for one that was never saved.
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
    kind: ClassVar[str] = LATENT

    def __post_init__(self) -> None:
        if self.codec.channels != self.settings.unet.out_channels:
            raise ModelError(
                f"Codec and denoising network of model {self.name} do not belong together. Found {self.codec.channels} "
                f"latent channels of the codec, {self.settings.unet.out_channels} of the network."
            )
        self.unet.eval().requires_grad_(False)

    @classmethod
    def load(cls, source: str | Path) -> LatentModel:
        """Load a model folder.

        Raises:
            UsageError: no such folder.
            ModelError: a file is missing, its SHA-256 differs from the card's, its tensors do not fit the settings, or
                it is a model of another kind.
        """
        folder, card, tensors = open_model(source, LATENT)
        settings = build(LatentDiffusionSettings, card.get("settings"), folder)
        codec_settings = build(CodecSettings, card.get("codec"), folder)
        foreign = sorted(k for k in tensors if not k.startswith((_AUTOENCODER, _UNET)))
        if foreign:
            raise ModelError(
                f"The weights in {folder} hold tensors of no network of this model: {', '.join(foreign)}. Expected "
                f"names that begin with {_AUTOENCODER} or {_UNET}"
            )
        with torch.device("meta"):  # random weights that are replaced at once would only cost time
            network, unet = Autoencoder(codec_settings.network), DiffusionUNet(settings.unet)
        fill_part(network, tensors, _AUTOENCODER, folder)
        fill_part(unet, tensors, _UNET, folder)
        return cls(
            name=str(card["name"]),
            sha256=str(card["weights_sha256"]),
            licence=str(card["licence"]),
            settings=settings,
            codec=KlCodec(network, codec_settings),
            unet=unet,
            limits=build(Limits, card.get("limits", {}), folder),
        )

    def save(self, folder: Path, about: Mapping[str, Any], *, overwrite: bool = True) -> None:
        """Write weights (float32) and card; the folder appears whole or not at all.

        Args:
            folder: the model folder; one that holds anything but a model's two files is never replaced.
            about: what only the training run knows (data, steps, metrics, commit).
            overwrite: replace an earlier model.

        Raises:
            RefusedInput: the folder exists and may not be replaced.
        """
        parts = ((_AUTOENCODER, self.codec.network), (_UNET, self.unet))
        tensors = {f"{prefix}{k}": v for prefix, network in parts for k, v in network.state_dict().items()}
        with staged_folder(folder, overwrite=overwrite, replaceable=(WEIGHTS, CARD)) as new:
            save_file({k: v.detach().cpu().float().contiguous().clone() for k, v in tensors.items()}, new / WEIGHTS)
            (new / WEIGHTS).chmod(0o644)  # safetensors makes it private
            card = {
                "name": self.name,
                "kind": LATENT,
                "licence": self.licence,
                "weights_sha256": sha256_of(new / WEIGHTS),
                "settings": plain(dataclasses.asdict(self.settings)),
                "codec": plain(dataclasses.asdict(self.codec.settings)),
                "limits": plain(dataclasses.asdict(self.limits)),
                **about,
            }
            (new / CARD).write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")

    def described(self) -> list[dict[str, Any]]:
        """Everything but the weights that decides an answer."""
        return [dataclasses.asdict(part) for part in (self.settings, self.limits, self.codec.settings)]


def load_any(source: str | Path) -> Model | LatentModel:
    """Load a model of either kind, by the name of a shipped one or from a folder.

    Raises:
        UsageError: no such model.
        ModelError: see the two `load`; or a kind that answers nothing by itself, such as a codec.
    """
    kind = kind_of(source)
    if kind == LATENT:
        return LatentModel.load(source)
    return Model.load(source)  # which refuses every other kind
