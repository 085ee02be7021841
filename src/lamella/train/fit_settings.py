"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lamella.errors import UsageError
from lamella.train.precision import Precision
from lamella.train.strategy import Strategy


@dataclass(frozen=True)
class FitSettings:
    """How a network is trained; the defaults are the reference system's (SPEC A17).

    Attributes:
        steps: optimiser steps in all.
        validate_every: optimiser steps between two validations; a multiple of `checkpoint_every`.
        checkpoint_every: optimiser steps between two checkpoints.
        accumulate: batches whose gradients are averaged for one step, on each device.
        learning_rate: its peak, after the warm-up.
        final_rate: where the cosine ends.
        warm_up: steps of linear warm-up.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        ema: decay of the weights' average, a step; validation and the finished model use the average. 0: none.
        precision: "bf16-mixed", "32-true", or "auto" for the one that the processor is fast in.
        devices, nodes: processes on each machine, and machines.
        strategy: "auto", "ddp" or "fsdp" (weights and optimiser shared out; see `strategy`).
        threads: CPU threads of each process; 0 leaves torch's choice.
        device: "auto", "cpu" or "cuda".
        seed: of everything drawn in training.
        workers: processes beside each that read batches ahead; 0 reads in between the steps.

    Raises:
        UsageError: a number out of its range.
    """

    steps: int
    validate_every: int = 1000
    checkpoint_every: int = 1000
    accumulate: int = 1
    learning_rate: float = 1e-4
    final_rate: float = 1e-6
    warm_up: int = 1000
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    precision: Precision = "bf16-mixed"
    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"
    threads: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 42
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "validate_every", "checkpoint_every", "accumulate", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1. Found {getattr(self, name)}.")
        if self.validate_every % self.checkpoint_every:
            raise UsageError(
                f"validate_every must be a multiple of checkpoint_every. Found {self.validate_every} and "
                f"{self.checkpoint_every}."
            )
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema must lie in [0, 1). Found {self.ema:g}.")
        if self.strategy == "fsdp" and self.ema:
            raise UsageError(
                f"Weights that fsdp shares out cannot be averaged. Found ema {self.ema:g}. Set ema=0, or strategy=ddp."
            )

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes

    @property
    def items(self) -> int:
        """Batches that the whole run takes, over all processes."""
        return self.steps * self.accumulate * self.world

    def rate_factor(self, step: int) -> float:
        """Learning rate at an optimiser step, over its peak: linear warm-up, then a cosine to `final_rate`."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        progress = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        low = self.final_rate / self.learning_rate
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))
