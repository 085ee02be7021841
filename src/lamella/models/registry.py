"""Models of every kind, from their folders; the one place that knows which kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lamella.codecs.folder import KIND as AUTOENCODER
from lamella.codecs.folder import load_codec
from lamella.embedded.model import EmbeddedModel
from lamella.errors import ModelError
from lamella.latent_diffusion.model import LatentModel
from lamella.latent_diffusion.weights import KIND as LATENT_DIFFUSION
from lamella.models.shipped import find_model
from lamella.networks.folder import CARD, EMBEDDED, read_card, verify_weights
from lamella.thinning.model import ThinModel

_READERS: dict[str, Callable[[Path], ThinModel]] = {EMBEDDED: EmbeddedModel.read, LATENT_DIFFUSION: LatentModel.read}


def load_model(source: str | Path = EMBEDDED) -> ThinModel:
    """Load a model of any kind, by the name of a shipped one or from a folder.

    Raises:
        UsageError: no such model.
        ModelError: a file is missing or altered, or a kind that answers nothing by itself, such as a codec.
    """
    folder = find_model(source)
    kind = read_card(folder)["kind"]
    if kind not in _READERS:
        raise ModelError(
            f"The model {folder.name} thins nothing by itself. Found kind {kind!r}, expected one of {', '.join(_READERS)}. "
            f"File {folder / CARD}."
        )
    return _READERS[kind](folder)


def verify(source: str | Path) -> None:
    """Load a model, or a codec, and check that every weight is finite.

    Raises:
        UsageError: no such model.
        ModelError: anything is missing, altered or not finite.
    """
    folder = find_model(source)
    if read_card(folder)["kind"] == AUTOENCODER:
        load_codec(folder)
    else:
        load_model(folder)
    verify_weights(folder)
