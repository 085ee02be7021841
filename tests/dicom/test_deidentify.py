"""The basic profile of PS3.15 annex E: every element that Lamella writes has an action, as strict as table E.1-1 at least."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.derived_series import DERIVATION, Derived
from tests.dicom.test_conformance import complaints, crowded
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.dicom import tags as policy
from lamella.dicom.deidentify import KEPT, NEW_UIDS, PLACE, PSEUDONYM, deidentified, keyed_uid, pseudonym, read_key
from lamella.dicom.header import SeriesHeader
from lamella.dicom.read import read_series
from lamella.dicom.spread_map import write_spread_map
from lamella.dicom.write import write_series
from lamella.errors import RefusedInput, UsageError
from lamella.volume import Geometry, Volume

KEY = b"0123456789abcdef"
COPIED = policy.IDENTITY + policy.FROM_FIRST + policy.FROM_NEAREST
LABELS = {
    "SeriesDescription", "DerivationDescription", "ImageComments", "DerivationCodeSequence", "SourceImageSequence",
    "ContributingEquipmentSequence", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "LongitudinalTemporalInformationModified",
}  # fmt: skip
"""Written anew by the program, from nothing of the patient."""

MADE = {*LABELS, *policy.FIXED, "SOPInstanceUID", "SeriesInstanceUID", "SpacingBetweenSlices", "PixelData"}


def actions(keyword: str) -> str:
    """The action of table E.1-1: D, Z, X, U or several of them; empty where the table does not name the element."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    names = [n for n in dir(table) if n.endswith("_TAGS") and n != "ALL_TAGS"]
    found = [
        n.removesuffix("_TAGS") for n in names if any(row[:2] == (tag >> 16, tag & 0xFFFF) for row in getattr(table, n))
    ]
    return found[0] if found else ""


def test_no_element_is_kept_that_the_standard_replaces_or_removes() -> None:
    assert {keyword: actions(keyword) for keyword in (*KEPT, *PLACE) if actions(keyword)} == {}
    assert {actions(keyword) for keyword in NEW_UIDS} == {"U"}
    assert {actions(keyword) for keyword in PSEUDONYM} <= {"Z", "D", "Z_D"}
    assert not {*KEPT, *PLACE} & {*NEW_UIDS, *PSEUDONYM}
    texts = [k for k in (*KEPT, *PLACE) if dictionary_VR(k) not in {"DS", "IS", "FD", "US", "CS", "UI"}]
    assert texts == ["Manufacturer", "ManufacturerModelName", "SoftwareVersions", "FilterType", "ConvolutionKernel"]


def filled(dataset: Dataset) -> None:
    """A planted value in every element that is copied; sequences hold planted codes."""
    crowded(dataset)
    for number, keyword in enumerate(COPIED):
        vr = dictionary_VR(keyword)
        values: dict[str, Any] = {
            "SQ": Sequence([Dataset()]), "DA": "19810203", "TM": f"0102{number % 60:02d}", "DT": "19810203010203",
            "CS": f"PLANT{number}", "UI": f"1.2.3.4.{number}", "AS": "042Y", "DS": "1", "IS": "1", "US": 1, "FD": 1.0,
            "PN": f"Plant^{number}",
        }  # fmt: skip
        if keyword not in ("SpecificCharacterSet", "BurnedInAnnotation", "PatientPosition", "FrameOfReferenceUID"):
            dataset.add_new(keyword, vr, values.get(vr, f"plant{number}"))
        if vr == "SQ":
            item = dataset[keyword].value[0]
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "plant in a code"
    dataset.StudyInstanceUID = "1.2.3.4"


def derived(folder: Path, key: bytes = KEY, **build: Any) -> Derived:
    """As `tests.derived_series.derive`, with a de-identified source."""
    edit = build.pop("edit", None)
    build_series(folder / "thick", phantom_hu(4), **build)
    for path in (folder / "thick").iterdir() if edit else ():
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)
    return derived_from(folder, key)


def derived_from(folder: Path, key: bytes = KEY) -> Derived:
    source = deidentified(read_series(folder / "thick"), key)
    thin = Volume(source.hu.repeat(5, axis=0), Geometry(*_split(source.geometry)))
    result = folder / "thin"
    result.mkdir()
    return Derived(folder / "thick", source, result, thin, write_series(result, thin, source, DERIVATION))


def _split(thick: Geometry) -> tuple[Any, Any, float]:
    affine = thick.affine.copy()
    affine[:3, 0] /= 5
    affine[:3, 3] -= 2 * affine[:3, 0]
    return (thick.shape[0] * 5, *thick.shape[1:]), affine, thick.thickness_mm / 5


def test_every_element_of_a_result_is_accounted_for(tmp_path: Path) -> None:
    found = derived(tmp_path, edit=filled)
    source = pydicom.dcmread(next((tmp_path / "thick").iterdir()))
    for header in found.headers:
        for element in header:
            keyword = element.keyword
            if keyword in NEW_UIDS and keyword not in MADE:
                assert element.value == keyed_uid(KEY, source[keyword].value), keyword
            elif keyword in PSEUDONYM:
                expected = pseudonym(KEY, source.IssuerOfPatientID, source.PatientID)
                assert str(element.value).replace("^", "-") == expected
            elif keyword == "ContrastBolusAgent":
                assert element.value == "CONTRAST"
            elif keyword in KEPT:
                assert element.value == source[keyword].value, keyword
            else:
                assert element.is_empty or keyword in {*PLACE, *MADE}, keyword
        text = str(header) + str(header.file_meta)
        assert "plant in a code" not in text
        uids = {e.value for e in pydicom.dcmread(found.source_folder / "0000.dcm").iterall() if e.VR == "UI"}
        assert not [uid for uid in uids if f"{uid}\n" in f"{text}\n" and not str(uid).startswith("1.2.840.10008")]


def test_nothing_says_when(tmp_path: Path) -> None:
    for header in derived(tmp_path, edit=filled).headers:
        assert [e.keyword for e in header.iterall() if e.VR in ("DA", "TM", "DT") and not e.is_empty] == []
        assert header.LongitudinalTemporalInformationModified == "REMOVED"
        assert header.PatientIdentityRemoved == "YES"
        codes = [item.CodeValue for item in header.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "113105"]
        assert "SpecificCharacterSet" not in header


def test_the_key_decides_and_studies_of_a_patient_stay_together(tmp_path: Path) -> None:
    header, same, other = (
        derived(tmp_path / name, key).headers[0] for name, key in {"a": KEY, "b": KEY, "c": KEY[::-1]}.items()
    )
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert header[keyword].value == same[keyword].value != other[keyword].value, keyword
    assert (
        header.SourceImageSequence[0].ReferencedSOPInstanceUID != other.SourceImageSequence[0].ReferencedSOPInstanceUID
    )
    assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert pydicom.uid.UID(header.StudyInstanceUID).is_valid


def test_what_is_not_plain_text_is_no_kernel(tmp_path: Path) -> None:
    tags = {"ConvolutionKernel": "Müller", "Manufacturer": "Jörg", "StationName": "x"}
    header = derived(tmp_path, tags=tags).headers[0]
    assert "ConvolutionKernel" not in header
    assert header.Manufacturer is None or header.Manufacturer == ""


def test_pixels_that_show_a_name_are_refused(tmp_path: Path) -> None:
    build_series(tmp_path, phantom_hu(4), tags={"BurnedInAnnotation": "YES"})
    with pytest.raises(RefusedInput, match=r"BurnedInAnnotation \(0028,0301\) is YES in SOURCE.*Clean the pixels"):
        deidentified(read_series(tmp_path), KEY)


@pytest.mark.parametrize(
    "build", [{}, {"edit": crowded}, {"tags": {"PatientID": None}}], ids=["plain", "crowded", "no ID"]
)
def test_a_deidentified_series_is_conformant(tmp_path: Path, build: dict[str, Any]) -> None:
    found = derived(tmp_path, **build)
    assert faults(found) == []


def test_a_deidentified_series_of_an_enhanced_file_is_conformant(tmp_path: Path) -> None:
    build_enhanced(tmp_path / "thick" / "e.dcm", phantom_hu(4))
    assert faults(derived_from(tmp_path)) == []


def faults(found: Derived) -> list[str]:
    """What the validators say, apart from empty values that only a DICOMDIR needs, and the source, which is not there."""
    lines = [*complaints("dciodvfy", found.files[0]), *complaints("dcentvfy", *found.files)]
    return [line for line in lines if not any(one in line for one in ("to build DICOMDIR", "that was referenced"))]


def test_keys(tmp_path: Path) -> None:
    assert read_key(None) != read_key(None)
    file = tmp_path / "key"
    with pytest.raises(UsageError, match="cannot be read"):
        read_key(file)
    file.write_bytes(b"short\n")
    with pytest.raises(UsageError, match=r"holds 5 bytes\. Expected 16"):
        read_key(file)
    file.write_bytes(KEY)
    assert read_key(file) == KEY


def test_the_map_of_the_spread_tells_nothing_either(tmp_path: Path) -> None:
    found = derived(tmp_path, edit=filled)
    spread = Volume(np.ones(found.thin.geometry.shape, np.float32), found.thin.geometry)
    write_spread_map(tmp_path / "map.dcm", spread, found.source, DERIVATION)
    header = pydicom.dcmread(tmp_path / "map.dcm")
    times = {str(e.value) for e in header.iterall() if e.VR in ("DA", "TM", "DT") and not e.is_empty}
    assert times == {"19000101", "000000"}
    assert not re.search(r"plant|Plant\^", str(header))
    assert header.PatientIdentityRemoved == "YES"
    assert header.StudyInstanceUID == found.headers[0].StudyInstanceUID != "1.2.3.4"
    plain = derived(tmp_path / "plain").source
    write_spread_map(tmp_path / "map.dcm", spread, plain, DERIVATION)
    lines = complaints("dciodvfy", tmp_path / "map.dcm")
    assert [line for line in lines if "to build DICOMDIR" not in line] == []


def test_slices_that_a_repair_made_tell_nothing_either(tmp_path: Path) -> None:
    build_series(tmp_path / "thick", phantom_hu(8))
    (tmp_path / "thick" / "0003.dcm").unlink()
    source = deidentified(read_series(tmp_path / "thick", repair="gap"), KEY)
    header = source.header
    assert isinstance(header, SeriesHeader)
    assert len(header.slices) == 8
    assert {one.PatientIdentityRemoved for of in (header.slices, *header.made_of) for one in of} == {"YES"}
    assert {one.get("PatientBirthDate") for of in (header.slices, *header.made_of) for one in of} == {None}
