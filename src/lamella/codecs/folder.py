"""An autoencoder codec on disk: a model folder with `kind: autoencoder`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.folder import read_folder, save_folder

KIND = "autoencoder"


def save_codec(folder: Path, codec: KlCodec, about: Mapping[str, Any], *, overwrite: bool = True) -> None:
    """Write a codec; see `save_folder`.

    Args:
        folder: the model folder.
        codec: network and settings.
        about: what goes into the card besides: `licence`, and what the training run or the import knows (name, data, source).
        overwrite: replace an earlier codec.
    """
    save_folder(folder, {"kind": KIND, "settings": codec.settings, **about}, {"": codec.network}, overwrite=overwrite)


def load_codec(folder: str | Path) -> KlCodec:
    """Read a codec's folder and check it: kind, SHA-256, every tensor's name and shape.

    Raises:
        ModelError: a file is missing or altered, the folder holds another kind of model, or tensors do not fit.
    """
    held = read_folder(folder, KIND)
    settings = held.settings(CodecSettings, "settings")
    with torch.device("meta"):  # random weights that are replaced at once would only cost time
        network = Autoencoder(settings.network)
    held.fill_networks({"": network})
    return KlCodec(network, settings)
