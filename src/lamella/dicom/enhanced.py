"""Enhanced multi-frame CT -> one classic header a frame.

Sources: PS3.3 C.7.6.16 (multi-frame functional groups), A.38 (Enhanced CT), A.70 (Legacy Converted Enhanced CT).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from lamella.dicom.elements import items_of, value_of, whole_number
from lamella.errors import RefusedInput

ENHANCED_CLASSES = {EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}

_GROUPS = {
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "NumberOfFrames",
    "DimensionIndexSequence",
}
# Elements that go by another name in the classic IOD.
_CLASSIC_TAGS = {"FrameType": Tag("ImageType"), "FrameAcquisitionNumber": Tag("AcquisitionNumber")}

_WHOLE = {"ContrastBolusUsageSequence"}
"""Functional groups that are kept as sequences, too: one item for each contrast agent (PS3.3 C.7.6.16.2.12)."""

_UNASSIGNED = {"UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence"}
"""What a conversion found no place for (PS3.3 C.7.6.16.2.25): whatever has a place counts for more."""


def flattened(dataset: Dataset, name: str) -> Iterator[Dataset]:
    """One data set a frame, in file order, with shared and then per-frame functional groups laid on the top level.

    Raises:
        RefusedInput: fewer or more per-frame items than NumberOfFrames says.
    """
    common, left_over = Dataset(), Dataset()
    for element in dataset:
        if element.keyword not in _GROUPS:
            common.add(element)
    for group in items_of(dataset, "SharedFunctionalGroupsSequence"):
        _lay(left_over, group, unassigned=True)
        _lay(common, group)
    per_frame = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    frames = frame_count(dataset)
    if len(per_frame) != frames:
        raise RefusedInput(
            f"The enhanced CT {name} has {len(per_frame)} per-frame functional groups. NumberOfFrames says {frames}. "
            "The file is damaged: export it again."
        )
    for index, group in enumerate(per_frame):
        header = Dataset()
        header.update(left_over)
        _lay(header, group, unassigned=True)
        header.update(common)
        _lay(header, group)
        # The frame's number, last: a legacy converted frame may bring its old InstanceNumber along. A new element, for
        # setting the value would change the one that all frames share.
        header.add_new("InstanceNumber", "IS", index + 1)
        header.set_original_encoding(*dataset.original_encoding)
        header.file_meta = dataset.file_meta
        yield header


def frame_count(dataset: Dataset) -> int:
    """NumberOfFrames; 1 where it is absent, 0 where it is no number."""
    if value_of(dataset, "NumberOfFrames") is None:
        return 1
    return whole_number(dataset, "NumberOfFrames") or 0


def _lay(header: Dataset, group: Dataset, *, unassigned: bool = False) -> None:
    """Copies what every macro's first item holds to the top level: of `_UNASSIGNED` ones, or of all others but private ones."""
    for macro in group:
        if macro.VR != "SQ" or macro.tag.is_private or not macro.value or (macro.keyword in _UNASSIGNED) != unassigned:
            continue
        if macro.keyword in _WHOLE:
            header.add(macro)
        for element in macro.value[0]:
            own = copy(element)  # as it is: a damaged value would not survive a second conversion
            own.tag = _CLASSIC_TAGS.get(element.keyword, element.tag)
            header.add(own)
