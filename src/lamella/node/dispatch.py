"""ready -> working -> (result, to be sent) | refused | failed: one study after the other."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from lamella.dicom.read import SeriesSummary
from lamella.errors import LamellaError
from lamella.node.aside import Aside
from lamella.node.journal import Journal
from lamella.node.processes import Died, Worker, look_through
from lamella.node.send import hand_over, take_back
from lamella.node.settings import NodeSettings
from lamella.node.states import Round, State, States
from lamella.node.worker import EARLIER, Done, Job

_START_AGAIN_S = 5.0


class Dispatcher:
    """Gives studies to the worker. One thread uses it.

    Args:
        settings: of the node.
        states: where studies are.
        journal: told about every study that begins or ends.
    """

    def __init__(self, settings: NodeSettings, states: States, journal: Journal) -> None:
        self._settings, self._states, self._journal = settings, states, journal
        self.worker, self._stopping, self._aside = Worker(settings), False, Aside()

    def step(self) -> bool:
        """Work on the study that waits longest; returns whether there was one, and it was time for it."""
        hours = self._settings.work.hours
        if hours is not None and not _within(hours, datetime.now().strftime("%H:%M")):
            return False
        one = self._next()
        if one is None or not self._worker_runs():
            return False
        try:
            one = self._states.move(one, "working")
            self._do(one)
        except OSError as error:  # a full disk, or somebody moved, copied or owns the folder
            self._journal.note(
                "not worked on", level=logging.ERROR, round=one.name, reason=os.strerror(error.errno or 0)
            )
            self._aside.put(one)
            self._wait_again(one)
            return False
        return True

    def stop(self) -> None:
        """End the worker; the study that it was working on waits again, as if it had not been begun."""
        self._stopping = True
        self.worker.end()

    def _next(self) -> Round | None:
        return next((one for one in self._states.rounds("ready") if not self._aside.holds(one)), None)

    def _worker_runs(self) -> bool:
        """Start the worker where it does not run. What keeps it from starting is no fault of the studies, so these wait."""
        if self._stopping:
            return False
        try:
            self.worker.start()
        except (LamellaError, Died, TimeoutError) as error:
            reason = str(error) or "it took too long"
            self._journal.note("worker does not start", level=logging.ERROR, reason=reason)
            time.sleep(_START_AGAIN_S)
            return False
        return True

    def _do(self, one: Round) -> None:
        attempts = int(one.facts().get("attempts", 0)) + 1
        if attempts > self._settings.work.attempts:
            self._finish(
                one, Done("failed", f"Its worker died {attempts - 1} times, or the node while it was worked on.")
            )
            return
        one.note(attempts=attempts)
        self._journal.note("begun", round=one.name, attempt=attempts)
        began = time.monotonic()
        before = self._before(one)
        known = take_back(one, before)
        try:
            done, reasons = self._thin(one, before)
        except (Died, TimeoutError) as error:
            if self._stopping:
                one.note(attempts=attempts - 1)
            else:
                self._journal.note("worker died", level=logging.ERROR, round=one.name, reason=str(error))
            self._wait_again(one)
            return
        except LamellaError as error:
            done, reasons = Done("failed", str(error)), ()
        if done.state != "done":
            self._finish(one, done)
            return
        one.note(reason="; ".join(filter(None, (done.reason, *reasons))))
        hand_over(one, known)
        self._journal.note("thinned", round=one.name, seconds=round(time.monotonic() - began, 1))

    def _thin(self, one: Round, before: Round | None) -> tuple[Done, tuple[str, ...]]:
        """How it ended, and why some series were not taken."""
        looked = look_through(one.source, self._settings)
        if isinstance(looked, Done):
            return looked, ()
        one.note(series=[_figures(found.summary) for found in looked.chosen])
        if not looked.chosen:
            return Done("refused", "; ".join(looked.reasons) or "It holds no series."), ()
        job = Job(one.folder, looked.chosen, _earlier_result(one, before))
        return self.worker.thin(job), looked.reasons

    def _wait_again(self, one: Round) -> None:
        with contextlib.suppress(OSError):
            self._states.move(one, "ready")

    def _before(self, one: Round) -> Round | None:
        found = (self._states.find(f"{one.key}-{number:04d}") for number in range(one.number - 1, 0, -1))
        return next((earlier for earlier in found if earlier is not None and earlier.result.is_dir()), None)

    def _finish(self, one: Round, done: Done) -> None:
        state: State = "refused" if done.state == "refused" else "failed"
        self._states.finish(one, state, done.reason)
        self._journal.note(state, level=logging.WARNING, round=one.name, reason=done.reason)


def _figures(series: SeriesSummary) -> dict[str, Any]:
    """What people are shown of a series that is thinned."""
    names = ("modality", "slices", "rows", "columns", "thickness_mm", "spacing_mm")
    return {name: getattr(series, name) for name in names}


def _earlier_result(one: Round, before: Round | None) -> Path | None:
    """A result whose cases may be taken over: its own, where it is done again, else that of the round before."""
    own = one.folder / EARLIER
    if one.result.is_dir():
        shutil.rmtree(own, ignore_errors=True)
        os.rename(one.result, own)
    return own if own.is_dir() else None if before is None else before.result


def _within(hours: tuple[str, str], now: str) -> bool:
    """Whether a time lies in a span, which may go past midnight."""
    begin, end = hours
    return begin <= now < end if begin <= end else now >= begin or now < end
