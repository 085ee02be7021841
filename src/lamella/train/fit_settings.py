"""How a network is trained: every model's run is said in these words."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from lamella.errors import UsageError
from lamella.train.precision import Precision
from lamella.train.strategy import Strategy


@dataclass(frozen=True)
class OptimiserSettings:
    """What a network learns at; the defaults are the reference system's (SPEC A17).

    Attributes:
        steps: optimiser steps in all.
        learning_rate: its peak, after the warm-up.
        final_rate: where the cosine ends; None for a hundredth of the peak.
        warm_up: steps of linear warm-up.
        hold: share of the steps after the warm-up that stay at the peak before the cosine begins. While it is near 1 a
            run can be prolonged; lowering `steps` and `hold` on resuming brings it to its end (Hägele et al., arXiv
            2405.18392: a constant rate with a final decay is as good as a cosine of known length).
        weight_decay: of AdamW.
        beta2: of AdamW: how long it remembers squared gradients.
        clip: largest norm of the gradient; 0 for none.
        ema: decay of the weights' average, a step; validation and the finished model use the average. 0: none.
        muon: rate of the matrices, by Muon, over that of the vectors, by AdamW; 0: AdamW for all (see `muon`).

    Raises:
        UsageError: a number out of its range.
    """

    steps: int
    learning_rate: float = 1e-4
    final_rate: float | None = None
    warm_up: int = 1000
    hold: float = 0.0
    weight_decay: float = 0.01
    beta2: float = 0.999
    clip: float = 1.0
    ema: float = 0.999
    muon: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.ema < 1:
            raise UsageError(f"ema must lie in [0, 1). Found {self.ema:g}.")
        if not 0 <= self.hold <= 1:
            raise UsageError(f"hold must lie in [0, 1]. Found {self.hold:g}.")
        if not 0 <= self.muon <= 100:
            raise UsageError(f"muon must lie in [0, 100]. Found {self.muon:g}.")

    def rate_factor(self, step: int) -> float:
        """Learning rate at an optimiser step, over its peak: linear warm-up, the stretch at the peak, a cosine."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        after = max(1, self.steps - self.warm_up)
        falling = max(1.0, (1 - self.hold) * after)
        progress = min(1.0, max(0.0, (step - self.warm_up - self.hold * after) / falling))
        low = 0.01 if self.final_rate is None else self.final_rate / self.learning_rate
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How often the loop stops to look, and what it runs on.

    Attributes:
        validate_every: optimiser steps between two validations; a multiple of `checkpoint_every`.
        checkpoint_every: optimiser steps between two checkpoints; None for one at every validation.
        accumulate: batches whose gradients are averaged for one step, on each device.
        precision: "bf16-mixed", "32-true", or "auto" for the one that the processor is fast in.
        devices, nodes: processes on each machine, and machines.
        strategy: "auto", "ddp" or "fsdp" (weights and optimiser shared out; see `strategy`).
        threads: CPU threads of each process; 0 leaves torch's choice.
        device: "auto", "cpu" or "cuda".
        workers: processes beside each that read batches ahead; 0 reads in between the steps.

    Raises:
        UsageError: a number out of its range.
    """

    validate_every: int = 1000
    checkpoint_every: int | None = None
    accumulate: int = 1
    precision: Precision = "bf16-mixed"
    devices: int = 1
    nodes: int = 1
    strategy: Strategy = "auto"
    threads: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("validate_every", "checkpoint_every", "accumulate", "devices", "nodes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"{name} must be at least 1. Found {value}.")
        if self.validate_every % self.part:
            raise UsageError(
                f"validate_every must be a multiple of checkpoint_every. Found {self.validate_every} and "
                f"{self.checkpoint_every}."
            )

    @property
    def part(self) -> int:
        """Optimiser steps between two checkpoints."""
        return self.checkpoint_every or self.validate_every

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.devices * self.nodes


@dataclass(frozen=True)
class FitSettings(OptimiserSettings, LoopSettings):
    """Optimiser, steps, devices and seed of a training.

    Attributes:
        seed: of everything drawn in training.

    Raises:
        UsageError: a number out of its range.
    """

    seed: int = 42

    def __post_init__(self) -> None:
        OptimiserSettings.__post_init__(self)
        LoopSettings.__post_init__(self)
        if self.steps < 1:
            raise UsageError(f"steps must be at least 1. Found {self.steps}.")
        if self.strategy == "fsdp" and self.ema:
            raise UsageError(
                f"Weights that fsdp shares out cannot be averaged. Found ema {self.ema:g}. Set ema=0, or strategy=ddp."
            )
        if self.strategy == "fsdp" and self.muon:
            raise UsageError(
                f"Weights that fsdp shares out are no matrices. Found muon {self.muon:g}. Set muon=0, or strategy=ddp."
            )

    @classmethod
    def of(cls, optimiser: OptimiserSettings, loop: LoopSettings, seed: int) -> FitSettings:
        """One network's fit in a run of several."""
        own = {one.name: getattr(optimiser, one.name) for one in fields(OptimiserSettings)}
        shared = {one.name: getattr(loop, one.name) for one in fields(LoopSettings)}
        return cls(**own, **shared, seed=seed)

    @property
    def items(self) -> int:
        """Batches that the whole run takes, over all processes."""
        return self.steps * self.accumulate * self.world
