"""`lamella info`: what this installation is and can do. Asks nothing of the network."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from lamella import RESEARCH_ONLY, __version__
from lamella.cli.options import Debug, Json, Quiet

_PACKAGES = ("torch", "numpy", "scipy", "pydicom", "imagecodecs", "nibabel", "safetensors", "lightning")


def info(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PRESET",
            help="Instead: what a latent U-Net (medium, base, small, smoke) and its autoencoder cost.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print versions, devices, models and readable encodings.

    With --model: parameters, arithmetic and memory of a network.
    """
    found = gathered() if model is None else costed(model)
    text = _text(found) if model is None else _cost_text(found)
    print(json.dumps(found, indent=2) if as_json else text)


def costed(name: str) -> dict[str, Any]:
    """What a preset of the latent U-Net and MAISI's autoencoder cost at the reference's size, as plain JSON types.

    Raises:
        UsageError: no such preset.
    """
    from lamella.codecs.maisi import maisi_settings
    from lamella.latent_diffusion.cost import codec_cost, cost
    from lamella.networks.diffusion_unet import preset

    settings, codec = preset(name), maisi_settings()
    found = cost(settings, codec.network)
    z, y, x = (n * codec.network.factor for n in found.shape)
    plain, spared = found.training_bytes
    return {
        "preset": name,
        "unet": {
            "parameters": found.unet_parameters,
            "tensors": found.unet_tensors,
            "settings": asdict(settings),
            "latent_shape": found.shape,
            "precision": found.precision,
            "step_pflop": found.step_flop / 1e15,
            "weight_bytes": found.weight_bytes,
            "state_bytes": found.state_bytes,
            "inference_bytes": found.inference_bytes,
            "training_bytes": plain,
            "checkpointed_training_bytes": spared,
        },
        "autoencoder": {"parameters": found.autoencoder_parameters, "tensors": found.autoencoder_tensors},
        "codec_pass": asdict(codec_cost(codec, (z, y, x))),
    }


def gathered() -> dict[str, Any]:
    """Everything `lamella info` knows, as plain JSON types."""
    import psutil
    import torch
    from pydicom.uid import UID

    from lamella.dicom.decode import SYNTAXES
    from lamella.models.shipped import list_models

    return {
        "lamella": __version__,
        "notice": RESEARCH_ONLY,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": ["cpu", *(f"cuda:{n} {torch.cuda.get_device_name(n)}" for n in range(torch.cuda.device_count()))],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "models": [{"name": entry.name, "sha256": entry.sha256, "licence": entry.licence} for entry in list_models()],
        "transfer_syntaxes": sorted(UID(syntax).name for syntax in SYNTAXES),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _text(found: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items() if number)
    models = ", ".join(f"{one['name']} ({one['sha256'][:12]}, {one['licence']})" for one in found["models"]) or "none"
    return (
        f"lamella {found['lamella']}  {found['notice']}\n"
        f"python {found['python']} on {found['platform']}\n"
        f"{packages}\n"
        f"devices: {', '.join(found['devices'])}; {found['cores']} core{'s' * (found['cores'] != 1)}, "
        f"{found['threads']} thread{'s' * (found['threads'] != 1)}, "
        f"{found['memory_bytes'] / 2**30:.1f} GiB memory\n"
        f"models: {models}\n"
        f"reads: {', '.join(found['transfer_syntaxes'])}; NIfTI"
    )


def _cost_text(found: dict[str, Any]) -> str:
    unet, vae, run = found["unet"], found["autoencoder"], found["codec_pass"]

    cells, voxels, tile = (" x ".join(map(str, s)) for s in (unet["latent_shape"], run["shape"], run["tile_shape"]))
    gb = {key: f"{n / 1e9:.2f} GB" for part in (unet, run) for key, n in part.items() if key.endswith("_bytes")}
    return (
        f"U-Net {found['preset']}: {unet['parameters'] / 1e6:.1f} M parameters ({unet['parameters']:,}) in "
        f"{unet['tensors']} tensors, width {unet['settings']['width']}; weights {gb['weight_bytes']}\n"
        f"one latent of {unet['settings']['out_channels']} channels and {cells} cells, "
        f"{unet['precision']}:\n"
        f"  {unet['step_pflop']:.4f} PFLOP a step (twice the multiplications of one evaluation)\n"
        f"  inference {gb['inference_bytes']}\n"
        f"  training {gb['training_bytes']}, with gradient checkpointing "
        f"{gb['checkpointed_training_bytes']} (weights, gradients, AdamW and average included)\n"
        f"autoencoder (MAISI): {vae['parameters']:,} parameters in {vae['tensors']} tensors\n"
        f"{voxels} voxels, float32:\n"
        f"  encode {run['encode_flop'] / 1e15:.4f} PFLOP, {gb['encode_bytes']}; "
        f"decode {run['decode_flop'] / 1e15:.4f} PFLOP, {gb['decode_bytes']}\n"
        f"  in tiles that read at most {tile}: {gb['tile_bytes']}\n"
        "Memory is computed, not measured; kernels' workspaces and the device's context come on top."
    )
