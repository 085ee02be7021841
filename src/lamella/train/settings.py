"""Every number of a training run of the embedded model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lamella.data.load import DataSettings
from lamella.data.patches import PatchSettings
from lamella.data.views import SeriesSettings
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded.loss import MeanLossSettings
from lamella.embedded.networks import EmbeddedSettings
from lamella.embedded.weights import Calibration
from lamella.thinning.model import Limits
from lamella.train.fit_settings import LoopSettings, OptimiserSettings
from lamella.train.precision import Precision


@dataclass(frozen=True)
class StageSettings(OptimiserSettings):
    """What mean and scale, or the flow, learn at; 0 steps leave the networks of a stage as they are."""

    steps: int = 4000
    learning_rate: float = 6e-4
    warm_up: int = 200
    beta2: float = 0.99
    ema: float = 0.998


@dataclass(frozen=True)
class EmbeddedData(DataSettings):
    """What mean and flow learn from.

    Attributes:
        flow_series: what the flow learns from; empty for what the mean does. The flow draws noise, and that of views along
            rows and columns, or of slices that overlap, is correlated along the slice axis as few scanners' is.
    """

    flow_series: tuple[SeriesSettings, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EmbeddedRun(LoopSettings):
    """A whole run: mean and scale first, then the flow.

    Attributes:
        run: folder for checkpoints, curves and the finished model; the same command resumes from it.
        data: what to learn from.
        model: shape of the networks.
        patches: how pairs are drawn for the mean; `patches.seed` is the first stage's for everything.
        flow_patches: how pairs are drawn for the flow, and the second stage's seed.
        mean: first stage.
        flow: second stage.
        mean_loss: how the first stage's errors are counted.
        flow_times: noise levels that the second learns at: most of them in the middle, where structure is decided.
        validation_batches: fixed batches a validation.
        calibration: figures chosen after training; they go into the card as they are.
        limits: geometry that the model is for; into the card as well.
        start: model name or folder whose weights the networks begin with; empty for random ones.
        start_flow: whether the flow does so too; if not, its shape may be another, and it begins with random ones.
        card: YAML file whose fields the model's card repeats (data, licences, limits in words); empty for none.
        name: of the model, in its card.
        licence: of the weights, in its card.
        kind: tells `lamella train` what this is.
    """

    run: str
    data: EmbeddedData
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
    validation_batches: int = 12
    name: str = "embedded"
    licence: str = "Apache-2.0"
    kind: Literal["embedded"] = "embedded"
