"""What the standard leaves open, or writers get wrong without harm, is read; the result is the same."""

from __future__ import annotations

import math

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.encaps import encapsulate, generate_frames
from tests.derived_series import DERIVATION, split
from tests.dicom_builder import build_series, phantom_hu

from lamella.dicom import read_series, write_series
from lamella.dicom import tags as policy
from lamella.dicom.write import check_writable
from lamella.errors import RefusedInput

# SPEC C6


@pytest.mark.parametrize("surplus", [2, 40, 638])
def test_bytes_behind_the_pixels_are_ignored_and_noted(tmp_path, surplus):
    hu = phantom_hu()
    stored = (hu[2].astype(np.int32) + 1024).astype("<u2").tobytes()
    build_series(tmp_path, hu, per_slice={2: {"PixelData": stored + b"\xab" * surplus}})
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert "1 file has bytes behind the pixels, ignored" in volume.header.notes


def test_bytes_behind_run_lengths_are_ignored(tmp_path):
    build_series(tmp_path, phantom_hu(), syntax=uid.RLELossless)
    path = tmp_path / "0002.dcm"
    dataset = pydicom.dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame + bytes(64)])
    dataset.save_as(path)
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_a_whole_frame_behind_the_pixels_is_refused(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={2: {"PixelData": bytes(1280)}})
    with pytest.raises(RefusedInput, match=r"0002.dcm has the wrong length.* Found 1,280 bytes, expected 640"):
        read_series(tmp_path)


def test_no_frames_means_one(tmp_path):
    build_series(tmp_path, phantom_hu(), tags={"NumberOfFrames": 0})
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def rounded(values, decimals):
    return [float(f"{value:.{decimals}f}") for value in values]


@pytest.mark.parametrize("spacing", [0.625, 0.75, 1.25, 2.45, 3.0])
@pytest.mark.parametrize("decimals", [1, 2, 3])
def test_positions_that_are_rounded_give_the_fitted_spacing(tmp_path, spacing, decimals):
    hu = phantom_hu(40)
    positions = [rounded((-120.03, -99.97, -50.013 + spacing * k), decimals) for k in range(40)]
    build_series(tmp_path, hu, thickness_mm=spacing, positions_mm=positions)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.geometry.spacing_mm == pytest.approx(spacing, abs=10.0**-decimals / 39)
    true = -50.013 + spacing * np.arange(40)
    assert np.abs(volume.geometry.centres_mm - true).max() <= 10.0**-decimals


OBLIQUE_DEG = (7.0, 18.0)


def oblique():
    a, b = (math.radians(one) for one in OBLIQUE_DEG)
    row = np.array([math.cos(b), math.sin(b), 0.0])
    column = np.array([-math.sin(b) * math.cos(a), math.cos(b) * math.cos(a), math.sin(a)])
    return row, column


@pytest.mark.parametrize(("decimals", "places"), [(3, 1), (3, 3), (4, 2), (6, 6)])
def test_cosines_that_are_rounded_are_read_and_the_stack_stays_where_it_is(tmp_path, decimals, places):
    row, column = oblique()
    normal, hu = np.cross(row, column), phantom_hu(60)
    positions = [rounded(np.array([-100.0, -90, 20]) + 5 * k * normal, places) for k in range(60)]
    cosines = rounded([*row, *column], decimals)
    build_series(tmp_path, hu, orientation=cosines, positions_mm=positions)
    geometry = read_series(tmp_path).geometry
    assert geometry.spacing_mm == pytest.approx(5.0, abs=0.003)
    for k in (0, 30, 59):
        true = np.array([-100.0, -90, 20]) + 5 * k * normal + 0.75 * 15 * column + 0.5 * 19 * row
        assert np.linalg.norm(geometry.position(k, 15, 19) - true) < 0.12
    assert np.abs(geometry.axes.T @ geometry.axes - np.eye(3)).max() < 1e-12


def test_cosines_of_too_few_decimals_are_refused_with_their_number(tmp_path):
    row, column = oblique()
    build_series(tmp_path, phantom_hu(), orientation=rounded([*row, *column], 1))
    with pytest.raises(
        RefusedInput, match=r"not two perpendicular unit vectors .* Its cosines have 1 decimals; .* least 3"
    ):
        read_series(tmp_path)


@pytest.mark.parametrize("tilt_deg", [0.3, 3.0])
def test_rounding_does_not_hide_a_gantry_tilt(tmp_path, tilt_deg):
    angle = math.radians(tilt_deg)
    cosines = rounded([1, 0, 0, 0, math.cos(angle), -math.sin(angle)], 3)
    positions = [(-120.0, -100.0, 5.0 * k) for k in range(20)]
    build_series(tmp_path, phantom_hu(20), orientation=cosines, positions_mm=positions)
    with pytest.raises(RefusedInput, match="gantry tilt"):
        read_series(tmp_path)


def test_rounding_does_not_hide_a_missing_slice(tmp_path):
    positions = [rounded((-120, -100, 0.625 * k), 1) for k in range(20) if k != 9]
    build_series(tmp_path, phantom_hu(19), thickness_mm=0.625, positions_mm=positions)
    with pytest.raises(RefusedInput, match="1 slice is missing"):
        read_series(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spacing=st.floats(0.5, 8.0),
    decimals=st.integers(1, 4),
    order=st.permutations(range(9)),
    dropped=st.sets(st.integers(0, 8), max_size=3),
    jitter=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_set_of_slices_gives_exact_places_or_a_refusal(
    tmp_path_factory, spacing, decimals, order, dropped, jitter, seed
):
    folder = tmp_path_factory.mktemp("set")
    kept = [k for k in order if k not in dropped]
    hu = phantom_hu(9)[kept]
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, 9)
    places = [-50.0 + spacing * k + noise[k] for k in kept]
    build_series(folder, hu, positions_mm=[rounded((-120, -100, z), decimals) for z in places])
    try:
        volume = read_series(folder)
    except RefusedInput:
        return
    found = volume.geometry.centres_mm
    np.testing.assert_array_equal(volume.hu, hu[np.argsort(places)])
    assert np.abs(found - np.sort(places)).max() <= max(0.1, 0.02 * spacing, 2 * 10.0**-decimals)


JUNK = [b"\xff\xfe\x00\x01", b"12..4\\x", b"\\\\\\", b"99999999", b"-", b"1e999 ", b"NaN ", b"\x1b[31m!!", b"x" * 70]
SKIPPED = {"SpecificCharacterSet", "StudyInstanceUID", "PatientID", "FrameOfReferenceUID"}


def junk_series(folder, junk):
    """Every optional element that could be copied, with bytes that its value representation does not allow."""
    build_series(folder, phantom_hu(2))
    keywords = [k for k in policy.IDENTITY + policy.FROM_FIRST + policy.FROM_NEAREST if k not in SKIPPED]
    keywords = [k for k in keywords if dictionary_VR(k) not in ("SQ", "UT", "UC", "UN", "OB", "OW", "UR")]
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        marks = {}
        size = max(4, len(junk) + len(junk) % 2)
        with pydicom.config.disable_value_validation():
            for number, keyword in enumerate(keywords):
                marks[keyword] = f"M{number:03d}".ljust(size, "x")
                dataset.add_new(keyword, "LO", marks[keyword])
            dataset.save_as(path)
        data = path.read_bytes()
        for keyword, mark in marks.items():
            tag = tag_for_keyword(keyword)
            head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
            old = head + b"LO" + size.to_bytes(2, "little") + mark.encode()
            assert data.count(old) == 1
            data = data.replace(old, head + dictionary_VR(keyword).encode() + old[6:8] + junk.ljust(size))
        path.write_bytes(data)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_in_optional_elements_is_dropped_and_listed_and_never_an_error_when_writing(tmp_path, junk):
    junk_series(tmp_path / "thick", junk)
    volume = read_series(tmp_path / "thick")
    np.testing.assert_array_equal(volume.hu, phantom_hu(2))
    thin = split(volume, 2)
    check_writable(volume, thin.geometry, DERIVATION)
    (tmp_path / "thin").mkdir()
    files = write_series(tmp_path / "thin", thin, volume, DERIVATION)
    np.testing.assert_array_equal(read_series(tmp_path / "thin").hu, thin.hu)
    assert len(files) == 4
    listed = "; ".join(volume.header.notes)
    assert "malformed" in listed or "not valid" in listed
    assert "Mustermann" not in listed
    assert "\x1b" not in listed


@pytest.mark.parametrize("junk", [b"abc ", b"1_0 ", b"nan ", b"1e400 ", b"--1 ", b"\x1b[31m!"])
@pytest.mark.parametrize(
    "keyword",
    [
        "WindowCenter", "WindowWidth", "XRayTubeCurrent", "ExposureTime", "Exposure", "InstanceNumber", "SeriesNumber",
        "SliceLocation", "SpacingBetweenSlices", "LossyImageCompressionRatio", "SeriesTime", "ContentDate",
        "ReconstructionTargetCenterPatient",
    ],
)  # fmt: skip
def test_junk_in_what_results_do_not_copy_is_listed_too(tmp_path, keyword, junk):
    build_series(tmp_path, phantom_hu(4))
    path, tag = tmp_path / "0001.dcm", tag_for_keyword(keyword)
    dataset = pydicom.dcmread(path)
    dataset[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), dictionary_VR(keyword), len(junk), junk, 0, False, True
    )
    dataset.save_as(path)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu(4))
    listed = {f"{keyword} is not valid in 1 file: left out of results"}
    listed |= {f"element ({tag >> 16:04x},{tag & 0xFFFF:04x}) is malformed in 1 files and was left out"}
    assert listed & set(volume.header.notes)
    assert "[31m" not in "".join(volume.header.notes)
    check_writable(volume, split(volume, 2).geometry, DERIVATION)


def simple_itk_like(folder, hu):
    """What SimpleITK's ImageSeriesWriter leaves: no names, times or kernel, RescaleType US, derived, long decimals."""
    gone = ("KVP", "ConvolutionKernel", "PatientPosition", "AcquisitionNumber", "BodyPartExamined", "WindowCenter",
            "WindowWidth", "PositionReferenceIndicator", "ReferringPhysicianName", "SpecificCharacterSet")  # fmt: skip
    tags = {
        **dict.fromkeys(gone),
        "PatientName": "", "PatientID": "", "StudyID": "", "AccessionNumber": "", "Manufacturer": "",
        "ImageType": ["DERIVED", "SECONDARY"], "RescaleType": "US", "SpacingBetweenSlices": 2.5,
    }  # fmt: skip
    positions = [(-124.63671875, -248.63671875, -335.5 + 2.5 * k) for k in range(len(hu))]
    build_series(folder, hu, 2.5, 2.5, signed=True, bits=16, tags=tags, positions_mm=positions)


def test_series_as_simple_itk_writes_them(tmp_path):
    simple_itk_like(tmp_path, phantom_hu())
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    check_writable(volume, volume.geometry, DERIVATION)
    np.testing.assert_allclose(volume.geometry.position(7), [-124.63671875, -248.63671875, -318], atol=1e-9)


def test_a_slice_location_that_is_no_number_is_left_out_of_results(tmp_path):
    build_series(tmp_path / "thick", phantom_hu(2))
    for path in (tmp_path / "thick").glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            dataset.add_new("SliceLocation", "DS", "nan")
            dataset.save_as(path)
    volume = read_series(tmp_path / "thick")
    check_writable(volume, split(volume, 2).geometry, DERIVATION)
