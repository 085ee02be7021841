"""A plain installation does the main job, and says which extra brings the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lamella import phantom
from lamella.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("asked", [["--preview", "p.png"], ["--report", "r.html"]])
def test_a_picture_is_refused_before_the_work(
    asked: list[str], thin_command: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*thin_command, "out", *asked]) == 2
    assert "pip install 'lamella[report]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_the_demonstration_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    small = phantom.PhantomSettings(shape=(20, 48, 40), pixel_mm=3.0, nodules=0)
    monkeypatch.setattr(phantom, "PhantomSettings", lambda: small)
    assert main(["demo", str(tmp_path / "demo")]) == 0
    assert "For a picture, pip install 'lamella[report]' first." in capsys.readouterr().out
    assert sorted(one.name for one in (tmp_path / "demo").iterdir()) == [
        "phantom-1mm",
        "phantom-5mm",
        "report.json",
        "thin-1mm",
    ]


@pytest.mark.slow
def test_the_main_job_imports_nothing_of_an_extra(thin_command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from lamella.cli import main; from lamella.machine.extras import EXTRAS\n"
        f"code = main({[*thin_command, str(tmp_path / 'out'), '--report', str(tmp_path / 'r.json')]!r})\n"
        "found = [name for every in EXTRAS.values() for name in every if name in sys.modules]\n"
        "sys.exit(f'loaded: {found}' if found else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
