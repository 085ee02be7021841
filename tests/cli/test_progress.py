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


def test_what_a_terminal_obeys_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.say("wrote \x1b[2J\udcff.nii")
        progress.warn("\x1b]0;title")
    said = capsys.readouterr()
    assert "wrote ?[2J?.nii" in said.out
    assert "\x1b" not in said.out + said.err
