"""A whole evaluation: case by case, method by method, resumable; one case's failure is kept apart from the others."""

from __future__ import annotations

import dataclasses
import re
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.cases import Case, Planned, build_cases, paths_of, plan_cases, safe_id
from lamella.evaluate.harm import harm_of
from lamella.evaluate.methods import Answer, Task, crop_answer, kept_volumes, load_models, methods_of, tasks_of
from lamella.evaluate.nodules import inserted_figures, nodule_figures
from lamella.evaluate.outside import handed_in, runs_of
from lamella.evaluate.record import record_of
from lamella.evaluate.reference import Reference, reference_of
from lamella.evaluate.results import TABLE, assemble, write_table
from lamella.evaluate.resume import CaseStore, Recovered, Scored, key_of
from lamella.evaluate.score import score
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.spheres import with_spheres
from lamella.files.atomic import staged_file
from lamella.machine.extras import require
from lamella.models.shipped import is_shipped
from lamella.nifti.image import write_nifti
from lamella.results.files import RESULTS, write_json
from lamella.results.schema import CaseRecord, Failure, Method, VolumeFiles
from lamella.thinning.model import ThinModel
from lamella.thinning.result import Progress, silent
from lamella.volume import Volume


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation left.

    Attributes:
        results: its results.json.
        cases: how many were evaluated, now or before.
        failures: the others.
    """

    results: Path
    cases: int
    failures: tuple[Failure, ...]


def evaluate(settings: EvaluationSettings, progress: Progress = silent) -> Evaluated:
    """Evaluate every case that the results folder does not hold yet, then write the results of all.

    What was measured is kept when it is interrupted: the next run goes on with the method that was at work.

    Args:
        settings: what to compare, on what.
        progress: told the case and the method at work, and the fraction of it that is done.

    Raises:
        UsageError: the settings name no case, no method, or something twice; a package for the tasks is not installed.
        LamellaError: not one case could be evaluated; the message gives the first reason.
    """
    if settings.tasks is not None:
        require("evaluate", "Following vessels in an evaluation")
    start, out, settings = time.perf_counter(), Path(settings.out), handed_in(settings)
    planned, methods = plan_cases(settings), methods_of(settings)
    models = load_models(settings)
    stores = {one.id: CaseStore(out, one.id, key_of(one, settings, models)) for one in planned}
    done = {one.id: record for one in planned if (record := stores[one.id].record()) is not None}
    failures: list[Failure] = []
    for one, case in build_cases([one for one in planned if one.id not in done], settings):
        try:
            if isinstance(case, Exception):
                raise case
            stores[one.id].begin()
            done[one.id] = evaluate_case(case, settings, models, methods, stores[one.id], progress)
            stores[one.id].keep(done[one.id])
        except Exception as error:  # whatever became of it, the other cases are still worth their time
            failures.append(Failure(one.id, _why(error, one, settings)))
    if not done:
        raise LamellaError(f"No case could be evaluated. The first, {failures[0].case}: {failures[0].why}")
    records = [done[one.id] for one in planned if one.id in done]
    results = assemble(records, methods, models, settings, failures, time.perf_counter() - start)
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


def evaluate_case(
    case: Case,
    settings: EvaluationSettings,
    models: Mapping[str, ThinModel],
    methods: Sequence[Method],
    store: CaseStore,
    progress: Progress = silent,
) -> CaseRecord:
    """Every figure of every method on one case; volumes that are kept go to the results' folder."""
    start = time.perf_counter()
    progress(f"{case.id}: truth", 0.0)
    reference = reference_of(case, settings.tasks)
    found = _scored(case, reference, settings, models, store, progress)
    recovered, without = _recovery(case, settings, models, store, progress)
    spheres = {name: {float(mm): left for mm, left in one.spheres.items()} for name, one in recovered.items()}
    for name, one in found.items():
        figures = inserted_figures(spheres.get(name, {}), recovered[name].nodules if name in recovered else {})
        one.sheet.figures |= figures
        one.sheet.absent |= {key: without for key, value in figures.items() if value is None}
    scored = {one.name: found[one.name] for one in methods if one.name in found}
    volumes = VolumeFiles()
    if kept_volumes(settings):
        spread_of, spread = next(((name, one.spread) for name, one in scored.items() if one.spread), (None, None))
        volumes = VolumeFiles(
            thick=_keep_volume(store, "thick", case.thick),
            truth=_keep_volume(store, "truth", case.scan.volume),
            spread=spread,
            spread_of=spread_of,
            methods={name: one.volume for name, one in scored.items() if one.volume},
        )
    sheets = {name: one.sheet for name, one in scored.items()}
    record = record_of(case, reference, sheets, spheres, volumes, _notes(scored), settings.seed)
    judged = [one.name for one in methods if one.kind in ("model", "outside")]
    return dataclasses.replace(
        record,
        harm=harm_of(case, settings.harm, judged, store.out, volumes),
        tools=runs_of(settings.outside, case.id),
        seconds=round(time.perf_counter() - start, 1),
    )


def _notes(scored: Mapping[str, Scored]) -> tuple[str, ...]:
    """Every warning once, after the names of the methods that give it."""
    methods: dict[str, list[str]] = {}
    for name, one in scored.items():
        for text in dict.fromkeys(one.warnings):
            methods.setdefault(text, []).append(name)
    return tuple(f"{', '.join(names)}: {text}" for text, names in methods.items())


def _scored(
    case: Case,
    reference: Reference,
    settings: EvaluationSettings,
    models: Mapping[str, ThinModel],
    store: CaseStore,
    progress: Progress,
) -> dict[str, Scored]:
    """The figures of every method, each kept as soon as it is there."""
    scored: dict[str, Scored] = {}
    wanted = kept_volumes(settings)

    def keep(answer: Answer, with_spread: bool) -> Scored:
        volume = spread = None
        if answer.method in wanted:
            volume = _keep_volume(store, answer.method, Volume(answer.hu, case.scan.volume.geometry))
        if with_spread and answer.spread is not None:
            hu = np.rint(answer.spread).astype(np.int16)
            spread = _keep_volume(store, "spread", Volume(hu, case.scan.volume.geometry))
        one = Scored(score(answer, reference), answer.warnings, volume, spread)
        store.keep_part(answer.method, one)
        return one

    with ThreadPoolExecutor(settings.workers) as pool:
        waiting: list[tuple[str, Future[Scored]]] = []
        spread_of = ""
        for task in tasks_of(case, settings, models):
            if earlier := _earlier(store, task, wanted):
                scored |= earlier
                spread_of = spread_of or next((name for name, one in earlier.items() if one.spread), "")
                continue
            for answer in task.run(_stage(case, task, progress)):
                if answer.method in wanted and answer.spread is not None:
                    spread_of = spread_of or answer.method
                waiting.append(
                    (answer.method, pool.submit(keep, crop_answer(case, answer), spread_of == answer.method))
                )
            while len(waiting) > 2 * settings.workers:  # answers wait in memory until they are scored
                name, future = waiting.pop(0)
                scored[name] = future.result()
        return scored | {name: future.result() for name, future in waiting}


def _stage(case: Case, task: Task, progress: Progress) -> Progress:
    """Progress of a task, by the names of the case and the method."""
    name = f"{case.id}: {task.names[0]}"
    progress(name, 0.0)
    return lambda _, fraction: progress(name, fraction)


def _earlier(store: CaseStore, task: Task, wanted: Sequence[str]) -> dict[str, Scored] | None:
    """What an interrupted run measured of a task; None where anything is missing."""
    found = {name: store.part(Scored, name) for name in task.names}
    whole = {name: one for name, one in found.items() if one is not None and (one.volume or name not in wanted)}
    files = [file for one in whole.values() for file in (one.volume, one.spread) if file]
    return whole if len(whole) == len(found) and all((store.out / file).is_file() for file in files) else None


def _keep_volume(store: CaseStore, name: str, volume: Volume) -> str:
    """Write a volume for the report's viewer; its path relative to the results."""
    place = Path("volumes") / store.case / f"{safe_id(name)}.nii.gz"
    with staged_file(store.out / place, overwrite=True) as file:
        write_nifti(file, [volume], None)
    return place.as_posix()


def _recovery(
    case: Case, settings: EvaluationSettings, models: Mapping[str, ThinModel], store: CaseStore, progress: Progress
) -> tuple[dict[str, Recovered], str]:
    """What every method leaves of nodules inserted into the lungs; and why there is nothing where there is nothing."""
    if not settings.spheres:
        return {}, "No spheres were asked for."
    found = with_spheres(case)
    if found is None:
        return {}, "No sphere was inserted: a real pair, or no room in the lungs."
    filled, truth = found.case, found.case.scan.volume
    recovered: dict[str, Recovered] = {}
    for task in tasks_of(filled, settings, models, extras=False):
        earlier = {name: part for name in task.names if (part := store.part(Recovered, name)) is not None}
        if len(earlier) == len(task.names):
            recovered |= earlier
            continue
        for one in task.run(_stage(filled, task, progress)):
            hu = crop_answer(filled, one).hu
            left = metrics.sphere_recovery(hu, truth.hu, truth.geometry, found.spheres)
            spheres = {f"{mm:g}": ratios for mm, ratios in left.items()}
            recovered[one.method] = Recovered(spheres, nodule_figures(hu, found))
            store.keep_part(one.method, recovered[one.method])
    return recovered, "Spheres of this size had no room, or the method was not run on them."
