"""What can be asked of `thin`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lamella.errors import UsageError

Mode = Literal["mean", "texture", "sample"]


@dataclass(frozen=True)
class ThinSettings:
    """How to thin.

    Attributes:
        mode: "mean" (least error), "texture" (the mean with the scan's own noise put back) or "sample" (a draw of
            everything the measurement leaves open).
        steps: flow steps of texture and sample.
        samples: how many draws of texture or sample.
        seed: of the draws; the same seed gives the same voxels.
        device: "auto", "cpu", "cuda" or "cuda:N".
        spread: also return the predicted standard deviation.
        memory_gb: plan for at most this much memory; None for what the machine has free.
        precision: "auto" (bf16 where the processor multiplies it natively, else fp32), "bf16" or "fp32".
    """

    mode: Mode = "mean"
    steps: int = 8
    samples: int = 1
    seed: int = 0
    device: str = "auto"
    spread: bool = False
    memory_gb: float | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UsageError(f"Unknown mode {self.mode!r}. Expected one of {', '.join(get_args(Mode))}.")
        if not 1 <= self.steps <= 1000:
            raise UsageError(f"--steps must lie between 1 and 1000. Found {self.steps}.")
        if not 1 <= self.samples <= 100:
            raise UsageError(f"--samples must lie between 1 and 100. Found {self.samples}.")
        if self.samples > 1 and self.mode == "mean":
            raise UsageError(f"There is only one mean, so --samples {self.samples} needs --mode texture or sample.")
