"""STUDIES: what is a case, what a method, and when sources lie on one grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.dicom_builder import build_series, phantom_hu
from tests.reader_study.studies import METHODS, write_case, write_studies
from tests.small_model import upright

from lamella.errors import RefusedInput, UsageError
from lamella.nifti.image import write_nifti
from lamella.reader_study.cases import Slab, find_cases, fingerprint, read_case
from lamella.volume import Geometry, Volume

SHAPE = (6, 24, 30)


def air(shape: tuple[int, int, int]) -> np.ndarray:
    return np.full(shape, -1000, np.int16)


def moved(grid: Geometry, by_mm: tuple[float, float, float]) -> Geometry:
    affine = np.array(grid.affine)
    affine[:3, 3] += by_mm
    return Geometry(grid.shape, affine, grid.thickness_mm)


def turned(grid: Geometry, degrees: float) -> Geometry:
    """Tilted about the patient's left-right axis."""
    angle = np.radians(degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.array(grid.affine)
    affine[:3, :3] = rotation @ affine[:3, :3]
    return Geometry(grid.shape, affine, grid.thickness_mm)


def test_cases_and_methods_are_named_by_their_entries(tmp_path: Path) -> None:
    studies = write_studies(tmp_path, cases=2)
    (studies / "case-01" / ".DS_Store").write_bytes(b"")
    (studies / "Thumbs.db").write_bytes(b"")
    (studies / "case-01" / "mean.json").write_text('{"SliceThickness": 1.0}')  # the sidecar of mean.nii.gz is no method
    found = find_cases(studies)
    assert [case.name for case in found] == ["case-01", "case-02"]
    assert [list(case.sources) for case in found] == [list(METHODS)] * 2
    volumes = read_case(found[0])
    assert len({fingerprint(volume) for volume in volumes.values()}) == 3
    assert fingerprint(volumes["mean"]) == fingerprint(read_case(found[0])["mean"])


def test_a_dicom_folder_and_a_nifti_share_a_case(tmp_path: Path) -> None:
    from lamella.sources.source import read_source

    build_series(tmp_path / "a" / "series.v2", phantom_hu(5))
    original = read_source(tmp_path / "a" / "series.v2")
    write_nifti(tmp_path / "a" / "other.nii", [Volume(original.hu, original.geometry)], None)
    (case,) = find_cases(tmp_path)
    assert list(case.sources) == ["other", "series.v2"]
    volumes = read_case(case)
    assert np.array_equal(volumes["other"].hu, volumes["series.v2"].hu)


@pytest.mark.parametrize(
    ("grid", "found", "expected"),
    [
        (upright((6, 24, 31), 1.0, 1.0), "24 x 31 pixels", "24 x 30 pixels of 0.8000 x 0.8000 mm as in cubic.nii.gz"),
        (upright(SHAPE, 1.0, 1.0, 0.9), "0.9000 x 0.9000 mm (corners up to", "0.8000 x 0.8000 mm"),
        (upright((3, 24, 30), 2.0, 2.0), "3 slices every 2.0000 mm", "6 slices every 1.0000 mm, from 120.00 mm"),
        (upright(SHAPE, 1.25, 1.25), "6 slices every 1.2500 mm", "every 1.0000 mm"),
        (moved(upright(SHAPE, 1.0, 1.0), (0, 0, 0.5)), "from 120.50 mm", "from 120.00 mm"),
        (moved(upright(SHAPE, 1.0, 1.0), (0.4, 0, 0)), "(-49.60, -40.00, 120.00) mm", "(-50.00, -40.00, 120.00) mm"),
        (turned(upright(SHAPE, 1.0, 1.0), 5.0), "corners up to", "as in cubic.nii.gz"),
    ],
)
def test_other_grids_are_refused_in_mm(tmp_path: Path, grid: Geometry, found: str, expected: str) -> None:  # SPEC C6
    write_case(tmp_path / "case-01", ("cubic",))
    write_nifti(tmp_path / "case-01" / "mean.nii.gz", [Volume(air(grid.shape), grid)], None)
    with pytest.raises(RefusedInput, match=r"The sources of case-01 do not lie on the same grid") as refusal:
        read_case(find_cases(tmp_path)[0])
    said = str(refusal.value)
    assert "mean.nii.gz: found" in said
    assert found in said
    assert expected in said


def test_rounding_of_positions_is_no_other_grid(tmp_path: Path) -> None:
    write_case(tmp_path / "case-01", ("cubic",))
    grid = moved(upright(SHAPE, 1.004, 1.0), (0.02, 0.02, -0.01))
    write_nifti(tmp_path / "case-01" / "mean.nii.gz", [Volume(air(SHAPE), grid)], None)
    read = read_case(find_cases(tmp_path)[0])
    assert list(read) == ["cubic", "mean"]
    # the same header for every method, or it would tell them apart
    assert np.array_equal(read["mean"].geometry.affine, read["cubic"].geometry.affine)


def test_layouts_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"STUDIES is not a folder"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(RefusedInput, match=r"holds no case"):
        find_cases(tmp_path)
    (tmp_path / "case-01").mkdir()
    with pytest.raises(RefusedInput, match=r"case-01 is an empty case"):
        find_cases(tmp_path)
    (tmp_path / "case-01").rmdir()
    write_studies(tmp_path, cases=2)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RefusedInput, match=r"a file that is no case: .*notes\.txt"):
        find_cases(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "case-02" / "mean").mkdir()
    with pytest.raises(RefusedInput, match=r"two sources of the method 'mean': mean and mean\.nii\.gz"):
        find_cases(tmp_path)
    (tmp_path / "case-02" / "mean").rmdir()
    (tmp_path / "case-02" / "mean.nii.gz").unlink()
    with pytest.raises(RefusedInput, match=r"case-02: found cubic, real-thin; expected as in case-01"):
        find_cases(tmp_path)


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_case(tmp_path / "case-01", ("cubic",))
    (tmp_path / "case-01" / "mean.nii.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(RefusedInput, match=r"^case-01/mean\.nii\.gz: "):
        read_case(find_cases(tmp_path)[0])


@pytest.mark.parametrize(
    ("text", "kept"),
    [("2", (2, 4)), ("3.9", (1, 5)), ("99", (0, 6)), ("0:2", (0, 2)), ("3.5:6", (3, 6)), ("0.4:2.6", (0, 3))],
)
def test_slabs(tmp_path: Path, text: str, kept: tuple[int, int]) -> None:
    write_case(tmp_path / "case-01")
    (case,) = find_cases(tmp_path)
    whole, cut = read_case(case), read_case(case, Slab.parse(text))
    for method in METHODS:
        assert np.array_equal(cut[method].hu, whole[method].hu[slice(*kept)])
        assert cut[method].geometry.position(0) == pytest.approx(whole[method].geometry.position(kept[0]))


@pytest.mark.parametrize("text", ["", "wide", "-3", "5:2", "1:2:3", "0", "nan", "inf", "1:inf"])
def test_slabs_not_understood(text: str) -> None:
    with pytest.raises(UsageError, match=r"--slab-mm is not understood"):
        Slab.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("2:9", r"found 2:9, expected at most 6\.00 mm"), ("1", r"found the centres of 1 in it, expected at least 2")],
)
def test_slabs_refused(tmp_path: Path, text: str, message: str) -> None:
    write_case(tmp_path / "case-01")
    with pytest.raises(RefusedInput, match=message):
        read_case(find_cases(tmp_path)[0], Slab.parse(text))
