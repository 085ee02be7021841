"""Which study a received data set belongs to, from its head alone: pixels are never touched, and nothing in it is trusted."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

HEAD_BYTES = 4 << 20
"""The identifiers must stand within these first bytes; what comes before them in a CT takes a few kilobytes."""

_TAGS = {name: Tag(name) for name in ("SyntheticData", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")}
_PREAMBLE_BYTES, _HEAD_END, _META_BYTES = 128, 132, 64 << 10
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class Unreadable(ValueError):
    """No data set, or one without what tells it from others."""


@dataclass(frozen=True)
class Identity:
    """What tells a data set from others.

    Attributes:
        sop_class, instance, study: SOPClassUID, SOPInstanceUID and StudyInstanceUID.
        synthetic: SyntheticData is YES: a model made it, at least in part.
    """

    sop_class: str
    instance: str
    study: str
    synthetic: bool


def identify(data: memoryview, syntax: UID) -> Identity:
    """Read the identifiers of an encoded data set without file meta information.

    Args:
        data: as it came over the network.
        syntax: its transfer syntax.

    Raises:
        Unreadable: it cannot be parsed so far, or an identifier is missing or no UID. The message quotes nothing.
    """
    head = bytes(data[:HEAD_BYTES])
    try:
        if syntax.is_deflated:
            head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
        found = read_dataset(
            BytesIO(head),
            syntax.is_implicit_VR,
            syntax.is_little_endian,
            stop_when=_beyond,
            specific_tags=list(_TAGS.values()),
        )
        values = {name: _text(found, tag) for name, tag in _TAGS.items()}
    except Exception as error:  # pydicom raises whatever went wrong first, and quotes values
        raise Unreadable(f"it cannot be parsed ({type(error).__name__})") from None
    for name in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"):
        if len(values[name]) > 64 or not _UID.fullmatch(values[name]):
            raise Unreadable(f"{name} is missing or no UID")
    synthetic = values["SyntheticData"] == "YES"
    return Identity(values["SOPClassUID"], values["SOPInstanceUID"], values["StudyInstanceUID"], synthetic)


def split_file(content: bytes) -> tuple[Dataset, memoryview]:
    """File meta information and encoded data set of a DICOM file (PS3.10 7.1).

    Raises:
        Unreadable: it is none, or starts as one and cannot be parsed.
    """
    if content[_PREAMBLE_BYTES:_HEAD_END] != b"DICM":
        raise Unreadable("it is no DICOM file")
    stream = BytesIO(content[_HEAD_END : _HEAD_END + _META_BYTES])
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group > 2)
        {one.keyword: one.value for one in meta}  # converted now, while errors are caught
    except Exception as error:  # as in `identify`
        raise Unreadable(f"it cannot be parsed ({type(error).__name__})") from None
    if "TransferSyntaxUID" not in meta:
        raise Unreadable("it has no TransferSyntaxUID")
    return meta, memoryview(content)[_HEAD_END + stream.tell() :]


def _text(found: Dataset, tag: BaseTag) -> str:
    """A value as it stands in the file; nothing is converted, so nothing is warned about."""
    if tag not in found:
        return ""
    value = found.get_item(tag).value
    return value.decode("ascii").strip("\0 ") if isinstance(value, bytes) else str(value or "")


def _beyond(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > _TAGS["StudyInstanceUID"])
