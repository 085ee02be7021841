"""Every number of a training run of the embedded model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from lamella.data.patches import PatchSettings
from lamella.data.views import SeriesSettings
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded.loss import MeanLossSettings
from lamella.embedded.networks import EmbeddedSettings
from lamella.embedded.weights import Calibration
from lamella.thinning.model import Limits
from lamella.train.precision import Precision


@dataclass(frozen=True)
class StageSettings:
    """One of the two stages.

    Attributes:
        steps: optimiser steps in all; 0 leaves the networks of this stage as they are.
        learning_rate: its peak; cosine to a hundredth of it after the warm-up.
        warm_up: steps of linear warm-up.
        hold: share of the steps after the warm-up that stay at the peak before the cosine begins. While it is near 1 a
            run can be prolonged; lowering `steps` and `hold` on resuming brings it to its end (Hägele et al., arXiv
            2405.18392: a constant rate with a final decay is as good as a cosine of known length).
        ema: decay of the weight average that is kept (exponential moving average, per step).
        clip: gradient norm.
        weight_decay: of AdamW.
    """

    steps: int = 4000
    learning_rate: float = 6e-4
    warm_up: int = 200
    hold: float = 0.0
    ema: float = 0.998
    clip: float = 1.0
    weight_decay: float = 0.01

    def rate_factor(self, step: int) -> float:
        """Learning rate at a step over its peak."""
        after = max(1, self.steps - self.warm_up)
        progress = min(1.0, max(0.0, (step - self.warm_up - self.hold * after) / max(1.0, (1 - self.hold) * after)))
        return min(1.0, (step + 1) / max(1, self.warm_up)) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True)
class DataSettings:
    """Training data.

    Attributes:
        folder: holds the series.
        series: which, how seen, with what weight.
        held_out: for the validation curve; never trained on.
        flow_series: what the flow learns from; empty for `series`. The flow draws noise, and that of views along rows and
            columns, or of slices that overlap, is correlated along the slice axis as few scanners' is.
    """

    folder: str
    series: tuple[SeriesSettings, ...]
    held_out: tuple[SeriesSettings, ...]
    flow_series: tuple[SeriesSettings, ...] = ()


@dataclass(frozen=True)
class EmbeddedRun:
    """A whole run: mean and scale first, then the flow.

    Attributes:
        run: folder for checkpoints, curves and the finished model; the same command resumes from it.
        data: what to learn from.
        model: shape of the networks.
        patches: how pairs are drawn for the mean.
        flow_patches: how pairs are drawn for the flow.
        mean: first stage.
        flow: second stage.
        mean_loss: how the first stage's errors are counted.
        flow_times: noise levels that the second learns at: most of them in the middle, where structure is decided.
        precision: "auto" (bf16-mixed where the processor multiplies it itself, else 32-true), "bf16-mixed" or "32-true".
        calibration: figures chosen after training; they go into the card as they are.
        limits: geometry that the model is for; into the card as well.
        start: model name or folder whose weights the networks begin with; empty for random ones.
        start_flow: whether the flow does so too; if not, its shape may be another, and it begins with random ones.
        card: YAML file whose fields the model's card repeats (data, licences, limits in words); empty for none.
        validate_every: steps between points of the validation curve, and between checkpoints.
        threads: CPU threads; 0 leaves torch's choice.
        device: auto, cpu or cuda.
        name: of the model, in its card.
        licence: of the weights, in its card.
        workers: processes that draw patches ahead; 0 draws them between the steps, which on a CPU costs little.
        kind: tells `lamella train` what this is.
    """

    run: str
    data: DataSettings
    model: EmbeddedSettings = field(default_factory=EmbeddedSettings)
    patches: PatchSettings = field(default_factory=PatchSettings)
    flow_patches: PatchSettings = field(default_factory=PatchSettings)
    mean: StageSettings = field(default_factory=StageSettings)
    flow: StageSettings = field(default_factory=StageSettings)
    mean_loss: MeanLossSettings = field(default_factory=MeanLossSettings)
    flow_times: FlowSchedule = field(default_factory=lambda: FlowSchedule(logit_std=1.3))
    calibration: Calibration = field(default_factory=Calibration)
    limits: Limits = field(default_factory=Limits)
    start: str = ""
    start_flow: bool = True
    card: str = ""
    precision: Precision = "auto"
    validate_every: int = 250
    threads: int = 0
    device: str = "auto"
    workers: int = 0
    name: str = "embedded"
    licence: str = "Apache-2.0"
    kind: Literal["embedded"] = "embedded"
