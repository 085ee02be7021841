"""NIfTI cohorts that follow BIDS, in and out (issue 27 item 3)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.batch.cohort import run
from tests.dicom_builder import body_hu

from lamella.batch.bids import describe_data_set, place_result
from lamella.batch.making import Making
from lamella.batch.worker import Worker
from lamella.files.lock import lock
from lamella.nifti.image import read_nifti
from lamella.selection.bids import bids_name
from lamella.selection.find import find_series
from lamella.selection.rules import SeriesRules, choose
from lamella.workflow.thin_study import ThinRequest


@pytest.mark.parametrize(
    ("name", "modality", "derived"),
    [
        ("sub-01_ct.nii.gz", "CT", "sub-01/ct/sub-01_desc-thin_ct.nii.gz"),
        ("sub-A_ses-2_acq-thick_ct.nii", "CT", "sub-A/ses-2/ct/sub-A_ses-2_acq-thick_desc-thin_ct.nii.gz"),
        ("sub-A_run-1_desc-raw_ct.nii", "CT", "sub-A/ct/sub-A_run-1_desc-thin_ct.nii.gz"),
        ("sub-01_T1w.nii.gz", "T1W", "sub-01/ct/sub-01_desc-thin_ct.nii.gz"),
    ],
)
def test_names_are_taken_apart(name: str, modality: str, derived: str) -> None:
    found = bids_name(name)
    assert found is not None
    assert (found.modality, found.derived) == (modality, derived)


@pytest.mark.parametrize(
    "name", ["scan.nii.gz", "sub-01.nii.gz", "sub-01_ct.json", "sub-../x_ct.nii", "sub-1 2_ct.nii"]
)
def test_other_names_are_none_of_bids(name: str) -> None:
    assert bids_name(name) is None


def write(path: Path, seed: int, **sidecar: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(body_hu(seed=seed).transpose(2, 1, 0), np.diag([-0.8, -0.8, 5.0, 1.0]))
    nib.save(image, path)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"SliceThickness": 5.0, **sidecar}))


def test_a_cohort_of_bids_becomes_a_derived_one(tmp_path: Path, tiny_model: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "sub-01" / "ct" / "sub-01_ct.nii.gz", 1)
    write(source / "sub-02" / "ses-1" / "ct" / "sub-02_ses-1_ct.nii.gz", 2)
    write(source / "sub-02" / "anat" / "sub-02_T1w.nii.gz", 3)
    write(source / "other.nii.gz", 4, Modality="MR")
    decisions = choose(find_series([source]), SeriesRules())
    assert sorted(one.reason for one in decisions) == ["", "", "modality: MR, not CT", "modality: T1W, not CT"]
    out.mkdir()
    worker = Worker(Making(out, ThinRequest(source, out, model=str(tiny_model), spacing_mm=2.5), bids=True))
    for one in (one.series for one in decisions if one.verdict == "chosen"):
        worker.add(one)
        assert worker.finish().record.state == "done"
        assert read_nifti(out / one.derived).geometry.thickness_mm == pytest.approx(2.5)
        assert (out / one.derived).samefile(out / one.id / "thin.nii.gz")
        worker.add(one)
        assert worker.finish().kept
    worker.close()
    facts = json.loads((out / "sub-01" / "ct" / "sub-01_desc-thin_ct.json").read_text())
    assert (facts["Modality"], facts["Lamella"]["mode"]) == ("CT", "mean")
    describe_data_set(out)
    described = json.loads((out / "dataset_description.json").read_text())
    assert (described["DatasetType"], described["GeneratedBy"][0]["Name"]) == ("derivative", "Lamella")
    assert [one.verdict for one in choose(find_series([out]), SeriesRules(take="all"))] == ["passed over"] * 2


def test_a_run_that_is_refused_leaves_nothing_that_keeps_the_next_one_out(tmp_path: Path, tiny_model: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "sub-01" / "ct" / "sub-01_ct.nii.gz", 1)
    out.mkdir()
    held = lock(out / ".batch.lock")
    assert held is not None
    told = run(source, out, "--bids", "--model", tiny_model, "--device", "cpu")
    held.release()
    assert (told.returncode, "Another run is at work" in told.stderr) == (2, True)
    assert [one.name for one in out.iterdir() if not one.name.startswith(".")] == []


def test_a_result_that_was_made_again_is_placed_again(tmp_path: Path) -> None:
    for name, text in (("thin.nii.gz", "one"), ("thin.json", "{}")):
        (tmp_path / "case").mkdir(exist_ok=True)
        (tmp_path / "case" / name).write_text(text)
    place_result(tmp_path, tmp_path / "case", "sub-1/ct/sub-1_desc-thin_ct.nii.gz")
    shutil.rmtree(tmp_path / "case")
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "thin.nii.gz").write_text("two")
    (tmp_path / "case" / "thin.json").write_text("{}")
    place_result(tmp_path, tmp_path / "case", "sub-1/ct/sub-1_desc-thin_ct.nii.gz")
    assert (tmp_path / "sub-1" / "ct" / "sub-1_desc-thin_ct.nii.gz").read_text() == "two"


def test_a_place_that_is_taken_makes_the_case_fail(tmp_path: Path, tiny_model: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    write(source / "sub-01_ct.nii.gz", 1)
    (out / "sub-01" / "ct" / "sub-01_desc-thin_ct.nii.gz").mkdir(parents=True)
    worker = Worker(Making(out, ThinRequest(source, out, model=str(tiny_model), spacing_mm=2.5), bids=True))
    worker.add(find_series([source])[0])
    record = worker.finish().record
    worker.close()
    assert (record.state, "OUTPUT exists and is not a file" in record.reason) == ("failed", True)
