"""What can be asked of `thin`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from lamella.errors import UsageError
from lamella.model import LATENT

Mode = Literal["mean", "texture", "sample"]

EMBEDDED_STEPS = 4
LATENT_STEPS = 20
"""DDIM steps where none are asked for."""

LATENT_DRAWS = 4
"""Draws in a latent diffusion model's mean where no number is asked for."""


@dataclass(frozen=True)
class ThinSettings:
    """How to thin.

    Attributes:
        mode: "mean" (least error), "texture" (the mean with the scan's own noise put back) or "sample" (a draw of
            everything the measurement leaves open). A latent diffusion model knows no texture, and its mean is the
            average of draws.
        steps: of texture and sample, and of a latent diffusion model's mean; None for the model's own number.
        samples: how many draws of texture or sample, or in a latent diffusion model's mean; None for the model's own.
        seed: of the draws; the same seed gives the same voxels.
        device: "auto", "cpu", "cuda" or "cuda:N".
        spread: also return the predicted standard deviation.
        memory_gb: plan for at most this much memory; None for what the machine has free.
        precision: "auto" (bf16 where the processor multiplies it natively, else fp32), "bf16" (many times slower where it
            does not) or "fp32".
        project: for studies of latent diffusion models: False leaves the answer as it was decoded, so that averaging it
            does not give the thick slices back.
    """

    mode: Mode = "mean"
    steps: int | None = None
    samples: int | None = None
    seed: int = 0
    device: str = "auto"
    spread: bool = False
    memory_gb: float | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    project: bool = True

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UsageError(f"Unknown mode {self.mode!r}. Expected one of {', '.join(get_args(Mode))}.")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise UsageError(f"--steps must lie between 1 and 1000. Found {self.steps}.")
        if self.samples is not None and not 1 <= self.samples <= 100:
            raise UsageError(f"--samples must lie between 1 and 100. Found {self.samples}.")

    @property
    def step_count(self) -> int:
        """Steps, once `resolved`."""
        assert self.steps is not None, "settings are resolved before they are used"
        return self.steps

    @property
    def draw_count(self) -> int:
        """Draws, once `resolved`."""
        assert self.samples is not None, "settings are resolved before they are used"
        return self.samples

    def resolved(self, kind: str) -> ThinSettings:
        """The same with every number filled in for a kind of model; a second time changes nothing.

        Args:
            kind: of the model (`lamella.model.EMBEDDED` or `LATENT`).

        Raises:
            UsageError: the model cannot do what is asked.
        """
        return self._latent() if kind == LATENT else self._embedded()

    def _embedded(self) -> ThinSettings:
        if self.samples is not None and self.samples > 1 and self.mode == "mean":
            raise UsageError(f"There is only one mean, so --samples {self.samples} needs --mode texture or sample.")
        if not self.project:
            raise UsageError("The embedded model's answer cannot be had without the measurement. Leave out project.")
        return replace(self, steps=self.steps or EMBEDDED_STEPS, samples=self.samples or 1)

    def _latent(self) -> ThinSettings:
        if self.mode == "texture":
            raise UsageError(
                "--mode texture is not defined for a latent diffusion model: it does not tell the scan's own noise from "
                "structure. Use --mode sample (one draw) or --mode mean (the average of several)."
            )
        samples = self.samples or (LATENT_DRAWS if self.mode == "mean" else 1)
        if self.spread and samples < 2:
            raise UsageError(
                f"--spread is the standard deviation of a latent diffusion model's draws, so it needs several. Found "
                f"{samples}. Ask for --samples 2 or more."
            )
        return replace(self, steps=self.steps or LATENT_STEPS, samples=samples)
