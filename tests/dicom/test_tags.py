"""Header policy: what is copied into a derived series, and what stays behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.derived_series import derive

from lamella.dicom import tags as policy


def test_the_tables_name_real_attributes_once() -> None:
    copied = policy.IDENTITY + policy.FROM_FIRST + policy.FROM_NEAREST
    assert len(set(copied)) == len(copied)
    made = (*policy.RECOMPUTED, *policy.FIXED)
    assert len(set(made)) == len(made)
    assert not set(copied) & set(made)
    assert not set(policy.DROPPED) & {*copied, *made}
    assert set(policy.EMPTY_IF_MISSING) <= set(copied)
    for keyword in (*copied, *made, *policy.DROPPED):
        assert tag_for_keyword(keyword) is not None, keyword


def overloaded(dataset: Dataset) -> None:
    """One of everything that must not pass."""
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99X", "x"
    for place in (dataset, inner):
        place.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "private")
    dataset.ProcedureCodeSequence = Sequence([inner])
    for keyword in policy.DROPPED:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        vr = pydicom.datadict.dictionary_VR(tag)
        values: dict[str, Any] = {"SQ": Sequence([Dataset()]), "US or SS": 0, "CS": "NONE", "FD": 1.0, "SH": "S"}
        dataset.add_new(tag, "US" if vr == "US or SS" else vr, values.get(vr, "1"))
    del dataset.PixelPaddingRangeLimit
    dataset.add_new(0x60000010, "US", 16)
    dataset.add_new(0x60003000, "OW", bytes(40))
    dataset.SOPInstanceUID += ".9"
    dataset.WindowCenter, dataset.WindowWidth = [40, 50], [400, 500]


def test_nothing_unlisted_passes(tmp_path: Path) -> None:
    derived = derive(tmp_path, edit=overloaded)
    allowed = {*policy.IDENTITY, *policy.FROM_FIRST, *policy.FROM_NEAREST, *policy.RECOMPUTED, *policy.FIXED}
    for header in derived.headers:
        assert {element.keyword for element in header} <= allowed
        assert not any(element.tag.is_private for element in header.iterall())
        assert not any(element.tag.group >> 8 == 0x60 for element in header)
        assert header.ProcedureCodeSequence[0].CodeMeaning == "x"


# SPEC C5
def test_patient_study_and_space_are_the_sources(tmp_path: Path) -> None:
    derived = derive(tmp_path)
    source = derived.source.header.slices[0]  # type: ignore[union-attr]
    for header in derived.headers:
        for keyword in (
            "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
            "StudyID", "AccessionNumber", "StudyDescription", "FrameOfReferenceUID", "KVP", "ConvolutionKernel",
            "AcquisitionDate", "Manufacturer", "BodyPartExamined", "PatientPosition",
        ):  # fmt: skip
            assert header[keyword].value == source[keyword].value, keyword
        assert header.SeriesInstanceUID != source.SeriesInstanceUID


def test_facts_that_vary_along_the_scan_come_from_the_nearest_slice(tmp_path: Path) -> None:
    times = {k: {"AcquisitionTime": f"10111{k}", "WindowCenter": 40 + k} for k in range(4)}
    headers = derive(tmp_path, per_slice=times).headers
    assert [str(h.AcquisitionTime) for h in headers] == [f"10111{k // 5}" for k in range(20)]
    assert [float(h.WindowCenter) for h in headers] == [40 + k // 5 for k in range(20)]


def test_a_broken_value_is_left_out_unless_it_names_the_patient(tmp_path: Path) -> None:
    def break_values(dataset: Dataset) -> None:
        for keyword, vr, value in (
            ("StationName", "SH", "secret " * 10),
            ("PatientID", "LO", "P" * 70),
            ("TableHeight", "DS", "123.4567890123456789"),
        ):
            dataset[keyword] = pydicom.DataElement(keyword, vr, value, validation_mode=pydicom.config.IGNORE)

    derived = derive(tmp_path, edit=break_values)
    header = derived.headers[0]
    assert "StationName" not in header
    assert "TableHeight" not in header
    assert header.get_item("PatientID").value == b"P" * 70
    notes = " ".join(derived.source.header.notes)  # type: ignore[union-attr]
    assert notes.count("StationName is not valid") == 1
    assert "secret" not in notes


def test_windows_are_copied_in_equal_numbers(tmp_path: Path) -> None:
    for name, centre, width, names, expected in (
        ("equal", [40, -600], [400, 1500], ["A", "B"], ([40, -600], [400, 1500], ["A", "B"])),
        ("more centres", [40, -600], 400, None, (40, 400, None)),
        ("more widths", 40, [400, 1500], "A", (40, 400, "A")),
        ("fewer names", [40, -600], [400, 1500], "A", ([40, -600], [400, 1500], None)),
        ("no width", [40, -600], [0, 1500], ["A", "B"], (-600, 1500, "B")),
        ("nothing", None, None, None, (None, None, None)),
    ):
        (tmp_path / name).mkdir()
        stated = {"WindowCenter": centre, "WindowWidth": width, "WindowCenterWidthExplanation": names}
        header = derive(tmp_path / name, tags=stated).headers[0]
        found = tuple(header.get(keyword) for keyword in stated)
        assert found == expected, name
