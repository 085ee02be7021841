"""A whole run of the embedded model: mean and scale, then the flow, then the finished folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
import yaml

import lamella
from lamella.data.patches import require_room
from lamella.data.views import load_views
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.errors import UsageError
from lamella.models.registry import find_model
from lamella.train.checkpoints import steps_done
from lamella.train.loop import LAST, run_stage
from lamella.train.precision import precision_on
from lamella.train.settings import EmbeddedRun
from lamella.train.stages import FlowStage, MeanStage


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
    if run.threads:
        torch.set_num_threads(run.threads)
    folder = Path(run.data.folder)
    if not folder.is_dir():
        raise UsageError(f"The data folder {folder} does not exist. Set data.folder=PATH.")
    if run.card and not Path(run.card).is_file():
        raise UsageError(f"The card {run.card} does not exist. Set card=FILE, or card='\"\"' for none.")
    _refuse_other_mean(run)
    views, held_out = load_views(folder, run.data.series), load_views(folder, run.data.held_out, "data.held_out")
    stages = [patches for stage, patches in ((run.mean, run.patches), (run.flow, run.flow_patches)) if stage.steps]
    for patches in stages:
        require_room(held_out, patches, "data.held_out")
        if patches is run.patches or not run.data.flow_series:
            require_room(views, patches, "data.series")
    torch.manual_seed(run.patches.seed)
    mean, flow = _networks(run)
    mean_stage = MeanStage(mean, run.mean, run.mean_loss)
    done = {"mean": run_stage("mean", mean_stage, run, run.mean, run.patches, views, held_out)}
    if run.data.flow_series and run.flow.steps:
        views = load_views(folder, run.data.flow_series, "data.flow_series")
        require_room(views, run.flow_patches, "data.flow_series")
    flow_stage = FlowStage(mean, flow, run.flow, run.flow_times, run.flow_patches.seed)
    done["flow"] = run_stage("flow", flow_stage, run, run.flow, run.flow_patches, views, held_out)
    return _export(run, mean, flow, done)


def _refuse_other_mean(run: EmbeddedRun) -> None:
    """The flow learns what the mean leaves: a mean that learns on makes it worthless."""
    mean, flow = (Path(run.run) / name / LAST for name in ("mean", "flow"))
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


def _export(run: EmbeddedRun, mean: MeanScaleNet, flow: FlowNet, done: dict[str, int]) -> Path:
    model = EmbeddedModel(run.name, "", run.licence, run.model, run.limits, run.calibration, mean, flow)
    out = Path(run.run) / "model"
    about: dict[str, Any] = yaml.safe_load(Path(run.card).read_text(encoding="utf-8")) if run.card else {}
    about["training"] = {
        "lamella": lamella.__version__,
        "steps": done,
        "patches_per_step": {"mean": run.patches.batch, "flow": run.flow_patches.batch},
        "precision": precision_on(run.precision, run.device),
    }
    if run.start:
        about["training"]["start"] = EmbeddedModel.read(find_model(run.start)).sha256
    model.save(out, about)
    return out
