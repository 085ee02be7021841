"""Issue 28, item 7: `thin` and `inspect` say in one line where a series is outside what the model was trained for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu

from lamella.cli import main

LINE = r"The scan is outside what the model was trained for: pixels of 0\.2 mm \(covered: 0\.3 to 0\.82 mm\); body part head"


@pytest.fixture(scope="module", params=["outside", "inside"])
def series(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bool]:
    """Small slices in pixels of a photon-counting scan of a head, or in common ones of a chest."""
    folder, outside = tmp_path_factory.mktemp("series") / "ct", request.param == "outside"
    pixel, part = ((0.2, 0.2), "BRAIN") if outside else ((0.7, 0.7), "CHEST")
    build_series(folder, phantom_hu(6, 32, 32).astype(np.int16), pixel_mm=pixel, tags={"BodyPartExamined": part})
    return folder, outside


def test_thin_says_it_in_report_and_page(series: tuple[Path, bool], tmp_path: Path) -> None:
    folder, outside = series
    for name in ("report.json", "report.html"):
        assert main(["thin", str(folder), str(tmp_path / f"of-{name}"), "--report", str(tmp_path / name)]) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    told = [one for one in report["warnings"] if re.match(LINE, one)]
    assert len(told) == outside
    assert report["scan"]["body_part"] == ("head" if outside else "chest")
    assert report["scan"]["lungs"] is False
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert bool(re.search(LINE, page)) == outside
    assert "in the lungs" not in page


def test_inspect_says_it(series: tuple[Path, bool], capsys: pytest.CaptureFixture[str]) -> None:
    folder, outside = series
    assert main(["inspect", str(folder)]) == 0
    assert bool(re.search(f"note: {LINE}", capsys.readouterr().out)) == outside
    assert main(["inspect", str(folder), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(found["series"][0]["unusual"]) == outside
