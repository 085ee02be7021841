"""Paths and settings of the system that a program easily trips over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.dicom import read_series
from lamella.sources.source import read_source

NAMES = {
    "spaces": "a study of  several words",
    "umlauts": "Thorax größer äöü ß 肺",
    "200 characters": "x" * 200,
    "all three": ("Wärme und Größe " * 13)[:170],  # 200 bytes of a name of 255
}
ASCII_ONLY = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANG": "C", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, id=key, marks=[] if key == "all three" else [pytest.mark.slow]) for key, name in NAMES.items()],
)
def test_any_name_of_a_folder_in_an_ascii_locale(
    name: str, thick_study: Path, tiny_model: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / name, tmp_path / f"{name} out"
    shutil.copytree(thick_study, source)
    words = ["thin", str(source), str(out), "--model", str(tiny_model), "--report", str(tmp_path / f"{name}.json")]
    done = subprocess.run(
        [sys.executable, "-m", "lamella", *words],
        capture_output=True,
        env={**os.environ, **ASCII_ONLY},
        timeout=120,
    )
    assert done.returncode == 0, os.fsdecode(done.stderr)
    assert name.encode() in done.stdout
    assert read_series(out).geometry.spacing_mm == pytest.approx(1)
    assert (tmp_path / f"{name}.json").stat().st_size > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, f"{name} out", f"{name}.json"])


@pytest.mark.slow
def test_nifti_at_such_a_place(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / NAMES["all three"] / "Größe 1 mm.nii.gz"
    words = ["thin", str(thick_study), str(out), "--model", str(tiny_model), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "lamella", *words], capture_output=True, env={**os.environ, **ASCII_ONLY}, timeout=120
    )
    assert done.returncode == 0, os.fsdecode(done.stderr)
    assert read_source(out).geometry.spacing_mm == pytest.approx(1)


def test_a_missing_source_is_named_in_an_ascii_locale(tmp_path: Path) -> None:
    words = ["thin", str(tmp_path / NAMES["umlauts"]), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "lamella", *words], capture_output=True, env={**os.environ, **ASCII_ONLY}, timeout=120
    )
    assert done.returncode == 2
    assert b"SOURCE does not exist" in done.stderr
