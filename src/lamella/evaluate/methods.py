"""The methods that are compared, and their answers to one case.

Every method is given the same thick slices and asked for the same thin ones; none is told the truth, the slab's real
profile, or where it will be scored.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.errors import LamellaError, RefusedInput, UsageError
from lamella.evaluate.cases import Case, safe_id
from lamella.evaluate.outside import run_of
from lamella.evaluate.scans import require_same_plane
from lamella.evaluate.settings import EvaluationSettings, Interpolation, ModelMethods, OutsideResult
from lamella.models.registry import load_model
from lamella.models.shipped import is_shipped
from lamella.physics.slice_operator import SliceOperator, covering_grid
from lamella.results.schema import Method
from lamella.sources.source import read_source
from lamella.thinning.model import ThinModel
from lamella.thinning.result import Progress
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import SAME_GRID_MM, round_hu


@dataclass(frozen=True, eq=False)
class Answer:
    """What one method makes of one case.

    Attributes:
        method: its name.
        hu: int16 on the case's grid.
        spread: predicted standard deviation in HU, where the method has one.
        seconds: of the restoration.
        warnings: what the method says of the case, such as a geometry it was not trained for.
    """

    method: str
    hu: NDArray[np.int16]
    spread: NDArray[np.float32] | None
    seconds: float | None
    warnings: tuple[str, ...] = ()


def methods_of(settings: EvaluationSettings) -> list[Method]:
    """Every method of an evaluation.

    Args:
        settings: which.

    Raises:
        UsageError: none, or two of one name.
    """
    listed = [Method(kind, kind.capitalize(), "baseline") for kind in settings.baselines]
    if settings.projected:
        listed += [
            Method(projected_name(kind), f"{kind.capitalize()}, projected", "projected") for kind in settings.baselines
        ]
    for one in settings.models:
        names = [f"{_prefix(one, settings)}{mode}" for mode in one.modes]
        if "sample" in one.modes and one.samples > 1:
            names.append(_samples_name(one, settings))
        listed += [Method(name, f"Lamella {name}", "model") for name in names]
    listed += [Method(name, name, "outside") for name in dict.fromkeys(one.name for one in settings.outside)]
    results = Counter((one.name, one.case) for one in settings.outside)
    twice = [name for name, count in Counter(one.name for one in listed).items() if count > 1]
    files = Counter(safe_id(one.name) for one in listed)
    twice += [one.name for one in listed if files[safe_id(one.name)] > 1 and one.name not in twice]
    twice += [f"{name} of {case}" for (name, case), count in results.items() if count > 1]
    if not listed or twice:
        problem = f"two are called {twice[0]!r}" if twice else "there is none"
        raise UsageError(f"Methods cannot be compared: {problem}. See baselines, models and outside in the config.")
    unknown = sorted(set(settings.volumes or ()) - {one.name for one in listed})
    if unknown:
        expected = ", ".join(one.name for one in listed)
        raise UsageError(f"volumes: there is no method {unknown[0]!r}. Expected some of {expected}.")
    return listed


def load_models(settings: EvaluationSettings) -> dict[str, ThinModel]:
    """The models of an evaluation, by the name the settings give them.

    Raises:
        UsageError: no such model, or it cannot do what is asked; known before the first case.
    """
    loaded = {one.model: load_model(one.model) for one in settings.models}
    for one in settings.models:
        for mode in one.modes:
            _asked(one, mode, loaded[one.model], extras=True)
    return loaded


def projected_name(kind: str) -> str:
    """Name of a projected baseline."""
    return f"{kind} projected"


def kept_volumes(settings: EvaluationSettings) -> tuple[str, ...]:
    """Methods whose volumes are kept."""
    if settings.volumes is not None:
        return settings.volumes
    names = [one.name for one in methods_of(settings)]
    return tuple(name for name in names if name == "cubic" or name.split()[-1] in ("mean", "texture"))


def _prefix(one: ModelMethods, settings: EvaluationSettings) -> str:
    """What tells the answers of several models apart; never a path, whose folders may be called after anything."""
    if len(settings.models) == 1:
        return ""
    number = settings.models.index(one) + 1
    return f"{one.name or (one.model if is_shipped(one.model) else f'model {number}')} "


def _samples_name(one: ModelMethods, settings: EvaluationSettings) -> str:
    return f"{_prefix(one, settings)}mean of {one.samples} samples"


@dataclass(frozen=True, eq=False)
class Task:
    """Methods whose answers come from one computation.

    Attributes:
        names: of the methods, in the order of their answers.
        run: gives the answers; told what is called with the stage at work and the fraction of it that is done.
    """

    names: tuple[str, ...]
    run: Callable[[Progress], Iterator[Answer]]


def tasks_of(
    case: Case, settings: EvaluationSettings, models: Mapping[str, ThinModel], *, extras: bool = True
) -> Iterator[Task]:
    """What must be computed for every method's answer to a case.

    Args:
        case: what is asked.
        settings: which methods.
        models: by the name the settings give them.
        extras: also several samples and results of other tools; off for the inserted spheres, which these never saw.
    """
    for kind in settings.baselines:
        both = (kind, projected_name(kind)) if settings.projected else (kind,)
        yield Task(both, partial(_interpolations, case, kind, settings.projected))
    for one in settings.models:
        for mode in one.modes:
            asked = _asked(one, mode, models[one.model], extras=extras)
            names: tuple[str, ...] = (f"{_prefix(one, settings)}{mode}",)
            if mode == "sample" and asked.sample_count > 1:
                names += (_samples_name(one, settings),)
            yield Task(names, partial(_of_model, case, models[one.model], asked, names))
    for result in settings.outside if extras else ():
        if result.case == case.id and result.path:
            yield Task((result.name,), partial(_of_outside, case, result))


def _interpolations(case: Case, kind: Interpolation, projected: bool, progress: Progress) -> Iterator[Answer]:
    """An interpolation at the slices' positions, and the same projected onto the measurement (as a box)."""
    start = time.perf_counter()
    thick_mm = case.thick.geometry.centres_mm
    plain = metrics.aligned_interpolation(case.thick.hu, thick_mm, case.grid.centres_mm, kind)
    seconds = time.perf_counter() - start
    yield Answer(kind, round_hu(plain), None, seconds)
    if not projected:
        return
    longer, wanted = covering_grid(case.grid, case.thick.geometry)
    if longer.shape[0] > len(plain):
        plain = metrics.aligned_interpolation(case.thick.hu, thick_mm, longer.centres_mm, kind)
    operator = SliceOperator.between(longer, case.thick.geometry)
    measured = torch.from_numpy(case.thick.hu.astype(np.float32))
    consistent = operator.project(torch.from_numpy(plain), measured).numpy()[wanted]
    yield Answer(projected_name(kind), round_hu(consistent), None, time.perf_counter() - start)


def _of_model(
    case: Case, model: ThinModel, asked: ThinSettings, names: tuple[str, ...], progress: Progress
) -> Iterator[Answer]:
    """A model's answer, and the mean of its samples where `names` has a name for it."""
    done = thin(case.thick, model, case.grid, asked, progress)
    off_mm = float(np.abs(done.volume.geometry.centres_mm - case.grid.centres_mm).max())
    if off_mm > 1e-3:
        raise LamellaError(f"{asked.mode}: the answer lies {off_mm:g} mm off the slices asked for; allowed 0.001 mm.")
    spent = done.report["seconds"]
    shared = sum(spent.get(stage, 0.0) for stage in ("mean", "noise", "encode"))
    spread = None if done.spread is None else done.spread.hu.astype(np.float32)
    warnings = tuple(done.report["warnings"])
    single_s = shared + (sum(spent.values()) - shared) / len(done.samples)
    yield Answer(names[0], round_hu(done.volume.hu), spread, single_s, warnings)
    for name in names[1:]:
        total = np.zeros(case.grid.shape, dtype=np.float32)
        for sample in done.samples:
            total += sample.hu
        yield Answer(name, round_hu(total / len(done.samples)), None, sum(spent.values()), warnings)


def _asked(one: ModelMethods, mode: Mode, model: ThinModel, *, extras: bool) -> ThinSettings:
    """What a model is asked for; a mean that averages samples has a spread if they are several."""
    averages = mode == "mean" and mode in model.sampled_modes
    samples = one.samples if (mode == "sample" and extras) or averages else 1
    spread = mode == "mean" and (samples > 1 or not averages)
    asked = ThinSettings(mode=mode, steps=one.steps, samples=samples, seed=one.seed, spread=spread, project=one.project)
    return model.defaults(asked)


def _of_outside(case: Case, result: OutsideResult, progress: Progress) -> Iterator[Answer]:
    """Another tool's result, on the case's slices by position; its slices may reach beyond them, or lie between them.

    Raises:
        RefusedInput: another in-plane grid, or slices that do not reach over the case's.
    """
    volume = read_source(result.path, thickness_mm=result.thickness_mm, strict=result.strict)
    of_case = volume.geometry.apart_mm(case.grid, in_plane=True) <= SAME_GRID_MM
    if not of_case:
        require_same_plane(volume.geometry, case.scan.whole, case.id)
    has_mm, wanted_mm = volume.geometry.centres_mm, case.grid.centres_mm
    scored_mm = wanted_mm[case.scored]
    reach_mm = volume.geometry.spacing_mm / 2 + 1e-3
    if scored_mm[0] < has_mm[0] - reach_mm or scored_mm[-1] > has_mm[-1] + reach_mm:
        raise RefusedInput(
            f"The result of {result.name} does not cover case {case.id}. File {Path(result.path).name}: slices from "
            f"{has_mm[0]:.2f} to {has_mm[-1]:.2f} mm along the normal, expected {scored_mm[0]:.2f} to {scored_mm[-1]:.2f}."
        )
    hu = volume.hu if of_case else volume.part(slice(None), *case.scan.box).hu
    run = run_of(result)
    seconds = run.seconds if run else None
    if len(has_mm) == len(wanted_mm) and np.allclose(has_mm, wanted_mm, atol=1e-3):
        yield Answer(result.name, round_hu(hu), None, seconds)
    else:
        yield Answer(result.name, round_hu(metrics.aligned_cubic(hu, has_mm, wanted_mm)), None, seconds)


def crop_answer(case: Case, answer: Answer) -> Answer:
    """The answer on the scored slices alone."""
    spread = None if answer.spread is None else answer.spread[case.scored]
    return replace(answer, hu=answer.hu[case.scored], spread=spread)
