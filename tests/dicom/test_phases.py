"""Phases, times and contrast along one stack, however they are told: refused where they alternate, noted where they follow."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.dicom.test_one_acquisition import clock, refused
from tests.dicom_builder import build_enhanced, build_series, phantom_hu

from lamella.dicom import read_series

# SPEC C6

SIX = 24
"""Slices of six phases of four places each."""


def series_of(folder, keyword, values):
    build_series(folder, phantom_hu(len(values)), per_slice={k: {keyword: one} for k, one in enumerate(values)})


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", [k // 6 + 1 + 100 * (k % 6) for k in range(SIX)]),
        ("AcquisitionTime", [clock(0.1 * (k // 6) + 2 * (k % 6)) for k in range(SIX)]),
        ("AcquisitionDateTime", ["20200102" + clock(0.1 * (k // 6) + 2 * (k % 6)) for k in range(SIX)]),
        ("SeriesTime", [clock(0.1 * (k // 6) + 2 * (k % 6)) for k in range(SIX)]),
        ("InstanceNumber", [k // 6 + 1 for k in range(SIX)]),
        ("InstanceNumber", [SIX - k // 6 for k in range(SIX)]),
        ("InstanceNumber", [4 * (k % 6) + k // 6 + 1 for k in range(SIX)]),
        ("InstanceNumber", [k // 2 + 1 for k in range(8)]),
        ("InstanceNumber", [k // 2 + 1 + 4 * (k % 2) for k in range(8)]),
    ],
)
def test_phases_whose_numbers_or_times_are_counted_anew_are_refused_with_both(tmp_path, keyword, values):
    series_of(tmp_path, keyword, values)
    message = refused(tmp_path)
    assert "take turns along the stack" in message or "alternate along the stack" in message
    assert f"{keyword} {values[0]} (0000.dcm) and {values[1]} (0001.dcm)" in message or values[0] == values[1]


@pytest.mark.parametrize(
    ("keyword", "two"),
    [
        ("SeriesTime", ("101112", "101114")),
        ("SeriesDate", ("20200102", "20200103")),
        ("NominalPercentageOfRespiratoryPhase", (0, 50)),
        ("ContrastBolusRoute", ("IV", "ORAL")),
        ("ContrastBolusVolume", (80, 120)),
        ("ContrastFlowRate", (3, 5)),
        ("ContrastBolusIngredient", ("IODINE", "BARIUM")),
        ("AcquisitionUID", ("1.2.3.4", "1.2.3.5")),
        ("PatientPosition", ("HFS", "HFP")),
        ("SeriesNumber", (10000001, 10000002)),
    ],
)
def test_what_alternates_in_classic_files_is_refused_with_both(tmp_path, keyword, two):
    series_of(tmp_path, keyword, [two[k % 2] for k in range(8)])
    assert f"{keyword} {two[0]} and {two[1]} change 7 times" in refused(tmp_path)


def test_a_volume_of_contrast_in_every_second_slice_only(tmp_path):
    build_series(tmp_path, phantom_hu(), per_slice={k: {"ContrastBolusVolume": 80} for k in range(0, 8, 2)})
    assert "ContrastBolusVolume 80 and none change 7 times" in refused(tmp_path)


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def enhanced_of(path, change):
    build_enhanced(path, phantom_hu())
    dataset = pydicom.dcmread(path)
    for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        change(k, group)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("agents", [1, 2])
@pytest.mark.parametrize("keyword", ["ContrastBolusAgentPhase", "ContrastBolusAgentDetected"])
def test_contrast_that_is_told_by_its_functional_group_alone(tmp_path, agents, keyword):
    """PS3.3 C.7.6.16.2.12: one item for each agent; the last one differs here."""
    two = {"ContrastBolusAgentPhase": ("ARTERIAL", "VENOUS"), "ContrastBolusAgentDetected": ("YES", "NO")}[keyword]

    def change(k, group):
        items = [item(ContrastBolusAgentNumber=n + 1, ContrastBolusAgentAdministered="YES") for n in range(agents)]
        setattr(items[-1], keyword, two[k % 2])
        group.ContrastBolusUsageSequence = items

    message = refused(enhanced_of(tmp_path / "in.dcm", change))
    assert "ContrastBolusUsageSequence" in message
    assert two[0] in message
    assert two[1] in message


def test_contrast_used_in_every_second_frame_only(tmp_path):
    def change(k, group):
        if k % 2:
            group.ContrastBolusUsageSequence = [item(ContrastBolusAgentNumber=1)]

    assert "ContrastBolusUsageSequence none and 1 change 7 times" in refused(enhanced_of(tmp_path / "in.dcm", change))


def indexed(of):
    def change(k, group):
        group.FrameContentSequence[0].DimensionIndexValues = of(k)

    return change


def test_phases_that_are_told_by_dimension_indices_alone(tmp_path):
    path = enhanced_of(tmp_path / "in.dcm", indexed(lambda k: [1, k + 1, k % 2 + 1]))
    assert "DimensionIndexValues 3 1 and 2 change 7 times in 8 slices, first near in.dcm frame 1" in refused(path)


@pytest.mark.parametrize("of", [lambda k: [1, k + 1, 1], lambda k: [1, 8 - k, 1], lambda k: [k + 1, k + 1]])
def test_dimension_indices_of_one_stack_are_read_without_a_note(tmp_path, of):
    volume = read_series(enhanced_of(tmp_path / "in.dcm", indexed(of)))
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    assert not [note for note in volume.header.notes if "Dimension" in note]


def test_blocks_by_dimension_index_are_noted(tmp_path):
    notes = read_series(enhanced_of(tmp_path / "in.dcm", indexed(lambda k: [1, k + 1, k // 4 + 1]))).header.notes
    assert [note for note in notes if note.startswith("DimensionIndexValues 3 differs within the series: 1 up to")]


@pytest.mark.parametrize(
    ("keyword", "two"),
    [
        ("TemporalPositionIdentifier", (1, 2)),
        ("NominalPercentageOfCardiacPhase", (40, 75)),
        ("ContrastBolusAgent", (None, "IOMERON")),
        ("SeriesTime", ("101112", "101212")),
        ("KVP", (80, 140)),
        ("ConvolutionKernel", ("B30f", "B70f")),
    ],
)
def test_blocks_of_other_phases_are_read_and_noted_with_both(tmp_path, keyword, two):
    series_of(tmp_path, keyword, [two[k // 4] for k in range(8)])
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.hu, phantom_hu())
    expected = (
        f"{keyword} differs within the series: {two[0] or 'none'} up to 0003.dcm, then {two[1]}; parts of the stack"
    )
    assert [note for note in volume.header.notes if note.startswith(expected)]


@pytest.mark.parametrize(
    ("keyword", "values", "first"),
    [
        ("InstanceNumber", [k % 6 + 1 for k in range(12)], "once along the stack, first at 0006.dcm"),
        ("AcquisitionNumber", [k % 6 + 1 for k in range(12)], "once along the stack, first at 0006.dcm"),
        ("AcquisitionTime", [clock(k % 4) for k in range(12)], "2 times along the stack, first at 0004.dcm"),
        ("ContentTime", [clock(k % 4) for k in range(12)], "2 times along the stack, first at 0004.dcm"),
    ],
)
def test_numbers_and_times_that_start_anew_are_noted(tmp_path, keyword, values, first):
    series_of(tmp_path, keyword, values)
    assert [note for note in read_series(tmp_path).header.notes if note.startswith(f"{keyword} starts anew {first}")]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("InstanceNumber", [12 - k for k in range(12)]),
        ("InstanceNumber", [1] * 12),
        ("InstanceNumber", [3, 7, 1, 12, 5, 9, 2, 11, 4, 8, 6, 10]),  # renumbered by an anonymiser
        ("AcquisitionTime", [clock(12 * (k // 4) + 0.1 * (3 - k % 4)) for k in range(12)]),  # four rows a rotation
        ("ContentTime", [clock(one) for one in (0, 9, 2, 11, 1, 8, 3, 12, 7, 4, 5, 13)]),
        ("AcquisitionNumber", [k // 4 + 1 for k in range(12)]),
    ],
)
def test_other_orders_are_read_without_such_a_note(tmp_path, keyword, values):
    series_of(tmp_path, keyword, values)
    notes = read_series(tmp_path).header.notes
    assert not [note for note in notes if "anew" in note or "differs" in note]


@pytest.mark.parametrize("junk", ["abc", "1_0", "12.5"])
@pytest.mark.parametrize("keyword", ["SeriesNumber", "AcquisitionNumber", "TemporalPositionIdentifier"])
def test_junk_in_one_slice_is_no_other_acquisition(tmp_path, keyword, junk):
    build_series(tmp_path, phantom_hu(), tags={keyword: 3})
    path = tmp_path / "0003.dcm"
    dataset = pydicom.dcmread(path)
    raw = junk.encode() + b" " * (len(junk) % 2)
    tag = dataset[keyword].tag
    dataset[tag] = pydicom.dataelem.RawDataElement(tag, "IS", len(raw), raw, 0, False, True)
    dataset.save_as(path)
    np.testing.assert_array_equal(read_series(tmp_path).hu, phantom_hu())


def test_missing_values_between_alternating_ones(tmp_path):
    series_of(tmp_path, "AcquisitionNumber", [(1, None, 2, None)[k % 4] for k in range(16)])
    assert "AcquisitionNumber 1 and 2 change 7 times in 16 slices, first near 0000.dcm and 0002.dcm" in refused(
        tmp_path
    )
