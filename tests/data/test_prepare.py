"""A small data set of ZIPs shaped like the reference's, made of phantoms, prepared for real."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.raw_studies import settings

from lamella.cli import main
from lamella.data.cache import CASE
from lamella.data.index import CASES, Index
from lamella.data.jobs import find_jobs
from lamella.data.prepare import JOBS, LOCKS, REJECTS, prepare, prepare_one
from lamella.data.prepare_settings import CategorySettings, PrepareSettings, SeriesEntry
from lamella.dicom import read_series
from lamella.errors import LamellaError, UsageError
from lamella.files.lock import lock
from lamella.sources.source import read_source


def test_cases_are_the_dicom_exactly(raw: Path, done: Path) -> None:  # SPEC A1, A3
    index = Index.load(done)
    assert sorted(one.category for one in index.entries) == ["APE", "non-APE"]
    ape = next(index.open(one.case_id) for one in index.entries if one.category == "APE")
    thin, thick = read_series(raw / "study1" / "b"), read_series(raw / "study1" / "a")
    assert ape.thick is not None
    assert np.array_equal(ape.thin[slice(0, 20), slice(0, 32), slice(0, 32)], thin.hu)
    assert np.array_equal(ape.thick[slice(0, 4), slice(0, 32), slice(0, 32)], thick.hu)
    assert np.allclose(ape.thin.geometry.affine, thin.geometry.affine)
    assert ape.thick.geometry.thickness_mm == 5.0


def test_rejects_say_why(done: Path) -> None:  # SPEC A3, C6
    with (done / REJECTS).open(newline="") as file:
        reasons = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert sorted(reasons) == ["APE/3.zip", "APE/4.zip", "APE/5.zip"]
    assert "no thick series" in reasons["APE/3.zip"]
    assert "frames of reference differ" in reasons["APE/4.zip"]


def test_no_name_of_a_patient_is_kept(raw: Path, done: Path) -> None:
    first = read_series(raw / "study1" / "b")
    slices = first.header.slices[0]  # type: ignore[union-attr]  # read from DICOM
    kept = "".join(f.read_text() for f in done.rglob("*.json")) + " ".join(str(f.name) for f in done.rglob("*"))
    for keyword in ("PatientName", "PatientID"):
        value = str(slices.get(keyword, ""))
        assert value, keyword
        assert value not in kept


def test_the_same_command_does_nothing_twice(raw: Path, done: Path) -> None:  # SPEC A3
    before = {f: f.stat().st_mtime_ns for f in done.rglob(CASE)}
    again = prepare(settings(raw, done))
    assert (again.cases, again.made, len(again.rejected)) == (2, 0, 3)
    assert {f: f.stat().st_mtime_ns for f in done.rglob(CASE)} == before


@pytest.mark.slow
def test_a_lost_case_is_made_again(raw: Path, done: Path, tmp_path: Path) -> None:  # SPEC A3
    out = tmp_path / "set"
    shutil.copytree(done, out)
    split = (out / "split.json").read_text()
    lost = sorted((out / CASES).iterdir())[0]
    shutil.rmtree(lost)
    assert prepare(settings(raw, out)).made == 1
    assert (lost / CASE).is_file()
    assert (out / "split.json").read_text() == split


@pytest.mark.slow
def test_a_job_in_work_elsewhere_is_passed_over(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    asked = settings(raw, tmp_path / "set")
    job = next(one for one in find_jobs(asked) if one.path == "APE/1.zip")
    (tmp_path / "set" / LOCKS).mkdir(parents=True)
    held = lock(tmp_path / "set" / LOCKS / job.key)
    assert held is not None
    try:
        found = prepare(asked)
        assert (found.elsewhere, found.cases) == (1, 1)
        with pytest.raises(UsageError, match="no prepared data set"):
            Index.load(tmp_path / "set")  # no split is frozen before every job has an end
    finally:
        held.release()
    assert prepare(asked).cases == 2
    assert len(Index.load(tmp_path / "set").entries) == 2


@pytest.mark.slow
def test_a_file_system_without_locks_is_said(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # SPEC A3
    monkeypatch.setattr("lamella.data.prepare.lock", lambda path, wait=False: None)
    arguments = ["prepare", "configs/ape.yaml", f"data={raw}", f"out={tmp_path / 'set'}", "workers=1", "--quiet"]
    assert main(arguments) == 0
    assert "without locks: start one preparation there at a time" in capsys.readouterr().err


@pytest.mark.slow
def test_shares_come_to_the_same(raw: Path, done: Path, tmp_path: Path) -> None:  # SPEC A23
    asked = settings(raw, tmp_path / "set")
    for share in range(3):
        prepare(replace(asked, share=share, shares=3))
    assert json.loads((tmp_path / "set" / "index.json").read_text()) == json.loads((done / "index.json").read_text())
    assert (tmp_path / "set" / "split.json").read_text() == (done / "split.json").read_text()
    assert len(list((tmp_path / "set" / JOBS).iterdir())) == 5


def test_a_full_disk_is_no_fault_of_the_source(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # SPEC A3
    """It must be tried again, not listed as rejected for good."""
    asked = settings(raw, tmp_path / "set")
    for name in (JOBS, LOCKS, CASES):
        (tmp_path / "set" / name).mkdir(parents=True)
    job = next(one for one in find_jobs(asked) if one.path == "APE/1.zip")

    def full(*arguments: object, **about: object) -> None:
        raise LamellaError("no room")

    monkeypatch.setattr("lamella.data.prepare.write_case", full)
    with pytest.raises(LamellaError, match="no room"):
        prepare_one(job, asked, frozenset())
    monkeypatch.undo()
    assert list((tmp_path / "set" / JOBS).iterdir()) == []
    assert prepare_one(job, asked, frozenset()) == "made"


@pytest.mark.slow
def test_a_scan_delivered_twice_is_one_case(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    data = tmp_path / "raw"
    for name in ("1.zip", "copy.zip"):
        (data / "APE").mkdir(parents=True, exist_ok=True)
        shutil.copy(raw / "APE" / "1.zip", data / "APE" / name)
    asked = PrepareSettings(str(data), str(tmp_path / "set"), (CategorySettings("APE", "APE/*.zip"),), workers=2)
    found = prepare(asked)
    assert (found.cases, found.rejected, found.failed) == (1, (), ())
    assert len(Index.load(tmp_path / "set").entries) == 1


def test_parts_of_a_scan_need_a_split() -> None:  # SPEC A2
    with pytest.raises(UsageError, match="needs a split"):
        SeriesEntry("study1/b", slices=(0, 12))


@pytest.mark.slow
def test_series_named_one_by_one(raw: Path, tmp_path: Path) -> None:  # SPEC A2
    entries = (
        SeriesEntry("study1/b", split="train", slices=(0, 12)),
        SeriesEntry("study1/b", split="validation", slices=(12, 20)),
        SeriesEntry("study2/a", split="test"),
        SeriesEntry("study2/b", thick="study2/a", split="test", category="phantom"),
    )
    asked = PrepareSettings(str(raw), str(tmp_path / "set"), series=entries, workers=1)
    found = prepare(asked)
    assert found.cases == 3
    assert "is not thin" in found.rejected[0][1]
    index = Index.load(tmp_path / "set")
    (train,), (validation,), (test,) = (index.cases(name) for name in ("train", "validation", "test"))
    whole = read_source(raw / "study1" / "b")
    part = index.open(validation).thin
    assert np.array_equal(part[slice(0, 8), slice(0, 32), slice(0, 32)], whole.hu[12:])
    assert np.allclose(part.geometry.centres_mm, whole.geometry.centres_mm[12:])
    assert index.open(train).thin.shape[0] == 12
    assert index.open(test).thick is not None


def test_what_is_not_there_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        prepare(PrepareSettings(str(tmp_path / "no"), str(tmp_path / "out")))
    with pytest.raises(UsageError, match="Nothing to prepare"):
        prepare(PrepareSettings(str(tmp_path), str(tmp_path / "out"), (CategorySettings("APE", "APE/*.zip"),)))
    with pytest.raises(UsageError, match="share from 0"):
        PrepareSettings("a", "b", share=2, shares=2)


@pytest.mark.slow
def test_the_verb(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # SPEC A22, A24
    arguments = ["prepare", "configs/ape.yaml", f"data={raw}", f"out={tmp_path / 'set'}", "workers=1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "2 cases, 2 of them now" in said
    assert "3 sources were rejected" in said
    case = sorted((tmp_path / "set" / CASES).iterdir())[0]
    assert main(["inspect", str(case)]) == 0
    assert "20 x 32 x 32" in capsys.readouterr().out
