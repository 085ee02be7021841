"""What a user sees while a verb works: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import os
import re
import sys
import time
from types import TracebackType
from typing import Any, Self

from lamella.errors import printable

_LINE_EVERY_S = 15.0

_RUNS = re.compile("[\udc80-\udcff]+|[^\udc80-\udcff]+")
"""Bytes of a file name that the locale has no letters for, and everything between (PEP 383)."""


class Progress:
    """Stages, one after the other. Bars and lines go to standard error, `say` to standard output."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stage = ""
        self._began_s = self._spoke_s = 0.0
        self._bars: Any = None
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bars
            from rich.progress import TimeRemainingColumn

            columns = (*Bars.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def update(self, stage: str, fraction: float) -> None:
        """Moves `stage` on to `fraction` (0 to 1); where another is running, that ends and `stage` begins."""
        if stage != self._stage:
            self._finish()
            self._stage, self._began_s = stage, time.perf_counter()
            self._spoke_s = self._began_s
            if self._bars is not None:
                self._bar = self._bars.add_task(stage, total=1.0)
        if self._bars is not None:
            self._bars.update(self._bar, completed=fraction)
        elif not self._quiet and time.perf_counter() - self._spoke_s > _LINE_EVERY_S:
            self._spoke_s = time.perf_counter()
            print(f"{stage}: {100 * fraction:.0f} %", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of the verb's answer, after the running stage has ended."""
        self._finish()
        text = _RUNS.sub(lambda run: run[0] if _names_letters(run[0]) else printable(run[0]), text)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False)
        elif not self._quiet:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """A line on standard error, also where everything else is quiet."""
        self._finish()
        print(f"warning: {printable(text)}.", file=sys.stderr, flush=True)

    def _finish(self) -> None:
        if self._bars is not None and self._stage:
            self._bars.update(self._bar, completed=1.0)
        elif self._stage and not self._quiet:
            print(f"{self._stage}: {time.perf_counter() - self._began_s:.1f} s", file=sys.stderr, flush=True)
        self._stage = ""


def _names_letters(run: str) -> bool:
    """Whether bytes without letters in this locale are letters in UTF-8, which a terminal shows and does not obey."""
    try:
        return os.fsencode(run).decode("utf-8").isprintable() and not run.isprintable()
    except UnicodeError:
        return False
