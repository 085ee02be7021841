"""Slice thickness of NIfTI: from the sidecar of dcm2niix, as given, or guessed with a warning; contradictions refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.dicom_builder import build_series, phantom_hu
from tests.nifti_builder import ct, save

import lamella
from lamella.cli import main
from lamella.errors import RefusedInput, UsageError
from lamella.nifti.image import read_nifti
from lamella.nifti.sidecar import sidecar_path
from lamella.sources.source import inspect_source, read_source

# SPEC C2, C6

Capture = pytest.CaptureFixture[str]


def beside(folder: Path, stated: Any, name: str = "in.nii") -> Path:
    """A NIfTI of slices 5 mm apart, and its sidecar."""
    path: Path = save(folder / name, ct())
    (folder / "in.json").write_text(stated if isinstance(stated, str) else json.dumps(stated))
    return path


@pytest.mark.parametrize("name", ["in.nii", "in.nii.gz", "in.NII.GZ"])
@pytest.mark.parametrize("spacing", [None, 5, -5.0, 5.04])
def test_the_thickness_of_the_sidecar_counts(tmp_path: Path, name: str, spacing: float | None) -> None:
    stated = {"Modality": "CT", "SliceThickness": 7.5} | ({} if spacing is None else {"SpacingBetweenSlices": spacing})
    volume = read_nifti(beside(tmp_path, stated, name))
    assert volume.geometry.thickness_mm == 7.5
    assert volume.geometry.spacing_mm == pytest.approx(5)
    assert volume.header.notes == volume.header.warnings == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("stated", [{}, {"SpacingBetweenSlices": 5.0}, {"SliceThickness": None}, [1, 2]])
def test_a_sidecar_that_does_not_say_it(tmp_path: Path, stated: Any) -> None:
    path = beside(tmp_path, stated)
    assert any("thickness is unknown" in note for note in read_nifti(path).header.warnings)  # type: ignore[union-attr]
    known = read_source(path, thickness_mm=6.0)
    assert known.geometry.thickness_mm == 6
    assert known.header.warnings == ()  # type: ignore[union-attr]
    assert inspect_source(path).series[0].thickness_mm is None


def test_inspection_shows_what_the_sidecar_says(tmp_path: Path) -> None:
    one = inspect_source(beside(tmp_path, {"SliceThickness": 7.5, "SyntheticData": "YES"})).series[0]
    assert (one.thickness_mm, one.synthetic) == (7.5, True)


def test_the_sidecar_of_another_volume_is_refused(tmp_path: Path) -> None:
    path = beside(tmp_path, {"SliceThickness": 5, "SpacingBetweenSlices": 2.5})
    with pytest.raises(
        RefusedInput, match=r"in.json contradicts in.nii. Found SpacingBetweenSlices of 2.5 .* 5 mm apart"
    ):
        read_nifti(path)


@pytest.mark.parametrize(
    "stated",
    ["{half", "", *({"SliceThickness": one} for one in (0, -5, "5", True, [5], 1e9, 10**400))],
    ids=str,
)
def test_a_broken_sidecar_is_refused(tmp_path: Path, stated: Any) -> None:
    with pytest.raises(RefusedInput, match=r"in.json .*(not JSON|malformed|is malformed)"):
        read_nifti(beside(tmp_path, stated))


@pytest.mark.parametrize(
    "data",
    [b'{"InstitutionName": "M\xfcller", "SliceThickness": 3}', '{"SliceThickness": 3}'.encode("utf-16")],
    ids=["Latin 1", "UTF-16"],
)
def test_a_sidecar_in_another_character_set_is_read(tmp_path: Path, data: bytes) -> None:
    path = beside(tmp_path, {})
    path.with_suffix(".json").write_bytes(data)
    assert read_nifti(path).geometry.thickness_mm == 3


def test_nothing_of_a_text_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput) as caught:
        read_nifti(beside(tmp_path, {"SliceThickness": "Mustermann", "PatientName": "Mustermann^Erika"}))
    assert "Mustermann" not in str(caught.value)


@pytest.mark.parametrize(("given", "right"), [(5.0, True), (4.97, True), (4.9, False), (2.5, False)])
def test_what_is_given_must_agree_with_the_sidecar(tmp_path: Path, given: float, right: bool) -> None:
    path = beside(tmp_path, {"SliceThickness": 5.0})
    if right:
        assert read_source(path, thickness_mm=given).geometry.thickness_mm == 5.0
        return
    with pytest.raises(UsageError, match=rf"Found {given:g} mm given, and 5 mm in SliceThickness of in.json"):
        read_source(path, thickness_mm=given)


@pytest.mark.parametrize("given", [0.0, -1.0, float("nan"), float("inf")])
def test_a_thickness_is_positive(tmp_path: Path, given: float) -> None:
    with pytest.raises(UsageError, match="must be a positive number of mm"):
        read_source(save(tmp_path / "in.nii", ct()), thickness_mm=given)


@pytest.mark.parametrize("missing", [None, "", 0], ids=["missing", "empty", "nought"])
def test_dicom_that_does_not_say_it(tmp_path: Path, missing: Any) -> None:
    build_series(tmp_path / "in", phantom_hu(), spacing_mm=2.5, tags={"SliceThickness": missing})
    with pytest.raises(RefusedInput, match="SliceThickness"):
        read_source(tmp_path / "in")
    assert lamella.read(tmp_path / "in", thickness_mm=5.0).geometry.thickness_mm == 5.0
    refusal = str(inspect_source(tmp_path / "in").refusal)
    assert "--thickness-mm" in refusal
    assert "thickness_mm in Python" in refusal
    assert inspect_source(tmp_path / "in", thickness_mm=5.0).series[0].thickness_mm == 5.0
    assert main(["inspect", str(tmp_path / "in"), "--quiet"]) == 3
    assert main(["inspect", str(tmp_path / "in"), "--quiet", "--thickness-mm", "5"]) == 0


def test_dicom_that_says_another(tmp_path: Path) -> None:
    build_series(tmp_path / "in", phantom_hu())
    with pytest.raises(UsageError, match=r"Found 2.5 mm given, and 5 mm in SliceThickness of 0000.dcm"):
        read_source(tmp_path / "in", thickness_mm=2.5)
    assert main(["inspect", str(tmp_path / "in"), "--quiet", "--thickness-mm", "2.5"]) == 2
    assert read_source(tmp_path / "in", thickness_mm=5.01).geometry.thickness_mm == 5.0


def test_the_command_asks_for_it_on_standard_error(
    thick_study: Path, tiny_model: Path, tmp_path: Path, capsys: Capture
) -> None:
    hu = read_source(thick_study)
    lamella.write(lamella.Volume(hu.hu, hu.geometry), tmp_path / "in.nii.gz")
    (tmp_path / "in.json").unlink(missing_ok=True)
    command = ["thin", str(tmp_path / "in.nii.gz"), str(tmp_path / "out.nii.gz"), "--model", str(tiny_model), "--quiet"]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "warning: thickness is unknown in NIfTI: taken equal to the spacing, 5 mm. Slices that overlap" in said.err
    assert main([*command, "--dry-run", "--thickness-mm", "5"]) == 0
    assert capsys.readouterr().err == ""
    (tmp_path / "in.json").write_text('{"SliceThickness": 5}')
    assert main([*command, "--dry-run", "--thickness-mm", "7"]) == 2
    assert "7 mm given, and 5 mm in SliceThickness of in.json" in capsys.readouterr().err
    (tmp_path / "in.json").unlink()
    degrade = ["degrade", str(tmp_path / "in.nii.gz"), str(tmp_path / "d.nii.gz"), "--thickness-mm", "10", "--quiet"]
    assert main([*degrade, "--spacing-mm", "10"]) == 0
    assert "--source-thickness-mm" in capsys.readouterr().err


def test_the_other_series_of_like_follows_the_same_rules(
    thin_study: Path, thick_study: Path, tiny_model: Path, tmp_path: Path, capsys: Capture
) -> None:
    grid = read_source(thin_study)
    like = tmp_path / "like.nii"
    lamella.write(lamella.Volume(grid.hu, grid.geometry), like)
    (tmp_path / "like.json").unlink()
    thin = [
        "thin",
        str(thick_study),
        str(tmp_path / "out"),
        "--model",
        str(tiny_model),
        "--dry-run",
        "--like",
        str(like),
    ]
    assert main(thin) == 0
    assert "like: how thick its slices are is unknown; those made are 1 mm thick" in capsys.readouterr().out
    assert main([*thin, "--like-thickness-mm", "2"]) == 0
    assert "like: its slices are 2 mm thick every 1 mm" in capsys.readouterr().out
    (tmp_path / "like.json").write_text('{"SliceThickness": 1}')
    assert main([*thin, "--like-thickness-mm", "2"]) == 2
    assert "--like: The slice thickness given contradicts the input" in capsys.readouterr().err
    assert main([*thin[:-2], "--like-thickness-mm", "2"]) == 2
    assert "Found no --like" in capsys.readouterr().err
    build_series(tmp_path / "dicom", phantom_hu(), tags={"SliceThickness": None})
    assert main([*thin[:-1], str(tmp_path / "dicom")]) == 3
    assert "give it (--like-thickness-mm)" in capsys.readouterr().err


def test_names_of_sidecars() -> None:
    for image, found in (("a/X.nii.gz", "a/X.json"), ("X.y.nii", "X.y.json"), ("X.NII.gz", "X.json")):
        assert sidecar_path(Path(image)) == Path(found)
    assert sidecar_path(Path("X.bin")) is None
