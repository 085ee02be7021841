"""How the command line ends when something else goes wrong: no traceback, no header values, nothing half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamella.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def broken_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_source(*_: object) -> None:
        raise ValueError("Invalid value for VR DA: '19531301', Mustermann^Erika")

    monkeypatch.setattr("lamella.sources.source.read_source", read_source)


@pytest.mark.usefixtures("broken_reader")
def test_the_unexpected_is_one_line_without_header_values(
    thin_command: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main([*thin_command, str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ValueError in thin_study.py" in said
    assert "--debug" in said
    assert "Mustermann" not in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("broken_reader")
def test_debug_shows_the_traceback(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main([*thin_command, str(tmp_path / "out"), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_130(
    thin_command: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lamella.dicom.verify.verify_written", interrupted)  # the last step before OUTPUT appears
    assert main([*thin_command, str(tmp_path / "out")]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_operating_system_errors_say_where(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", str(tmp_path)]) == 2  # a folder is no YAML
    assert str(tmp_path) in capsys.readouterr().err


def _thinning(thin_command: list[str], out: Path) -> subprocess.Popen[str]:
    """A thinning that has begun to write, with much more to come."""
    draws = ["--mode", "texture", "--steps", "1", "--samples", "60", "--slices", "30"]
    words = [sys.executable, "-m", "lamella", *thin_command, str(out), *draws]
    process = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job inherits it ignored
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(out.parent.glob(f".{out.name}.lamella-*/new/out/sample-01/IM_*.dcm")):
            return process
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"never seen writing: {process.communicate()[1]}")


@pytest.mark.slow
def test_kill_9_while_writing_leaves_nothing_at_output(thin_command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = _thinning(thin_command, out)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    # The next run clears what the dead one left, and succeeds.
    assert main([*thin_command, str(out)]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_interrupt_while_writing_leaves_nothing(thin_command: list[str], tmp_path: Path) -> None:
    process = _thinning(thin_command, tmp_path / "out")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_help_is_quick() -> None:
    took = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lamella", "--help"], check=True, capture_output=True)
        took.append(time.perf_counter() - began)
    assert sorted(took)[1] <= 0.3 * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))
