"""NIfTI results carry what DICOM results do, and Lamella reads its own results rightly."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_builder import AXIAL, PATIENT_NAME, build_series, phantom_hu

import lamella
from lamella.cli import main
from lamella.sources.source import inspect_source, read_source
from lamella.workflow.nifti_labels import nifti_label

# SPEC C2, C5, C6

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def gapped(thin_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIfTI of 5 mm slices every 7 mm, with its sidecar."""
    path = tmp_path_factory.mktemp("gapped") / "thick.nii.gz"
    assert main(["degrade", str(thin_study), str(path), "--thickness-mm", "5", "--spacing-mm", "7", "--quiet"]) == 0
    return path


@pytest.fixture
def thin_it(gapped: Path, tiny_model: Path) -> list[str]:
    return ["thin", "--quiet", "--model", str(tiny_model), str(gapped)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_degrade_writes_thin_reads(gapped: Path, thin_it: list[str], tmp_path: Path, capsys: Capture) -> None:
    report = tmp_path / "report.json"
    assert main([*thin_it, str(tmp_path / "thin.nii.gz"), "--report", str(report)]) == 0
    assert "warning" not in capsys.readouterr().err
    source = json.loads(report.read_text())["source"]
    assert (source["thickness_mm"], source["spacing_mm"]) == (5.0, 7.0)
    again = read_source(tmp_path / "thin.nii.gz")
    assert (again.geometry.thickness_mm, again.geometry.spacing_mm) == (1.0, pytest.approx(1.0))
    one = inspect_source(tmp_path / "thin.nii.gz").series[0]
    assert (one.thickness_mm, one.synthetic) == (1.0, True)
    assert not inspect_source(gapped).series[0].synthetic


@pytest.mark.parametrize("mode", ["mean", "texture"])
def test_what_a_result_says_of_itself(thin_it: list[str], tiny_model: Path, tmp_path: Path, mode: str) -> None:
    out, spread = tmp_path / "thin.nii", tmp_path / "sd.nii.gz"
    more = ["--mode", mode, "--seed", "7", "--spread", str(spread)] + (["--samples", "2"] if mode == "texture" else [])
    assert main([*thin_it, str(out), *more]) == 0
    assert files(tmp_path) == ["sd.nii.gz", "thin.json", "thin.nii"]
    facts = json.loads((tmp_path / "thin.json").read_text())
    assert (facts["SliceThickness"], facts["SpacingBetweenSlices"], facts["SyntheticData"]) == (1.0, 1.0, "YES")
    assert facts["ImageComments"] == f"AI-generated image. {lamella.RESEARCH_ONLY}"
    said = facts["DerivationDescription"]
    if mode == "texture":
        assert [f"sample {n} of 2." in one for n, one in enumerate(said, start=1)] == [True, True]
        assert facts["SeriesDescription"] == [f"AI thin 1mm texture {n} RESEARCH" for n in (1, 2)]
        said = said[0]
    assert f"mode {mode}" in said
    own, model = facts["Lamella"], lamella.load_model(tiny_model)
    assert own["model"] == {"name": "tiny", "sha256": model.sha256, "licence": "Apache-2.0"}
    assert (own["version"], own["mode"], own["synthetic"], own["research_use_only"]) == (
        lamella.__version__, mode, True, True,
    )  # fmt: skip
    assert (own["settings"]["seed"], own["settings"]["mode"]) == (7, mode)
    assert (own["quantity"], own["samples"]) == ("HU", 1 + (mode == "texture"))
    image = nib.load(out)
    assert bytes(image.header["descrip"]).rstrip(b"\0").decode() == (
        f"Lamella {lamella.__version__} {mode} synthetic, research use only"
    )
    (extension,) = image.header.extensions
    assert extension.get_code() == 6
    assert json.loads(bytes(extension.content).rstrip(b"\0")) == facts
    deviation = nib.load(spread).header
    assert b"synthetic, research use only" in bytes(deviation["descrip"])
    assert (
        "standard deviation" in json.loads(bytes(deviation.extensions[0].content).rstrip(b"\0"))["Lamella"]["quantity"]
    )


def test_what_a_thickened_series_says_of_itself(gapped: Path) -> None:
    facts = json.loads(gapped.with_name("thick.json").read_text())
    assert (facts["SliceThickness"], facts["SpacingBetweenSlices"]) == (5.0, 7.0)
    assert "SyntheticData" not in facts
    assert facts["ImageComments"].startswith("Computed image.")
    assert facts["Lamella"]["model"] is None
    assert facts["Lamella"]["settings"] == {"thickness_mm": 5.0, "spacing_mm": 7.0, "profile": "box"}
    descrip = bytes(nib.load(gapped).header["descrip"]).rstrip(b"\0").decode()
    assert descrip == f"Lamella {lamella.__version__} thickened, research use only"


def test_what_derives_from_synthetic_slices_stays_synthetic(thin_it: list[str], tmp_path: Path) -> None:
    assert main([*thin_it, str(tmp_path / "thin.nii.gz")]) == 0
    degrade = ["degrade", str(tmp_path / "thin.nii.gz"), "--thickness-mm", "3", "--spacing-mm", "3", "--quiet"]
    assert main([*degrade, str(tmp_path / "thick.nii.gz")]) == 0
    facts = json.loads((tmp_path / "thick.json").read_text())
    assert facts["SyntheticData"] == "YES"
    assert facts["ImageComments"].startswith("AI-generated image.")
    assert b"thickened synthetic" in bytes(nib.load(tmp_path / "thick.nii.gz").header["descrip"])


def test_nothing_of_a_patient_is_copied(tiny_model: Path, tmp_path: Path) -> None:
    build_series(tmp_path / "in", phantom_hu())
    lamella.write(read_source(tmp_path / "in"), tmp_path / "plain.nii")
    sidecar = tmp_path / "plain.json"
    named = {
        "PatientName": PATIENT_NAME,
        "PatientID": "P1",
        "AcquisitionTime": "10:11:12",
        "SeriesDescription": "Erika",
    }
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | named))
    for source in ("in", "plain.nii"):
        out = tmp_path / f"{source}-out"
        command = ["thin", str(tmp_path / source), f"{out}.nii", "--model", str(tiny_model), "--slices", "9", "--quiet"]
        assert main(command) == 0
        written = Path(f"{out}.nii").read_bytes()[:8192] + Path(f"{out}.json").read_bytes()
        assert not re.search(rb"Mustermann|Erika|P1\b|10:11:12|1\.2\.826", written)


def test_a_long_version_is_cut_and_nothing_else(monkeypatch: pytest.MonkeyPatch, thick_volume: lamella.Volume) -> None:
    monkeypatch.setattr("lamella.workflow.nifti_labels.__version__", "0.1.0.dev1+g" + "0" * 90)
    label = nifti_label([thick_volume], thick_volume, ())
    assert len(label.descrip) == 79
    assert label.descrip.endswith(", research use only")


@pytest.mark.parametrize("broken", ["write_nifti", "label"])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "overwrite"])
def test_an_interrupted_run_leaves_both_or_neither(
    thin_it: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, earlier: bool
) -> None:
    for name in ("thin.nii", "thin.json") if earlier else ():
        (tmp_path / name).write_bytes(b"earlier")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    place = {"write_nifti": "lamella.nifti.image.write_nifti", "label": "lamella.nifti.sidecar.NiftiLabel.json"}[broken]
    monkeypatch.setattr(place, interrupted)
    assert main([*thin_it, str(tmp_path / "thin.nii"), "--overwrite"]) == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == (
        {"thin.nii": b"earlier", "thin.json": b"earlier"} if earlier else {}
    )


def test_overwriting_replaces_both(thin_it: list[str], tmp_path: Path) -> None:
    for name in ("thin.nii", "thin.json"):
        (tmp_path / name).write_bytes(b"earlier")
    assert main([*thin_it, str(tmp_path / "thin.nii")]) == 2
    assert main([*thin_it, str(tmp_path / "thin.nii"), "--overwrite"]) == 0
    assert files(tmp_path) == ["thin.json", "thin.nii"]
    assert read_source(tmp_path / "thin.nii").geometry.thickness_mm == 1.0


@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--dry-run"]], ids=str)
def test_a_sidecar_without_its_image_is_wrong_usage(
    thin_it: list[str], tmp_path: Path, capsys: Capture, more: list[str]
) -> None:
    (tmp_path / "thin.json").write_text("{}")
    assert main([*thin_it, str(tmp_path / "thin.nii.gz"), *more]) == 2
    assert "thin.json exists, where the sidecar of OUTPUT belongs" in capsys.readouterr().err
    assert files(tmp_path) == ["thin.json"]


def test_no_input_and_no_sidecar_is_replaced_by_another_name(
    gapped: Path, thin_it: list[str], tmp_path: Path, capsys: Capture
) -> None:
    for path in (gapped, gapped.with_name("thick.json")):
        shutil.copy(path, tmp_path)
    (tmp_path / "thick.nii").write_bytes(b"another image")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = [*thin_it[:-1], str(tmp_path / "thick.nii.gz")]
    for more, said in (
        ([str(tmp_path / "thick.nii")], "The sidecar of OUTPUT is the sidecar of SOURCE"),
        ([str(tmp_path / "out.nii"), "--report", str(tmp_path / "thick.json")], "OUTPUT is the sidecar of SOURCE"),
        (
            [str(tmp_path / "out.nii"), "--report", str(tmp_path / "out.json")],
            "--report has the name of OUTPUT's sidecar",
        ),
    ):
        assert main([*command, *more, "--overwrite"]) == 2
        assert said in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_volume_alone(thick_volume: lamella.Volume, tmp_path: Path) -> None:
    lamella.write(thick_volume, tmp_path / "out.nii.gz")
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["SliceThickness"] == 5.0
    assert facts["Lamella"]["mode"] is None
    with pytest.raises(lamella.UsageError, match="OUTPUT exists"):
        lamella.write(thick_volume, tmp_path / "out.nii.gz")
    lamella.write(thick_volume, tmp_path / "out.nii.gz", overwrite=True)


def thin_file(source: Path, model: Path, folder: Path, *more: str) -> lamella.Volume:
    out = folder / f"{source.name}-{len(more)}.thin.nii"
    assert main(["thin", str(source), str(out), "--model", str(model), "--quiet", *more]) == 0
    return read_source(out)


TILTED = (0.96, 0.28, 0.0, -0.2688, 0.9216, 0.28)


@pytest.mark.parametrize("mode", ["mean", "texture"])
@pytest.mark.parametrize("orientation", [AXIAL, TILTED, (1, 0, 0, 0, 0, -1)], ids=["axial", "oblique", "coronal"])
def test_dicom_and_what_dcm2niix_makes_of_it_give_the_same_voxels(
    tiny_model: Path, tmp_path: Path, mode: str, orientation: tuple[float, ...]
) -> None:
    """5 mm every 2.5 mm: read as 2.5 mm slices, the result would be another."""
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    hu = np.clip(phantom_hu(9, 24, 28) // 8, -1024, 3071).astype(np.int16)
    build_series(tmp_path / "dicom", hu, spacing_mm=2.5, thickness_mm=5.0, pixel_mm=(0.7, 0.7), orientation=orientation)
    command = [
        "dcm2niix",
        "-z",
        "y",
        "-b",
        "y",
        "-ba",
        "n",
        "-f",
        "converted",
        "-o",
        str(tmp_path),
        str(tmp_path / "dicom"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    image = tmp_path / "converted.nii.gz"
    assert image.is_file(), done.stdout
    source, converted = read_source(tmp_path / "dicom"), read_source(image)
    np.testing.assert_array_equal(converted.hu, source.hu)
    assert converted.geometry.thickness_mm == 5.0
    assert source.geometry.apart_mm(converted.geometry) < 1e-3
    alone = tmp_path / "alone.nii.gz"
    shutil.copy(image, alone)
    expected = thin_file(tmp_path / "dicom", tiny_model, tmp_path, "--mode", mode)
    for found in (
        thin_file(image, tiny_model, tmp_path, "--mode", mode),
        thin_file(alone, tiny_model, tmp_path, "--mode", mode, "--thickness-mm", "5"),
    ):
        np.testing.assert_array_equal(found.hu, expected.hu)
        assert expected.geometry.apart_mm(found.geometry) < 1e-3
    guessed = thin_file(alone, tiny_model, tmp_path, "--mode", mode)
    assert np.abs(guessed.hu.astype(float) - expected.hu).max() > 1


def test_simpleitk_reads_the_result(thin_it: list[str], tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    assert main([*thin_it, str(tmp_path / "thin.nii.gz")]) == 0
    image, volume = itk.ReadImage(str(tmp_path / "thin.nii.gz")), read_source(tmp_path / "thin.nii.gz")
    back = lamella.from_simpleitk(image, thickness_mm=1.0)
    np.testing.assert_array_equal(back.hu, volume.hu)
    assert back.geometry.apart_mm(volume.geometry) < 1e-3
