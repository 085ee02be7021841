"""Nothing of a patient in anything that a batch leaves or says; see tests/cli/test_privacy.py. Issue 27, item 6."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pydicom
import pytest
from tests.cli.test_privacy import BROKEN, COPIED, Run, run
from tests.dicom_builder import body_hu, build_series
from tests.planted import FILE, FOLDER, Planted

from lamella.cli import main

__all__ = ["run"]  # the fixture

KEPT_TEXT = {"Manufacturer", "ManufacturerModelName", "SoftwareVersions", "FilterType", "ConvolutionKernel"}
FAULTS = ("a slice is missing", "cut in the pixels", "a name in SliceThickness", "a name in RescaleType")


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Planted, Path]:
    """A good study, broken ones, a ZIP, a NIfTI file and one that is damaged, all with planted values and names."""
    planted, sources = Planted(), tmp_path / "sources"
    for number, kind in enumerate((None, *FAULTS)):
        uids = {
            "series_uid": f"1.2.826.0.1.3680043.8.498.1.{number}",
            "study_uid": f"1.2.826.0.1.3680043.8.498.2.{number}",
        }
        build_series(tmp_path / f"{number}", body_hu(5), **uids)
        study = planted.study(tmp_path / f"{number}", sources / f"{FOLDER}-{number}")
        if kind is not None:
            BROKEN[kind](study, planted)
    build_series(tmp_path / "zipped", body_hu(4), series_uid="1.2.826.0.1.3680043.8.498.1.7", study_uid="1.2.7")
    study = planted.study(tmp_path / "zipped", tmp_path / "packed")
    with zipfile.ZipFile(sources / f"{FILE}.zip", "w") as file:
        for path in sorted(study.rglob("*.dcm")):
            file.write(path, path.relative_to(study))
    nifti = sources / f"{FILE}.nii.gz"
    words = ["degrade", str(tmp_path / "zipped"), str(nifti), "--thickness-mm", "10", "--spacing-mm", "5", "--quiet"]
    assert main(words) == 0
    nifti.with_suffix("").with_suffix(".json").unlink()
    (sources / f"{FILE}-broken.nii.gz").write_bytes(nifti.read_bytes()[:2000])
    (sources / f"{FILE}.txt").write_text("no DICOM")
    return planted, sources


@pytest.mark.slow
@pytest.mark.parametrize("deidentify", [False, True], ids=["plain", "deidentified"])
def test_a_batch_tells_nothing(
    cohort: tuple[Planted, Path], tiny_model: Path, tmp_path: Path, run: Run, deidentify: bool
) -> None:
    planted, sources = cohort
    out, key = tmp_path / "out", tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    extra = ("--deidentify", "--deidentify-key", key) if deidentify else ()
    words = ("batch", sources, out, "--model", tiny_model, "--pages", "--previews", "--spread", *extra)
    said = b""
    for more in (("--dry-run",), (), ()):  # the last one goes on with what is there
        code, text = run(*words, *more)
        assert code == (0 if more else 8), text.decode()
        said += text
    assert b"2 series done" in said or b"3 series done" in said, said.decode()
    assert planted.found(said) == set(), said.decode()
    left = planted.left_by(out)
    in_dicom = set().union(*(left.pop(name) for name in list(left) if name.endswith(".dcm")))
    assert left == {}
    if not deidentify:
        assert {"PatientName", "PatientID"} <= in_dicom <= COPIED
        return
    codes = {e.keyword for e in pydicom.dcmread(next(out.rglob("*.dcm"))) if e.VR == "CS"}
    assert in_dicom <= KEPT_TEXT | codes
    everything = said + b"".join(
        f.read_bytes() + str(f.relative_to(out)).encode() for f in out.rglob("*") if f.is_file()
    )
    assert re.findall(rb"\.8\.498\.[12]\.\d+|1\.2\.7\b(?!\.)", everything) == []  # UIDs of the sources


def test_many_studies_are_not_deidentified_without_a_key(tmp_path: Path, run: Run) -> None:
    code, said = run("batch", tmp_path, tmp_path / "out", "--deidentify")
    assert (code, b"one key for all" in said) == (2, True)
