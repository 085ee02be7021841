"""Third-party validators on source + derived series: dciodvfy (each file), dcentvfy (all files as one study)."""

# SPEC C5

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, uid
from pydicom.sequence import Sequence
from tests.derived_series import AXIAL, OBLIQUE, ORIENTATIONS, Derived, changed, complaints, derive
from tests.dicom_builder import build_enhanced, phantom_hu


def private(dataset: Dataset) -> None:
    block = dataset.private_block(0x0009, "ACME 1.0", create=True)
    block.add_new(1, "LO", "secret of the scanner")
    dataset.private_block(0x7FE1, "ACME 2.0", create=True).add_new(1, "OB", b"\1\2")


def crowded(dataset: Dataset) -> None:
    """Much of what scanners and archives add."""
    private(dataset)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113040", "DCM", "Lossy Compression"
    code.private_block(0x0009, "ACME 1.0", create=True).add_new(1, "LO", "nested")
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109103", "DCM", "Modifying Equipment"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = Sequence([purpose])
    equipment.Manufacturer = "Archive"
    dataset.ContributingEquipmentSequence = Sequence([equipment])
    dataset.DerivationCodeSequence = Sequence([code])
    dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", ["2.5", "3"]
    dataset.LossyImageCompressionMethod = ["ISO_10918_1", "ISO_15444_1"]
    dataset.WindowCenter, dataset.WindowWidth = ["40", "-600"], ["400", "1500"]
    dataset.WindowCenterWidthExplanation = ["SOFT", "LUNG"]
    dataset.SliceLocation = dataset.ImagePositionPatient[2]
    dataset.PatientAge, dataset.PatientWeight, dataset.Allergies = "055Y", "71.5", "none"
    dataset.InstitutionName, dataset.StationName, dataset.ProtocolName = "Hospital", "CT1", "Thorax"
    dataset.SoftwareVersions = ["syngo CT", "VA48A"]
    dataset.ContrastBolusAgent, dataset.ContrastBolusVolume = "Iodine 300", "80"
    dataset.Exposure, dataset.XRayTubeCurrent, dataset.CTDIvol = 120, 200, 5.5
    dataset.ScanOptions, dataset.SpiralPitchFactor, dataset.FilterType = "HELICAL MODE", 1.2, "FLAT"
    dataset.BurnedInAnnotation, dataset.SyntheticData = "NO", "YES"
    dataset.TimezoneOffsetFromUTC = "+0130"
    dataset.add_new(0x60003000, "OW", bytes(40))
    dataset.add_new(0x00280106, "US", 0)
    dataset.add_new(0x00280120, "US", 0)


OPTIONAL = (
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime", "StudyDescription",
    "SeriesDescription", "ConvolutionKernel", "BodyPartExamined", "WindowCenter", "WindowWidth", "SpecificCharacterSet",
)  # fmt: skip
MINIMAL = {
    **dict.fromkeys(OPTIONAL),
    **dict.fromkeys(("PatientName", "PatientBirthDate", "PatientSex", "Manufacturer", "KVP", "AcquisitionNumber"), ""),
}
REQUIRED_BUT_MISSING = dict.fromkeys(
    (
        "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "Manufacturer", "ReferringPhysicianName",
        "SeriesNumber", "AcquisitionNumber", "KVP", "PositionReferenceIndicator", "PatientName", "PatientID",
        "PatientBirthDate", "PatientSex", "FrameOfReferenceUID", "PatientPosition",
    )
)  # fmt: skip

NAMES = {
    "ISO_IR 192": "Müller^Jörg=山田^太郎",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Люк^Лука",
}

SOURCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "oblique": {"orientation": OBLIQUE},
    "sagittal": {"orientation": ORIENTATIONS["sagittal"], "origin_mm": (12.3456789, -100.1, 80.000001)},
    "private tags": {"edit": private},
    "crowded": {"edit": crowded},
    "implicit": {"syntax": uid.ImplicitVRLittleEndian, "edit": crowded},
    "compressed": {"syntax": uid.JPEGLSLossless},
    "minimal": {"tags": MINIMAL},
    "no body part": {"tags": {"BodyPartExamined": None}},
    "knee": {"tags": {"BodyPartExamined": "KNEE", "Laterality": "L"}},
    "knees": {"tags": {"BodyPartExamined": "KNEE", "ImageLaterality": "B"}},
    "long labels": {"tags": {"SeriesDescription": "x" * 64, "SeriesNumber": 2**31 - 1, "StudyDescription": "y" * 64}},
    "kanji": {"tags": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}},
    **{charset: {"tags": {"SpecificCharacterSet": charset, "PatientName": n}} for charset, n in NAMES.items()},
}


def check(derived: Derived, *referenced: Path) -> None:
    for file in (derived.files[0], derived.files[len(derived.files) // 2], derived.files[-1]):
        assert complaints("dciodvfy", file) == []
    study = [*sorted(derived.source_folder.iterdir()), *derived.files, *referenced]
    assert complaints("dcentvfy", *study) == []


@pytest.mark.parametrize("name", SOURCES)
def test_derived_series_is_conformant(tmp_path: Path, name: str) -> None:
    check(derive(tmp_path, **SOURCES[name]))


def test_series_derived_from_an_enhanced_file_is_conformant(tmp_path: Path) -> None:
    build_enhanced(tmp_path / "thick" / "e.dcm", phantom_hu(4))
    derived = derive(tmp_path, source_path=tmp_path / "thick")
    check(derived)
    (item,) = derived.headers[7].SourceImageSequence
    assert item.ReferencedSOPClassUID == uid.EnhancedCTImageStorage
    assert item.ReferencedFrameNumber == 2


def test_what_the_source_lacks_is_an_empty_attribute_and_no_error(tmp_path: Path) -> None:
    """dciodvfy then only warns that a DICOMDIR would need the values."""
    derived = derive(tmp_path, tags={**MINIMAL, **REQUIRED_BUT_MISSING})
    found = complaints("dciodvfy", derived.files[0])
    assert found != []
    assert all("Warning - Missing attribute or value that would be needed to build DICOMDIR" in line for line in found)


@pytest.mark.parametrize("build", [{}, {"edit": crowded}], ids=["plain", "crowded"])
def test_thickened_series_is_conformant(tmp_path: Path, build: dict[str, Callable[[Dataset], None]]) -> None:
    thickened = changed(mode="thickened", synthetic=False, model_name="", model_sha256="", model_licence="")
    check(derive(tmp_path, factor=1, orientation=AXIAL, derivation=thickened, **build))


def test_a_series_derived_from_a_derived_one_is_conformant(tmp_path: Path) -> None:
    first = derive(tmp_path)
    (tmp_path / "again").mkdir()
    check(derive(tmp_path / "again", source_path=first.folder, factor=2), *first.source_folder.iterdir())


def test_the_validators_complain_where_they_should(tmp_path: Path) -> None:
    """Guards the tests above against a validator that says nothing because it did not run."""
    derived = derive(tmp_path)
    header = derived.headers[0]
    header.FrameOfReferenceUID = "1.2.3"
    del header.KVP
    header.save_as(derived.files[0])
    assert any("KVP" in line for line in complaints("dciodvfy", derived.files[0]))
    assert complaints("dcentvfy", *derived.files) != []
