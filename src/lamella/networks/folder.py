"""A model on disk: `weights.safetensors` and `model.yaml`, its card, checked against each other. No pickle.

Every kind of model is read, verified and written here; the room of each kind knows what its card's settings mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from lamella.errors import LamellaError, ModelError
from lamella.files.atomic import sha256_of, staged_folder
from lamella.files.config import fill, plain

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "weights.safetensors"
CARD = "model.yaml"
EMBEDDED = "embedded"
"""Kind of a card that names none."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """What a model folder holds.

    Attributes:
        path: the folder.
        card: name, kind, licence, SHA-256 of the weights, settings, and what the training run noted.
        tensors: weights by name; the first part of a name says whose they are.
    """

    path: Path
    card: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def identity(self) -> dict[str, str]:
        """Name, SHA-256 and licence, as every model has them."""
        return {
            "name": str(self.card["name"]),
            "sha256": str(self.card["weights_sha256"]),
            "licence": str(self.card["licence"]),
        }

    def settings(self, kind: type[T], key: str, *, optional: bool = False) -> T:
        """Fill a dataclass from one key of the card; without an `optional` one all fields have their defaults.

        Raises:
            ModelError: the key is missing; not a mapping, an unknown field, or values that its class refuses.
        """
        if key not in self.card and not optional:
            raise ModelError(f"The card {self.path / CARD} lacks {key}.")
        try:
            return fill(kind, self.card.get(key, {}), key)
        except (LamellaError, TypeError) as error:
            raise ModelError(f"The card {self.path / CARD} does not describe {kind.__name__}. {error}") from error

    def fill_networks(self, networks: Mapping[str, nn.Module]) -> None:
        """Put the tensors into networks by the first part of their names ("" for a single network); all of them or none.

        Raises:
            ModelError: tensors of no network, missing names or other shapes; all of them are listed.
        """
        names = tuple(f"{name}." if name else "" for name in networks)
        foreign = sorted(k for k in self.tensors if not k.startswith(names))
        if foreign:
            raise ModelError(
                f"The weights in {self.path} hold tensors of no network of this model: {', '.join(foreign)}. Expected "
                f"names that begin with {' or '.join(names)}"
            )
        for prefix, (name, network) in zip(names, networks.items(), strict=True):
            own = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
            which = f" ({name} network)" if name else ""
            fill_network(network, own, f"The weights in {self.path} do not fit its settings{which}.")


def read_folder(folder: str | Path, kind: str) -> ModelFolder:
    """Read a model folder once its kind and its SHA-256 are right.

    Raises:
        ModelError: a file is missing, no safetensors, altered, or the model is of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    card = read_card(folder)
    if card["kind"] != kind:
        raise ModelError(
            f"The model {folder.name} is of another kind. Found {card['kind']!r}, expected {kind!r}. File {folder / CARD}."
        )
    weights = folder / WEIGHTS
    found = sha256_of(weights)
    if found != card["weights_sha256"]:
        raise ModelError(
            f"The weights of model {folder.name} are not the ones its card describes. File {weights}: SHA-256 "
            f"{found}, expected {card['weights_sha256']}. Copy the model folder again, or install Lamella again."
        )
    try:
        return ModelFolder(folder, card, load_file(weights))
    except SafetensorError as error:
        raise ModelError(f"The weights {weights} are no safetensors file. Copy the model folder again.") from error


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of a model folder, its kind filled in.

    Raises:
        ModelError: it is not a YAML mapping with a name, a licence and a checksum, or the weights are missing.
    """
    folder = Path(folder)
    try:
        card = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"The card {folder / CARD} cannot be read: {type(error).__name__}.") from error
    lacking = [k for k in ("name", "licence", "weights_sha256") if not isinstance(card, dict) or k not in card]
    if lacking:
        raise ModelError(f"The card {folder / CARD} lacks {', '.join(lacking)}.")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"Model folder {folder} lacks {WEIGHTS}.")
    return {**card, "kind": str(card.get("kind", EMBEDDED))}


def verify_weights(folder: str | Path) -> None:
    """Check that every weight is finite.

    Raises:
        ModelError: naming the first tensor that is not.
    """
    from safetensors.torch import load_file

    for name, tensor in load_file(Path(folder) / WEIGHTS).items():
        if not tensor.isfinite().all():
            raise ModelError(f"Tensor {name} of model {read_card(folder)['name']} holds values that are not finite.")


def save_folder(
    folder: Path, card: Mapping[str, Any], networks: Mapping[str, nn.Module], *, overwrite: bool = True
) -> None:
    """Write weights (float32) and card; the folder appears whole or not at all.

    Args:
        folder: the model folder; one that holds anything but a model's two files is never replaced.
        card: kind, licence, settings (dataclasses become mappings), and what only the training run knows; the name defaults
            to the folder's. The SHA-256 is added.
        networks: what to save, by the first part of the tensors' names; "" for a single network.
        overwrite: replace an earlier model.

    Raises:
        ModelError: the card names no licence.
        UsageError: the folder exists and may not be replaced.
    """
    from safetensors.torch import save_file

    if not card.get("licence"):
        raise ModelError(f"A model folder needs a licence. Found none for {folder}. Give `licence` with what is saved.")
    tensors = {
        f"{name}.{k}" if name else k: v.detach().cpu().float().contiguous().clone()
        for name, network in networks.items()
        for k, v in network.state_dict().items()
    }
    with staged_folder(folder, overwrite=overwrite, replaceable=(WEIGHTS, CARD)) as new:
        save_file(tensors, new / WEIGHTS)
        (new / WEIGHTS).chmod(0o644)  # safetensors makes it private
        head = {"name": card.get("name", folder.name), "kind": card["kind"], "licence": card["licence"]}
        about = {k: plain(v) for k, v in card.items() if k not in head}
        whole = {**head, "weights_sha256": sha256_of(new / WEIGHTS), **about}
        (new / CARD).write_text(yaml.safe_dump(whole, sort_keys=False, width=110), encoding="utf-8")


def fill_network(network: nn.Module, tensors: Mapping[str, Tensor], wrong: str) -> None:
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
