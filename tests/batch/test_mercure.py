"""A module of mercure: files called as mercure calls them, settings from task.json, results flat, result.json last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.dicom_builder import body_hu, build_series, phantom_hu

from lamella.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """IN and OUT as mercure lays them out; MERCURE_IN_DIR and MERCURE_OUT_DIR name them."""
    for name in ("IN", "OUT"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"MERCURE_{name}_DIR", str(tmp_path / name))
    build_series(tmp_path / "series", body_hu(4))
    for file in (tmp_path / "series").iterdir():
        header = pydicom.dcmread(file)
        name = f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}"
        shutil.copy(file, tmp_path / "IN" / f"{name}.dcm")
        (tmp_path / "IN" / f"{name}.tags").write_text("{}")
    return tmp_path


def settings(task: Path, model: Path, **rules: Any) -> None:
    process = {"settings": {"thin": {"model": str(model), "spacing_mm": 2.5}, "rules": rules}}
    (task / "IN" / "task.json").write_text(json.dumps({"id": "1", "process": process}))


def test_a_task_is_thinned(task: Path, tiny_model: Path) -> None:
    settings(task, tiny_model)
    assert main(["mercure", "--quiet"]) == 0
    out = task / "OUT"
    files = sorted(out.glob("*.dcm"))
    headers = [pydicom.dcmread(file) for file in files]
    assert len(files) == 8
    assert [file.name for file in files] == [f"{h.SeriesInstanceUID}#{h.SOPInstanceUID}.dcm" for h in headers]
    assert {h.StudyInstanceUID for h in headers} == {
        pydicom.dcmread(next((task / "IN").glob("*.dcm"))).StudyInstanceUID
    }
    result = json.loads((out / "result.json").read_text())
    assert (len(result["done"]), result["passed_over"]) == (1, 0)
    assert "1 series thinned" in result["__mercure_notification"]["text"]
    assert {path.suffix for path in out.iterdir()} == {".dcm", ".json"}, "nothing else is left to be sent"
    before = {file.name: file.read_bytes() for file in files}
    for file in files:  # mercure gives a result to its module again: never thinned twice
        shutil.copy(file, task / "IN")
        file.unlink()
    assert main(["mercure", "--quiet"]) == 0
    assert {file.name for file in out.glob("*.dcm")} == set(before)


def test_what_the_rules_pass_over_ends_with_a_result_and_no_file(task: Path, tiny_model: Path) -> None:
    settings(task, tiny_model, thickness_mm=[8, 12])
    assert main(["mercure", "--quiet"]) == 0
    assert [path.name for path in (task / "OUT").iterdir()] == ["result.json"]
    assert json.loads((task / "OUT" / "result.json").read_text())["passed_over"] == 1


def test_a_refused_series_and_wrong_settings_leave_nothing(task: Path, tiny_model: Path, capsys: Capture) -> None:
    (task / "IN" / "task.json").write_text(json.dumps({"process": {"settings": {"rule": {}}}}))
    assert main(["mercure"]) == 2
    assert "rule" in capsys.readouterr().err
    (task / "IN" / "task.json").write_text("[")
    assert main(["mercure"]) == 2
    assert "task.json is not read" in capsys.readouterr().err
    settings(task, tiny_model)
    shutil.rmtree(task / "IN")
    build_series(task / "IN", phantom_hu(6), per_slice={3: {"SliceThickness": 1}}, prefix="Mustermann-")
    assert main(["mercure"]) == 3
    said = capsys.readouterr().err
    assert "SliceThickness differs" in said
    assert "Mustermann" not in said
    assert list((task / "OUT").iterdir()) == []
