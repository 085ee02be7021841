"""MAISI's autoencoder (Guo et al., arXiv 2409.11169): its settings, and its published weights as a codec.

The weights are NVIDIA's and come under NVIDIA's terms, not Lamella's. Lamella neither contains nor downloads them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.errors import ModelError, UsageError
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.networks.folder import fill_network

WRAPPINGS = ("unet_state_dict", "state_dict")
"""Names under which a checkpoint holds the tensors, where it is not the state dict itself.

MAISI's own programs look for `unet_state_dict` (its trainer saves every network under that name) and else take the file
as it is; `state_dict` is Lightning's.
"""

REPOSITORY = "https://huggingface.co/nvidia/NV-Generate-CT"
LICENCE = f"NVIDIA's terms for these weights, see {REPOSITORY}"
TERMS = f"""\
MAISI's autoencoder weights are NVIDIA's. Lamella's own licence does not cover them.
Their terms are stated by the repository that they come from:
  {REPOSITORY}
which referred, in 2026, to the NVIDIA Open Model License Agreement:
  https://www.nvidia.com/en-us/agreements/enterprise-software/nvidia-open-model-license/
Weights from elsewhere (the MAISI bundle of 2024, NV-Generate-MR) may have other terms, among them non-commercial ones.
Read the terms that came with your file; they may also cover what is derived from the weights, such as this import and a
diffusion model trained on its latents. This is a pointer to the terms, not their text."""


def maisi_settings() -> CodecSettings:
    """[-1000, 1000] HU -> [0, 1], axes RAS x, y, z, no measured scale yet.

    The tile is for a card of 80 GB. Of 300 x 512 x 512 voxels it reads, with blend and halo, at most 244 x 328 x 328 at
    once, of which the two largest feature maps (128 channels, float32) take 27 GB, and computes 3.2 times what one pass
    would. (64, 128, 128) reads 172 x 272 x 272 (13 GB) and computes 8.5 times as much. Computed, not measured.
    """
    return CodecSettings(AutoencoderSettings(), axes="ras_xyz", tile=(128, 256, 256))


def import_maisi(path: str | Path, settings: CodecSettings | None = None) -> KlCodec:
    """Read MAISI's autoencoder checkpoint: strictly, and tensors only, so that the file cannot run code.

    Args:
        path: a `.pt` file: the state dict itself, or one inside a mapping (`WRAPPINGS`).
        settings: of a network of the same family but another size; MAISI's if None.

    Raises:
        UsageError: there is no such file; or this torch does not keep it from running code.
        ModelError: it is no such checkpoint; all missing and unexpected keys and other shapes are listed.
    """
    path, settings = Path(path), settings or maisi_settings()
    if not path.is_file():
        raise UsageError(f"There is no file {path}. Expected MAISI's autoencoder as a .pt file.")
    _refuse_old_torch()
    tensors = _state_dict(path)
    with torch.device("meta"):
        network = Autoencoder(settings.network)
    fill_network(network, tensors, f"The checkpoint {path.name} is not MAISI's autoencoder.")
    sick = [k for k, v in network.state_dict().items() if not bool(torch.isfinite(v).all())]
    if sick:
        raise ModelError(
            f"The checkpoint {path.name} holds values that are not finite, in {', '.join(sick)}. Download it again."
        )
    return KlCodec(network, settings)


def _refuse_old_torch() -> None:
    """Before torch 2.10 a checkpoint made for it runs code although only tensors are asked for (CVE-2026-24747)."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10):
        raise UsageError(
            f"This torch cannot read a foreign checkpoint safely. Found torch {torch.__version__}, expected 2.10 or newer."
        )


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"The checkpoint {path.name} holds more than tensors and plain values, or is no checkpoint. It was not read, "
            "because reading the rest could run code. Expected a .pt file of a state dict."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The checkpoint {path.name} cannot be read ({type(error).__name__}). Expected a whole .pt file of a state "
            "dict. Download it again."
        ) from error
    for name in WRAPPINGS:
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
            break
    if not isinstance(held, dict) or not held or not all(isinstance(v, Tensor) for v in held.values()):
        found = (
            f"a mapping with {', '.join(sorted(map(str, held))[:8])}" if isinstance(held, dict) else type(held).__name__
        )
        raise ModelError(
            f"The checkpoint {path.name} holds no state dict. Found {found or 'nothing'}, expected tensors by name, at "
            f"the top or under {' or '.join(WRAPPINGS)}."
        )
    return dict(held)
