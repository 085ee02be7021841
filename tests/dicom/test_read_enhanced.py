"""Enhanced multi-frame CT is flattened to the classic shape."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.dicom import list_series, read_series
from lamella.errors import RefusedInput


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLSLossless, uid.RLELossless])
@pytest.mark.parametrize("shared_measures", [True, False])
def test_enhanced_equals_classic(tmp_path, syntax, shared_measures):
    hu = phantom_hu(6)
    build_series(tmp_path / "classic", hu, 2.5, 5.0)
    build_enhanced(tmp_path / "enhanced.dcm", hu, 2.5, 5.0, syntax=syntax, shared_measures=shared_measures)
    classic, enhanced = read_series(tmp_path / "classic"), read_series(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(enhanced.hu, classic.hu)
    assert enhanced.geometry == classic.geometry
    for keyword in (
        "ImagePositionPatient",
        "PixelSpacing",
        "SliceThickness",
        "KVP",
        "ConvolutionKernel",
        "WindowCenter",
    ):
        found, expected = ([one.get(keyword) for one in volume.header.slices] for volume in (enhanced, classic))
        assert found == expected
    first = enhanced.header.slices[0]
    assert first.InstanceNumber == 1
    assert list(first.ImageType)[2] == "AXIAL"
    assert first.AcquisitionNumber == 1
    assert not {"PixelData", "NumberOfFrames", "PerFrameFunctionalGroupsSequence"} & set(first.dir())


@pytest.mark.parametrize("order", [[3, 0, 5, 1, 4, 2, 7, 6], [0, 2, 4, 6, 1, 3, 5, 7]])
def test_frames_in_any_order(tmp_path, order):
    hu = phantom_hu(8)
    build_enhanced(tmp_path / "e.dcm", hu, order=order)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert [one.InstanceNumber for one in volume.header.slices] == [order.index(k) + 1 for k in range(8)]


def test_frames_keep_their_number_whatever_they_were_converted_from(tmp_path):
    # SPEC C5: a reference names a frame of this file; PS3.3 C.7.6.16.2.25 keeps the classic image's InstanceNumber
    build_enhanced(tmp_path / "e.dcm", phantom_hu(4))
    dataset = pydicom.dcmread(tmp_path / "e.dcm")
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        converted = pydicom.Dataset()
        converted.InstanceNumber = 101 + number
        group.UnassignedPerFrameConvertedAttributesSequence = [converted]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.LegacyConvertedEnhancedCTImageStorage
    dataset.save_as(tmp_path / "e.dcm")
    assert [one.InstanceNumber for one in read_series(tmp_path).header.slices] == [1, 2, 3, 4]


@pytest.mark.parametrize("shared", [True, False])
def test_what_a_conversion_found_no_place_for_counts_least(tmp_path, shared):
    hu = phantom_hu(4)
    build_enhanced(tmp_path / "e.dcm", hu)
    dataset = pydicom.dcmread(tmp_path / "e.dcm")
    left_over = pydicom.Dataset()
    left_over.Rows, left_over.PixelSpacing, left_over.SliceThickness, left_over.RescaleIntercept = 3, [1, 1], 2, 0
    left_over.ImagePositionPatient, left_over.AcquisitionNumber = [0, 0, 0], 77
    for group in dataset.SharedFunctionalGroupsSequence if shared else dataset.PerFrameFunctionalGroupsSequence:
        kind = "Shared" if shared else "PerFrame"
        setattr(group, f"Unassigned{kind}ConvertedAttributesSequence", [left_over])
    dataset.save_as(tmp_path / "e.dcm")
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.geometry.pixel_mm == (0.75, 0.5)
    assert volume.geometry.thickness_mm == 5
    np.testing.assert_allclose(volume.geometry.position(1), (-120, -100, -45))
    assert volume.header.slices[0].AcquisitionNumber == 1


def test_listing(tmp_path):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(6), 5.0, 5.0)
    (summary,) = list_series(tmp_path)
    assert (summary.slices, summary.spacing_mm, summary.kernel, summary.refusal) == (6, 5.0, "B30f", None)


def test_a_frame_that_is_missing_between_others_is_named(tmp_path):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(6), order=[0, 1, 2, 4, 5])
    with pytest.raises(RefusedInput, match=r"1 slice is missing between e.dcm frame 3 and e.dcm frame 4: 10.00 mm"):
        read_series(tmp_path)


@pytest.mark.parametrize("count", [5, 7, 2**31 - 1])
def test_number_of_frames_must_match(tmp_path, count):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(6), tags={"NumberOfFrames": count})
    with pytest.raises(RefusedInput, match=rf"e.dcm has 6 per-frame functional groups. NumberOfFrames says {count}"):
        read_series(tmp_path)


def test_pixel_data_cut_off(tmp_path):
    build_enhanced(tmp_path / "e.dcm", phantom_hu(6), syntax=uid.ExplicitVRLittleEndian)
    path = tmp_path / "e.dcm"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RefusedInput, match=r"e.dcm has the wrong length .* expected 3,840 for 6 x 16 x 20"):
        read_series(tmp_path)
