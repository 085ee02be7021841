"""How the fuzzer changes an input so that most of it still reads: an element of DICOM, a member of a ZIP, a field of NIfTI."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from tests.fuzz.containers import pack, unpack

Mutate = Callable[[bytes, int], bytes]
"""libFuzzer's own mutation of some bytes, at most so long."""

VALUES = (
    b"", b" ", b"0", b"-1", b"-0", b"1", b"2", b"65535", b"1.5", b"1e308", b"1e-320", b"1e-99999999999999999999", b"NaN",
    b"inf", b"1_0", b"0x10", b"9" * 40, b"1\\2", b"\\" * 9, b"\\1", b"1\\", b"\0" * 4, b"\0\x80", b"\xff" * 4, b"\xff" * 8,
    b"\xd9\xa3", b"\x1b$B", b"\x1b[31m", b"20200102", b"235959.999999", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"1.2.3", b"US",
    b"0.5\\0.5", b"1\\0\\0\\0\\1\\0", b"-120\\-100\\-45.0", b"0.8\\0.6\\0\\-0.6\\0.8\\0", b"5.0", b"DERIVED\\SECONDARY",
)  # fmt: skip
"""Values that readers trip over, and some that belong."""

KEYWORDS = (
    "NumberOfFrames", "PixelPaddingRangeLimit", "RescaleType", "ImageType", "FrameType", "TriggerTime", "AcquisitionDateTime",
    "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber", "TimezoneOffsetFromUTC", "SyntheticData",
    "LossyImageCompression", "SpacingBetweenSlices", "GantryDetectorTilt", "ContrastBolusAgent",
    "SharedFunctionalGroupsSequence", "NumberOfSeriesRelatedInstances", "ImagesInAcquisition", "IrradiationEventUID",
    "PatientBirthDate", "PatientAge",
)  # fmt: skip
"""Elements that may be put in."""

_VRS = (b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ??").split()
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_PREAMBLE = 132
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Element:
    """Where an element lies: from its tag to the end of its value; a sequence ends where its first item begins."""

    start: int
    value: int
    end: int
    explicit: bool
    big: bool

    @property
    def order(self) -> str:
        """Of its bytes."""
        return "big" if self.big else "little"

    def with_value(self, data: bytes, value: bytes) -> bytes:
        """The file with another value of the right length."""
        value += b" " * (len(value) % 2)
        width = 2 if self.explicit and self.value - self.start == 8 else 4
        size = (len(value) % 256**width).to_bytes(width, "big" if self.big else "little")
        return data[: self.value - width] + size + value + data[self.end :]


def elements(data: bytes) -> Iterator[Element]:
    """Every element of a file in order, those within sequences and fragments of pixels too; ends where nothing is legible."""
    head = data[:512]
    big = uid.ExplicitVRBigEndian.encode() + b"\0" in head
    implicit = uid.ImplicitVRLittleEndian.encode() + b"\0" in head
    at, in_pixels = _PREAMBLE, False
    while at + 8 <= len(data):
        meta = data[at : at + 2] == b"\2\0"
        reverse = big and not meta
        order = "big" if reverse else "little"
        group, number = (int.from_bytes(data[k : k + 2], order) for k in (at, at + 2))
        explicit = group != 0xFFFE and (meta or not implicit)
        vr = data[at + 4 : at + 6] if explicit else b""
        value = at + (12 if vr in _LONG else 8)
        size = int.from_bytes(data[value - (4 if not explicit or vr in _LONG else 2) : value], order)
        opens = size == _UNDEFINED or vr == b"SQ" or (group == 0xFFFE and not in_pixels)
        in_pixels |= (group, number) == (0x7FE0, 0x0010)
        end = value if opens else min(value + size, len(data))
        yield Element(at, value, end, explicit, reverse)
        at = end


def mutate_dicom(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """One file of DICOM, changed in some of its elements; inside the deflated data set where there is one."""
    rng = random.Random(seed)
    if uid.DeflatedExplicitVRLittleEndian.encode() in data[:512] and rng.random() < 0.9:
        ends = [one.end for one in elements(data[:512]) if data[one.start : one.start + 2] == b"\2\0"]
        try:
            inner = zlib.decompress(data[ends[-1] :], -zlib.MAX_WBITS)
        except (IndexError, zlib.error):
            return mutate(data, most)
        changed = mutate_dicom(bytes(_PREAMBLE) + inner, most, rng.getrandbits(32), mutate)[_PREAMBLE:]
        return data[: ends[-1]] + _deflate(changed)
    places = list(elements(data))
    if not places or rng.random() < 0.1:
        return mutate(data, most)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(elements(data)) or places
        data = _changed(data, rng.choice(places), rng.choice(places), rng, mutate)
    return data[:most]


def _changed(data: bytes, one: Element, other: Element, rng: random.Random, mutate: Mutate) -> bytes:
    value, whole = data[one.value : one.end], data[one.start : one.end]
    kind = rng.randrange(11)
    if kind < 3:
        return one.with_value(data, mutate(value or b"0", len(value) + 8))
    if kind < 5:
        return one.with_value(data, rng.choice(VALUES))
    if kind == 5:
        return one.with_value(data, data[other.value : other.end])
    if kind == 6:
        size = rng.choice((0, 1, 2, 7, 0xFF, 0xFFFE, 0xFFFFFFFE, _UNDEFINED, rng.getrandbits(32)))
        width = 2 if one.explicit and one.value - one.start == 8 else 4
        changed = (size % 256**width).to_bytes(width, one.order)
        return data[: one.value - width] + changed + data[one.value :]
    if kind == 7 and one.explicit:
        return data[: one.start + 4] + rng.choice(_VRS) + data[one.start + 6 :]
    if kind == 8:
        return data[: one.start] + data[one.end :]
    if kind == 9:
        return data[: other.start] + whole + data[other.start :]
    return data[: one.end] + _new(rng, one) + data[one.end :]


def _new(rng: random.Random, beside: Element) -> bytes:
    keyword, value = rng.choice(KEYWORDS), rng.choice(VALUES)
    tag, vr = tag_for_keyword(keyword) or 0, dictionary_VR(keyword)[:2].encode()
    head = b"".join((part).to_bytes(2, beside.order) for part in (tag >> 16, tag & 0xFFFF))
    value += b" " * (len(value) % 2)
    if not beside.explicit:
        return head + len(value).to_bytes(4, beside.order) + value
    wide = vr in _LONG
    return head + vr + (b"\0\0" if wide else b"") + len(value).to_bytes(4 if wide else 2, beside.order) + value


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def mutate_folder(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Packed files: one changed, the same change in all, one copied, taken out or moved."""
    rng = random.Random(seed)
    files = unpack(data)
    if not files or rng.random() < 0.05:
        return mutate(data, most)
    kind, k = rng.randrange(8), rng.randrange(len(files))
    inner = rng.getrandbits(32)
    if kind < 4:
        files[k] = mutate_dicom(files[k], most, inner, mutate)
    elif kind == 4:  # the same choices in each, so that they still agree
        files = [mutate_dicom(one, most, inner, lambda value, size: value[::-1]) for one in files]
    elif kind == 5:
        files.insert(rng.randrange(len(files) + 1), files[k])
    elif kind == 6 and len(files) > 1:
        del files[k]
    else:
        rng.shuffle(files)
    return pack(files)[:most]


def mutate_zip(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """A ZIP with a member changed and everything around it right; or with its records changed."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return _records_changed(data, rng, mutate, most)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(one, archive.read(one)) for one in archive.infolist()][:8]
    except Exception:
        return _records_changed(data, rng, mutate, most)
    if not members:
        return mutate(data, most)
    k = rng.randrange(len(members))
    info, content = members[k]
    if rng.random() < 0.8:
        members[k] = (info, mutate_dicom(content, most, rng.getrandbits(32), mutate))
    else:
        info.filename = rng.choice(
            ("../x", "/x", "C:\\x", "a.zip", "DICOMDIR", "", "x" * 300, "\udcff", "é\0", info.filename)
        )
        info.external_attr = rng.choice((0, 0o120777 << 16, info.external_attr))
    buffer = io.BytesIO()
    try:
        with zipfile.ZipFile(buffer, "w") as archive:
            for one, content in members:
                archive.writestr(one, content)
    except (ValueError, UnicodeError, IndexError):
        return mutate(data, most)
    return buffer.getvalue()[:most]


def _records_changed(data: bytes, rng: random.Random, mutate: Mutate, most: int) -> bytes:
    """Fields of a local header, of the central directory or of its end."""
    starts = [k for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7") for k in _all(data, mark)]
    if not starts or rng.random() < 0.2:
        return mutate(data, most)
    at = rng.choice(starts) + 4 + rng.randrange(42)
    if rng.random() < 0.5:
        return data[:at] + rng.choice((b"\0\0", b"\xff\xff", b"\xff" * 4, b"\1", rng.randbytes(2))) + data[at + 2 :]
    return data[:at] + mutate(data[at : at + 8], 8) + data[at + 8 :]


def _all(data: bytes, mark: bytes) -> Iterator[int]:
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def mutate_nifti(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Kind, sidecar and image, packed: a field of the header, the sidecar, or any bytes."""
    rng = random.Random(seed)
    parts = unpack(data, most=3)
    if len(parts) != 3 or rng.random() < 0.1:
        return mutate(data, most)
    kind, sidecar, image = parts
    choice = rng.randrange(10)
    if choice == 0:
        kind = bytes([rng.randrange(8)])
    elif choice < 3:
        sidecar = mutate(sidecar, 512)
    elif choice < 5:
        image = mutate(image, most)
    else:
        image = _field_changed(image, rng)
    return pack([kind, sidecar, image])[:most]


def _field_changed(image: bytes, rng: random.Random) -> bytes:
    header = nib.Nifti2Header if image[4:7] == b"n+2" else nib.Nifti1Header
    dtype = header.template_dtype.newbyteorder(rng.choice("<<>"))
    if len(image) < dtype.itemsize:
        return image
    record = np.frombuffer(image, dtype, count=1).copy()
    name = rng.choice(dtype.names)
    field = record[name].reshape(-1)
    k = rng.randrange(field.size)
    if field.dtype.kind in "iu":
        limits = np.iinfo(field.dtype)
        field[k] = rng.choice((0, 1, 2, 3, 4, 8, 16, 64, limits.max, limits.min, limits.max // 2))
    elif field.dtype.kind == "f":
        field[k] = rng.choice((0, -1, 1, 0.5, -5, 352, 1e-30, 1e30, np.nan, np.inf, -0.0, float(field[k]) * 1.0001))
    else:
        field[k] = rng.randbytes(field.itemsize)
    return record.tobytes() + image[dtype.itemsize :]
