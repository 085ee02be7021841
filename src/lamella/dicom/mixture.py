"""Several acquisitions along one stack, and parts of a series that are not there.

A second phase whose slices lie between those of the first makes a stack that looks regular: positions cannot tell. What the
headers say about each slice's acquisition does: one that returns after another is no scan from one end to the other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby, pairwise

import numpy as np
from pydicom.dataset import Dataset

from lamella.dicom.elements import shown, text_of, value_of, whole_number
from lamella.dicom.header import Slice
from lamella.errors import RefusedInput

_SINGLE_CHANGE = {
    "AcquisitionNumber": True, "TemporalPositionIdentifier": True, "TemporalPositionIndex": True,
    "NominalPercentageOfCardiacPhase": True, "TriggerTime": False, "NominalCardiacTriggerDelayTime": False,
    "EchoNumbers": True, "KVP": True, "ContrastBolusAgent": False, "ContrastBolusStartTime": False,
    "ContrastBolusVolume": False, "ConvolutionKernel": False, "IrradiationEventUID": True, "SeriesNumber": True,
    "ImageType": False, "FilterType": False, "SeriesDescription": False, "ProtocolName": False, "ImageComments": False,
    "StackID": True, "ContrastBolusAgentAdministered": False,
}  # fmt: skip
"""What tells acquisitions apart -> whether a single slice that differs from those around it already counts."""

_MISSING_IS_A_VALUE = {"ContrastBolusAgent"}
_FREE_TEXT = {"SeriesDescription", "ProtocolName", "ImageComments"}
"""Not quoted in messages: it may hold a name."""

_SHOWN = 32
"""Characters of a value in a message."""

_TIMES = {
    ("AcquisitionDate", "AcquisitionTime"): 5.0,
    ("", "AcquisitionDateTime"): 5.0,
    ("", "FrameAcquisitionDateTime"): 5.0,
    ("", "FrameReferenceDateTime"): 5.0,
    ("ContentDate", "ContentTime"): 30.0,
}
"""Date and time -> seconds between two groups of slices that no single scan or reconstruction leaves."""

_SLOW_S, _TURN_S = 30.0, 0.5
"""Reconstructions run side by side and end in any order; acquisitions that take turns do not, and lie this far apart."""

_LEAST_CHANGES = 3

INCOMPLETE = "incomplete"
"""Begins every note of `missing_parts`."""

_MOMENT = re.compile(r"(\d{8})(\d\d)(\d\d)?(\d\d(?:\.\d*)?)?")


def check_one_acquisition(ordered: Sequence[Slice]) -> None:
    """Refuses acquisitions, phases or times that alternate along the stack.

    Blocks that follow each other (rotations of the scanner, a neck above a chest) and times that rise or fall along the stack
    are no alternation.
    """
    for keyword, single in _SINGLE_CHANGE.items():
        values = [_value(one.header, keyword) for one in ordered]
        if keyword not in _MISSING_IS_A_VALUE:
            values = [value for value in values if value]
        if found := _alternation(values, 2 if single else _LEAST_CHANGES):
            first, other, changes = found
            named = [_shown(keyword, value) for value in (first, other)]
            at = next(
                (one.name, behind.name)
                for one, behind in pairwise(ordered)
                if {_value(one.header, keyword), _value(behind.header, keyword)} == {first, other}
            )
            raise RefusedInput(
                f"Two acquisitions alternate along the stack: {keyword} {named[0]} and {named[1]} change {changes} times "
                f"in {len(ordered)} slices, first near {' and '.join(at)}. Expected one acquisition from end to end. "
                f"Put the slices of each {keyword} in a folder of its own, and give one of them."
            )
    _check_turns(ordered, "AcquisitionNumber", [whole_number(one.header, "AcquisitionNumber") for one in ordered], 1)
    for (date, time), gap_s in _TIMES.items():
        seconds = [_seconds(one.header, date, time) for one in ordered]
        _check_times(ordered, seconds, time, gap_s)
        if gap_s < _SLOW_S:
            _check_turns(ordered, time, seconds, _TURN_S)


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


def _value(header: Dataset, keyword: str) -> str:
    value = value_of(header, keyword)
    return f"{float(value):g}" if isinstance(value, (int, float)) else text_of(header, keyword).strip()


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
    """Refuses two or three rising (or falling, or constant) rows of numbers, `gap` apart, whose slices take turns."""
    numbers = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    if not np.isfinite(numbers).all() or not 0 < (np.diff(numbers) > 0).sum() < len(numbers) - 1:
        return
    for count in (2, 3):
        rows = [numbers[k::count] for k in range(count)]
        steps = np.concatenate([np.diff(row) for row in rows])
        ends = sorted((row.min(), row.max()) for row in rows)
        apart = all(behind[0] - one[1] >= gap for one, behind in pairwise(ends))
        if len(numbers) >= 3 * count and apart and ((steps >= 0).all() or (steps <= 0).all()):
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
