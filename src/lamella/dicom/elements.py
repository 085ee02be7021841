"""Values of DICOM elements, read without trusting them: absent, empty and malformed are told apart from numbers."""

from __future__ import annotations

import math
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from lamella.errors import RefusedInput


def numbers(header: Dataset, keyword: str, count: int, name: str, why: str) -> tuple[float, ...]:
    """The `count` finite numbers of an element.

    Raises:
        RefusedInput: missing, empty, not numbers, or another count; the message says `why` it is needed.
    """
    label = f"{keyword} {_tag(tag_for_keyword(keyword) or 0)}"
    value = value_of(header, keyword)
    if value is None or value == "":
        raise RefusedInput(
            f"{label} is missing or unreadable in {name}. {why}. Export the series again with its full header."
        )
    values = [value] if isinstance(value, (int, float, str)) else list(value)
    try:
        found = tuple(float(item) for item in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(math.isfinite(item) for item in found):
        raise RefusedInput(
            f"{label} is malformed in {name}. Found {len(values)} values; expected {count} finite "
            f"number{'s' if count > 1 else ''}."
        )
    return found


def value_of(header: Dataset, keyword: str) -> Any:
    """The element's value, or None where it is absent, empty or cannot be converted by pydicom."""
    # A malformed value surfaces here, because pydicom converts lazily; its message would quote the value.
    try:
        return header.get(keyword)
    except Exception:
        return None


def whole_number(header: Dataset, keyword: str) -> int | None:
    """The element as one integer, or None where it is anything else."""
    value = value_of(header, keyword)
    return int(value) if isinstance(value, (int, float)) and float(value).is_integer() else None


def text_of(header: Dataset, keyword: str) -> str:
    """The element as text, several values joined with a backslash as in the file; empty where there is none."""
    value = value_of(header, keyword)
    if value is None:
        return ""
    return value if isinstance(value, str) else "\\".join(map(str, value)) if hasattr(value, "__iter__") else str(value)


def _tag(tag: int) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


def settle(header: Dataset) -> list[str]:
    """Converts every element now, inside the caller's `quiet_pydicom`, because later warnings would quote the value.

    Returns:
        "(gggg,eeee)" of each top-level element that was removed because it cannot be converted.
    """
    removed = []
    for tag in list(header.keys()):
        try:
            element = header[tag]
            if element.VR == "SQ":
                for item in element.value:
                    settle(item)
        # Any error of a converter means malformed bytes.
        except Exception:
            del header[tag]
            removed.append(_tag(tag))
    return removed
