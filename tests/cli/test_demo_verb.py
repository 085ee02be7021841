"""`lamella demo`: the first thing a newcomer runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lamella.cli import main
from lamella.dicom import read_series

Capture = pytest.CaptureFixture[str]


@pytest.mark.slow
def test_demo_leaves_what_it_says(tmp_path: Path, capsys: Capture) -> None:  # SPEC C4
    out = tmp_path / "demo"
    assert main(["demo", str(out)]) == 0
    assert sorted(entry.name for entry in out.iterdir()) == [
        "phantom-1mm",
        "phantom-5mm",
        "preview.png",
        "report.json",
        "thin-1mm",
    ]
    truth, thick, thin = (read_series(out / name).geometry for name in ("phantom-1mm", "phantom-5mm", "thin-1mm"))
    assert (thick.spacing_mm, thin.spacing_mm, thin.shape) == (pytest.approx(5), pytest.approx(1), truth.shape)
    assert json.loads((out / "report.json").read_text())["consistency_rmse_hu"] <= 0.5  # SPEC C1
    said = capsys.readouterr().out
    gain = re.search(r"gain ([+-]\d+\.\d\d) dB", said)
    assert gain is not None
    assert float(gain[1]) > 0.5
    assert str(out / "preview.png") in said


def test_demo_refuses_before_it_works(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "demo"
    (out / "thin-1mm").mkdir(parents=True)
    assert main(["demo", str(out), "--quiet"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [entry.name for entry in out.iterdir()] == ["thin-1mm"]
