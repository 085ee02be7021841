"""What a model folder or a training checkpoint holds, without building a network."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lamella.errors import ModelError
from lamella.files.atomic import sha256_of
from lamella.networks.folder import EMBEDDED, WEIGHTS, read_card


@dataclass(frozen=True)
class ModelFacts:
    """A model folder.

    Attributes:
        sha256: of the weights file as it is; `intact`: whether the card names the same.
        tensors, parameters: how many, by the first part of the tensors' names.
        dtypes: number formats of the weights.
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
    shapes = _shapes(folder / WEIGHTS)
    sizes = {name: size for name, (size, _) in shapes.items()}
    return ModelFacts(
        name=str(card["name"]),
        kind=str(card.get("kind", EMBEDDED)),
        licence=str(card["licence"]),
        sha256=found,
        intact=found == card["weights_sha256"],
        tensors=_counted(dict.fromkeys(sizes, 1)),
        parameters=_counted(sizes),
        dtypes=tuple(sorted({dtype for _, dtype in shapes.values()})),
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


def _shapes(weights: Path) -> dict[str, tuple[int, str]]:
    """Tensor -> (numbers in it, their format), from the header of a safetensors file."""
    try:
        with safe_open(weights, framework="pt") as held:
            parts = {name: held.get_slice(name) for name in held.keys()}  # noqa: SIM118 (no mapping)
            return {name: (math.prod(part.get_shape()), str(part.get_dtype())) for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"The weights {weights} are no safetensors file, or cut off. Copy the model folder again."
        ) from error


def _counted(sizes: dict[str, int]) -> dict[str, int]:
    """Sums by the first part of each name."""
    total: Counter[str] = Counter()
    for name, size in sizes.items():
        total[name.split(".", 1)[0]] += size
    return dict(total)
