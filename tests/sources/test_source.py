"""SOURCE is told by content: folder, ZIP, DICOM file, NIfTI."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.errors import RefusedInput, UsageError
from lamella.sources.source import inspect_source, read_source


@pytest.fixture
def sources(tmp_path):
    hu = phantom_hu()
    build_series(tmp_path / "folder", hu)
    build_enhanced(tmp_path / "single.bin", hu)
    with zipfile.ZipFile(tmp_path / "packed.bin", "w") as file:
        for path in (tmp_path / "folder").iterdir():
            file.write(path, path.name)
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    affine[:3, 3] = (120, 100, -50)
    nib.save(nib.Nifti1Image(hu.transpose(2, 1, 0), affine), tmp_path / "volume.nii.gz")
    (tmp_path / "volume.nii.gz").rename(tmp_path / "volume.bin")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"), [("folder", "folder"), ("single.bin", "dicom"), ("packed.bin", "zip"), ("volume.bin", "nifti")]
)
def test_every_kind_gives_the_same_volume(sources, name, kind):
    seen: list[tuple[int, int]] = []
    volume = read_source(sources / name, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    np.testing.assert_allclose(volume.geometry.affine, read_source(sources / "folder").geometry.affine, atol=1e-5)
    assert seen[-1] == (8, 8)
    inspection = inspect_source(sources / name)
    assert (inspection.kind, inspection.refusal) == (kind, None)
    facts = json.loads(json.dumps(asdict(inspection)))["series"][0]
    assert (facts["slices"], facts["rows"], facts["columns"]) == (8, 16, 20)
    assert facts["spacing_mm"] == pytest.approx(5.0, rel=1e-6)


def test_inspection_says_what_reading_would(sources):
    (sources / "folder" / "0004.dcm").unlink()
    inspection = inspect_source(sources / "folder")
    with pytest.raises(RefusedInput) as caught:
        read_source(sources / "folder")
    assert inspection.refusal == str(caught.value) == inspection.series[0].refusal
    build_series(sources / "folder" / "more", phantom_hu(), series_uid="1.2.3.9")
    assert "2 CT series and none was chosen" in inspect_source(sources / "folder").refusal


def test_inspection_of_a_nifti_that_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "mask.nii")
    assert "cannot be Hounsfield units" in inspect_source(tmp_path / "mask.nii").refusal


def test_nothing_there(tmp_path):
    for verb in (read_source, inspect_source):
        with pytest.raises(UsageError, match=r"SOURCE nowhere does not exist"):
            verb(tmp_path / "nowhere")


def test_neither_dicom_nor_nifti(tmp_path):
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(RefusedInput, match=r"no DICOM images. 1 file is not DICOM, ignored: letter.txt"):
        read_source(tmp_path / "letter.txt")


def test_a_series_uid_means_nothing_to_nifti(sources):
    with pytest.raises(RefusedInput, match=r"volume.bin is NIfTI and has no series UID"):
        read_source(sources / "volume.bin", "1.2.3")


def test_reading_does_not_import_torch():
    code = "import sys, lamella.sources.source; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_terminal_obeys_is_not_in_the_name_of_a_source(tmp_path):
    build_series(tmp_path / "a\x1b[31m\udcff", phantom_hu(2))
    assert inspect_source(tmp_path / "a\x1b[31m\udcff").name == "a?[31m?"
