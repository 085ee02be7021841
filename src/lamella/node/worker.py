"""The processes that touch what is in a study: one looks through it within limits, the other holds the model and thins.

Both end when the node does: each watches a pipe whose other end only the node holds.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from lamella.dicom.deidentify import keyed_uid, read_key
from lamella.errors import LamellaError, RefusedInput
from lamella.node.journal import hashed
from lamella.node.settings import NodeThin
from lamella.node.states import RESULT, read_json, sync
from lamella.selection.rules import SeriesRules
from lamella.selection.series import FoundSeries

if TYPE_CHECKING:
    from lamella.thinning.model import ThinModel

MAKING, EARLIER = "making", "earlier"
"""Folders beside `result`: what grows, and what was there before it is done again."""

_TELL_EVERY_S = 0.25


@dataclass(frozen=True)
class Looked:
    """What is in a study.

    Attributes:
        chosen: the series to thin.
        reasons: why the others are not, one for each.
    """

    chosen: tuple[FoundSeries, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A study to thin.

    Attributes:
        folder: of the round.
        chosen: its series.
        before: result of the study's earlier round, whose cases are taken where nothing changed; None where there is none.
    """

    folder: Path
    chosen: tuple[FoundSeries, ...]
    before: Path | None


@dataclass(frozen=True)
class Done:
    """The end of a job: "done", "refused" or "failed", and why."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Progress:
    """Where a worker is.

    Attributes:
        series, of: which series, from 1, of how many.
        stage: what it does with it.
        fraction: how far that is, 0 to 1.
        seconds: how long that has taken so far.
        rest_s: how long the stages after it may take, from the series before; None for the first one.
    """

    series: int
    of: int
    stage: str
    fraction: float
    seconds: float
    rest_s: float | None


def look(life: Connection, answer: Connection, source: Path, rules: SeriesRules, memory_gb: float) -> None:
    """Process: parse and decode a study within a limit of memory, and answer with a `Looked`, or a `Done` that ends it."""
    _begin(life)
    from lamella.files.names import numbered_names
    from lamella.selection.find import find_series
    from lamella.selection.rules import choose
    from lamella.sources.source import read_source

    _limit_memory(memory_gb)
    try:
        decisions = choose(find_series([source]), rules)
        chosen = tuple(one.series for one in decisions if one.verdict == "chosen")
        reasons = [f"{one.series.id}: {one.reason}" for one in decisions if one.verdict != "chosen"]
        readable = []
        for found in chosen:
            try:
                with numbered_names():
                    read_source(found.source, found.series_uid)
                readable.append(found)
            except RefusedInput as error:
                reasons.append(f"{found.id}: {found.discreet(error)}")
        answer.send(Looked(tuple(readable), tuple(reasons)))
    except MemoryError:
        answer.send(Done("refused", f"Reading it takes more memory than work.parse_gb, {memory_gb:g} GiB."))
    except Exception as error:
        answer.send(_ended(error))


def work(life: Connection, jobs: Connection, thin: NodeThin, pages: bool, threads: int) -> None:
    """Process: load the model, say so with a `Done`, then answer every `Job` with one, after any number of `Progress`."""
    _begin(life)
    import torch

    from lamella.models.registry import load_model

    torch.set_num_threads(threads)
    try:
        model = load_model(thin.model)
    except LamellaError as error:
        jobs.send(Done("failed", str(error)))
        return
    jobs.send(Done("done"))
    known: dict[str, float] = {}
    while True:
        job = jobs.recv()
        try:
            done = _thin(job, thin, model, pages, jobs, known)
        except Exception as error:
            done = _ended(error)
        shutil.rmtree(job.folder / MAKING, ignore_errors=True)
        jobs.send(done)


def _thin(job: Job, thin: NodeThin, model: ThinModel, pages: bool, tell: Connection, known: dict[str, float]) -> Done:
    """Thin the series of a study into its `result`, which appears whole; one that fails makes the study fail."""
    from lamella.batch.case import case_key, thin_case
    from lamella.batch.record import RECORD
    from lamella.workflow.thin_study import ThinRequest

    asked = {name: value for name, value in asdict(thin).items() if name != "spread"}
    request = ThinRequest.of(source=job.folder, output=job.folder, **asked)
    making = job.folder / MAKING
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    refused = []
    chosen = job.chosen
    if thin.deidentify:  # records and folders of the result bear its own names
        chosen = tuple(one.called(partial(keyed_uid, read_key(thin.deidentify_key))) for one in chosen)
    for number, found in enumerate(chosen, start=1):
        folder = making / hashed(found.id)
        old = None if job.before is None else job.before / folder.name
        if old is not None and read_json(old / RECORD).get("key") == case_key(found, request, model):
            shutil.copytree(old, folder, copy_function=os.link)
            for root, _, _ in os.walk(folder):
                sync(Path(root))
            continue
        telling = _Telling(tell, number, len(job.chosen), known)
        record = thin_case(found, folder, request, model, page=pages, progress=telling)
        if record.state == "failed":
            return Done("failed", f"{found.id}: {record.reason}".replace(f"{making}{os.sep}", ""))
        if record.state == "done":
            telling.end()
        if record.state == "refused":
            refused.append(f"{found.id}: {record.reason}")
    if len(refused) == len(job.chosen):
        return Done("refused", "; ".join(refused))
    sync(making)
    os.rename(making, job.folder / RESULT)
    sync(job.folder)
    shutil.rmtree(job.folder / EARLIER, ignore_errors=True)
    return Done("done", "; ".join(refused))


def _ended(error: Exception) -> Done:
    """What an error means for a study. The text of a foreign one may quote a header."""
    if isinstance(error, LamellaError):
        return Done("refused" if isinstance(error, RefusedInput) else "failed", str(error))
    return Done(
        "failed", f"An error that was not expected: {getattr(error, 'strerror', None) or type(error).__name__}."
    )


def _limit_memory(more_gb: float) -> None:
    """Let this process take so much more memory than it has."""
    if sys.platform != "win32":
        import resource

        np.eye(2) @ np.eye(2)  # BLAS takes its memory at first use, and ends the process where there is none
        size = psutil.Process().memory_info().vms + int(more_gb * (1 << 30))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


class _Telling:
    """Sends `Progress`, not more often than people can read; `known` holds the seconds of each stage of the series before."""

    def __init__(self, tell: Connection, series: int, of: int, known: dict[str, float]) -> None:
        self._tell, self._series, self._of, self._known = tell, series, of, known
        self._began: dict[str, float] = {}
        self._told_s = 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        if stage not in self._began:
            self._began[stage], self._told_s = now, 0.0
        if now - self._told_s > _TELL_EVERY_S:
            self._told_s = now
            seconds = now - self._began[stage]
            self._tell.send(Progress(self._series, self._of, stage, fraction, seconds, self._rest_s(stage)))

    def end(self) -> None:
        """The series is done: the next one may take as long."""
        ends = [*list(self._began.values())[1:], time.monotonic()]
        self._known.clear()
        self._known.update({stage: end - self._began[stage] for stage, end in zip(self._began, ends, strict=True)})

    def _rest_s(self, stage: str) -> float | None:
        stages = list(self._known)
        if stage not in stages:
            return None
        return sum(self._known[later] for later in stages[stages.index(stage) + 1 :])


def _begin(life: Connection) -> None:
    """Warn about nothing, since libraries quote headers; end as soon as the node has ended, also within a computation."""
    warnings.simplefilter("ignore")

    def watch() -> None:
        try:
            life.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
