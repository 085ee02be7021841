"""Bytes of one file -> pydicom header, or the reason why not. Nothing here trusts the file.

pydicom quotes offending values in its warnings and log records ("Invalid value for VR DA: ..."), and those values may name a
patient. So all parsing, and every later conversion of an element, happens inside `quiet_pydicom`.
"""

from __future__ import annotations

import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage
from pydicom.values import converters

from lamella.dicom.archive import Entry, inflation_limit, is_zip
from lamella.dicom.elements import settle, value_of
from lamella.errors import RefusedInput

HEAD_BYTES = 512
"""Bytes that decide whether a file is DICOM at all, or what else it is."""

MAX_ITEMS = 200_000
"""Most items of sequences in a file, each of which takes a kilobyte; an enhanced CT of 4,000 slices has about 60,000."""

_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "an archive", b"Rar!\x1a\x07": "an archive", b"\xfd7zXZ\0": "an archive", b"BZh": "an archive",
    b"NRRD000": "another format", b"ObjectType": "another format", b"\x89HDF": "another format", b"CDF": "another format",
    b"# vtk": "another format", b"\x93NUMPY": "another format", b"II*\0": "another format", b"MM\0*": "another format",
    b"\x5c\x01\0\0": "another format", b"\0\0\x01\x5c": "another format",
}  # fmt: skip
"""First bytes -> what the file is (Analyze begins with its length, 348); a tar archive has its mark elsewhere."""

_TAR, _TAR_AT = b"ustar", 257
_PREAMBLE_BYTES = 128
_PIXEL_TAGS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_FIRST_GROUPS = {0x0002, 0x0008}
_MAX_FIRST_VALUE_BYTES = 1024
_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_MARKS = {"DICOMDIR", "Icon\r", "LOCKFILE", "VERSION"}


class NotDicom(Exception):
    """The file is something else (its message says what); it is ignored and listed."""


_QUIET = threading.Lock()
_QUIETENED: list[warnings.catch_warnings[None]] = []
"""One for each block of `quiet_pydicom` that threads are in; the first one holds what was before."""


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Suppresses pydicom's warnings and log records, which quote values of the file, until the last thread has left it."""
    with _QUIET:
        held = warnings.catch_warnings()
        if not _QUIETENED:
            logging.getLogger("pydicom").addFilter(_drop)
            held.__enter__()
            warnings.simplefilter("ignore")
        _QUIETENED.append(held)
    try:
        yield
    finally:
        with _QUIET:
            if len(_QUIETENED) == 1:
                _QUIETENED[0].__exit__(None, None, None)
                logging.getLogger("pydicom").removeFilter(_drop)
                _QUIETENED.clear()
            else:
                _QUIETENED.pop()


def _drop(record: logging.LogRecord) -> bool:
    return False


def read_header(entry: Entry) -> tuple[Dataset, list[str]]:
    """The data set of one file without pixel data, with `file_meta`, every element converted.

    Returns:
        (data set, "(gggg,eeee)" of each element that was left out because it cannot be converted).

    Raises:
        NotDicom: another format, or a DICOMDIR.
        RefusedInput: empty; it says it is DICOM, in its name or within, and cannot be parsed; a deflated data set beyond
            the inflation limit.
    """
    bare = _sniff(entry)
    dataset = _parsed(entry, bare, pixels=False)
    removed = settle(dataset.file_meta) + settle(dataset)
    if bare and not ("SOPClassUID" in dataset and "SeriesInstanceUID" in dataset):
        raise NotDicom("not DICOM")
    if MediaStorageDirectoryStorage in (dataset.file_meta.get("MediaStorageSOPClassUID"), dataset.get("SOPClassUID")):
        raise NotDicom("a DICOMDIR")
    return dataset, removed


def read_pixel_data(entry: Entry) -> bytes:
    """PixelData of a file whose header has been read, as it is encoded.

    Raises:
        RefusedInput: there is none, or the file can no longer be parsed.
    """
    dataset = _parsed(entry, bare=_sniff(entry), pixels=True)
    data = value_of(dataset, "PixelData")
    if not isinstance(data, bytes) or not data:
        # Also where pixel data without an end makes pydicom drop the whole data set.
        raise RefusedInput(f"{entry.name} has no pixel data. It may be cut off: copy or export it again.")
    return data


def _parsed(entry: Entry, bare: bool, pixels: bool) -> Dataset:
    data = entry.read(-1)
    try:
        return _parse(data, bare, pixels, entry.name)
    except RefusedInput:
        raise
    # pydicom raises many kinds of errors on a damaged file (struct.error, KeyError, RecursionError, ...). The message may
    # quote a value, so only the kind of failure is passed on.
    except Exception as error:
        raise RefusedInput(
            f"{entry.name} starts as DICOM and cannot be parsed ({type(error).__name__}). "
            "It is damaged: export it again, or take it out of the folder."
        ) from None


def _sniff(entry: Entry) -> bool:
    """Whether the file is DICOM without a preamble; raises NotDicom where it is no DICOM at all.

    The rest of a slice whose copy failed is refused: without it the series would be short without notice.
    """
    head = entry.read(HEAD_BYTES)
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM":
        return False
    if is_zip(head):
        raise NotDicom("a ZIP")
    if entry.path.name.lower().endswith((".nii", ".nii.gz")):
        raise NotDicom("NIfTI")
    if head.startswith(_GZIP):
        _check_gzip(entry)
    if head[_TAR_AT:].startswith(_TAR):
        raise NotDicom("an archive")
    for begin, kind in _OTHERS.items():
        if head.startswith(begin):
            raise NotDicom(kind)
    if looks_bare(head):
        return True
    path = entry.path
    named = path.suffix.lower() in _DICOM_SUFFIXES
    # Scanners and archives name slices without a suffix or end their names in a number; other empty files are markers.
    likely = named or not path.suffix or path.suffix[1:].isdigit()
    blank = likely and not head.strip(b"\0") and not entry.read(-1).strip(b"\0")
    if (named or blank) and not path.name.startswith(".") and path.name not in _MARKS:
        state = "empty or holds nothing but zeros" if blank else "named like DICOM and is none"
        raise RefusedInput(
            f"{entry.name} is {state}: if it was a slice, its copy failed. Copy or export it again, or take it out."
        )
    raise NotDicom("not DICOM")


def _check_gzip(entry: Entry) -> None:
    """Raises NotDicom with what was compressed, or a refusal of a DICOM file: without it a series would be short."""
    try:
        head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(entry.read(HEAD_BYTES * 8), HEAD_BYTES)
    except zlib.error:
        head = b""
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM" or looks_bare(head):
        raise RefusedInput(
            f"{entry.name} is a DICOM file that was compressed with gzip. Unpack all such files (gunzip) and give the folder."
        )
    raise NotDicom("an archive" if head[_TAR_AT:].startswith(_TAR) else "compressed with gzip")


def looks_bare(head: bytes) -> bool:
    """Whether these bytes read as the first element of a data set that lacks its preamble (old exports do).

    Sane means: group 0002 or 0008, and then either a known VR or a short even length.
    """
    if len(head) < 8:
        return False
    explicit = head[4:6].decode("latin-1") in converters
    if int.from_bytes(head[:2], "big") in _FIRST_GROUPS and explicit:
        return True
    length = int.from_bytes(head[4:8], "little")
    sane = explicit or (length % 2 == 0 and length <= _MAX_FIRST_VALUE_BYTES)
    return int.from_bytes(head[:2], "little") in _FIRST_GROUPS and sane


def _parse(data: bytes, bare: bool, pixels: bool, name: str) -> Dataset:
    file = BytesIO(data)
    file.seek(0 if bare else _PREAMBLE_BYTES + 4)
    meta = FileMetaDataset()
    if data[file.tell() : file.tell() + 2] == b"\x02\x00":
        meta = FileMetaDataset(read_dataset(file, False, True, stop_when=_beyond_meta))
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        _check_items(data, name)
        file.seek(0)
        dataset = pydicom.dcmread(file, force=bare, stop_before_pixels=not pixels)
        # pydicom keeps the buffer for deferred reading; dropping it frees the whole file's bytes.
        dataset.buffer = None
        return dataset
    inflated = _inflate(data[file.tell() :], name)
    _check_items(inflated, name)
    plain = read_dataset(BytesIO(inflated), False, True, stop_when=None if pixels else _at_pixels)
    plain.file_meta = meta
    plain.set_original_encoding(False, True)
    return plain


def _inflate(packed: bytes, name: str) -> bytes:
    """PS3.5 A.5: everything after the file meta information is one raw deflate stream."""
    limit = inflation_limit(len(packed))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(packed, limit)
    if inflater.unconsumed_tail:
        raise RefusedInput(f"{name} looks like a deflate bomb: {len(packed):,} bytes inflate to more than {limit:,}.")
    if not inflater.eof:
        raise RefusedInput(f"{name} is cut off: its deflated data set has no end. Copy it again.")
    return data


def _check_items(data: bytes, name: str) -> None:
    count = sum(map(data.count, _ITEMS))
    if count > MAX_ITEMS:
        raise RefusedInput(
            f"{name} has {count:,} items in its sequences, at most {MAX_ITEMS:,} are read. It is damaged or a bomb."
        )


def _beyond_meta(tag: int, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2


def _at_pixels(tag: int, vr: str | None, length: int) -> bool:
    return tag in _PIXEL_TAGS
