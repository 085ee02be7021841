"""A whole evaluation: case by case, resumable, one case's failure kept apart from the others."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella
import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.cases import Case, Planned, build_cases, plan_cases
from lamella.evaluate.methods import Method, answers, crop_answer, load_models, methods_of
from lamella.evaluate.record import Spheres, record_of
from lamella.evaluate.reference import reference_of
from lamella.evaluate.results import RESULTS, TABLE, assemble, fingerprint, write_json, write_table
from lamella.evaluate.score import Sheet, score, sphere_figures
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.spheres import with_spheres
from lamella.metrics.catalogue import FIGURES
from lamella.model import Model
from lamella.nifti import write_nifti
from lamella.publish import staged_file
from lamella.volume import Volume

Progress = Callable[[str, float], None]
"""Called with the case at work and the fraction of it that is done."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation left.

    Attributes:
        results: its results.json.
        cases: how many were evaluated, now or before.
        failures: (case, reason) of the others.
    """

    results: Path
    cases: int
    failures: tuple[tuple[str, str], ...]


def _silent(stage: str, fraction: float) -> None:
    """No progress wanted."""


def evaluate(settings: EvaluationSettings, progress: Progress = _silent) -> Evaluated:
    """Evaluate every case that the results folder does not hold yet, then write the results of all.

    Args:
        settings: what to compare, on what.
        progress: told what is being done.

    Raises:
        UsageError: the settings name no case, no method, or something twice.
        LamellaError: not one case could be evaluated; the message gives the first reason.
    """
    start, out = time.perf_counter(), Path(settings.out)
    planned = plan_cases(settings)
    models = load_models(settings)
    methods = methods_of(settings, models)
    keys = {one.id: _key(one, settings, models) for one in planned}
    done = {one.id: record for one in planned if (record := _kept(out, one.id, keys[one.id])) is not None}
    failures: list[tuple[str, str]] = []
    todo = [one for one in planned if one.id not in done]
    for one, case in build_cases(todo, settings):
        try:
            if isinstance(case, Exception):
                raise case
            record = evaluate_case(case, settings, models, methods, out, progress)
        except (ValueError, OSError) as error:  # LamellaError is a ValueError
            failures.append((one.id, str(error) if isinstance(error, LamellaError) else type(error).__name__))
            continue
        done[one.id] = record
        write_json(_record_file(out, one.id), {"key": keys[one.id], "record": record})
    if not done:
        raise LamellaError(f"No case could be evaluated. The first, {failures[0][0]}: {failures[0][1]}")
    records = [done[one.id] for one in planned if one.id in done]
    told = [{"case": case, "why": why} for case, why in failures]
    results = assemble(records, methods, models, settings, told, time.perf_counter() - start)
    write_table(out / TABLE, results)
    write_json(out / RESULTS, results)
    return Evaluated(out / RESULTS, len(records), tuple(failures))


def _key(one: Planned, settings: EvaluationSettings, models: Mapping[str, Model]) -> str:
    """What a kept record must have been made with."""
    asked = dataclasses.asdict(settings)
    for name in ("out", "series", "pairs", "phantoms", "workers"):
        asked.pop(name)
    asked["outside"] = [o for o in asked["outside"] if o["case"] == one.id]
    return fingerprint(
        [lamella.__version__, dataclasses.asdict(one), asked, [m.sha256 for m in models.values()], list(FIGURES)]
    )


def _record_file(out: Path, case_id: str) -> Path:
    return out / "cases" / f"{case_id}.json"


def _kept(out: Path, case_id: str, key: str) -> dict[str, Any] | None:
    """The record of an earlier run, if it answers the same question."""
    try:
        kept = json.loads(_record_file(out, case_id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(kept["record"]) if isinstance(kept, dict) and kept.get("key") == key else None


def evaluate_case(
    case: Case,
    settings: EvaluationSettings,
    models: Mapping[str, Model],
    methods: Sequence[Method],
    out: Path,
    progress: Progress = _silent,
) -> dict[str, Any]:
    """Every figure of every method on one case; volumes that shall be kept go to `out`.

    Returns:
        The case's record in results.json.
    """
    start = time.perf_counter()
    progress(case.id, 0.0)
    reference = reference_of(case)
    sheets: dict[str, Sheet] = {}
    kept: dict[str, str] = {}
    spread: str | None = None
    with ThreadPoolExecutor(settings.workers) as pool:
        waiting: list[tuple[str, Future[Sheet]]] = []
        for number, answer in enumerate(answers(case, settings, models)):
            progress(case.id, 0.8 * (number + 1) / len(methods))
            scored = crop_answer(case, answer)
            waiting.append((answer.method, pool.submit(score, scored, reference)))
            if answer.method in settings.volumes:
                kept[answer.method] = _keep(out, case, answer.method, scored.hu)
                if scored.spread is not None:
                    spread = _keep(out, case, "spread", np.rint(scored.spread).astype(np.int16))
            while len(waiting) > 2 * settings.workers:  # answers wait in memory until they are scored
                name, future = waiting.pop(0)
                sheets[name] = future.result()
        sheets |= {name: future.result() for name, future in waiting}
    spheres = _sphere_recovery(case, settings, models) if settings.spheres else {}
    for name, sheet in sheets.items():
        sheet.figures |= sphere_figures(spheres.get(name, {}))
    volumes: dict[str, Any] = {"thick": None, "truth": None, "spread": spread, "methods": kept}
    if settings.volumes:
        volumes["thick"] = _keep(out, case, "thick", case.thick)
        volumes["truth"] = _keep(out, case, "truth", case.scan.volume)
    progress(case.id, 1.0)
    record = record_of(case, reference, sheets, spheres, volumes, settings.seed)
    return {**record, "seconds": round(time.perf_counter() - start, 1)}


def _keep(out: Path, case: Case, name: str, content: NDArray[np.int16] | Volume) -> str:
    """Write a volume for the report's viewer; its path relative to the results."""
    volume = content if isinstance(content, Volume) else Volume(content, case.scan.volume.geometry)
    place = Path("volumes") / case.id / f"{name.replace(' ', '-')}.nii.gz"
    with staged_file(out / place, overwrite=True) as file:
        write_nifti(file, [volume], None)
    return place.as_posix()


def _sphere_recovery(case: Case, settings: EvaluationSettings, models: Mapping[str, Model]) -> Spheres:
    """What every method leaves of spheres inserted into the lungs; empty without lung."""
    found = with_spheres(case)
    if found is None:
        return {}
    filled, spheres = found
    truth = filled.scan.volume
    return {
        one.method: metrics.sphere_recovery(crop_answer(filled, one).hu, truth.hu, truth.geometry, spheres)
        for one in answers(filled, settings, models, extras=False)
    }
