"""Checkpoints that are whole or not there, and that run no code when they are read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lamella.errors import ModelError


class WholeCheckpoints(TorchCheckpointIO):
    """Write beside, flush to disk, then rename: a run killed at any moment leaves its last whole checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save `checkpoint` at `path`, in one step as far as any reader can see."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        with beside.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read by mapping the file: a checkpoint is four times its network, too much to hold beside the run it fills."""
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return found


def steps_done(last: Path) -> int:
    """Optimiser steps of a checkpoint; 0 where there is none yet.

    Raises:
        ModelError: it is damaged, or holds more than tensors and plain values.
    """
    return _count(last, "global_step")


def parts_in_all(last: Path, steps: int, every: int) -> int:
    """Parts that a run of so many steps has had at its end: Lightning's epochs, each up to the next multiple of `every`.

    Counted from where the run is, for it may have had parts of another length, or have ended within one. (Lightning's own
    limit of steps begins a resumed run with a part of no step.)

    Raises:
        ModelError: as `steps_done`.
    """
    done = steps_done(last)
    had = _count(last, "epoch") + 1 if last.exists() else 0
    return had + -(-steps // every) - done // every


def _count(last: Path, name: str) -> int:
    if not last.exists():
        return 0
    try:
        return int(torch.load(last, map_location="cpu", weights_only=True, mmap=True)[name])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ModelError(
            f"The checkpoint {last} cannot be read ({type(error).__name__}). Move it away to start this stage anew."
        ) from error
