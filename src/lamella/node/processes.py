"""Starting, asking and ending the processes of `worker`, so that none of them can stop or outlive the node."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamella.batch.processes import threads_of
from lamella.errors import LamellaError
from lamella.node.settings import NodeSettings
from lamella.node.worker import Done, Job, Looked, Progress, look, work

_SPAWN = multiprocessing.get_context("spawn")
_START_S = 600.0
"""Seconds that loading a model may take."""


class Died(Exception):
    """A process ended instead of answering; its message says how."""


class Child:
    """A process with a pipe to it, and one that tells it whether the node lives.

    Args:
        target: called with (life, pipe, *arguments) in the process.
        arguments: the rest.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        life, self._life = _SPAWN.Pipe(duplex=False)
        theirs, self._ours = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=target, args=(life, theirs, *arguments), daemon=True)
        self._process.start()
        life.close()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def ask(self, question: Any) -> None:
        """Send something.

        Raises:
            Died: nobody is there.
        """
        try:
            self._ours.send(question)
        except OSError:
            raise self._died() from None

    def answer(self, seconds: float) -> Any:
        """What it sends, waited for so long.

        Raises:
            TimeoutError: it sends nothing.
            Died: it ended.
        """
        try:
            if self._ours.poll(seconds):
                return self._ours.recv()
        except (EOFError, OSError):
            raise self._died() from None
        raise TimeoutError

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._process.kill()
        self._process.join()
        for pipe in (self._life, self._ours):
            pipe.close()

    def _died(self) -> Died:
        self._process.join(10)
        code = self._process.exitcode
        return Died(f"ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}")


def look_through(source: Path, settings: NodeSettings) -> Looked | Done:
    """What is in a study, found out by a process that may take so much memory and time and no more.

    Raises:
        Died: the process ended.
    """
    child = Child(look, source, settings.rules, settings.work.parse_gb)
    try:
        answer = child.answer(settings.work.parse_s)
    except TimeoutError:
        return Done("failed", f"Reading it takes longer than work.parse_s, {settings.work.parse_s:g} s.")
    finally:
        child.end()
    assert isinstance(answer, Looked | Done), "the process answers once"
    return answer


class Worker:
    """The process that holds the model; started anew after it died. One thread uses it.

    Args:
        settings: of the node.

    Attributes:
        progress: where it is with a study; None where it has none.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._child: Child | None = None
        self.progress: Progress | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self) -> None:
        """Start it, if it does not run, and wait until the model is loaded.

        Raises:
            LamellaError: the model cannot be loaded.
            Died, TimeoutError: it did not come so far.
        """
        if self._child is not None and self._child.alive:
            return
        self.end()
        self._child = Child(work, self._settings.thin, self._settings.pages, threads_of(1, self._settings.work.threads))
        loaded = self._child.answer(_START_S)
        if loaded.state != "done":
            self.end()
            raise LamellaError(loaded.reason)

    def thin(self, job: Job) -> Done:
        """Have a study thinned.

        Raises:
            Died: it ended meanwhile.
        """
        self.start()
        assert self._child is not None, "a worker that started has a process"
        child = self._child
        until = time.monotonic() + self._settings.work.study_s
        try:
            child.ask(job)
            while isinstance(done := child.answer(max(0.0, until - time.monotonic())), Progress):
                self.progress = done
        except TimeoutError:
            self.end()
            return Done("failed", f"It takes longer than work.study_s, {self._settings.work.study_s:g} s.")
        except Died:
            self.end()
            raise
        finally:
            self.progress = None
        assert isinstance(done, Done), "a worker answers every job"
        return done

    def end(self) -> None:
        """End it."""
        child, self._child = self._child, None
        if child is not None:
            child.end()
