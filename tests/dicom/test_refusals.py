"""Series that no reader can place or scale rightly: each is built, and refused with its reason and file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydicom import uid
from tests.dicom_builder import build_series, phantom_hu

from lamella.dicom import list_series, read_series
from lamella.errors import RefusedInput

# SPEC C6

ONE = 3  # the slice that is bent


def along_z(steps_mm):
    return [(-120.0, -100.0, float(z)) for z in np.concatenate([[0.0], np.cumsum(steps_mm)])]


WRONG_SLICES = [
    ({"ImagePositionPatient": None}, r"ImagePositionPatient \(0020,0032\) is missing or unreadable in 0003.dcm"),
    ({"ImagePositionPatient": [1.0, 2.0]}, r"ImagePositionPatient .* malformed in 0003.dcm. Found 2 values"),
    ({"ImageOrientationPatient": None}, r"ImageOrientationPatient \(0020,0037\) is missing or unreadable in 0003"),
    ({"PixelSpacing": None}, r"PixelSpacing \(0028,0030\) is missing or unreadable in 0003.dcm"),
    ({"PixelSpacing": [0.0, 0.5]}, "PixelSpacing and SliceThickness must be positive in 0003.dcm"),
    ({"SliceThickness": None}, r"SliceThickness \(0018,0050\) is missing or unreadable in 0003.dcm"),
    ({"SliceThickness": ""}, r"SliceThickness \(0018,0050\) is missing or unreadable in 0003.dcm"),
    ({"RescaleSlope": None}, r"RescaleSlope \(0028,1053\) is missing or unreadable in 0003.dcm"),
    ({"RescaleIntercept": None}, r"RescaleIntercept \(0028,1052\) is missing or unreadable in 0003.dcm"),
    ({"RescaleSlope": 0}, "RescaleSlope is not positive in 0003.dcm"),
    ({"RescaleType": "OD"}, "0003.dcm is not in Hounsfield units. Found RescaleType OD"),
    ({"Modality": "MR"}, "0003.dcm is not CT. Found Modality MR; expected CT"),
    ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "0003.dcm is not a CT image. Found SOP Class Secondary"),
    ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "0003.dcm is no grey picture"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "0003.dcm is no grey picture"),
    ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "pixels of 0003.dcm are not stored as CT demands"),
    ({"NumberOfFrames": 2}, "0003.dcm is a classic CT image with 2 frames"),
    ({"PixelRepresentation": None}, "It is unknown whether the pixels of 0003.dcm are signed"),
    ({"PixelRepresentation": 2}, "are signed. Found PixelRepresentation 2; expected 0 or 1"),
    ({"PatientID": "other"}, "PatientID differs within the series, in 0003.dcm. Two patients or studies are mixed"),
    ({"StudyInstanceUID": "1.2.3.8"}, "StudyInstanceUID differs within the series, in 0003.dcm"),
    ({"PixelSpacing": [0.76, 0.5]}, r"PixelSpacing differs within the series, in 0003.dcm. Found 0.76\\0.5 mm"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 0.98, 0.199]}, "ImageOrientationPatient differs .* in 0003.dcm"),
    (
        {"SliceThickness": 2.0},
        "SliceThickness differs within the series, in 0003.dcm. Found 2 mm; expected 5 mm .* put them in a folder of their own",
    ),
    ({"FrameOfReferenceUID": "1.2.3.9"}, "FrameOfReferenceUID differs within the series, in 0003.dcm"),
    (
        {"Rows": 8, "PixelData": bytes(8 * 20 * 2)},
        "matrix size differs .* 0003.dcm. Found 8 x 20; expected 16 x",
    ),
    ({"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.2"}, "share one SOPInstanceUID: 0001.dcm and 0003.dcm"),
]
"""Elements of one slice, and what is said."""


@pytest.mark.parametrize(("changes", "message"), WRONG_SLICES)
def test_one_slice_with_a_wrong_header(tmp_path, changes, message):
    build_series(tmp_path, phantom_hu(), per_slice={ONE: changes})
    with pytest.raises(RefusedInput, match=message):
        read_series(tmp_path)
    (summary,) = list_series(tmp_path)
    assert summary.refusal is not None  # `inspect` says so without decoding a pixel


WRONG_SERIES = [
    ({"Modality": "MR"}, "0000.dcm is not CT. Found Modality MR"),
    ({"ImageOrientationPatient": [1, 0, 0, 0, 2, 0]}, "not two perpendicular unit vectors in 0000.dcm"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "holds localizers only: 0000.dcm"),
    (
        {"PixelSpacing": [0.00075, 0.0005]},
        "PixelSpacing of 0000.dcm cannot be in millimetres. Found 0.00075 and 0.0005",
    ),
    ({"PixelSpacing": [750, 500]}, "PixelSpacing of 0000.dcm cannot be in millimetres. .* expected 0.5 to 2000 mm"),
    ({"Rows": 60000, "Columns": 60000}, "matrix size of 0000.dcm is not that of a CT. Found 60000 x 60000"),
]
"""Elements of every slice, and what is said."""


@pytest.mark.parametrize(("tags", "message"), WRONG_SERIES)
def test_a_whole_series_with_a_wrong_header(tmp_path, tags, message):
    build_series(tmp_path, phantom_hu(), tags=tags)
    with pytest.raises(RefusedInput, match=message):
        read_series(tmp_path)


def test_two_halves_of_other_thickness_are_quoted_as_they_are(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={k: {"SliceThickness": 2.5} for k in range(4)})
    with pytest.raises(RefusedInput, match=r"SliceThickness differs within .* Found (5|2.5) mm; expected (2.5|5) mm"):
        read_series(tmp_path)


@pytest.mark.parametrize("spacing_mm", [2.5, 1.25])
def test_positions_that_may_be_rounded_to_whole_millimetres(tmp_path, spacing_mm):
    rounded = [(-120.0, -100.0, float(round(spacing_mm * k))) for k in range(20)]
    build_series(tmp_path, phantom_hu(20), spacing_mm, spacing_mm, positions_mm=rounded)
    with pytest.raises(RefusedInput, match=r"The positions are whole millimetres: they may have been rounded"):
        read_series(tmp_path)


def test_missing_slice(tmp_path):
    build_series(tmp_path, phantom_hu())
    (tmp_path / "0004.dcm").unlink()
    with pytest.raises(RefusedInput, match=r"1 slice is missing between 0003.dcm and 0005.dcm: 10.00 mm, .* 5.00 mm"):
        read_series(tmp_path)


def test_missing_slices_in_two_places_are_counted(tmp_path):
    build_series(tmp_path, phantom_hu(12))
    for k in (3, 7, 8):
        (tmp_path / f"{k:04d}.dcm").unlink()
    with pytest.raises(RefusedInput, match=r"3 slices are missing between 0006.dcm and 0009.dcm: 15.00 mm"):
        read_series(tmp_path)


def test_uneven_spacing(tmp_path):
    build_series(tmp_path, phantom_hu(), positions_mm=along_z([5, 5, 5, 8, 8, 8, 8]))
    with pytest.raises(RefusedInput, match=r"spacing is uneven between 0000.dcm and 0001.dcm: 5.00 mm, median 8.00 mm"):
        read_series(tmp_path)


def test_a_slow_drift_of_the_spacing(tmp_path):
    """Every step passes alone (1.00 and 1.04 mm), the sum does not."""
    build_series(tmp_path, phantom_hu(41), 1.0, 1.0, positions_mm=along_z([1.0] * 20 + [1.04] * 20))
    with pytest.raises(RefusedInput, match=r"spacing is uneven: 0020.dcm lies 0.40 mm off a regular grid of 1.020 mm"):
        read_series(tmp_path)


def test_duplicate_position(tmp_path):
    build_series(tmp_path, phantom_hu())
    extra = {"SOPInstanceUID": "1.2.3.77", "InstanceNumber": 77}
    build_series(tmp_path, phantom_hu(1, seed=5), origin_mm=(-120, -100, -35), tags=extra, prefix="x")
    with pytest.raises(RefusedInput, match=r"same position: 0003.dcm and x0000.dcm .* 9 slices at 8 positions"):
        read_series(tmp_path)


def test_two_acquisitions_at_the_same_positions(tmp_path):
    build_series(tmp_path, phantom_hu())
    second = {k: {"SOPInstanceUID": f"1.2.3.7.{k}", "AcquisitionNumber": 2} for k in range(8)}
    build_series(tmp_path, phantom_hu(seed=5), per_slice=second, prefix="x")
    with pytest.raises(RefusedInput, match=r"acquisitions are mixed, AcquisitionNumber 1 \(8 slices\), 2 \(8 slices\)"):
        read_series(tmp_path)


def test_two_acquisitions_between_each_other(tmp_path):
    build_series(tmp_path, phantom_hu())
    second = {k: {"SOPInstanceUID": f"1.2.3.7.{k}", "AcquisitionNumber": 2} for k in range(8)}
    build_series(tmp_path, phantom_hu(seed=5), origin_mm=(-120, -100, -48.5), per_slice=second, prefix="x")
    with pytest.raises(RefusedInput, match=r"uneven .* AcquisitionNumber 1 \(8 slices\), 2 \(8 slices\)"):
        read_series(tmp_path)


def test_two_series_without_a_choice(tmp_path):
    build_series(tmp_path / "a", phantom_hu(), series_uid="1.2.3.1")
    build_series(tmp_path / "b", phantom_hu(20), 1.0, 1.0, series_uid="1.2.3.2")
    expected = (
        r"2 CT series and none was chosen: 1.2.3.1 \(8 slices of 5 mm, 5 mm apart\); "
        r"1.2.3.2 \(20 slices of 1 mm, 1 mm apart\). Choose one with --series UID"
    )
    with pytest.raises(RefusedInput, match=expected):
        read_series(tmp_path)


def test_unknown_series(tmp_path):
    build_series(tmp_path, phantom_hu(), series_uid="1.2.3.1")
    with pytest.raises(RefusedInput, match=r"no series 9.9.9 in SOURCE. Found: 1.2.3.1 \(8 slices"):
        read_series(tmp_path, "9.9.9")


@pytest.mark.parametrize("tilt_deg", [15.0, -0.5])
def test_gantry_tilt(tmp_path, tilt_deg):
    """Tilted planes stacked along the table: the positions run at an angle to the normal."""
    angle = math.radians(tilt_deg)
    orientation = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    tags = {"GantryDetectorTilt": tilt_deg}
    build_series(tmp_path, phantom_hu(), orientation=orientation, positions_mm=along_z([5] * 7), tags=tags)
    with pytest.raises(RefusedInput, match=rf"gantry tilt.*{abs(tilt_deg):.2f} degrees off the normal"):
        read_series(tmp_path)


def test_a_tilt_tag_on_a_straight_stack_is_no_reason_to_refuse(tmp_path):
    build_series(tmp_path, phantom_hu(), tags={"GantryDetectorTilt": 15.0})
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_one_slice_beside_the_axis(tmp_path):
    positions = [(x + (2.0 if k == ONE else 0.0), y, z) for k, (x, y, z) in enumerate(along_z([5] * 7))]
    build_series(tmp_path, phantom_hu(), positions_mm=positions)
    with pytest.raises(RefusedInput, match=r"beside the stack's axis: 0003.dcm is 2.00 mm off"):
        read_series(tmp_path)


def test_single_slice(tmp_path):
    build_series(tmp_path, phantom_hu(1))
    with pytest.raises(RefusedInput, match=r"a single slice \(0000.dcm\). Expected at least 2"):
        read_series(tmp_path)
    with pytest.raises(RefusedInput, match=r"a single slice .* Give the folder with the whole series"):
        read_series(tmp_path / "0000.dcm")


def test_messages_name_no_patient(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={ONE: {"PixelSpacing": None}})
    with pytest.raises(RefusedInput) as caught:
        read_series(tmp_path)
    assert "Mustermann" not in str(caught.value)
    assert caught.value.exit_code == 3
