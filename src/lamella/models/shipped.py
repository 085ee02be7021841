"""The models inside the package, found by name; no torch, so that a wrong name is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lamella.errors import UsageError
from lamella.networks.folder import CARD, ModelFolder, read_card
from lamella.thinning.model import Limits

SHIPPED = Path(__file__).parent
"""Models inside the package."""


@dataclass(frozen=True)
class ModelEntry:
    """One line of `lamella models list`."""

    name: str
    folder: Path
    sha256: str
    licence: str
    size_bytes: int
    description: str


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


def limits_of(source: str | Path) -> Limits:
    """What a model was trained for, as its card says it: the limits that it has once it is loaded.

    Raises:
        UsageError: no such model.
        ModelError: the card is missing or makes no sense.
    """
    folder = find_model(source)
    return ModelFolder(folder, read_card(folder), {}).settings(Limits, "limits", optional=True)


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
