"""A small data set of ZIPs shaped like the reference's, made of phantoms, prepared for real."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu

from lamella.cli import main
from lamella.data.cache import CASE
from lamella.data.find_pair import PairSettings, crop_to_common, find_pair
from lamella.data.index import CASES, Index, SplitSettings
from lamella.data.jobs import find_jobs
from lamella.data.phantom import PhantomSettings, thorax_phantom, write_phantom_study
from lamella.data.prepare import JOBS, LOCKS, REJECTS, prepare, prepare_one
from lamella.data.prepare_settings import CategorySettings, PrepareSettings, SeriesEntry
from lamella.dicom import read_series
from lamella.errors import LamellaError, RefusedInput, UsageError
from lamella.source import read_source


def zipped(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*.dcm")):
            archive.write(file, file.relative_to(folder))


def study(folder: Path, seed: int) -> Path:
    """A thin and a thick series of one phantom."""
    write_phantom_study(
        folder / "b", thorax_phantom(PhantomSettings(shape=(20, 32, 32), pixel_mm=3.0, nodules=0, seed=seed)), seed=seed
    )
    thicken = ["degrade", str(folder / "b"), str(folder / "a"), "--thickness-mm", "5", "--spacing-mm", "5", "--quiet"]
    assert main(thicken) == 0
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """APE/1.zip and non-APE/2.zip are sound; 3 has no thick series, 4 two scans, 5 is no ZIP of images."""
    root = tmp_path_factory.mktemp("raw")
    for seed, name in ((1, "APE/1.zip"), (2, "non-APE/2.zip")):
        zipped(study(root / f"study{seed}", seed), root / name)
    zipped(root / "study1" / "b", root / "APE" / "3.zip")
    shutil.copytree(root / "study1" / "a", root / "mixed" / "a")
    shutil.copytree(root / "study2" / "b", root / "mixed" / "b")
    zipped(root / "mixed", root / "APE" / "4.zip")
    (root / "APE" / "5.zip").write_bytes(b"PK\x03\x04 cut off")
    return root


def settings(raw: Path, out: Path) -> PrepareSettings:
    categories = (CategorySettings("APE", "APE/*.zip"), CategorySettings("non-APE", "non-APE/*.zip"))
    return PrepareSettings(str(raw), str(out), categories, workers=1)


@pytest.fixture(scope="module")
def done(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "set"
    prepared = prepare(settings(raw, out))
    assert (prepared.cases, prepared.made, len(prepared.rejected), prepared.failed) == (2, 2, 3, ())
    return out


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


def test_a_lost_case_is_made_again(raw: Path, done: Path, tmp_path: Path) -> None:  # SPEC A3
    out = tmp_path / "set"
    shutil.copytree(done, out)
    split = (out / "split.json").read_text()
    lost = sorted((out / CASES).iterdir())[0]
    shutil.rmtree(lost)
    assert prepare(settings(raw, out)).made == 1
    assert (lost / CASE).is_file()
    assert (out / "split.json").read_text() == split


def test_a_job_in_work_elsewhere_is_passed_over(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    asked = settings(raw, tmp_path / "set")
    job = next(one for one in find_jobs(asked) if one.path == "APE/1.zip")
    (tmp_path / "set" / LOCKS).mkdir(parents=True)
    handle = os.open(tmp_path / "set" / LOCKS / job.key, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        found = prepare(asked)
        assert (found.elsewhere, found.cases) == (1, 1)
        with pytest.raises(UsageError, match="no prepared data set"):
            Index.load(tmp_path / "set")  # no split is frozen before every job has an end
    finally:
        os.close(handle)
    assert prepare(asked).cases == 2
    assert len(Index.load(tmp_path / "set").entries) == 2


def test_shares_come_to_the_same(raw: Path, done: Path, tmp_path: Path) -> None:  # SPEC A23
    asked = settings(raw, tmp_path / "set")
    for share in range(3):
        prepare(replace(asked, share=share, shares=3))
    assert json.loads((tmp_path / "set" / "index.json").read_text()) == json.loads((done / "index.json").read_text())
    assert (tmp_path / "set" / "split.json").read_text() == (done / "split.json").read_text()
    assert len(list((tmp_path / "set" / JOBS).iterdir())) == 5


def test_both_series_are_cropped_to_what_they_share(raw: Path) -> None:  # SPEC A3, B8
    thin, thick = read_series(raw / "study1" / "b"), read_series(raw / "study1" / "a")
    grid = thin.geometry
    part = type(thin)(thin.hu[3:17], grid.with_slices(14, 1.0, 3.0, 1.0), thin.header)
    cropped, kept = crop_to_common(part, thick)
    assert kept.geometry.shape[0] == 2
    assert np.allclose(kept.geometry.centres_mm, thick.geometry.centres_mm[1:3])
    assert np.allclose(cropped.geometry.centres_mm, grid.centres_mm[5:15])
    assert np.array_equal(cropped.hu, thin.hu[5:15])
    far = type(thin)(thin.hu[:6], grid.with_slices(6, 1.0, 0.0, 1.0), thin.header)
    with pytest.raises(RefusedInput, match="too little in common"):
        crop_to_common(far, thick)


def test_series_alike_are_not_guessed_at(tmp_path: Path) -> None:  # SPEC C6
    build_series(tmp_path / "thick", phantom_hu(4), series_uid="1.2.3.9")
    for number in (1, 2):
        build_series(tmp_path / str(number), phantom_hu(20), 1.0, 1.0, series_uid=f"1.2.3.{number}")
    with pytest.raises(RefusedInput, match=r"2 thin series alike: 1\.2\.3\.1, 1\.2\.3\.2"):
        find_pair(tmp_path, PairSettings())
    shutil.rmtree(tmp_path / "2")
    assert find_pair(tmp_path, PairSettings()).header.series_uid == "1.2.3.1"


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


def thick_slices(out: Path) -> dict[str, int]:
    """Slices of the thick series of every case, by category; 0 where it has none."""
    index = Index.load(out)
    cases = [index.open(one.case_id) for one in index.entries]
    return {case.category: 0 if case.thick is None else case.thick.shape[0] for case in cases}


def test_a_case_follows_what_it_is_made_of(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    """Another category, a thick series beside it, a file repaired: the case is made anew, and nothing else is."""
    data = tmp_path / "raw"
    shutil.copytree(raw / "study1", data / "study1")
    asked = PrepareSettings(
        str(data), str(tmp_path / "set"), series=(SeriesEntry("study1/b", category="x"),), workers=1
    )
    assert prepare(asked).made == 1
    assert thick_slices(tmp_path / "set") == {"x": 0}
    paired = replace(asked, series=(SeriesEntry("study1/b", thick="study1/a", category="y"),))
    assert prepare(paired).made == 1
    assert thick_slices(tmp_path / "set") == {"y": 4}
    assert prepare(paired).made == 0
    last = sorted((data / "study1" / "a").rglob("*.dcm"))[-1]
    last.unlink()
    assert prepare(paired).made == 1
    assert thick_slices(tmp_path / "set") == {"y": 3}


def test_a_series_entry_finds_its_pair_by_itself(raw: Path, tmp_path: Path) -> None:  # SPEC A1
    asked = PrepareSettings(
        str(raw), str(tmp_path / "set"), series=(SeriesEntry("APE/1.zip", category="x"),), workers=1
    )
    assert prepare(asked).rejected == ()
    assert thick_slices(tmp_path / "set") == {"x": 4}


def test_parts_beyond_a_series_are_rejected(raw: Path, tmp_path: Path) -> None:  # SPEC A3
    entries = (SeriesEntry("study1/b", split="train", slices=(15, 40)), SeriesEntry("study2/b", split="validation"))
    found = prepare(PrepareSettings(str(raw), str(tmp_path / "set"), series=entries, workers=1))
    assert (found.cases, found.failed) == (1, ())
    assert "has 20 slices" in found.rejected[0][1]
    with pytest.raises(UsageError, match="slices must rise"):
        SeriesEntry("study1/b", split="train", slices=(4, 4))
    with pytest.raises(UsageError, match="no study1/c"):
        find_jobs(PrepareSettings(str(raw), "out", series=(SeriesEntry("study1/b", thick="study1/c"),)))


def test_a_patient_stays_in_one_split(raw: Path, tmp_path: Path) -> None:  # SPEC A2
    """A part of one scan and the whole of another of the same patient must not be learnt from and judged by."""
    data = tmp_path / "raw"
    for number, name in ((1, "first"), (2, "second")):
        build_series(data / name, phantom_hu(20), 1.0, 1.0, series_uid=f"1.2.3.{number}")
    entries = (SeriesEntry("first", split="train", slices=(0, 12)), SeriesEntry("second", split="validation"))
    with pytest.raises(UsageError, match="asked into train and validation"):
        prepare(PrepareSettings(str(data), str(tmp_path / "set"), series=entries, workers=1))


def test_a_frozen_split_is_not_drawn_by_other_shares(raw: Path, done: Path) -> None:  # SPEC A2
    with pytest.raises(UsageError, match=r"remove split\.json"):
        prepare(replace(settings(raw, done), split=SplitSettings(train=0.5, validation=0.3)))


def test_projections_and_made_up_slices_are_no_measurement(tmp_path: Path) -> None:  # SPEC A1
    """Beside the thick series a reformation in another plane, one of maxima, and a thin series that a model made."""
    build_series(tmp_path / "thick", phantom_hu(6), series_uid="1.2.3.9")
    build_series(tmp_path / "thin", phantom_hu(30), 1.0, 1.0, series_uid="1.2.3.1")
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    build_series(tmp_path / "coronal", phantom_hu(20), orientation=coronal, series_uid="1.2.3.8")
    maxima = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]}
    build_series(tmp_path / "mip", phantom_hu(5), 6.0, 10.0, series_uid="1.2.3.7", tags=maxima)
    build_series(tmp_path / "made", phantom_hu(60), 0.5, 0.5, series_uid="1.2.3.6", tags={"SyntheticData": "YES"})
    # thinner than the wanted, and damaged: not needed, so it does not matter
    build_series(tmp_path / "damaged", phantom_hu(8), 3.0, 3.0, series_uid="1.2.3.5", tags={"PixelData": b"00"})
    found = find_pair(tmp_path, PairSettings())
    assert found.header.series_uid == "1.2.3.1"
    assert found.thick is not None
    assert found.thick.header.series_uid == "1.2.3.9"  # type: ignore[union-attr]  # read from DICOM


def test_what_is_not_there_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        prepare(PrepareSettings(str(tmp_path / "no"), str(tmp_path / "out")))
    with pytest.raises(UsageError, match="Nothing to prepare"):
        prepare(PrepareSettings(str(tmp_path), str(tmp_path / "out"), (CategorySettings("APE", "APE/*.zip"),)))
    with pytest.raises(UsageError, match="share from 0"):
        PrepareSettings("a", "b", share=2, shares=2)


def test_the_verb(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # SPEC A22, A24
    arguments = ["prepare", "configs/ape.yaml", f"data={raw}", f"out={tmp_path / 'set'}", "workers=1"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "2 cases, 2 of them now" in said
    assert "3 sources were rejected" in said
    case = sorted((tmp_path / "set" / CASES).iterdir())[0]
    assert main(["inspect", str(case)]) == 0
    assert "20 x 32 x 32" in capsys.readouterr().out
