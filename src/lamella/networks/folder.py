"""An autoencoder on disk: `weights.safetensors` and `model.yaml` with `kind: autoencoder`. No pickle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lamella.errors import LamellaError, ModelError
from lamella.latent.autoencoder import Autoencoder, AutoencoderSettings
from lamella.latent.codec_kl import CodecSettings, KlCodec
from lamella.publish import sha256_of, staged_folder

WEIGHTS = "weights.safetensors"
CARD = "model.yaml"
KIND = "autoencoder"


def save_codec(folder: Path, codec: KlCodec, about: Mapping[str, Any], *, overwrite: bool = True) -> None:
    """Write weights (float32) and card; the folder appears whole or not at all.

    Args:
        folder: the model folder; one that holds anything but a model's two files is never replaced.
        codec: network and settings.
        about: what goes into the card besides: `name` and `licence`, and whatever the training run or the import knows
            (data, steps, metrics, commit, source). `name` is the folder's own if left out.
        overwrite: replace an earlier codec.

    Raises:
        ModelError: `about` names no licence.
        RefusedInput: the folder exists and may not be replaced.
    """
    if not about.get("licence"):
        raise ModelError(f"A model folder needs a licence. Found none for {folder}. Give `licence` with what is saved.")
    tensors = {k: v.detach().cpu().float().contiguous() for k, v in codec.network.state_dict().items()}
    with staged_folder(folder, overwrite=overwrite, replaceable=(WEIGHTS, CARD)) as new:
        save_file(tensors, new / WEIGHTS)
        (new / WEIGHTS).chmod(0o644)  # safetensors makes it private
        card = {
            "name": about.get("name", folder.name),
            "kind": KIND,
            "licence": about["licence"],
            "weights_sha256": sha256_of(new / WEIGHTS),
            "settings": plain(dataclasses.asdict(codec.settings)),
            **{k: v for k, v in about.items() if k not in ("name", "licence")},
        }
        (new / CARD).write_text(yaml.safe_dump(card, sort_keys=False, width=110), encoding="utf-8")


def load_codec(folder: str | Path) -> KlCodec:
    """Read a codec's folder and check it: kind, SHA-256, every tensor's name and shape.

    Raises:
        ModelError: a file is missing or altered, the folder holds another kind of model, or tensors do not fit.
    """
    folder = Path(folder)
    card = read_codec_card(folder)
    settings = _settings(card.get("settings"), folder)
    found = sha256_of(folder / WEIGHTS)
    if found != card["weights_sha256"]:
        raise ModelError(
            f"The weights of model {folder.name} are not the ones its card describes. File {folder / WEIGHTS}: SHA-256 "
            f"{found}, expected {card['weights_sha256']}. Copy the model folder again, or import the weights again."
        )
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ModelError(
            f"The weights {folder / WEIGHTS} are no safetensors file. Copy the model folder again."
        ) from error
    with torch.device("meta"):  # random weights that are replaced at once would only cost time
        network = Autoencoder(settings.network)
    fill(network, tensors, f"The weights in {folder} do not fit its settings.")
    return KlCodec(network, settings)


def verify_codec(folder: str | Path) -> KlCodec:
    """Load a codec and check that every weight is finite.

    Raises:
        ModelError: anything is missing, altered or not finite.
    """
    codec = load_codec(folder)
    for name, tensor in codec.network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"Tensor {name} of codec {folder} holds values that are not finite.")
    return codec


def read_codec_card(folder: Path) -> dict[str, Any]:
    """The card of a codec's folder.

    Raises:
        ModelError: it is not a YAML mapping with what a card needs, of another kind, or the weights are missing.
    """
    try:
        card = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"The card {folder / CARD} cannot be read: {type(error).__name__}.") from error
    needed = ("name", "kind", "licence", "weights_sha256", "settings")
    lacking = [k for k in needed if not isinstance(card, dict) or k not in card]
    if lacking:
        raise ModelError(f"The card {folder / CARD} lacks {', '.join(lacking)}.")
    if card["kind"] != KIND:
        raise ModelError(f"The folder {folder} holds no codec. Found kind {card['kind']!r}, expected {KIND!r}.")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"Model folder {folder} lacks {WEIGHTS}.")
    return dict(card)


def fill(network: nn.Module, tensors: Mapping[str, Tensor], wrong: str) -> None:
    """Put tensors into a network, all of them or none; `wrong` begins the message of a refusal.

    Raises:
        ModelError: names are missing or unexpected, or shapes differ; all of them are listed.
    """
    expected = network.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    shapes = [
        f"{k} {tuple(tensors[k].shape)} instead of {tuple(expected[k].shape)}"
        for k in expected
        if k in tensors and tensors[k].shape != expected[k].shape
    ]
    if missing or unexpected or shapes:
        raise ModelError(
            f"{wrong} Missing: {', '.join(missing) or 'none'}. Unexpected: {', '.join(unexpected) or 'none'}. "
            f"Other shape: {', '.join(shapes) or 'none'}."
        )
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=True, assign=True)


def _settings(values: Any, folder: Path) -> CodecSettings:
    try:
        network = AutoencoderSettings(**_tuples(values["network"]))
        return CodecSettings(**{**_tuples(values), "network": network})
    except (KeyError, TypeError, AttributeError, LamellaError) as error:
        raise ModelError(f"The settings in {folder / CARD} are not those of a codec. {error}") from error


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, for YAML."""
    return {k: plain(v) if isinstance(v, dict) else list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
