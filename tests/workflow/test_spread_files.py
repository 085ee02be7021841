"""--spread as NIfTI and as a DICOM Parametric Map hold the same. Issue 26, output choices."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from tests.dicom_builder import build_series, phantom_hu

import lamella
from lamella.cli import main

Capture = pytest.CaptureFixture[str]


def frames_of(path: Path) -> tuple[pydicom.Dataset, np.ndarray, np.ndarray]:
    """The map, its (z, y, x) values and (z, 3) positions, along rising z."""
    written = pydicom.dcmread(path)
    values = np.frombuffer(written.FloatPixelData, "<f4").reshape(written.NumberOfFrames, written.Rows, written.Columns)
    groups = written.PerFrameFunctionalGroupsSequence
    places = np.array([one.PlanePositionSequence[0].ImagePositionPatient for one in groups], dtype=float)
    order = places[:, 2].argsort()
    return written, values[order], places[order]


@pytest.mark.parametrize("more", [[], ["--output-thickness-mm", "2.5"], ["--mode", "texture", "--samples", "2"]])
def test_both_files_hold_the_same_values_in_the_same_places(
    thin_command: list[str], tmp_path: Path, more: list[str]
) -> None:
    assert main([*thin_command, str(tmp_path / "thin.nii"), "--spread", str(tmp_path / "sd.nii.gz"), *more]) == 0
    assert main([*thin_command, str(tmp_path / "out"), "--spread", str(tmp_path / "sd.dcm"), *more]) == 0
    written, values, places = frames_of(tmp_path / "sd.dcm")
    image = nib.load(tmp_path / "sd.nii.gz")
    assert np.abs(values - np.asarray(image.dataobj).T).max() <= 1e-6
    headers = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    series = np.unique([one.ImagePositionPatient for one in headers], axis=0)
    assert np.abs(places - series[series[:, 2].argsort()]).max() <= 1e-6
    assert written.StudyInstanceUID == headers[0].StudyInstanceUID
    assert written.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    numbers = [written.SeriesNumber, *{one.SeriesInstanceUID: one.SeriesNumber for one in headers}.values()]
    assert len(set(numbers)) == len(numbers)


def test_a_map_is_set_aside_when_its_folder_is_read(thin_command: list[str], tmp_path: Path) -> None:
    assert main([*thin_command, str(tmp_path / "all" / "out"), "--spread", str(tmp_path / "all" / "sd.dcm")]) == 0
    assert lamella.read(tmp_path / "all").geometry == lamella.read(tmp_path / "all" / "out").geometry


def test_refused_before_the_work(
    thin_command: list[str], thick_study: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, spread = str(tmp_path / "out"), tmp_path / "sd.dcm"
    with monkeypatch.context() as patch:
        patch.setattr("lamella.machine.extras.EXTRAS", {"map": ("no_such_package",)})
        patch.setattr("lamella.sources.source.read_source", None)
        assert main([*thin_command, out, "--spread", str(spread)]) == 2
        assert "pip install 'lamella[map]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

    build_series(tmp_path / "scanner", phantom_hu(2), tags={"Manufacturer": "Scanners"})
    other = next((tmp_path / "scanner").iterdir())
    before = other.read_bytes()
    assert main([*thin_command, out, "--spread", str(other), "--overwrite"]) == 2
    assert "DICOM that Lamella did not write" in capsys.readouterr().err
    assert other.read_bytes() == before

    lamella.write(lamella.read(thick_study), tmp_path / "thick.nii.gz")
    command = [*thin_command[:-1], str(tmp_path / "thick.nii.gz"), str(tmp_path / "thin.nii.gz")]
    assert main([*command, "--spread", str(spread)]) == 2
    assert "SOURCE is NIfTI" in capsys.readouterr().err
    assert not spread.exists()


def test_python_writes_it_and_replaces_its_own(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    result = lamella.thin(lamella.read(thick_study), model=tiny_model, spread=True)
    for overwrite in (False, True):
        lamella.write(result, tmp_path / "thin.nii.gz", spread=tmp_path / "sd.dcm", overwrite=overwrite)
    assert result.spread is not None
    assert np.array_equal(frames_of(tmp_path / "sd.dcm")[1], result.spread.hu)
    with pytest.raises(lamella.UsageError, match="exists"):
        lamella.write(result, tmp_path / "other.nii.gz", spread=tmp_path / "sd.dcm")
    plain = lamella.Volume(result.source.hu, result.source.geometry)
    alone = lamella.thin(plain, model=tiny_model, spread=True)
    with pytest.raises(lamella.LamellaError, match="no DICOM header"):
        lamella.write(alone, tmp_path / "more.nii.gz", spread=tmp_path / "more.dcm")
    assert not (tmp_path / "more.nii.gz").exists()
