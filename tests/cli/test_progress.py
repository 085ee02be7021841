"""What a user sees while a verb works."""

from __future__ import annotations

import io
import sys
import time

import pytest

from lamella.cli.progress import Progress


class Terminal(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_finished_bar_shows_the_time_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress() as progress:
        progress.update("mean", 0.5)
        time.sleep(1.1)
    assert "0:00:01" in terminal.getvalue().splitlines()[-2]
