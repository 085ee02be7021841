"""A batch from its sources to its records: find, choose, thin with several workers, record, draw the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lamella
from lamella.batch.bids import describe_data_set
from lamella.batch.crew import Crew
from lamella.batch.making import Finished, Making, settings_of
from lamella.batch.parts import Part
from lamella.batch.record import BATCH, BatchRecord, CaseRecord, in_order, stem_of, write_records
from lamella.dicom.deidentify import keyed_uid, read_key
from lamella.errors import RefusedInput, UsageError
from lamella.files.config import plain
from lamella.files.lock import lock
from lamella.files.output_checks import absolute, refuse_overlap
from lamella.selection.find import Reading, find_series
from lamella.selection.rules import Decision, SeriesRules, choose
from lamella.selection.series import FoundSeries

_RECORD_EVERY_S = 10.0
"""How often the records are written while a batch runs; a result has its own record from the start."""


@dataclass(frozen=True)
class BatchRequest:
    """What is asked for.

    Attributes:
        sources: where studies are looked for.
        making: how each case is made, and where.
        rules: which series are wanted.
        part: the share that is done; None for all.
    """

    sources: tuple[Path, ...]
    making: Making
    rules: SeriesRules = field(default_factory=SeriesRules)
    part: Part | None = None


@dataclass(frozen=True)
class Standing:
    """How far a batch is, after a case has ended.

    Attributes:
        finished: the case.
        ended, total: cases.
        left_s: expected seconds until the end; None before the first case that took time.
    """

    finished: Finished
    ended: int
    total: int
    left_s: float | None


def plan_batch(request: BatchRequest, progress: Callable[[str, float], None]) -> list[Decision]:
    """What becomes of every series of the part: chosen, passed over or refused. Writes nothing.

    Raises:
        UsageError: a source is not there, OUT is or would be mixed up with one, or holds something else.
        RefusedInput: no series at all.
    """
    out = request.making.out
    for source in request.sources:
        if not source.exists():
            raise UsageError(f"SOURCE does not exist: {source}. Expected a folder, a ZIP, a DICOM or a NIfTI file.")
        refuse_overlap(out, source)
    if out.exists() and not out.is_dir():
        raise UsageError(f"OUT is not a folder: {out}. Choose another OUT.")
    if (
        out.is_dir()
        and not any(out.glob(f"{BATCH}*.json"))
        and any(not one.name.startswith(".") for one in out.iterdir())
    ):
        raise UsageError(f"OUT holds files and is no batch: {out}. Choose a new folder, or one that a batch made.")
    thin = request.making.thin
    progress("find series", 0.0)
    reading = Reading(thin.thickness_mm, thin.strict, thin.repair)
    found = find_series(request.sources, lambda files: progress("find series", 0.0), reading)
    if not found:
        raise RefusedInput("The sources hold no DICOM series and no NIfTI file. Look at the paths.")
    if thin.deidentify:
        found = [one.called(partial(keyed_uid, read_key(thin.deidentify_key))) for one in found]
    return [one for one in choose(found, request.rules) if request.part is None or request.part.holds(one.series.id)]


def run_batch(
    request: BatchRequest,
    workers: Callable[[Making], AbstractContextManager[Crew[Any]]],
    progress: Callable[[str, float], None],
    told: Callable[[Standing], None],
) -> BatchRecord:
    """Thin every chosen series, or go on with it; results that are there and whole are kept.

    Args:
        request: what is asked for.
        workers: starts what makes the cases.
        progress: told (stage, fraction done).
        told: how far it is, after each case.

    Raises:
        UsageError: see `plan_batch`; or another run is at work on the same part.
        LamellaError: the workers cannot begin.
    """
    out = absolute(request.making.out)
    with workers(request.making) as making:
        decisions = plan_batch(request, progress)
        making.ready()
        out.mkdir(parents=True, exist_ok=True)
        cases = [_unwanted(one) for one in decisions if one.verdict != "chosen"]
        todo = [one.series for one in decisions if one.verdict == "chosen"]

        def write(*, finished: bool = False) -> BatchRecord:
            record = _record(request, cases, finished=finished)
            write_records(out, record)
            return record

        with _alone(request, out):
            try:
                write()  # first of all: by its records a folder is known as a batch
                if request.making.bids:
                    describe_data_set(out)
                _make(making, todo, cases, told, write)
            except BaseException:
                write()
                raise
            return write(finished=True)


def _make(
    making: Crew[Any],
    todo: Sequence[FoundSeries],
    cases: list[CaseRecord],
    told: Callable[[Standing], None],
    write: Callable[[], object],
) -> None:
    """Make what is to do, note it in `cases`, and `write` now and then."""
    began = written = time.monotonic()
    computed = 0
    for ended, finished in enumerate(making.run(todo), 1):
        cases.append(finished.record)
        now = time.monotonic()
        computed += not finished.kept
        told(Standing(finished, ended, len(todo), (now - began) / computed * (len(todo) - ended) if computed else None))
        if now - written > _RECORD_EVERY_S:
            write()
            written = now


@contextmanager
def _alone(request: BatchRequest, out: Path) -> Iterator[None]:
    """Refuse a second run of the same part, which would do the work twice."""
    try:
        held = lock(out / f".{stem_of(request.part)}.lock")
    except BlockingIOError:
        raise UsageError(f"Another run is at work on this batch: {out}. Wait for it, or choose another OUT.") from None
    try:
        yield
    finally:
        if held is not None:
            held.release()


def _unwanted(decision: Decision) -> CaseRecord:
    state: Any = decision.verdict
    return CaseRecord(decision.series.id, decision.series.study, "", state, decision.reason)


def _record(request: BatchRequest, cases: Sequence[CaseRecord], *, finished: bool) -> BatchRecord:
    settings = settings_of(request.making.thin)
    part = None if request.part is None else str(request.part)
    return BatchRecord(lamella.__version__, finished, part, plain(request.rules), settings, in_order(cases))
