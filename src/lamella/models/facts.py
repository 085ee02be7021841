"""What a model folder or a training checkpoint holds, without building a network."""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamella.errors import ModelError
from lamella.files.atomic import sha256_of
from lamella.networks.folder import EMBEDDED, WEIGHTS, read_card

_HEADER_LIMIT = 100_000_000
"""safetensors allows a header of at most this many bytes."""


@dataclass(frozen=True)
class ModelFacts:
    """A model folder.

    Attributes:
        name, kind, licence: of its card.
        sha256: of the weights file as it is.
        intact: whether that is the one its card names.
        tensors, parameters: how many, by the first part of the tensors' names.
        dtypes: number formats of the weights.
        card: the whole card.
    """

    name: str
    kind: str
    licence: str
    sha256: str
    intact: bool
    tensors: dict[str, int]
    parameters: dict[str, int]
    dtypes: tuple[str, ...]
    card: dict[str, Any]


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint of a training run.

    Attributes:
        name: of the file.
        step, epoch: where training stood.
        size_bytes: of the file.
        tensors, parameters: of the networks, by the first part of the tensors' names.
        not_finite: tensors of the networks that hold NaN or infinity.
        holds: the parts of the checkpoint (optimizer, schedule, callbacks and so on).
        learning_rates: of the optimizer's groups.
    """

    name: str
    step: int
    epoch: int
    size_bytes: int
    tensors: dict[str, int]
    parameters: dict[str, int]
    not_finite: tuple[str, ...]
    holds: tuple[str, ...]
    learning_rates: tuple[float, ...]


def model_facts(folder: Path) -> ModelFacts:
    """Read a model folder's card and the header of its weights.

    Raises:
        ModelError: the card or the weights cannot be read.
    """
    card, found = read_card(folder), sha256_of(folder / WEIGHTS)
    header = _header(folder / WEIGHTS)
    sizes = {name: math.prod(entry["shape"]) for name, entry in header.items()}
    return ModelFacts(
        name=str(card["name"]),
        kind=str(card.get("kind", EMBEDDED)),
        licence=str(card["licence"]),
        sha256=found,
        intact=found == card["weights_sha256"],
        tensors=_counted(dict.fromkeys(sizes, 1)),
        parameters=_counted(sizes),
        dtypes=tuple(sorted({str(entry["dtype"]) for entry in header.values()})),
        card=card,
    )


def checkpoint_facts(path: Path) -> CheckpointFacts:
    """Read a checkpoint; only tensors and plain values are accepted, no code is run.

    Raises:
        ModelError: it is damaged, holds anything else, or is no checkpoint of a training run.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"The checkpoint {path.name} cannot be read ({type(error).__name__}). Expected a whole file with tensors and "
            "plain values only. If it was cut off, use the one before it."
        ) from error
    if not isinstance(held, dict) or not isinstance(held.get("state_dict"), dict):
        raise ModelError(f"The file {path.name} is no checkpoint of a training run: it lacks state_dict.")
    weights = {k: v for k, v in held["state_dict"].items() if isinstance(v, Tensor)}
    groups = [g for one in held.get("optimizer_states", []) for g in one.get("param_groups", [])]
    return CheckpointFacts(
        name=path.name,
        step=int(held.get("global_step", 0)),
        epoch=int(held.get("epoch", 0)),
        size_bytes=path.stat().st_size,
        tensors=_counted(dict.fromkeys(weights, 1)),
        parameters=_counted({k: v.numel() for k, v in weights.items()}),
        not_finite=tuple(k for k, v in weights.items() if not bool(torch.isfinite(v).all())),
        holds=tuple(sorted(str(k) for k in held)),
        learning_rates=tuple(float(g["lr"]) for g in groups if "lr" in g),
    )


def _header(weights: Path) -> dict[str, dict[str, Any]]:
    """Names, shapes and number formats of a safetensors file: a length, then JSON (its format, version 0.4)."""
    size = weights.stat().st_size
    with weights.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _HEADER_LIMIT):
            raise ModelError(f"The weights {weights} are no safetensors file, or cut off. Copy the model folder again.")
        try:
            header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(
                f"The weights {weights} have a header that cannot be read. Copy the folder again."
            ) from error
    header.pop("__metadata__", None)
    return header


def _counted(sizes: dict[str, int]) -> dict[str, int]:
    """Sums by the first part of each name."""
    total: Counter[str] = Counter()
    for name, size in sizes.items():
        total[name.split(".", 1)[0]] += size
    return dict(total)
