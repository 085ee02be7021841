"""The processes that touch what is in a study: one looks through it within limits, the other holds the model and thins.

Both end when the node does: each watches a pipe whose other end only the node holds.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

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


def look(life: Connection, answer: Connection, source: Path, rules: SeriesRules, memory_gb: float) -> None:
    """Process: parse and decode a study within a limit of memory, and answer with a `Looked`, or a message that refuses it."""
    _end_with(life)
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
                read_source(found.source, found.series_uid)
                readable.append(found)
            except RefusedInput as error:
                reasons.append(f"{found.id}: {found.discreet(error)}")
        answer.send(Looked(tuple(readable), tuple(reasons)))
    except LamellaError as error:
        answer.send(str(error))
    except MemoryError:
        answer.send(f"Reading it takes more memory than work.parse_gb, {memory_gb:g} GiB.")


def work(life: Connection, jobs: Connection, thin: NodeThin, pages: bool) -> None:
    """Process: load the model, say so with a `Done`, then answer every `Job` with one."""
    _end_with(life)
    from lamella.models.registry import load_model

    try:
        model = load_model(thin.model)
    except LamellaError as error:
        jobs.send(Done("failed", str(error)))
        return
    jobs.send(Done("done"))
    while True:
        job = jobs.recv()
        try:
            done = _thin(job, thin, model, pages)
        except OSError as error:
            done = Done("failed", f"{error.strerror or type(error).__name__}.")
        shutil.rmtree(job.folder / MAKING, ignore_errors=True)
        jobs.send(done)


def _thin(job: Job, thin: NodeThin, model: ThinModel, pages: bool) -> Done:
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
    for found in job.chosen:
        folder = making / hashed(found.id)
        old = None if job.before is None else job.before / folder.name
        if old is not None and read_json(old / RECORD).get("key") == case_key(found, request, model):
            shutil.copytree(old, folder, copy_function=os.link)
            for root, _, _ in os.walk(folder):
                sync(Path(root))
            continue
        record = thin_case(found, folder, request, model, page=pages)
        if record.state == "failed":
            return Done("failed", f"{found.id}: {record.reason}".replace(f"{making}{os.sep}", ""))
        if record.state == "refused":
            refused.append(f"{found.id}: {record.reason}")
    if len(refused) == len(job.chosen):
        return Done("refused", "; ".join(refused))
    sync(making)
    os.rename(making, job.folder / RESULT)
    sync(job.folder)
    shutil.rmtree(job.folder / EARLIER, ignore_errors=True)
    return Done("done", "; ".join(refused))


def _limit_memory(more_gb: float) -> None:
    """Let this process take so much more memory than it has."""
    if sys.platform != "win32":
        import resource

        np.eye(2) @ np.eye(2)  # BLAS takes its memory at first use, and ends the process where there is none
        size = psutil.Process().memory_info().vms + int(more_gb * (1 << 30))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _end_with(life: Connection) -> None:
    """End this process as soon as the node has ended, however it did, also in the middle of a computation."""

    def watch() -> None:
        try:
            life.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
