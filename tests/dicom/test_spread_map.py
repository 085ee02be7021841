"""The spread as a DICOM Parametric Map. Issue 26, output choices: --spread FILE.dcm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from tests.derived_series import DERIVATION, OBLIQUE, ORIENTATIONS, Derived, changed, derive
from tests.dicom.test_conformance import complaints, crowded
from tests.dicom_builder import build_enhanced, phantom_hu

from lamella.dicom import spread_map
from lamella.dicom.spread_map import check_map_writable, write_spread_map
from lamella.errors import LamellaError, UsageError
from lamella.volume import Volume

SOURCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "oblique": {"orientation": OBLIQUE, "origin_mm": (-211.123456, 17.1, -987.654321)},
    "prone": {"orientation": ORIENTATIONS["head first prone"]},
    "sagittal": {"orientation": ORIENTATIONS["sagittal"]},
    "crowded": {"edit": crowded},
    "kanji": {"tags": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}},
}


def spread_of(derived: Derived) -> Volume:
    geometry = derived.thin.geometry
    return Volume(np.random.default_rng(0).gamma(2, 20, geometry.shape).astype(np.float32), geometry)


def mapped(derived: Derived, name: str = "spread.dcm") -> Path:
    path = derived.folder.parent / name
    write_spread_map(path, spread_of(derived), derived.source, DERIVATION)
    return path


@pytest.mark.parametrize("name", SOURCES)
def test_the_map_is_conformant_and_in_the_place_of_the_series(tmp_path: Path, name: str) -> None:
    derived = derive(tmp_path, **SOURCES[name])
    path = mapped(derived)
    assert complaints("dciodvfy", path) == []
    assert complaints("dcentvfy", *derived.source_folder.iterdir(), *derived.files, path) == []
    written = pydicom.dcmread(path)
    series = {tuple(map(float, header.ImagePositionPatient)): header for header in derived.headers}
    values = dict(zip(series, spread_of(derived).hu, strict=True))
    frames = np.frombuffer(written.FloatPixelData, "<f4").reshape(written.NumberOfFrames, written.Rows, written.Columns)
    assert written.NumberOfFrames == len(series)
    for frame, groups in zip(frames, written.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        nearest = min(series, key=lambda one: float(np.abs(np.array(one) - place).max()))
        assert np.abs(np.array(nearest) - place).max() <= 1e-6
        assert np.array_equal(frame, values[nearest])
    shared, header = written.SharedFunctionalGroupsSequence[0], derived.headers[0]
    (measures,) = shared.PixelMeasuresSequence
    for keyword in ("SliceThickness", "SpacingBetweenSlices", "PixelSpacing"):
        assert np.allclose(np.array(measures[keyword].value, float), np.array(header[keyword].value, float), atol=1e-9)
    (mapping,) = shared.RealWorldValueMappingSequence
    (unit,) = mapping.MeasurementUnitsCodeSequence
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[hnsf'U]", "UCUM")
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.DoubleFloatRealWorldValueLastValueMapped >= frames.max()


@pytest.mark.parametrize("name", ["plain", "oblique"])
def test_highdicom_reads_the_volume_that_was_written(tmp_path: Path, name: str) -> None:
    derived = derive(tmp_path, **SOURCES[name])
    volume = hd.imread(mapped(derived)).get_volume()
    spread = spread_of(derived)
    geometry = spread.geometry
    ours = [geometry.position(k) for k in range(geometry.shape[0])]
    theirs = [volume.affine[:3] @ (k, 0, 0, 1) for k in range(volume.spatial_shape[0])]
    flipped = np.linalg.norm(theirs[0] - ours[0]) > 1e-3
    assert np.allclose(theirs[::-1] if flipped else theirs, ours, atol=1e-6)
    assert np.allclose(volume.array[::-1] if flipped else volume.array, spread.hu, atol=1e-6)
    assert np.allclose(volume.affine[:3, 1:3], geometry.affine[:3, 1:3], atol=1e-6)


def test_labels_and_identity_are_those_of_the_series(tmp_path: Path) -> None:
    derived = derive(tmp_path, **SOURCES["kanji"])
    written, header = pydicom.dcmread(mapped(derived)), derived.headers[0]
    for keyword in (
        "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate", "SyntheticData", "ImageComments",
        "SpecificCharacterSet", "ContentQualification",
    ):  # fmt: skip
        assert written[keyword].value == header[keyword].value, keyword
    name = [one.get_item("PatientName").value for one in (written, header)]
    assert name[0] == name[1]
    assert b"\x1b$B" in name[0]
    assert written.SyntheticData == "YES"
    assert "research use only" in written.ImageComments
    assert written.SeriesDescription.endswith("AI spread thin 1mm mean RESEARCH")
    assert written.DerivationDescription.startswith("Predicted standard deviation")
    assert written.SeriesNumber == header.SeriesNumber + 3000
    assert written.SeriesInstanceUID != header.SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in written.SourceImageSequence}
    assert referred == {one.SOPInstanceUID for one in derived.source.header.slices}  # type: ignore[attr-defined]
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == derived.source.header.series_uid  # type: ignore[attr-defined]


def test_the_same_request_gives_the_same_uids_and_another_answer_others(tmp_path: Path) -> None:
    derived = derive(tmp_path)

    def uids(path: Path) -> list[str]:
        written = pydicom.dcmread(path)
        dimension = written.DimensionOrganizationSequence[0].DimensionOrganizationUID
        return [written.SOPInstanceUID, written.SeriesInstanceUID, dimension]

    first = uids(mapped(derived))
    assert uids(mapped(derived, "again.dcm")) == first
    for derivation in (changed(mode="texture"), changed(settings_key="other"), changed(model_sha256="cd" * 32)):
        write_spread_map(tmp_path / "other.dcm", spread_of(derived), derived.source, derivation)
        assert not set(uids(tmp_path / "other.dcm")) & set(first)


def test_an_enhanced_source_is_referred_to_once(tmp_path: Path) -> None:
    build_enhanced(tmp_path / "thick" / "e.dcm", phantom_hu(4))
    path = mapped(derive(tmp_path, source_path=tmp_path / "thick"))
    assert complaints("dciodvfy", path) == []
    written = pydicom.dcmread(path)
    (item,) = written.SourceImageSequence
    assert item.ReferencedSOPClassUID == pydicom.uid.EnhancedCTImageStorage
    assert len(written.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1


def test_lossy_compression_stays_known(tmp_path: Path) -> None:
    lossy = pydicom.dcmread(mapped(derive(tmp_path, edit=crowded)))
    assert (lossy.LossyImageCompression, lossy.LossyImageCompressionMethod[0]) == ("01", "ISO_10918_1")


def test_reading_back_finds_a_value_or_place_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    derived = derive(tmp_path)
    encoded = spread_map.encoded
    place = derived.headers[3].ImagePositionPatient

    def with_other_value(dataset: pydicom.Dataset) -> bytes:
        dataset.FloatPixelData = dataset.FloatPixelData[:-1] + b"\x01"
        return encoded(dataset)

    def with_other_place(dataset: pydicom.Dataset) -> bytes:
        dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = [place[0], 0, 0]
        return encoded(dataset)

    for damage, message in (
        (with_other_value, "voxels .* differ"),
        (with_other_place, "not where"),
        (lambda dataset: encoded(dataset)[:-9], "cannot be read back"),
    ):
        monkeypatch.setattr(spread_map, "encoded", damage)
        with pytest.raises(LamellaError, match=message):
            mapped(derived)


def test_what_one_file_cannot_hold_is_refused_before(tmp_path: Path) -> None:
    derived = derive(tmp_path)
    huge = derived.source.geometry.with_slices(2**24, 0.001, 0.0, 0.001)
    with pytest.raises(UsageError, match=r"DICOM allows 4,294,967,294.*\.nii\.gz"):
        check_map_writable(derived.source, huge, DERIVATION)
