"""Values of DICOM elements, read without trusting them: absent, empty and malformed are told apart from numbers."""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import STR_VR, PersonName

from lamella.errors import RefusedInput

NUMBER_VRS = {"DS", "IS", "FD", "FL", "SL", "SS", "UL", "US"}

TEXT_VRS = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
"""Value representations whose meaning depends on SpecificCharacterSet (PS3.5 6.1.2.3)."""

_CODE = re.compile(r"[A-Za-z0-9 _.:+/\\()\[\]-]{1,64}")
"""What codes, numbers, times and UIDs are written with; names of persons hold a caret, damaged headers control characters."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,9})?\s*", re.ASCII | re.IGNORECASE)
"""PS3.5 table 6.2-1, DS and IS. `float` also reads 1_0 and the digits of other scripts, and a tag (VR AT) is an integer."""

_IS_LIMIT = 2**31

_AS_READ = "bytes_as_read"


class _Undecoded(bytes):
    """Bytes that pydicom writes as a person's name without a look at their character set."""

    def encode(self, encodings: object = None) -> bytes:
        return bytes(self)


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
    found = numbers_of(header, keyword)
    if len(found) != count:
        several = 1 if isinstance(value, (int, float, str)) else len(value)
        raise RefusedInput(
            f"{label} is malformed in {name}. Found {several} values; expected {count} finite "
            f"number{'s' if count > 1 else ''}."
        )
    return found


def numbers_of(header: Dataset, keyword: str) -> tuple[float, ...]:
    """The element's finite numbers; none where it is absent, or where one of its values is anything else.

    The numbers of an integer string (IS) are integers of 32 bits (PS3.5 table 6.2-1).
    """
    value, whole = value_of(header, keyword), dictionary_VR(keyword) == "IS"
    values = [value] if value is None or isinstance(value, (int, float, str)) else value
    try:
        found = tuple(map(float, values)) if all(_NUMBER.fullmatch(str(item)) for item in values) else ()
    except (TypeError, ValueError, OverflowError):
        return ()
    fits = (math.isfinite(one) and (not whole or (one.is_integer() and abs(one) < _IS_LIMIT)) for one in found)
    return found if all(fits) else ()


def value_of(header: Dataset, keyword: str) -> Any:
    """The element's value, or None where it is absent, empty or cannot be converted by pydicom."""
    # A malformed value surfaces here, because pydicom converts lazily; its message would quote the value.
    try:
        return header.get(keyword)
    except Exception:
        return None


def whole_number(header: Dataset, keyword: str) -> int | None:
    """The element as one integer, or None where it is anything else."""
    found = numbers_of(header, keyword)
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else None


def text_of(header: Dataset, keyword: str) -> str:
    """The element as text, several values joined with a backslash as in the file; empty where there is none."""
    value = value_of(header, keyword)
    if value is None:
        return ""
    several = hasattr(value, "__iter__") and not isinstance(value, (str, PersonName))
    return (
        "\\".join(map(str, value)) if several else str(value)
    )  # no pydicom.UID: its copies would be validated, and quoted


def items_of(header: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; none where it is absent, or where its VR in the file makes it something else."""
    value = value_of(header, keyword)
    return tuple(value) if isinstance(value, Sequence) else ()


def uid_of(header: Dataset, keyword: str) -> UID:
    """The element as one UID, empty where there is none; several, or a number, become one that nothing knows."""
    return UID(text_of(header, keyword))


def uid_name(uid: UID) -> str:
    """What a message calls a UID: its name in PS3.6, or itself."""
    return uid.name if uid.name != uid else shown(uid)


def shown(text: str) -> str:
    """A code or number of a header as a message may quote it; what is neither may be a part of a damaged header, and a name."""
    return text if _CODE.fullmatch(text) else "missing" if not text else "(text not shown)"


def _tag(tag: int) -> str:
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


def settle(header: Dataset) -> list[str]:
    """Converts every element now, inside the caller's `quiet_pydicom`, because later warnings would quote the value.

    The bytes of texts are kept beside their values, for `undecoded`.

    Returns:
        "(gggg,eeee)" of each top-level element that was removed because it cannot be converted.
    """
    removed = []
    for tag in list(header.keys()):
        try:
            raw = getattr(header.get_item(tag), "value", None)  # converts what has no known VR
            element = header[tag]
            if element.VR in STR_VR and isinstance(raw, bytes):
                setattr(element, _AS_READ, (raw, element.value))
            if element.VR == "SQ":
                for item in element.value:
                    settle(item)
        # Any error of a converter means malformed bytes.
        except Exception:
            del header[tag]
            removed.append(_tag(tag))
    return removed


def undecoded(element: DataElement) -> bytes | None:
    """The bytes of a text as they were read; None where the value has been set since, or is no text."""
    raw, value = getattr(element, _AS_READ, (None, None))
    return raw if raw is not None and value == element.value else None


def text_element(keyword: str, vr: str, raw: bytes) -> DataElement:
    """An element that is written with exactly these bytes (and a blank behind an odd number of them)."""
    return DataElement(keyword, vr, _Undecoded(raw), already_converted=True)


def is_coded(raw: bytes) -> bool:
    """Whether the meaning of these bytes depends on a character set: bytes above ASCII, or an escape sequence (ISO 2022)."""
    return not raw.isascii() or b"\x1b" in raw


def cut_coded(raw: bytes, room: int, *, utf8: bool) -> bytes:
    """As much of a text as fits into `room` characters, with ASCII in force at its end, so that ASCII can follow.

    A text that is too long is cut at a blank, because a blank is part of no character of several bytes in any of DICOM's
    character sets. Where characters cannot be counted, bytes are.
    """
    raw = raw.rstrip(b" \0")
    size = len([byte for byte in raw if byte & 0xC0 != 0x80]) if utf8 else len(raw)
    if size <= room and _ends_in_ascii(raw):
        return raw
    words = raw[: max(room, 0) + 1].split(b" ")[:-1]
    while words and not _ends_in_ascii(b" ".join(words)):
        words.pop()
    return b" ".join(words)


def _ends_in_ascii(raw: bytes) -> bool:
    """Whether the last escape sequence that changes the lower half (ESC ( x, ESC $ x) brought ASCII or JIS X 0201 back."""
    last = max(raw.rfind(b"\x1b("), raw.rfind(b"\x1b$B"), raw.rfind(b"\x1b$@"), raw.rfind(b"\x1b$("))
    return last < 0 or raw[last : last + 3] in (b"\x1b(B", b"\x1b(J")
