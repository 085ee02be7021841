"""`lamella thin --like`: slices where another series of the scan has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lamella.cli import main
from lamella.dicom import read_series

Capture = pytest.CaptureFixture[str]


def said_of_other(command: list[str], study: Path, folder: Path, keyword: str, value: str, word: str) -> str:
    """The one warning with a word that `--like` gives for a study with another value of an element, and not for the study."""
    other, report = folder / "other", folder / "report.json"
    other.mkdir()
    for file in study.iterdir():
        header = pydicom.dcmread(file)
        setattr(header, keyword, value)
        header.save_as(other / file.name)
    said = []
    for like in (study, other):
        words = [*command, str(folder / "out"), "--report", str(report), "--like", str(like), "--overwrite"]
        assert main(words) == 0
        said.append([text for text in json.loads(report.read_text())["warnings"] if word in text])
    assert (said[0], len(said[1])) == ([], 1)
    return str(said[1][0])


def test_like_takes_the_other_series_centres(thin_command: list[str], thin_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*thin_command, str(out), "--like", str(thin_study)]) == 0
    np.testing.assert_allclose(read_series(out).geometry.affine, read_series(thin_study).geometry.affine, atol=1e-3)


def test_like_says_which_slices_the_source_does_not_cover(
    thin_command: list[str], thin_study: Path, tmp_path: Path
) -> None:
    short, report = tmp_path / "short", tmp_path / "report.json"
    degrade = ["degrade", str(thin_study), str(short), "--thickness-mm", "3", "--spacing-mm", "3", "--quiet"]
    assert main(degrade) == 0  # six slabs of 3 mm: 18 of the 20 mm
    out = [str(short), str(tmp_path / "out"), "--like", str(thin_study), "--report", str(report)]
    assert main([*thin_command[:-1], *out]) == 0
    assert read_series(tmp_path / "out").geometry.shape[0] == 18
    warnings = json.loads(report.read_text())["warnings"]
    assert any("2 of its 20 slices lie beyond what the source covers" in warning for warning in warnings)


def test_like_says_when_the_kernels_differ(thin_command: list[str], thin_study: Path, tmp_path: Path) -> None:
    # SPEC C3: spread and texture are the thick series' own
    said = said_of_other(thin_command, thin_study, tmp_path, "ConvolutionKernel", "B70f", "kernels")
    assert "and B70f): sharpness, noise, texture and spread of the result are those of the thick series" in said


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_like_says_when_it_is_of_another_scan(
    thin_command: list[str], thin_study: Path, tmp_path: Path, keyword: str
) -> None:
    assert "1.2.3.4" not in said_of_other(thin_command, thin_study, tmp_path, keyword, "1.2.3.4", "differ")


def test_like_says_when_its_slices_are_thicker_than_those_made(
    thin_command: list[str], thin_study: Path, tmp_path: Path
) -> None:
    # SPEC B6: the tag is what was made
    thicker, report = tmp_path / "thicker", tmp_path / "report.json"
    thicker.mkdir()
    for file in thin_study.iterdir():
        header = pydicom.dcmread(file)
        header.SliceThickness = 2
        header.save_as(thicker / file.name)
    assert main([*thin_command, str(tmp_path / "out"), "--like", str(thicker), "--report", str(report)]) == 0
    made = {float(pydicom.dcmread(file).SliceThickness) for file in (tmp_path / "out").iterdir()}
    assert made == {1.0}
    assert any("2 mm thick every 1 mm" in text for text in json.loads(report.read_text())["warnings"])


def test_like_may_be_one_of_several_series(
    thin_command: list[str], thin_study: Path, thick_study: Path, tmp_path: Path, capsys: Capture
) -> None:
    study = tmp_path / "study"
    shutil.copytree(thin_study, study / "thin")
    shutil.copytree(thick_study, study / "thick")
    command = [*thin_command, str(tmp_path / "out"), "--like", str(study)]
    assert main(command) == 3
    said = capsys.readouterr().err
    assert "--like: SOURCE" in said
    assert "Choose one with --like-series UID" in said
    uid = read_series(thin_study).header.series_uid  # type: ignore[union-attr]
    assert main([*command, "--like-series", uid]) == 0
    assert read_series(tmp_path / "out").geometry.shape[0] == 20
    assert main([*thin_command, str(tmp_path / "other"), "--like-series", uid]) == 2


def test_the_series_of_like_is_never_replaced(
    thin_command: list[str], thin_study: Path, tmp_path: Path, capsys: Capture
) -> None:
    like = tmp_path / "like"
    shutil.copytree(thin_study, like)
    before = {file.name: file.read_bytes() for file in like.iterdir()}
    for out in (str(like), str(like / "out")):
        assert main([*thin_command, out, "--like", str(like), "--overwrite"]) == 2
        assert "--like" in capsys.readouterr().err
    asked = [str(tmp_path / "out"), "--like", str(tmp_path / "like.nii.gz"), "--overwrite"]
    assert (
        main(["degrade", str(thin_study), str(tmp_path / "like.nii.gz"), "--thickness-mm", "1", "--spacing-mm", "1"])
        == 0
    )
    assert main([*thin_command, *asked, "--spread", str(tmp_path / "like.nii.gz")]) == 2
    assert {file.name: file.read_bytes() for file in like.iterdir()} == before
