"""When a study counts as whole: after a quiet time, by a clock that nobody sets."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamella.node.journal import Journal
from lamella.node.settings import NodeSettings
from lamella.node.states import Round, States


@dataclass
class _Open:
    instances: int
    size: int
    last_s: float


class OpenStudies:
    """The studies that are being received. `full` and `came` are called with `States.guard` held.

    Args:
        settings: of the node.
        states: where studies are; those that an earlier node was receiving are quiet from now on.
        journal: told about every study that closes.
    """

    def __init__(self, settings: NodeSettings, states: States, journal: Journal) -> None:
        self._settings, self._states, self._journal = settings, states, journal
        self._open: dict[str, _Open] = {}
        for key in states.receiving():
            files = [entry.stat().st_size for entry in os.scandir(states.incoming(key))]
            self._open[key] = _Open(len(files), sum(files), time.monotonic())

    def full(self, key: str, size: int) -> str | None:
        """Why an instance of so many bytes has no place; None where it has."""
        limits, study = self._settings.limits, self._open.get(key)
        if study is None:
            waiting = sum(len(self._states.rounds(state)) for state in ("ready", "working"))
            return "the queue is full" if len(self._open) + waiting >= limits.queue else None
        if study.instances >= limits.study_instances:
            return "the study has as many instances as one may have"
        return "the study is as large as one may be" if study.size + size > limits.study_gb * (1 << 30) else None

    def came(self, key: str, size: int) -> None:
        """An instance of so many bytes was stored."""
        study = self._open.setdefault(key, _Open(0, 0, 0.0))
        study.instances, study.size, study.last_s = study.instances + 1, study.size + size, time.monotonic()

    def close_quiet(self) -> list[Round]:
        """Close every study that is quiet for long enough."""
        with self._states.guard:
            now = time.monotonic()
            return self._close(
                [key for key, one in self._open.items() if now - one.last_s >= self._settings.close_after_s]
            )

    def close_now(self, keys: Iterable[str]) -> list[Round]:
        """Close those of these studies that are being received: whoever sent them says that they are whole."""
        with self._states.guard:
            return self._close([key for key in keys if key in self._open])

    def _close(self, keys: Sequence[str]) -> list[Round]:
        closed = []
        for key in keys:
            try:
                one = self._states.close_study(key)
            except OSError as error:  # a full disk: it stays where it is, and is closed later
                self._journal.note("not closed", level=logging.ERROR, study=key, reason=os.strerror(error.errno or 0))
                self._open[key].last_s = time.monotonic()
            else:
                del self._open[key]
                closed.append(one)
                self._journal.note("closed", round=one.name, instances=one.facts().get("instances"))
        return closed
