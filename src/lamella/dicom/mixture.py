"""Several acquisitions along one stack, and parts of a series that are not there.

A second phase whose slices lie between those of the first makes a stack that looks regular: positions cannot tell. What the
headers say about each slice's acquisition does: one that returns after another is no scan from one end to the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby, pairwise

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from lamella.dicom.elements import NUMBER_VRS, items_of, numbers_of, shown, text_of, whole_number
from lamella.dicom.header import Slice
from lamella.errors import RefusedInput

_SINGLE_CHANGE = {
    "AcquisitionNumber": True, "TemporalPositionIdentifier": True, "TemporalPositionIndex": True,
    "NominalPercentageOfCardiacPhase": True, "TriggerTime": False, "NominalCardiacTriggerDelayTime": False,
    "EchoNumbers": True, "KVP": True, "ContrastBolusAgent": False, "ContrastBolusStartTime": False,
    "ContrastBolusVolume": False, "ConvolutionKernel": False, "IrradiationEventUID": True, "SeriesNumber": True,
    "ImageType": False, "FilterType": False, "SeriesDescription": False, "ProtocolName": False,
    "ImageComments": False, "StackID": True, "ContrastBolusAgentAdministered": False,
    "ContrastBolusUsageSequence": False, "ContrastBolusAgentSequence": False, "ContrastBolusRoute": False,
    "ContrastBolusStopTime": False, "ContrastBolusTotalDose": False, "ContrastFlowRate": False,
    "ContrastFlowDuration": False, "ContrastBolusIngredient": False, "ContrastBolusIngredientConcentration": False,
    "SeriesDate": False, "SeriesTime": False, "AcquisitionUID": False, "TemporalPositionTimeOffset": False,
    "NominalPercentageOfRespiratoryPhase": True, "NominalRespiratoryTriggerDelayTime": False, "FrameLabel": False,
    "FrameComments": False, "DerivationDescription": False, "StudyDate": False, "AccessionNumber": False,
    "Manufacturer": False, "StationName": False, "DeviceSerialNumber": False, "ScanOptions": False,
    "ReconstructionDiameter": False,
}  # fmt: skip
"""What tells acquisitions apart -> whether a single slice that differs from those around it already counts."""

_DIMENSION = "DimensionIndexValues"
"""Of its numbers (PS3.3 C.7.6.17) those of time, phase or contrast come back along the stack; that of the place does not."""

_CONTRAST = "Contrast"
"""Elements that begin so tell something where they are missing, too."""

_FREE_TEXT = {"SeriesDescription", "ProtocolName", "ImageComments", "FrameLabel", "FrameComments", "StationName",
              "DerivationDescription", "AccessionNumber"}  # fmt: skip
"""Not quoted in messages: it may hold or lead to a name."""

_JOINED = {
    "ConvolutionKernel", "KVP", "PatientPosition", "EchoNumbers", "TemporalPositionIdentifier", "TemporalPositionIndex",
    "NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase", "SeriesNumber", "SeriesTime",
    "ContrastBolusAgent", "ContrastBolusAgentAdministered", "ContrastBolusUsageSequence", "ContrastBolusAgentSequence",
}  # fmt: skip
"""Noted where they change from one part of the stack to the next."""

_COUNTED = ("InstanceNumber", "AcquisitionNumber", "AcquisitionTime", "ContentTime", "AcquisitionDateTime")
_MOST_ROWS, _LEAST_IN_ROW, _LEAST_CHANGES = 24, 4, 3
"""Acquisitions that are told apart by numbers that take turns: a heart has 10 or 20 phases."""

_SHOWN = 32
"""Characters of a value in a message."""

_TIMES = {
    ("AcquisitionDate", "AcquisitionTime"): 5.0,
    ("SeriesDate", "SeriesTime"): 5.0,
    ("", "AcquisitionDateTime"): 5.0,
    ("", "FrameAcquisitionDateTime"): 5.0,
    ("", "FrameReferenceDateTime"): 5.0,
    ("ContentDate", "ContentTime"): 30.0,
}
"""Date and time -> seconds between two groups of slices that no single scan or reconstruction leaves."""

_SLOW_S, _TURN_S = 30.0, 0.5
"""Reconstructions run side by side and end in any order; acquisitions that take turns do not, and lie this far apart."""

INCOMPLETE = "incomplete"
"""Begins every note of `missing_parts`."""

_MOMENT = re.compile(r"(\d{8})(\d\d)(\d\d)?(\d\d(?:\.\d*)?)?")


def check_one_acquisition(ordered: Sequence[Slice]) -> list[str]:
    """Refuses acquisitions, phases or times that alternate along the stack, and returns notes on what is joined.

    Blocks that follow each other (rotations of the scanner, a neck above a chest) and times that rise or fall along the stack
    are no alternation.
    """
    told_apart = list(_told_apart(ordered))
    for keyword, values in told_apart:
        telling = values if keyword.startswith(_CONTRAST) else [value for value in values if value]
        if found := _alternation(telling, 2 if _SINGLE_CHANGE.get(keyword) else _LEAST_CHANGES):
            first, other, changes = found
            named = [_shown(keyword, value) for value in (first, other)]
            beside = ((k, k + 1) for k, pair in enumerate(pairwise(values)) if {*pair} == {first, other})
            places = next(beside, (values.index(first), values.index(other)))
            at = [ordered[k].name for k in places]
            raise RefusedInput(
                f"Two acquisitions alternate along the stack: {keyword} {named[0]} and {named[1]} change {changes} times "
                f"in {len(ordered)} slices, first near {' and '.join(at)}. Expected one acquisition from end to end. "
                f"Put the slices of each {keyword} in a folder of its own, and give one of them."
            )
    # Frames of one file are numbered in any order that the file has them in.
    for keyword in ("AcquisitionNumber", "InstanceNumber")[: 1 if ordered[0].frames > 1 else 2]:
        _check_turns(ordered, keyword, [whole_number(one.header, keyword) for one in ordered], 1)
    for (date, time), gap_s in _TIMES.items():
        seconds = [_seconds(one.header, date, time) for one in ordered]
        _check_times(ordered, seconds, time, gap_s)
        if gap_s < _SLOW_S:
            _check_turns(ordered, time, seconds, _TURN_S)
    return _joined(ordered, told_apart)


def _joined(ordered: Sequence[Slice], told_apart: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Notes on parts of the stack that follow each other and may be of different scans, times or phases."""
    notes = []
    for keyword, values in told_apart:
        told = [k for k, value in enumerate(values) if value or keyword.startswith(_CONTRAST)]
        change = next(((one, other) for one, other in pairwise(told) if values[one] != values[other]), None)
        if change and (keyword in _JOINED or (keyword.startswith(_DIMENSION) and len(set(values)) <= len(values) // 2)):
            was, then = (_shown(keyword, values[k]) for k in change)
            notes.append(
                f"{keyword} differs within the series: {was} up to {ordered[change[0]].name}, then {then}; parts of the stack "
                "may be of different scans, times or phases"
            )
    for keyword in _COUNTED:
        numbers = [_counted(one.header, keyword) for one in ordered]
        again = _starts_anew(numbers)
        if again:
            times = f"{len(again)} times" if len(again) > 1 else "once"
            notes.append(
                f"{keyword} starts anew {times} along the stack, first at {ordered[again[0]].name}: scans, times or phases "
                "may be joined here"
            )
    return notes


def mixture(slices: Sequence[Slice]) -> str:
    """What the slices' acquisitions are where they are several, as a sentence behind another refusal; or empty."""
    for keyword in _SINGLE_CHANGE:
        counts = Counter(_value(one.header, keyword) or "none" for one in slices)
        if 2 <= len(counts) <= max(2, len(slices) // 2) and keyword != "IrradiationEventUID":
            listed = ", ".join(f"{_shown(keyword, value)} ({count} slices)" for value, count in sorted(counts.items()))
            return f" Two or more acquisitions are mixed, {keyword} {listed}: put each in a folder of its own."
    return ""


def missing_parts(headers: Sequence[Dataset], instances: int) -> list[str]:
    """Notes on parts of a concatenation, or instances of the series, that its headers promise and that are not there.

    Args:
        headers: of the image files.
        instances: all files of the series, whatever they are.
    """
    notes = []
    parts: dict[str, set[int]] = {}
    totals: dict[str, int] = {}
    for header in headers:
        uid, number = text_of(header, "ConcatenationUID"), whole_number(header, "InConcatenationNumber")
        if uid and number is not None:
            parts.setdefault(uid, set()).add(number)
            totals[uid] = max(totals.get(uid, 0), whole_number(header, "InConcatenationTotalNumber") or 0)
    for uid, numbers in parts.items():
        absent = sorted(set(range(1, max(totals[uid], *numbers) + 1)) - numbers)
        if absent:
            listed = ", ".join(map(str, absent[:8])) + (" ..." if len(absent) > 8 else "")
            notes.append(f"{INCOMPLETE}: parts {listed} of {max(totals[uid], *numbers)} of a concatenation are missing")
    for keyword, found in (("NumberOfSeriesRelatedInstances", instances), ("ImagesInAcquisition", len(headers))):
        stated = max((whole_number(header, keyword) or 0 for header in headers), default=0)
        if stated > found:
            notes.append(f"{INCOMPLETE}: {keyword} says {stated}, {found} are here")
    return notes


def _told_apart(ordered: Sequence[Slice]) -> Iterator[tuple[str, list[str]]]:
    """Each element that tells acquisitions apart, and what it is in each slice; empty where there is none, or junk."""
    for keyword in (*_SINGLE_CHANGE, "PatientPosition"):
        yield keyword, [_value(one.header, keyword) for one in ordered]
    indices = [text_of(one.header, _DIMENSION).split("\\") for one in ordered]
    for k in range(min(map(len, indices)) if all(one != [""] for one in indices) else 0):
        yield f"{_DIMENSION} {k + 1}", [one[k] for one in indices]


def _value(header: Dataset, keyword: str) -> str:
    if keyword.endswith("Sequence"):
        return " ".join(
            text_of(item, one.keyword)
            for item in items_of(header, keyword)
            for one in item
            if one.VR != "SQ" and one.keyword
        )
    if dictionary_VR(keyword) not in NUMBER_VRS:
        return text_of(header, keyword).strip()
    return "\\".join(f"{one:.12g}" for one in numbers_of(header, keyword))


def _counted(header: Dataset, keyword: str) -> float | None:
    dates = {time: date for date, time in _TIMES}
    return _seconds(header, dates[keyword], keyword) if keyword in dates else whole_number(header, keyword)


def _starts_anew(numbers: Sequence[float | None]) -> list[int]:
    """Where numbers that else run one way along the stack go back to near where they began."""
    if len(numbers) < 2 * _LEAST_IN_ROW or any(one is None for one in numbers):
        return []
    values = np.array(numbers, dtype=np.float64)
    steps = np.diff(values)
    values = values if (steps > 0).sum() >= (steps < 0).sum() else -values
    again, began = [], 0
    for k in range(1, len(values)):
        if values[k] < values[k - 1]:
            if abs(values[k] - values[began]) >= (values[k - 1] - values[began]) / 2:
                return []
            again.append(k)
            began = k
    return again if len(again) * 2 <= len(values) // 2 else []


def _shown(keyword: str, value: str) -> str:
    if keyword in _FREE_TEXT:
        return "(text not shown)"
    return shown(value)[:_SHOWN] if value else "none"


def _alternation(values: Sequence[str], least: int) -> tuple[str, str, int] | None:
    """Two values of which one returns after the other, and how often values change; None where none does."""
    runs = [value for value, _ in groupby(values)]
    returning = [(one, between) for one, between, other in zip(runs, runs[1:], runs[2:], strict=False) if one == other]
    often, count = Counter(runs).most_common(1)[0] if runs else ("", 0)
    if len(runs) - 1 < least or len(set(values)) > max(2, len(values) // 2):
        return None
    if returning:
        first, other = Counter(returning).most_common(1)[0][0]
    elif count >= _LEAST_CHANGES:  # three or more take turns
        first, other = often, runs[(runs.index(often) + 1) % len(runs)]
    else:
        return None
    return first, other, len(runs) - 1


def _check_turns(ordered: Sequence[Slice], keyword: str, values: Sequence[float | None], gap: float) -> None:
    """Refuses rows of numbers whose slices take turns, each rising, falling or constant, `gap` apart or all alike."""
    numbers = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    if not np.isfinite(numbers).all() or len(set(np.sign(np.diff(numbers)))) < 2:
        return
    most = min(_MOST_ROWS, len(numbers) // _LEAST_IN_ROW)
    for count in sorted({2, 3, *range(4, most + 1)}):
        rows = [numbers[k::count] for k in range(count)]
        steps = np.concatenate([np.diff(row) for row in rows])
        ends = sorted((row.min(), row.max()) for row in rows)
        apart = all(behind[0] - one[1] >= gap for one, behind in pairwise(ends))
        # An instance has a number of its own: the same number in neighbours is that of several series.
        alike = keyword == "InstanceNumber" and all(np.array_equal(row, rows[0][: len(row)]) for row in rows)
        apart = apart or (alike and (steps != 0).all())
        least = _LEAST_IN_ROW if keyword == "InstanceNumber" else 3
        if len(numbers) >= least * count and apart and ((steps >= 0).all() or (steps <= 0).all()):
            one, other = (f"{shown(text_of(each.header, keyword))} ({each.name})" for each in ordered[:2])
            raise RefusedInput(
                f"{count} acquisitions take turns along the stack: {keyword} {one} and {other}, and so on in "
                f"{len(ordered)} slices. Expected one acquisition from end to end. Put the slices of each acquisition in a "
                "folder of its own, and give one of them."
            )


def _check_times(ordered: Sequence[Slice], seconds: Sequence[float | None], time: str, gap_s: float) -> None:
    if len(ordered) < 4 or any(one is None for one in seconds):
        return
    times = np.array(seconds, dtype=np.float64)
    rising = np.sort(times)
    gaps = np.diff(rising)
    widest = int(gaps.argmax())
    early = times <= rising[widest]
    changes = int(np.count_nonzero(np.diff(early)))
    if gaps[widest] < gap_s or changes < _LEAST_CHANGES or min(early.sum(), (~early).sum()) < 2:
        return
    at = next(k for k, (one, other) in enumerate(pairwise(early.tolist())) if one != other)
    one, other = (f"{shown(text_of(each.header, time))} ({each.name})" for each in ordered[at : at + 2])
    raise RefusedInput(
        f"Two acquisitions alternate along the stack: {time} {one} and {other}, groups {gaps[widest]:.0f} s apart, change "
        f"{changes} times in {len(ordered)} slices. Expected one acquisition from end to end. Put the slices of each time in "
        "a folder of its own, and give one of them."
    )


def _seconds(header: Dataset, date: str, time: str) -> float | None:
    """Date (where given) and time in seconds; None where they are missing or malformed."""
    text = text_of(header, time).strip()
    if date:
        text = (text_of(header, date).strip() or "20000101") + text
    found = _MOMENT.match(text.replace(":", ""))
    if not found:
        return None
    try:
        day = datetime.strptime(found[1], "%Y%m%d").toordinal()
    except ValueError:
        return None
    return day * 86400 + int(found[2]) * 3600 + int(found[3] or 0) * 60 + float(found[4] or 0)
