"""The study by persons: every change is measured on people and test objects that the run has not learnt from.

    python benchmarks/folds.py configs/study-folds.yaml [--only NAME,NAME]

Each fold leaves the series of some persons out. Its trunk learns from all others at a constant rate; then each run goes on
from the trunk with one change, the same patches and as many steps, down to a hundredth of the rate (Hägele et al., arXiv
2405.18392). Two such runs differ by little but their change, where runs from random weights differ by 0.2 dB with their seed.
A run with `from_trunk: false` begins as the trunk does (with random weights, or those of `start`) and takes trunk and branch
steps, or as many of its own as take the same CPU time, which other programs do not change; one with `people` learns from the
first so many persons alone.

Scores are gains over the projected cubic interpolation in dB, on fixed patches of the persons left out and of test objects.
Runs are kept under `out`, scores in the file `kept`: what is there is not repeated, and a run that was stopped goes on. A new
series is one more entry of the training config and, for a fold of its own, of `folds`. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
import yaml

from lamella.data.patches import PatchBatches, cubic_error
from lamella.data.samples import for_validation
from lamella.data.sources import TrainingSource
from lamella.data.views import SeriesSettings, load_views
from lamella.embedded.loss import counted_mean, mean_scale_loss
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import MeanScaleNet
from lamella.files.config import fill, load
from lamella.models.shipped import find_model
from lamella.train.datasets import datasets
from lamella.train.fit import fit
from lamella.train.fit_settings import FitSettings
from lamella.train.precision import precision_on
from lamella.train.settings import EmbeddedRun
from lamella.train.stages import MeanStage

TIMED = 8
"""Steps whose CPU time is measured."""


@dataclass(frozen=True)
class Fold:
    """Persons left out: folders of their series. `runs` names the only runs of this fold; empty for all."""

    name: str
    leave: tuple[str, ...]
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One change: overrides of the training config."""

    name: str
    about: str
    set: tuple[str, ...] = ()
    from_trunk: bool = True
    people: int | None = None


@dataclass(frozen=True)
class Study:
    """All of it; `base` are overrides of `config` for every run, `scored` test objects that none learns from."""

    config: str
    out: str
    kept: str
    trunk_steps: int
    branch_steps: int
    folds: tuple[Fold, ...]
    runs: tuple[Variant, ...]
    base: tuple[str, ...] = ()
    scored: tuple[SeriesSettings, ...] = ()
    batches: int = 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    asked = parser.parse_args()
    study = fill(Study, yaml.safe_load(asked.study.read_text(encoding="utf-8")))
    chosen = [name.strip() for name in asked.only.split(",") if name.strip()]
    kept = Path(study.kept)
    scores = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for one in study.runs:
        for fold in study.folds:
            wanted = (not chosen or one.name in chosen) and (not fold.runs or one.name in fold.runs)
            if wanted and fold.name not in scores.get(one.name, {}):
                scores.setdefault(one.name, {})[fold.name] = measured(study, fold, one)
                kept.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
                print(f"done: {one.name}, {fold.name}", file=sys.stderr, flush=True)
    print(table(study.runs, scores))
    return 0


def measured(study: Study, fold: Fold, one: Variant) -> dict[str, float]:
    """Train a run of a fold, and its trunk before it where there is none; score it."""
    run = settings(study, one.set)
    folder = Path(study.out) / fold.name.replace(" ", "-")
    if one.from_trunk:
        plain = settings(study, ())
        network = first_network(plain)
        if study.trunk_steps:
            optimiser = replace(plain.mean, steps=study.trunk_steps, hold=1.0)
            learn(folder / "trunk", network, replace(plain, mean=optimiser), left(plain, fold, None), study)
        grown, steps = network, study.branch_steps
    else:
        grown = first_network(run)
        steps = planned_steps(study, run, folder / one.name.replace(" ", "-") / "plan.json")
    run = replace(run, mean=replace(run.mean, steps=steps, warm_up=min(run.mean.warm_up, steps // 8), hold=0.0))
    learn(folder / one.name.replace(" ", "-"), grown, run, left(run, fold, one.people), study)
    return score(grown, run, fold, study)


def planned_steps(study: Study, run: EmbeddedRun, file: Path) -> int:
    """Steps that cost what trunk and branch cost; decided once."""
    steps, plain = study.trunk_steps + study.branch_steps, settings(study, ())
    if run.model == plain.model and (run.patches.batch, run.patches.size_px) == (
        plain.patches.batch,
        plain.patches.size_px,
    ):
        return steps
    if not file.is_file():
        costs = [cpu_seconds_a_step(one, study) for one in (plain, run)]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"steps": max(1, round(steps * costs[0] / costs[1])), "cpu_s": costs}))
    planned: int = json.loads(file.read_text())["steps"]
    return planned


def cpu_seconds_a_step(run: EmbeddedRun, study: Study) -> float:
    """CPU time of a training step, the same patches for every network."""
    network, batches = first_network(run), PatchBatches(views(run.data.folder, study.scored[0]), run.patches, TIMED + 2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)
    begun = 0.0
    for item in range(TIMED + 2):
        pairs = batches.batch(item)
        if item == 2:  # the first choose kernels
            begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision_on(run.precision, "cpu") == "bf16-mixed"):
            loss, _ = mean_scale_loss(network, pairs, pairs.condition, run.mean_loss)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return (time.process_time() - begun) / TIMED


def settings(study: Study, changes: Sequence[str]) -> EmbeddedRun:
    return load(EmbeddedRun, Path(study.config), (*study.base, *changes))


def left(run: EmbeddedRun, fold: Fold, people: int | None) -> tuple[SeriesSettings, ...]:
    """What a fold learns from."""
    others = [one for one in run.data.series if one.path and one.path not in fold.leave]
    return (*others[:people], *(one for one in run.data.series if one.phantom))


def first_network(run: EmbeddedRun) -> MeanScaleNet:
    torch.manual_seed(run.patches.seed)
    network = MeanScaleNet(run.model)
    if run.start:
        network.load_state_dict(EmbeddedModel.read(find_model(run.start)).mean.state_dict())
    return network.train().requires_grad_(True)


def learn(
    folder: Path, network: MeanScaleNet, run: EmbeddedRun, series: Sequence[SeriesSettings], study: Study
) -> None:
    """Train a network, or go on; it ends with averaged weights."""
    fitted = FitSettings.of(run.mean, replace(run, validate_every=run.mean.steps), run.patches.seed)
    held_out = [view for one in study.scored for view in views(run.data.folder, one)]
    data = datasets(PatchBatches, (sources(run, series), held_out), run.patches, fitted.items, 1)
    fit(folder, MeanStage(network, fitted, run.mean_loss), *data, fitted)


def sources(run: EmbeddedRun, series: Sequence[SeriesSettings]) -> list[TrainingSource]:
    return [view for one in series if one.axial or one.reformat for view in views(run.data.folder, one)]


@cache
def views(folder: str, series: SeriesSettings) -> tuple[TrainingSource, ...]:
    return tuple(load_views(Path(folder), (series,)))


@torch.no_grad()
def score(network: MeanScaleNet, run: EmbeddedRun, fold: Fold, study: Study) -> dict[str, float]:
    """Person or test object -> gain in dB."""
    network.eval()
    patches = for_validation(replace(settings(study, ()).patches, seed=0))
    asked = {path: SeriesSettings(path=path, axial=0.5, reformat=0.25) for path in fold.leave}
    asked |= {one.path or f"{one.phantom.region}-{one.phantom.seed}": one for one in study.scored}  # type: ignore[union-attr]
    gains = {}
    for name, one in asked.items():
        found = start = 0.0
        batches = PatchBatches(views(run.data.folder, one), patches, study.batches)
        for pairs in (batches.batch(item) for item in range(study.batches)):
            mean, _ = network(pairs.thick_hu, pairs.grids, pairs.condition)
            found += float(counted_mean((network.codec.encode(pairs.thin_hu) - mean).square(), pairs.counted))
            start += float(cubic_error(pairs, pairs.grids.start_matrix))
        gains[name] = 10 * math.log10(start / found)
    return gains


def table(runs: Sequence[Variant], scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a row a run, a column each person left out and test object; gains in dB, and over the first run's."""
    first = scores[runs[0].name]
    heads = [(fold, name) for fold, found in first.items() for name in found]
    lines = [
        "| run | what is changed | " + " | ".join(f"{fold}: {name}" for fold, name in heads) + " |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for one in runs:
        cells = []
        for fold, name in heads:
            gain = scores.get(one.name, {}).get(fold, {}).get(name)
            cells.append("" if gain is None else f"{gain:+.2f} ({gain - first[fold][name]:+.2f})")
        lines.append(f"| {one.name} | {one.about} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
