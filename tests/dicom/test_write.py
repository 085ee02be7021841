"""The derived series against what validators do not check: voxels, places, numbering, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.derived_series import DERIVATION, OBLIQUE, ORIENTATIONS, derive, split

from lamella.dicom import read_series, verify_written, write_series
from lamella.dicom.write import decimal
from lamella.errors import LamellaError, RefusedInput
from lamella.volume import Volume


@given(st.floats(-1e6, 1e6))
def test_decimal_strings_fit_and_are_exact_enough(value: float) -> None:
    text = decimal(value)
    assert len(text) <= 16
    assert abs(float(text) - value) <= 1e-7
    assert text == str(pydicom.valuerep.DSfloat(text, validation_mode=pydicom.config.RAISE))


def test_decimal_strings_by_hand() -> None:
    assert decimal(1.0) == "1"
    assert decimal(-1e-17) == "0"
    assert decimal(-0.1 - 0.2) == "-0.3"
    assert decimal(-12345.678901234) == "-12345.678901234"
    assert decimal(1 / 3) == "0.333333333"
    for bad in (np.nan, np.inf):
        with pytest.raises(LamellaError, match="finite"):
            decimal(bad)


# SPEC C5
@pytest.mark.parametrize("factor", [1, 3, 5, 7])
@pytest.mark.parametrize("orientation", [ORIENTATIONS["head first supine"], OBLIQUE])
def test_positions_and_spacing_are_those_of_the_grid(tmp_path: Path, factor: int, orientation: tuple[float]) -> None:
    derived = derive(tmp_path, factor=factor, orientation=orientation, origin_mm=(-211.123456, 17.1, -987.654321))
    geometry = derived.thin.geometry
    written = np.array([h.ImagePositionPatient for h in derived.headers], dtype=np.float64)
    expected = np.array([geometry.position(k) for k in range(geometry.shape[0])])
    assert np.abs(written - expected).max() <= 1e-6
    steps = np.linalg.norm(np.diff(written, axis=0), axis=1)
    assert np.ptp(steps) <= 1e-6
    for header in derived.headers:
        assert float(header.SpacingBetweenSlices) == pytest.approx(steps.mean(), abs=1e-6)
        assert float(header.SliceThickness) == pytest.approx(5 / factor, abs=1e-6)
    assert all(len(str(v)) <= 16 for h in derived.headers for v in h.ImagePositionPatient)


def test_in_plane_digits_are_the_sources_own(tmp_path: Path) -> None:
    """A rotation written with six decimals is not rewritten with more."""
    row, column = (0.999391, 0.034899, 0.0), (-0.034899, 0.999391, 0.0)
    derived = derive(tmp_path, orientation=(*row, *column), pixel_mm=(0.703125, 0.703125))
    header = derived.headers[0]
    assert [str(v) for v in header.ImageOrientationPatient] == [str(v) for v in (*row, *column)]
    assert [str(v) for v in header.PixelSpacing] == ["0.703125", "0.703125"]


def test_reading_the_result_gives_the_same_volume(tmp_path: Path) -> None:
    for number, orientation in enumerate(ORIENTATIONS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        derived = derive(folder, orientation=orientation)
        again = read_series(derived.folder)
        assert np.array_equal(again.hu, derived.thin.hu)
        assert np.abs(again.geometry.affine - derived.thin.geometry.affine).max() <= 1e-6
        assert again.geometry.thickness_mm == pytest.approx(derived.thin.geometry.thickness_mm, abs=1e-9)
        verify_written(derived.folder, derived.thin)


def centroid_mm(folder: Path) -> NDArray[np.float64]:
    """Centre of mass of everything above 500 HU, from the files alone (PS3.3 equation C.7.6.2.1-1)."""
    moment, mass = np.zeros(3), 0.0
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        hu = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        row, column = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        between_rows, between_columns = (float(v) for v in header.PixelSpacing)
        for j, i in np.argwhere(hu > 500):
            place = np.array(header.ImagePositionPatient, dtype=float) + row * between_columns * i
            moment += (place + column * between_rows * j) * hu[j, i]
            mass += hu[j, i]
    return moment / mass


@pytest.mark.parametrize("order", ["rising", "falling"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_an_object_stays_where_it_is(tmp_path: Path, orientation: tuple[float], order: str) -> None:
    hu = np.full((5, 12, 10), -1000, dtype=np.int16)
    hu[3, 2:4, 7] = 1000
    hu[4, 2, 6:9] = 2000
    hu[1, 9, 1] = 700
    numbers = {k: {"InstanceNumber": 5 - k} for k in range(5)} if order == "falling" else None
    derived = derive(tmp_path, hu=hu, orientation=orientation, per_slice=numbers)
    assert np.abs(centroid_mm(derived.folder) - centroid_mm(derived.source_folder)).max() <= 1e-4


@pytest.mark.parametrize("rising", [True, False])
def test_instances_count_in_the_sources_direction(tmp_path: Path, rising: bool) -> None:
    numbers = None if rising else {k: {"InstanceNumber": 40 - k} for k in range(4)}
    derived = derive(tmp_path, per_slice=numbers)
    found = [int(h.InstanceNumber) for h in derived.headers]
    assert found == (list(range(1, 21)) if rising else list(range(20, 0, -1)))
    assert [f.name for f in derived.files] == [f"IM_{n:05d}.dcm" for n in found]


def test_slice_location_follows_the_sources_rule_or_is_absent(tmp_path: Path) -> None:
    for name, rule, expected in (
        ("down", lambda k: 30.0 - 5 * k, [32.0 - k for k in range(20)]),
        ("up", lambda k: 5.0 * k, [k - 2.0 for k in range(20)]),
        ("elsewhere", lambda k: 7.0 * k, None),
        ("constant", lambda k: 3.0, None),
    ):
        (tmp_path / name).mkdir()
        locations = {k: {"SliceLocation": rule(k)} for k in range(4)}
        headers = derive(tmp_path / name, per_slice=locations).headers
        if expected is None:
            assert all("SliceLocation" not in h for h in headers)
        else:
            assert [float(h.SliceLocation) for h in headers] == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    derived = derive(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    source, thin = derived.source, derived.thin
    with pytest.raises(LamellaError, match="existing empty folder"):
        write_series(derived.folder, thin, source, DERIVATION)
    with pytest.raises(LamellaError, match="existing empty folder"):
        write_series(tmp_path / "absent", thin, source, DERIVATION)
    with pytest.raises(LamellaError, match="round_hu"):
        write_series(empty, Volume(thin.hu.astype(np.float32), thin.geometry), source, DERIVATION)
    with pytest.raises(LamellaError, match="no DICOM header"):
        write_series(empty, thin, thin, DERIVATION)
    with pytest.raises(LamellaError, match="lists 4 slices, its array has 20"):
        write_series(empty, thin, Volume(thin.hu, thin.geometry, source.header), DERIVATION)
    (tmp_path / "turned").mkdir()
    with pytest.raises(LamellaError, match="axes differ"):
        write_series(empty, derive(tmp_path / "turned", orientation=OBLIQUE).thin, source, DERIVATION)
    assert list(empty.iterdir()) == []


def test_a_source_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="StudyInstanceUID"):
        derive(tmp_path, tags={"StudyInstanceUID": None})


def test_progress_counts_to_the_number_of_files(tmp_path: Path) -> None:
    derived = derive(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    seen: list[tuple[int, int]] = []
    write_series(again, split(derived.source, 2), derived.source, DERIVATION, lambda done, of: seen.append((done, of)))
    assert seen == [(k + 1, 8) for k in range(8)]
