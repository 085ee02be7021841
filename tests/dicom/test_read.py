"""Reading plain CT series: order, geometry, HU, transfer syntaxes."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from tests.dicom_builder import AXIAL, build_series, phantom_hu

from lamella.dicom import list_series, read_series
from lamella.dicom.header import SeriesHeader
from lamella.errors import RefusedInput

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)


def test_hu_geometry_and_header_of_a_plain_series(tmp_path):
    hu = phantom_hu()
    build_series(tmp_path, hu, spacing_mm=2.5, thickness_mm=5.0)
    volume = read_series(tmp_path)
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, hu)
    expected = [[0, 0, 0.5, -120], [0, 0.75, 0, -100], [2.5, 0, 0, -50], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.geometry.affine, expected, atol=1e-9)
    assert (volume.geometry.spacing_mm, volume.geometry.thickness_mm) == (2.5, 5.0)
    assert volume.geometry.pixel_mm == (0.75, 0.5)
    header = volume.header
    assert isinstance(header, SeriesHeader)
    assert header.files == tuple(f"{i:04d}.dcm" for i in range(8))
    assert all("PixelData" not in one for one in header.slices)
    assert [one.InstanceNumber for one in header.slices] == list(range(1, 9))
    assert header.ascending
    assert any("overlap: slices are 5 mm thick, their centres 2.5 mm apart" in note for note in header.notes)


def test_a_gap_between_slices_is_noted_in_millimetres(tmp_path):
    build_series(tmp_path, phantom_hu(), spacing_mm=7.0, thickness_mm=5.0)
    assert "gap: 2 mm between neighbouring slices never scanned" in read_series(tmp_path).header.notes


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)))
def test_order_follows_position_whatever_the_names_and_numbers(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("shuffled")
    hu = phantom_hu(6)
    positions = [(-120.0, -100.0, -50.0 + 5.0 * k) for k in order]
    build_series(folder, hu[order], positions_mm=positions)
    np.testing.assert_array_equal(read_series(folder).hu, hu)


def test_descending_instance_numbers_are_remembered(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={k: {"InstanceNumber": 80 - k} for k in range(8)})
    volume = read_series(tmp_path)
    assert not volume.header.ascending
    np.testing.assert_array_equal(volume.hu, phantom_hu())


@pytest.mark.parametrize(
    "orientation",
    [
        AXIAL,
        (1, 0, 0, 0, 0, -1),
        (0, 1, 0, 0, 0, -1),
        (-1, 0, 0, 0, -1, 0),
        (1, 0, 0, 0, -1, 0),
        (0, 0, 1, 0, 1, 0),
        OBLIQUE,
    ],
)
def test_every_orientation_keeps_its_places_in_lps(tmp_path, orientation):
    hu = phantom_hu()
    build_series(tmp_path, hu, spacing_mm=4.0, orientation=orientation)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    expected = np.array([-120, -100, -50]) + 3 * 4.0 * np.cross(row, column) + 2 * 0.75 * column + 5 * 0.5 * row
    np.testing.assert_allclose(volume.geometry.position(3, 2, 5), expected, atol=1e-6)


def test_rescale_of_each_slice_is_its_own(tmp_path):
    slopes = {k: {"RescaleSlope": 1 + 0.25 * k, "stored": np.full((4, 6), 1000, np.uint16)} for k in range(5)}
    build_series(tmp_path, np.zeros((5, 4, 6)), per_slice=slopes)
    volume = read_series(tmp_path)
    assert volume.hu.dtype == np.float32
    np.testing.assert_array_equal(volume.hu[:, 0, 0], 1000 * (1 + 0.25 * np.arange(5)) - 1024)


def test_padding_and_everything_below_air_is_air_and_noted(tmp_path):
    stored = np.full((4, 6), 40, np.int16)
    stored[0, 0], stored[0, 1], stored[0, 2], stored[1, 0] = -2000, -1500, -1030, 3500
    build_series(
        tmp_path,
        np.zeros((4, 4, 6)),
        signed=True,
        bits=16,
        tags={"PixelPaddingValue": ("SS", -2000), "PixelPaddingRangeLimit": ("SS", -1500), "stored": stored},
    )
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu[:, 0, :4], [[-1024, -1024, -1024, 40]] * 4)
    assert (volume.hu[:, 1, 0] == 3500).all()  # nothing is cut off above
    assert "padding: 8 pixels without a measurement set to air (-1024 HU)" in volume.header.notes
    assert "4 pixels below -1024 HU set to air (-1024 HU)" in volume.header.notes


def test_padding_within_the_scale_counts_as_air_too(tmp_path):
    stored = np.full((4, 6), 1064, np.uint16)
    stored[0, 0] = 0
    stored[0, 1] = 63536  # -2000 as unsigned 16 bits
    tags = {"PixelPaddingValue": ("US", 63536), "stored": stored}
    build_series(tmp_path, np.zeros((3, 4, 6)), bits=16, tags=tags)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu[:, 0, :3], [[-1024, -1024, 40]] * 3)


def test_jitter_of_the_positions_is_accepted_and_the_spacing_fitted(tmp_path):  # SPEC C2
    jitter = np.array([0, 0.02, -0.02, 0.01, 0, -0.01, 0.02, 0.0])
    positions = [(-120.0, -100.0, -50.0 + 5.0 * k + jitter[k]) for k in range(8)]
    build_series(tmp_path, phantom_hu(), positions_mm=positions)
    assert read_series(tmp_path).geometry.spacing_mm == pytest.approx(5.0, abs=1e-9)


@pytest.mark.parametrize("word", ["LOCALIZER", " LOCALIZER "])
def test_localizer_is_dropped_and_named(tmp_path, word):
    build_series(tmp_path, phantom_hu())
    build_series(
        tmp_path,
        phantom_hu(1, 30, 30),
        orientation=(1, 0, 0, 0, 0, -1),
        tags={"ImageType": ["ORIGINAL", "PRIMARY", word, "CT_SOM5"], "SOPInstanceUID": "1.2.3.99"},
        prefix="scout",
    )
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert "localizer dropped: scout0000.dcm" in volume.header.notes


def test_the_same_file_twice_is_dropped_and_named(tmp_path):
    build_series(tmp_path, phantom_hu())
    (tmp_path / "again.dcm").write_bytes((tmp_path / "0003.dcm").read_bytes())
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert "the same file twice, one dropped: again.dcm" in volume.header.notes


@pytest.mark.parametrize(
    "changes",
    [{"RescaleIntercept": -2000}, {"RescaleSlope": 2}, {"SliceThickness": 5.001}, {"PixelSpacing": [0.7, 0.5]}],
)
def test_the_same_values_with_another_meaning_are_no_copy(tmp_path, changes):
    # SPEC C6
    build_series(tmp_path, phantom_hu())
    again = pydicom.dcmread(tmp_path / "0003.dcm")
    again.update(changes)
    again.save_as(tmp_path / "again.dcm")
    with pytest.raises(RefusedInput, match=r"Two different images share one SOPInstanceUID"):
        read_series(tmp_path)


def test_an_identity_that_is_missing_or_padded_in_one_slice_says_nothing(tmp_path):
    one_of_them = {2: {"PatientID": None}, 3: {"PatientID": ""}, 4: {"PatientID": "P1 "}}
    build_series(tmp_path, phantom_hu(), tags={"PatientID": "P1"}, per_slice=one_of_them)
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_a_picture_of_a_dose_report_is_no_second_series(tmp_path):
    build_series(tmp_path, phantom_hu())
    picture = {"SOPClassUID": uid.SecondaryCaptureImageStorage, "ImageType": ["DERIVED", "SECONDARY"]}
    build_series(tmp_path / "dose", phantom_hu(1, seed=1), series_uid="1.2.3.77", tags=picture)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert any("series ignored: 1.2.3.77" in note for note in volume.header.notes)


def test_a_sheet_that_is_a_ct_image_without_a_place_is_no_second_series(tmp_path):
    build_series(tmp_path, phantom_hu())
    sheet = {"ImagePositionPatient": None, "ImageType": ["DERIVED", "SECONDARY"]}
    build_series(tmp_path / "protocol", phantom_hu(1, seed=1), series_uid="1.2.3.77", tags=sheet)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert any("series ignored: 1.2.3.77" in note for note in volume.header.notes)
    with pytest.raises(RefusedInput, match="if it is a picture of something else, take it out"):
        read_series(tmp_path, "1.2.3.77")


@pytest.mark.parametrize("uid_of_all", [None, ""])
def test_slices_without_an_instance_uid_are_not_one_image(tmp_path, uid_of_all):
    build_series(tmp_path, phantom_hu())
    for number, path in enumerate(sorted(tmp_path.iterdir())):
        dataset = pydicom.dcmread(path)
        if uid_of_all is None:
            del dataset.SOPInstanceUID
        else:
            dataset.SOPInstanceUID = uid_of_all
        (tmp_path / str(number)).mkdir()
        dataset.save_as(tmp_path / str(number) / "IM")
        path.unlink()
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_the_same_image_in_two_encodings_is_one_image(tmp_path):
    build_series(tmp_path, phantom_hu())
    build_series(tmp_path / "more", phantom_hu(), syntax=uid.JPEGLSLossless)
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_foreign_files_are_ignored_and_listed(tmp_path):
    build_series(tmp_path / "a" / "b", phantom_hu())
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "a" / ".nomedia").write_bytes(b"")
    (tmp_path / "a" / "index.txt").write_bytes(b"")
    (tmp_path / "a" / "LOCKFILE").write_bytes(b"")
    (tmp_path / "a" / "mask").write_bytes(bytes(300) + b"data")
    (tmp_path / "DICOMDIR").write_bytes(b"not really a DICOMDIR")
    notes = read_series(tmp_path).header.notes
    assert "7 files are not DICOM, ignored: DICOMDIR, Thumbs.db, readme.txt, .nomedia and 3 more" in notes


def test_the_chosen_series_of_two(tmp_path):
    build_series(tmp_path / "thick", phantom_hu(), series_uid="1.2.3.1")
    build_series(tmp_path / "thin", phantom_hu(12, seed=1), 1.0, 1.0, series_uid="1.2.3.2")
    volume = read_series(tmp_path, "1.2.3.2")
    np.testing.assert_array_equal(volume.hu, phantom_hu(12, seed=1))
    assert volume.header.series_uid == "1.2.3.2"
    assert "series ignored: 1.2.3.1 (CT, 8 files)" in volume.header.notes


def test_a_report_and_a_scout_series_do_not_stand_in_the_way(tmp_path):
    build_series(tmp_path / "ct", phantom_hu(), series_uid="1.2.3.1")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    build_series(tmp_path / "scout", phantom_hu(1), series_uid="1.2.3.2", tags=scout)
    build_series(tmp_path / "dose", phantom_hu(1), series_uid="1.2.3.3", tags={"Modality": "SR"})
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_values_of_the_file_never_reach_warnings_or_logs(tmp_path, caplog, capsys):
    """pytest turns a warning into an error here, so reading at all shows that there was none."""
    build_series(tmp_path, phantom_hu(3))
    for path in tmp_path.glob("*.dcm"):
        path.write_bytes(path.read_bytes().replace(b"19700101", b"19xx0101"))
    volume = read_series(tmp_path)
    # Converted while silence was kept, so that the writer's later look at it says nothing either.
    assert str(volume.header.slices[0].PatientBirthDate) == "19xx0101"
    assert "19xx0101" not in caplog.text + "".join(capsys.readouterr())


def test_names_in_utf8_survive(tmp_path):
    build_series(tmp_path, phantom_hu(3), tags={"PatientName": "Müller=山田^太郎"})
    assert str(read_series(tmp_path).header.slices[0].PatientName) == "Müller=山田^太郎"


def test_progress_counts_every_slice(tmp_path):
    build_series(tmp_path, phantom_hu())
    seen: list[tuple[int, int]] = []
    read_series(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 8) for k in range(1, 9)]


def test_listing_tells_the_facts_and_the_refusal_without_a_name(tmp_path):
    build_series(tmp_path / "thick", phantom_hu(), series_uid="1.2.3.1")
    build_series(tmp_path / "holed", phantom_hu(), series_uid="1.2.3.2")
    (tmp_path / "holed" / "0004.dcm").unlink()
    build_series(tmp_path / "mr", phantom_hu(2), series_uid="1.2.3.3", tags={"Modality": "MR"})
    thick, holed, mr = list_series(tmp_path)
    assert (thick.uid, thick.slices, thick.spacing_mm, thick.thickness_mm) == ("1.2.3.1", 8, 5.0, 5.0)
    assert (thick.rows, thick.columns, thick.pixel_mm, thick.kernel) == (16, 20, (0.75, 0.5), "B30f")
    assert thick.refusal is None
    assert "missing" in holed.refusal
    assert holed.spacing_mm is None
    assert "not CT" in mr.refusal
    assert "Mustermann" not in str([thick, holed, mr])


def test_the_file_itself_is_left_alone(tmp_path):
    build_series(tmp_path, phantom_hu(3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    read_series(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert pydicom.dcmread(tmp_path / "0000.dcm").PatientID == "P1"
