"""What belongs together: alternating acquisitions, missing parts, objects that are no images."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom import uid
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.dicom import list_series, read_series
from lamella.errors import RefusedInput
from lamella.sources.source import read_source

# SPEC C6


def refused(folder):
    with pytest.raises(RefusedInput) as caught:
        read_series(folder)
    assert list_series(folder)[0].refusal == str(caught.value)  # `inspect` says the same
    assert "Mustermann" not in str(caught.value)
    return str(caught.value)


ALTERNATING = [
    ("AcquisitionNumber", (1, 2)),
    ("TemporalPositionIdentifier", (1, 2)),
    ("NominalPercentageOfCardiacPhase", (40, 75)),
    ("TriggerTime", (350, 700)),
    ("ContrastBolusAgent", ("none", "IOMERON")),
    ("EchoNumbers", (1, 2)),
    ("KVP", (80, 140)),
    ("ConvolutionKernel", ("B30f", "B70f")),
    ("SeriesNumber", (2, 3)),
    ("ImageType", ("ORIGINAL", "DERIVED")),
    ("FilterType", ("A", "B")),
    ("StudyDate", ("20200101", "20210101")),
    ("Manufacturer", ("ACME", "OTHER")),
    ("DeviceSerialNumber", ("1", "2")),
    ("ScanOptions", ("HELICAL", "AXIAL")),
    ("ReconstructionDiameter", (300, 400)),
]
"""Element -> its values in every second slice."""


@pytest.mark.parametrize(("keyword", "values"), ALTERNATING)
def test_acquisitions_that_alternate_on_a_regular_stack_are_refused_with_both_names(tmp_path, keyword, values):
    build_series(tmp_path, phantom_hu(), per_slice={k: {keyword: values[k % 2]} for k in range(8)})
    message = refused(tmp_path)
    assert f"{keyword} {values[0]} and {values[1]} change 7 times in 8 slices" in message
    assert "a folder of its own" in message


def test_contrast_that_is_named_in_every_second_slice_only(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={k: {"ContrastBolusAgent": "IOMERON"} for k in range(0, 8, 2)})
    assert "ContrastBolusAgent IOMERON and none change 7 times" in refused(tmp_path)


def test_three_phases_that_take_turns(tmp_path):
    build_series(tmp_path, phantom_hu(12), per_slice={k: {"AcquisitionNumber": k % 3 + 1} for k in range(12)})
    assert "AcquisitionNumber 1 and 2 change 11 times in 12 slices" in refused(tmp_path)


def test_a_slice_of_another_acquisition_among_the_others(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={3: {"AcquisitionNumber": 9}})
    assert "AcquisitionNumber 1 and 9 change 2 times in 8 slices, first near 0002.dcm and 0003.dcm" in refused(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", [k // 2 + 1 + 100 * (k % 2) for k in range(8)]),
        ("AcquisitionNumber", [8 - k // 2 - 4 * (k % 2) for k in range(8)]),
        ("AcquisitionNumber", [k // 3 + 1 + 20 * (k % 3) for k in range(9)]),
        ("AcquisitionTime", [f"1011{12 + 2 * (k % 2)}" for k in range(8)]),
    ],
)
def test_acquisitions_that_take_turns_with_numbers_of_their_own_are_refused(tmp_path, keyword, values):
    build_series(tmp_path, phantom_hu(len(values)), per_slice={k: {keyword: one} for k, one in enumerate(values)})
    assert f"take turns along the stack: {keyword} {values[0]} (0000.dcm) and {values[1]} (0001.dcm)" in refused(
        tmp_path
    )


@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate", "PatientSex"])
def test_two_patients_of_one_number_are_refused(tmp_path, keyword):
    other = {"PatientName": "Other^Name", "PatientBirthDate": "19800101", "PatientSex": "M"}[keyword]
    build_series(tmp_path, phantom_hu(), per_slice={4: {keyword: other}})
    assert f"{keyword} differs within the series, in 0004.dcm. Two patients or studies are mixed" in refused(tmp_path)


def test_other_spellings_of_a_name_are_one_patient(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={4: {"PatientName": "MUSTERMANN^Erika^^^"}})
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


@pytest.mark.parametrize("keyword", ["SeriesDescription", "DerivationDescription", "AccessionNumber", "StationName"])
def test_descriptions_that_alternate_are_not_quoted(tmp_path, keyword):
    names = {k: {keyword: ("Mustermann 1", "venous")[k % 2]} for k in range(8)}
    build_series(tmp_path, phantom_hu(), per_slice=names)
    assert f"{keyword} (text not shown)" in refused(tmp_path)


def clock(seconds):
    return f"{10 + int(seconds) // 3600:02d}{int(seconds) // 60 % 60:02d}{seconds % 60:09.6f}"


@pytest.mark.parametrize("keyword", ["AcquisitionTime", "ContentTime", "AcquisitionDateTime"])
def test_times_that_jump_to_and_fro_are_refused_with_both(tmp_path, keyword):
    day = "20200102" if keyword == "AcquisitionDateTime" else ""
    times = {k: {keyword: day + clock(0.4 * k + 62 * (k % 2))} for k in range(8)}
    build_series(tmp_path, phantom_hu(), per_slice=times)
    message = refused(tmp_path)
    assert f"{keyword} {day}100000.000000 (0000.dcm) and {day}100102.400000 (0001.dcm)" in message
    assert "groups 60 s apart, change 7 times in 8 slices" in message


@pytest.mark.parametrize(
    "per_slice",
    [
        {
            k: {"AcquisitionTime": clock(0.7 * k), "ContentTime": clock(40 + 3.1 * k)} for k in range(8)
        },  # a helical scan
        {k: {"AcquisitionTime": clock(90 - 12 * k), "AcquisitionNumber": 8 - k} for k in range(8)},  # step and shoot
        {k: {"AcquisitionTime": clock(12 * (k // 2)), "AcquisitionNumber": 1 + k // 2} for k in range(8)},
        {k: {"ContentTime": clock((0, 9, 2, 11, 1, 8, 3, 12)[k])} for k in range(8)},  # reconstructed out of order
        {
            k: {"AcquisitionNumber": 1 + k // 4, "AcquisitionTime": clock(300 * (k // 4))} for k in range(8)
        },  # two blocks
        {k: {"AcquisitionNumber": 1 + k % 4} for k in range(8)},  # counted anew
        {k: {"TriggerTime": (310, 325, 318, 330, 311, 322, 319, 327)[k]} for k in range(8)},
        {k: {"KVP": "120" if k % 2 else "120.0"} for k in range(8)},
        {3: {"AcquisitionNumber": None}},
        {3: {"AcquisitionTime": ""}},
        {3: {"AcquisitionTime": clock(700)}},
    ],
)
def test_a_scan_from_end_to_end_is_read(tmp_path, per_slice):
    build_series(tmp_path, phantom_hu(), per_slice=per_slice)
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_phases_at_the_same_places_are_named(tmp_path):
    build_series(tmp_path, phantom_hu(), tags={"NominalPercentageOfCardiacPhase": 40})
    second = {k: {"SOPInstanceUID": f"1.2.3.7.{k}", "NominalPercentageOfCardiacPhase": 75} for k in range(8)}
    build_series(tmp_path, phantom_hu(seed=5), per_slice=second, prefix="x")
    assert "are mixed, NominalPercentageOfCardiacPhase 40 (8 slices), 75 (8 slices)" in refused(tmp_path)


@pytest.mark.parametrize("keyword", ["NumberOfSeriesRelatedInstances", "ImagesInAcquisition"])
def test_fewer_slices_than_the_series_says(tmp_path, keyword):
    build_series(tmp_path, phantom_hu(), tags={keyword: 10})
    expected = f"incomplete: {keyword} says 10, 8 are here"
    assert expected in read_series(tmp_path).header.notes
    assert expected in list_series(tmp_path)[0].notes
    with pytest.raises(RefusedInput, match=rf"is {expected}. Copy or export the whole series again.*without --strict"):
        read_source(tmp_path, strict=True)


def test_as_many_slices_as_the_series_says(tmp_path):
    build_series(tmp_path, phantom_hu(), tags={"NumberOfSeriesRelatedInstances": 8, "ImagesInAcquisition": 3})
    assert not [note for note in read_series(tmp_path, strict=True).header.notes if "incomplete" in note]


@pytest.mark.parametrize("missing", [[], [2], [3]])
def test_parts_of_a_concatenation(tmp_path, missing):
    hu = phantom_hu(6)
    for part in range(1, 4):
        tags = {
            "ConcatenationUID": "1.2.3.4",
            "InConcatenationNumber": part,
            "InConcatenationTotalNumber": 3,
            "SOPInstanceUID": f"1.2.3.{part}",
        }
        if part not in missing:
            build_enhanced(tmp_path / f"{part}.dcm", hu, order=[2 * part - 2, 2 * part - 1], tags=tags)
    if missing == [2]:
        assert "2 slices are missing" in refused(tmp_path)
        return
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu[: 2 * (3 - len(missing))])
    notes = [note for note in volume.header.notes if "incomplete" in note]
    assert notes == (["incomplete: parts 3 of 3 of a concatenation are missing"] if missing else [])


@pytest.mark.parametrize(
    ("name", "sop_class", "modality"),
    [
        ("BasicTextSR", uid.BasicTextSRStorage, "SR"),
        ("Grayscale", uid.GrayscaleSoftcopyPresentationStateStorage, "PR"),
        ("Raw Data", uid.RawDataStorage, "CT"),
        ("Encapsulated PDF", uid.EncapsulatedPDFStorage, "DOC"),
    ],
)
def test_objects_that_are_no_images_are_set_aside_and_listed(tmp_path, name, sop_class, modality):
    build_series(tmp_path, phantom_hu())
    other = pydicom.dcmread(tmp_path / "0000.dcm")
    for keyword in ("PixelData", "Rows", "Columns", "BitsStored", "PixelSpacing", "ImagePositionPatient", "ImageType"):
        del other[keyword]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = sop_class
    other.SOPInstanceUID, other.Modality = "1.2.3.99", modality
    other.save_as(tmp_path / "00.dcm")
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert [note for note in volume.header.notes if note.startswith("no image, set aside: 00.dcm (")]
    assert name.split()[0][:5] in "".join(volume.header.notes)
    for path in tmp_path.glob("000*.dcm"):
        path.unlink()
    assert "holds no images: 00.dcm" in refused(tmp_path)


@pytest.mark.parametrize("modality", ["CT", "OT"])
def test_a_dose_sheet_beside_the_slices_is_set_aside_and_listed(tmp_path, modality):
    build_series(tmp_path, phantom_hu())
    other = pydicom.dcmread(tmp_path / "0000.dcm")
    del other["ImagePositionPatient"]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    other.SOPInstanceUID, other.Modality = "1.2.3.99", modality
    other.save_as(tmp_path / "00.dcm")
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert "no image, set aside: 00.dcm (Secondary Capture Image Storage)" in volume.header.notes
    for path in tmp_path.glob("000*.dcm"):
        path.unlink()
    assert "00.dcm is not" in refused(tmp_path)


@pytest.mark.parametrize("keyword", ["StackID", "TemporalPositionIndex", "FrameReferenceDateTime"])
def test_frames_of_two_kinds_that_alternate(tmp_path, keyword):
    path = tmp_path / "in.dcm"
    build_enhanced(path, phantom_hu())
    dataset = pydicom.dcmread(path)
    for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        two = {"StackID": ("1", "2"), "TemporalPositionIndex": (1, 2)}
        value = two.get(keyword, ("20200102101112", "20200102101212"))[k % 2]
        setattr(group.FrameContentSequence[0], keyword, value)
    dataset.save_as(path)
    assert f"alternate along the stack: {keyword} " in refused(tmp_path)
