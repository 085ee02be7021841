"""What can be asked of `thin`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from lamella.errors import UsageError

Mode = Literal["mean", "texture", "sample"]
Precision = Literal["auto", "bf16", "fp32"]
Sampler = Literal["ddim", "ddpm"]


@dataclass(frozen=True)
class ThinSettings:
    """How to thin. `ThinModel.defaults` fills in what is None.

    Attributes:
        mode: "mean" (least error), "texture" (the mean with noise like the scan's) or "sample" (a random sample of everything
            that the measurement leaves open).
        steps: number of sampling steps; None for the model's default.
        sampler: only for latent diffusion models: "ddim" (no noise after the first step) or "ddpm" (new noise in every step);
            None for the model's default.
        samples: number of samples; None for the model's default.
        seed: seed of the samples; the same seed gives the same voxels.
        device: where the networks run: "auto", "cpu", "mps", "cuda" or "cuda:N".
        spread: also return the predicted standard deviation. None: only if the model predicts it without further samples.
        memory_gb: memory to use at most, in GiB; None for what the machine has free.
        precision: "auto" (bf16 if the processor multiplies it natively, otherwise fp32), "bf16" (many times slower if it does
            not) or "fp32".
        project: only for experiments with latent diffusion models. False leaves the result as it was decoded; averaging it
            then does not give the thick slices back.

    Raises:
        UsageError: a value out of its range.
    """

    mode: Mode = "mean"
    steps: int | None = None
    sampler: Sampler | None = None
    samples: int | None = None
    seed: int = 0
    device: str = "auto"
    spread: bool | None = False
    memory_gb: float | None = None
    precision: Precision = "auto"
    project: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("mode", Mode), ("precision", Precision), ("sampler", Sampler)):
            if getattr(self, name) not in (*get_args(kind), *([None] if name == "sampler" else [])):
                raise UsageError(
                    f"Unknown {name} {getattr(self, name)!r}. Expected one of {', '.join(get_args(kind))}."
                )
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d\d?)?", self.device):
            raise UsageError(f"Unknown device {self.device!r}. Expected auto, cpu, mps, cuda or cuda:N.")
        if self.seed < 0:
            raise UsageError(f"The seed must be 0 or above. Found {self.seed}.")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise UsageError(f"steps must lie between 1 and 1000. Found {self.steps}.")
        if self.samples is not None and not 1 <= self.samples <= 100:
            raise UsageError(f"samples must lie between 1 and 100. Found {self.samples}.")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise UsageError(f"The memory to plan for must be above 0 GiB. Found {self.memory_gb:g}.")

    @property
    def step_count(self) -> int:
        """Steps, once they are filled in."""
        assert self.steps is not None, "a model's defaults are filled in before settings are used"
        return self.steps

    @property
    def sample_count(self) -> int:
        """Samples, once they are filled in."""
        assert self.samples is not None, "a model's defaults are filled in before settings are used"
        return self.samples
