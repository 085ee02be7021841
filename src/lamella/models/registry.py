"""The models inside the package and in folders; the one place that knows which kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lamella.codecs.folder import KIND as AUTOENCODER
from lamella.codecs.folder import load_codec
from lamella.embedded.model import EmbeddedModel
from lamella.errors import ModelError, UsageError
from lamella.latent_diffusion.model import LatentModel
from lamella.latent_diffusion.weights import KIND as LATENT_DIFFUSION
from lamella.networks.folder import CARD, EMBEDDED, read_card, verify_weights
from lamella.thinning.model import ThinModel

SHIPPED = Path(__file__).parent
"""Models inside the package."""

_READERS: dict[str, Callable[[Path], ThinModel]] = {EMBEDDED: EmbeddedModel.read, LATENT_DIFFUSION: LatentModel.read}


@dataclass(frozen=True)
class ModelEntry:
    """One line of `lamella models list`."""

    name: str
    folder: Path
    sha256: str
    licence: str
    size_bytes: int
    description: str


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


def find_model(source: str | Path) -> Path:
    """The folder of a shipped model's name, or of a path.

    Raises:
        UsageError: neither.
    """
    for folder in (SHIPPED / str(source), Path(source)):
        if (folder / CARD).is_file():
            return folder
    names = ", ".join(entry.name for entry in list_models()) or "none"
    raise UsageError(f"There is no model {str(source)!r}. Expected a folder with {CARD}, or one of: {names}.")


def is_shipped(name: str) -> bool:
    """Whether a name is that of a model inside the package, not a folder's."""
    return Path(name).name == name and (SHIPPED / name / CARD).is_file()


def list_models() -> tuple[ModelEntry, ...]:
    """The models inside the package."""
    entries = []
    for folder in sorted(path.parent for path in SHIPPED.glob(f"*/{CARD}")):
        card, size = read_card(folder), sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
        named = (str(card[key]) for key in ("name", "weights_sha256", "licence"))
        name, sha256, licence = named
        entries.append(ModelEntry(name, folder, sha256, licence, size, str(card.get("description", ""))))
    return tuple(entries)
