"""One series into one folder, with a model that was loaded before (issue 27: cohorts)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_builder import body_hu, build_series

from lamella.batch.case import case_key, read_case, result_in, thin_case
from lamella.batch.digest import result_sha256
from lamella.dicom import read_series
from lamella.embedded.model import EmbeddedModel
from lamella.selection.find import find_series
from lamella.workflow.thin_study import ThinRequest

ASKED = ThinRequest(Path(), Path(), spacing_mm=2.5)


def files_of(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_a_series_becomes_a_folder_with_a_record(tmp_path: Path, small_model: EmbeddedModel) -> None:
    build_series(tmp_path / "in", body_hu())
    (found,) = find_series([tmp_path / "in"])
    record = thin_case(found, tmp_path / "out", ASKED, small_model, page=True, preview=True)
    assert (record.state, record.reason, record.folder, record.series) == ("done", "", "out", found.id)
    assert json.loads((tmp_path / "out" / "record.json").read_text()) == dataclasses.asdict(record)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert record.consistency_rmse_hu == report["consistency_rmse_hu"] < 0.5
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "series", "record.json", "report.json", "report.html", "preview.png", "thumbnail.png",
    }  # fmt: skip
    assert read_series(tmp_path / "out" / "series").geometry.spacing_mm == pytest.approx(2.5)


def test_the_hash_is_that_of_voxels_and_labels_not_of_the_time(tmp_path: Path, small_model: EmbeddedModel) -> None:
    build_series(tmp_path / "in", body_hu())
    (found,) = find_series([tmp_path / "in"])
    ahead = read_case(found, ASKED)
    first = thin_case(found, tmp_path / "one", ASKED, small_model, lambda: ahead)
    second = thin_case(found, tmp_path / "two", ASKED, small_model)
    assert first.sha256 == second.sha256 == result_sha256(result_in(tmp_path / "two"))
    assert first.key == second.key == case_key(found, ASKED, small_model)
    other = dataclasses.replace(ASKED, spacing_mm=2.0)
    assert case_key(found, other, small_model) != first.key
    assert thin_case(found, tmp_path / "three", other, small_model).sha256 != first.sha256
    one = tmp_path / "two" / "series" / "IM_00003.dcm"
    content = bytearray(one.read_bytes())
    content[-20] ^= 1  # a bit of a voxel
    one.write_bytes(content)
    assert result_sha256(result_in(tmp_path / "two")) != first.sha256


def test_nothing_appears_for_a_refused_series_and_an_earlier_result_stays(
    tmp_path: Path, small_model: EmbeddedModel
) -> None:
    build_series(tmp_path / "in", body_hu())
    (found,) = find_series([tmp_path / "in"])
    (tmp_path / "in" / "0002.dcm").write_bytes(b"\0" * 128 + b"DICM cut off")  # after it was found
    record = thin_case(found, tmp_path / "out", ASKED, small_model)
    assert (record.state, record.folder, record.sha256, record.consistency_rmse_hu) == ("refused", "", "", None)
    assert record.reason.startswith("file 3 is DICOM without a SeriesInstanceUID")
    assert "0002.dcm" not in record.reason
    assert not (tmp_path / "out").exists()
    shutil.rmtree(tmp_path / "in")
    build_series(tmp_path / "in", body_hu())
    thin_case(find_series([tmp_path / "in"])[0], tmp_path / "out", ASKED, small_model)
    before = files_of(tmp_path / "out")
    (tmp_path / "in" / "0002.dcm").unlink()
    record = thin_case(found, tmp_path / "out", ASKED, small_model)
    assert (record.state, record.reason) == ("failed", "No such file or directory.")
    assert files_of(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, small_model: EmbeddedModel) -> None:
    build_series(tmp_path / "in", body_hu())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    record = thin_case(find_series([tmp_path / "in"])[0], tmp_path / "out", ASKED, small_model)
    assert record.state == "failed"
    assert "no result of Lamella" in record.reason
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


def test_samples_and_nifti_have_their_hashes_too(tmp_path: Path, small_model: EmbeddedModel) -> None:
    build_series(tmp_path / "in", body_hu())
    affine = np.diag([-0.8, -0.8, 5.0, 1.0])
    nib.save(nib.Nifti1Image(body_hu().transpose(2, 1, 0), affine), tmp_path / "in" / "scan.nii.gz")
    several = dataclasses.replace(
        ASKED, settings=dataclasses.replace(ASKED.settings, mode="texture", steps=1, samples=2)
    )
    dicom, nifti = find_series([tmp_path / "in"])
    hashes = set()
    for found in (dicom, nifti):
        for name in ("one", "two"):
            record = thin_case(found, tmp_path / found.kind / name, several, small_model)
            assert record.state == "done", record.reason
            hashes.add(record.sha256)
    assert len(hashes) == 2
    assert (tmp_path / "dicom" / "one" / "series" / "sample-02").is_dir()
    assert (tmp_path / "nifti" / "one" / "thin.nii.gz").is_file()
