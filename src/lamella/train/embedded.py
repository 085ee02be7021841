"""A whole run of the embedded model: mean and scale, then the flow, then the finished folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.utilities import rank_zero_only

import lamella
from lamella.data.load import load_sources
from lamella.data.patches import Pairs, PatchBatches, PatchSettings
from lamella.data.samples import for_validation
from lamella.data.sources import TrainingSource
from lamella.data.views import load_views
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.errors import UsageError
from lamella.models.shipped import find_model
from lamella.train.checkpoints import steps_done
from lamella.train.covered import covered_by_series
from lamella.train.datasets import datasets
from lamella.train.fit import LAST, FitModule, fit
from lamella.train.fit_settings import FitSettings
from lamella.train.precision import precision_on
from lamella.train.settings import EmbeddedRun, StageSettings
from lamella.train.stages import FlowStage, MeanStage

Sources = Sequence[TrainingSource]


def train_embedded(run: EmbeddedRun) -> Path:
    """Train, or go on training, and write the model folder.

    Args:
        run: every setting; the same settings resume an interrupted run from its last checkpoint.

    Returns:
        The finished model folder, `run.run`/model.

    Raises:
        UsageError: the data folder lacks a series or volumes that are large enough, the model to start from has another
            shape, or the mean is to learn on although the flow has learnt from it as it was.
        NonFiniteError: the loss left the finite numbers; the message names the batch.
    """
    if run.card and not Path(run.card).is_file():
        raise UsageError(f"The card {run.card} does not exist. Set card=FILE, or card='\"\"' for none.")
    _refuse_other_mean(run)
    sources = load_sources(run.data)
    _check_room(run, *sources)
    torch.manual_seed(run.patches.seed)
    mean, flow = _networks(run)
    done = {"mean": _learnt(run, "mean", sources, lambda s: MeanStage(mean, s, run.mean_loss))}
    if run.flow.steps and run.data.flow_series:
        sources = load_views(Path(run.data.folder), run.data.flow_series, "data.flow_series"), sources[1]
    done["flow"] = _learnt(run, "flow", sources, lambda s: FlowStage(mean, flow, s, run.flow_times))
    _export(run, mean, flow, done)
    return Path(run.run) / "model"


def _stage(run: EmbeddedRun, name: str) -> tuple[StageSettings, PatchSettings]:
    return (run.mean, run.patches) if name == "mean" else (run.flow, run.flow_patches)


def _check_room(run: EmbeddedRun, train: Sources, held_out: Sources) -> None:
    """Refuse now what would be refused after hours."""
    for name in ("mean", "flow"):
        stage, patches = _stage(run, name)
        if stage.steps:
            PatchBatches(held_out, for_validation(patches), 1, "data.held_out")
        if stage.steps and (name == "mean" or not run.data.flow_series):
            PatchBatches(train, patches, 1)


def _learnt(
    run: EmbeddedRun, name: str, sources: tuple[Sources, Sources], module: Callable[[FitSettings], FitModule[Pairs]]
) -> int:
    """Steps that a stage has learnt in once it is trained to its end; its networks end with averaged weights."""
    stage, patches = _stage(run, name)
    if stage.steps == 0:
        return 0
    settings = FitSettings.of(stage, run, patches.seed)
    key = "data.flow_series" if name == "flow" and run.data.flow_series else "data.series"
    data = datasets(PatchBatches, sources, patches, settings.items, run.validation_batches, key)
    return fit(Path(run.run) / name, module(settings), *data, settings)


def _refuse_other_mean(run: EmbeddedRun) -> None:
    """The flow learns what the mean leaves: a mean that learns on makes it worthless."""
    mean, flow = (Path(run.run) / name / f"{LAST}.ckpt" for name in ("mean", "flow"))
    done = steps_done(mean)
    if flow.exists() and done == 0 < run.mean.steps:
        raise UsageError(
            f"The flow in {flow.parent} has learnt from a mean that is not there. Bring {mean.parent} back, or move "
            f"{flow.parent} away to train both."
        )
    if flow.exists() and done < run.mean.steps:
        raise UsageError(
            f"The flow in {flow.parent} has learnt from the mean of {done} steps. Found mean.steps {run.mean.steps}. Set "
            f"mean.steps={done}, or move {flow.parent} away to train the flow anew after the mean."
        )


def _networks(run: EmbeddedRun) -> tuple[MeanScaleNet, FlowNet]:
    """Fresh networks, or those of the model to start from."""
    if not run.start:
        return MeanScaleNet(run.model), FlowNet(run.model)
    first = EmbeddedModel.read(find_model(run.start))
    if not run.start_flow:
        names = [field.name for field in dataclasses.fields(run.model) if field.name.startswith("flow_")]
        own = {name: getattr(run.model, name) for name in names}
        first = dataclasses.replace(first, settings=dataclasses.replace(first.settings, **own), flow=FlowNet(run.model))
    if first.settings != run.model:
        raise UsageError(f"The model {run.start} has other settings: {first.settings}. Expected {run.model}.")
    return first.mean.train().requires_grad_(True), first.flow.train().requires_grad_(True)


@rank_zero_only
def _export(run: EmbeddedRun, mean: MeanScaleNet, flow: FlowNet, done: dict[str, int]) -> None:
    series = (*run.data.series, *run.data.flow_series)
    covered = covered_by_series(Path(run.data.folder), series) if series else run.limits.covered
    limits = dataclasses.replace(run.limits, covered=covered)
    model = EmbeddedModel(run.name, "", run.licence, run.model, limits, run.calibration, mean, flow)
    about: dict[str, Any] = yaml.safe_load(Path(run.card).read_text(encoding="utf-8")) if run.card else {}
    at_once = run.accumulate * run.world
    about["training"] = {
        "lamella": lamella.__version__,
        "steps": done,
        "patches_per_step": {"mean": run.patches.batch * at_once, "flow": run.flow_patches.batch * at_once},
        "precision": precision_on(run.precision, run.device),
    }
    if run.start:
        about["training"]["start"] = EmbeddedModel.read(find_model(run.start)).sha256
    model.save(Path(run.run) / "model", about)
