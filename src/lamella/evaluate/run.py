"""A whole evaluation: case by case, resumable, one case's failure kept apart from the others."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella
import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.cases import Case, Planned, build_cases, paths_of, plan_cases, safe_id
from lamella.evaluate.methods import Method, answers, crop_answer, kept_volumes, load_models, methods_of
from lamella.evaluate.record import Spheres, record_of
from lamella.evaluate.reference import reference_of
from lamella.evaluate.results import RESULTS, TABLE, assemble, fingerprint, write_json, write_table
from lamella.evaluate.score import Sheet, score, sphere_figures
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.spheres import with_spheres
from lamella.files.atomic import sha256_of, staged_file
from lamella.metrics.catalogue import FIGURES
from lamella.models.registry import is_shipped
from lamella.nifti.image import write_nifti
from lamella.thinning.model import ThinModel
from lamella.thinning.settings import ThinSettings
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
    planned, methods = plan_cases(settings), methods_of(settings)
    models = load_models(settings)
    keys = {one.id: _key(one, settings, models) for one in planned}
    done = {one.id: record for one in planned if (record := _kept(out, one.id, keys[one.id])) is not None}
    failures: list[tuple[str, str]] = []
    todo = [one for one in planned if one.id not in done]
    for one, case in build_cases(todo, settings):
        try:
            if isinstance(case, Exception):
                raise case
            # its volumes are about to be replaced: an older record must not be taken for theirs
            _record_file(out, one.id).unlink(missing_ok=True)
            record = evaluate_case(case, settings, models, methods, out, progress)
            write_json(_record_file(out, one.id), {"key": keys[one.id], "record": record})
        except Exception as error:  # whatever became of it, the other cases are still worth their time
            failures.append((one.id, _why(error, one, settings)))
            continue
        done[one.id] = record
    if not done:
        raise LamellaError(f"No case could be evaluated. The first, {failures[0][0]}: {failures[0][1]}")
    records = [done[one.id] for one in planned if one.id in done]
    told = [{"case": case, "why": why} for case, why in failures]
    results = assemble(records, methods, models, settings, told, time.perf_counter() - start)
    write_table(out / TABLE, results)
    write_json(out / RESULTS, results)
    return Evaluated(out / RESULTS, len(records), tuple(failures))


def _why(error: Exception, one: Planned, settings: EvaluationSettings) -> str:
    """The reason without the paths of the config, whose folders may be called after patients."""
    if not isinstance(error, LamellaError):
        frame = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
        place = f" in {Path(frame.filename).name}, line {frame.lineno}" if frame else ""
        return f"An error that Lamella did not expect: {type(error).__name__}{place}."
    text = str(error)
    models = [one.model for one in settings.models if not is_shipped(one.model)]
    for path in (*paths_of(one), *(outside.path for outside in settings.outside), *models):
        for name in (path, Path(path).name):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(its path in the config)", text) if name else text
    return text


def _key(one: Planned, settings: EvaluationSettings, models: Mapping[str, ThinModel]) -> str:
    """What a kept record must have been made with: the question, the files, the models."""
    asked = dataclasses.asdict(settings)
    for name in ("out", "series", "pairs", "phantoms", "splits", "workers"):
        asked.pop(name)
    asked["outside"] = [o for o in asked["outside"] if o["case"] == one.id]
    source = {key: value for key, value in dataclasses.asdict(one.source).items() if key != "geometries"}
    geometry = None if one.geometry is None else dataclasses.asdict(one.geometry)
    files = [_stamp(Path(path)) for path in (*paths_of(one), *(o["path"] for o in asked["outside"]))]
    answering = [
        [m.sha256, m.provenance(m.defaults(ThinSettings())).card, dataclasses.asdict(m.limits)] for m in models.values()
    ]
    code = [lamella.__version__, _sources()]
    return fingerprint([code, one.title, source, geometry, asked, files, answering, list(FIGURES)])


@cache
def _sources() -> str:
    """A hash of the code that figures depend on: what was measured before it changed is measured again."""
    root = Path(lamella.__file__).parent
    files = sorted(root.rglob("*.py"))
    kept = [file for file in files if file.relative_to(root).parts[0] not in ("cli", "report", "reader", "train")]
    return fingerprint([[file.relative_to(root).as_posix(), sha256_of(file)] for file in kept])


def _stamp(path: Path) -> list[list[int]]:
    """Size and time of change of a file, or of every file of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [[found.st_size, found.st_mtime_ns] for found in (file.stat() for file in files if file.is_file())]


def _record_file(out: Path, case_id: str) -> Path:
    return out / "cases" / f"{case_id}.json"


def _kept(out: Path, case_id: str, key: str) -> dict[str, Any] | None:
    """The record of an earlier run, if it answers the same question."""
    try:
        kept = json.loads(_record_file(out, case_id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(kept, dict) or kept.get("key") != key:
        return None
    record = dict(kept["record"])
    volumes = record["volumes"]
    needed = [volumes["thick"], volumes["truth"], volumes["spread"], *volumes["methods"].values()]
    return record if all((out / place).is_file() for place in needed if place) else None


def evaluate_case(
    case: Case,
    settings: EvaluationSettings,
    models: Mapping[str, ThinModel],
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
    spread: dict[str, str | None] = {"spread": None, "spread_of": None}
    wanted, warnings = kept_volumes(settings), dict[str, None]()
    with ThreadPoolExecutor(settings.workers) as pool:
        waiting: list[tuple[str, Future[Sheet]]] = []
        for number, answer in enumerate(answers(case, settings, models)):
            progress(case.id, 0.8 * (number + 1) / len(methods))
            scored = crop_answer(case, answer)
            waiting.append((answer.method, pool.submit(score, scored, reference)))
            warnings |= dict.fromkeys(f"{answer.method}: {text}" for text in answer.warnings)
            if answer.method in wanted:
                kept[answer.method] = _keep(out, case, answer.method, scored.hu)
                if scored.spread is not None and spread["spread"] is None:
                    place = _keep(out, case, "spread", np.rint(scored.spread).astype(np.int16))
                    spread = {"spread": place, "spread_of": answer.method}
            while len(waiting) > 2 * settings.workers:  # answers wait in memory until they are scored
                name, future = waiting.pop(0)
                sheets[name] = future.result()
        sheets |= {name: future.result() for name, future in waiting}
    spheres, without = _sphere_recovery(case, settings, models)
    for name, sheet in sheets.items():
        figures = sphere_figures(spheres.get(name, {}))
        sheet.figures |= figures
        sheet.absent |= {key: without for key, value in figures.items() if value is None}
    volumes: dict[str, Any] = {"thick": None, "truth": None, **spread, "methods": kept}
    if wanted:
        volumes["thick"] = _keep(out, case, "thick", case.thick)
        volumes["truth"] = _keep(out, case, "truth", case.scan.volume)
    progress(case.id, 1.0)
    record = record_of(case, reference, sheets, spheres, volumes, settings.seed)
    record["notes"] += list(warnings)
    return {**record, "seconds": round(time.perf_counter() - start, 1)}


def _keep(out: Path, case: Case, name: str, content: NDArray[np.int16] | Volume) -> str:
    """Write a volume for the report's viewer; its path relative to the results."""
    volume = content if isinstance(content, Volume) else Volume(content, case.scan.volume.geometry)
    place = Path("volumes") / case.id / f"{safe_id(name)}.nii.gz"
    with staged_file(out / place, overwrite=True) as file:
        write_nifti(file, [volume], None)
    return place.as_posix()


def _sphere_recovery(case: Case, settings: EvaluationSettings, models: Mapping[str, ThinModel]) -> tuple[Spheres, str]:
    """What every method leaves of spheres inserted into the lungs; and why there is nothing where there is nothing."""
    if not settings.spheres:
        return {}, "No spheres were asked for."
    found = with_spheres(case)
    if found is None:
        return {}, "No sphere was inserted: a real pair, or no room in the lungs."
    filled, spheres = found
    truth = filled.scan.volume
    recovered = {
        one.method: metrics.sphere_recovery(crop_answer(filled, one).hu, truth.hu, truth.geometry, spheres)
        for one in answers(filled, settings, models, extras=False)
    }
    return recovered, "Spheres of this size had no room, or the method was not run on them."
