"""What a compressed frame says about its own samples, held against BitsStored and PixelRepresentation.

PS3.5 8.2: the stream's precision should be BitsStored. Where it is not, decoders leave the sign to whoever reads: a 12-bit
stream under a header of 16 signed bits turns air at -1000 into 3096 unless the sign is extended by the stream's own bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.errors import RefusedInput

_SOI, _SOC_SIZ, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
_SIZ_COMPONENT = 42
"""ISO/IEC 15444-1 A.5.1: SOC, then SIZ with Csiz, the number of components, and Ssiz of the first at byte 42."""

_SIZ_EXTENT = 8
"""Xsiz, Ysiz, XOsiz and YOsiz: the picture is what lies between."""

_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""SOFn of ISO/IEC 10918-1 and SOF55 of ISO/IEC 14495-1 (JPEG-LS)."""

_LOSSLESS, _SCAN = 0xC3, 0xDA

_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True)
class StreamFormat:
    """What a stream says of its picture.

    Attributes:
        bits: of a sample.
        signed: None where the format has no word for it (JPEG, JPEG-LS).
        shape: (rows, columns).
        shift: lowest bits that JPEG lossless left out, which decoders leave to whoever reads (ISO/IEC 10918-1 H.1.2.1).
    """

    bits: int
    signed: bool | None
    shape: tuple[int, int]
    shift: int = 0

    def __str__(self) -> str:
        sign = {None: "", True: " signed", False: " unsigned"}[self.signed]
        return f"{self.bits}{sign} bits a sample"


def stream_format(frame: bytes) -> StreamFormat | None:
    """The precision in a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream of one component; None where the bytes are none of these."""
    if frame[:2] == _SOI:
        return _of_jpeg(frame)
    start = _codestream(frame) if frame[:8] == _JP2 else 0
    if frame[start : start + 4] != _SOC_SIZ or len(frame) <= start + _SIZ_COMPONENT:
        return None
    if int.from_bytes(frame[start + _SIZ_COMPONENT - 2 : start + _SIZ_COMPONENT], "big") != 1:
        return None
    component = frame[start + _SIZ_COMPONENT]
    right, bottom, left, top = np.frombuffer(frame, ">u4", 4, start + _SIZ_EXTENT).tolist()
    return StreamFormat((component & 0x7F) + 1, bool(component & 0x80), (bottom - top, right - left))


def _codestream(frame: bytes) -> int:
    """Where the code stream lies in a JP2 file (ISO/IEC 15444-1 I.4): in its box jp2c; the end where there is none."""
    at = 0
    while at + 8 <= len(frame):
        size, kind = int.from_bytes(frame[at : at + 4], "big"), frame[at + 4 : at + 8]
        if kind == b"jp2c":
            return at + (16 if size == 1 else 8)
        at += max(size, 8)
    return len(frame)


def _of_jpeg(frame: bytes) -> StreamFormat | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
        elif marker in _FRAME_HEADERS:
            rows, columns = (int.from_bytes(frame[k : k + 2], "big") for k in (at + 5, at + 7))
            shift = _point_transform(frame, at) if marker == _LOSSLESS else 0
            return StreamFormat(frame[at + 4], None, (rows, columns), shift)
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def _point_transform(frame: bytes, at: int) -> int:
    """Al of the first scan behind the segment at `at` (ISO/IEC 10918-1 B.2.3): the last four bits of its header."""
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        end = at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at + 1] == _SCAN:
            return frame[end - 1] & 0xF if end <= len(frame) else 0
        at = end
    return 0


def signed_by_stream(
    raw: NDArray[np.uint16], stream: StreamFormat, bits: int, signed: bool, name: str
) -> NDArray[np.uint16]:
    """The words with their sign extended to 16 bits as far as the stream, not BitsStored, decides it.

    Args:
        raw: (rows, columns) decoded words; of a signed stream already extended to 16 bits.
        stream: what the stream says.
        bits, signed: BitsStored and PixelRepresentation.
        name: of the file, for the message.

    Raises:
        RefusedInput: the stream and the header give some samples two meanings.
    """
    if stream.signed:
        # A negative sample under an unsigned header; the decoder has extended it already.
        wrong = int(np.count_nonzero(raw & 0x8000)) if not signed else 0
    elif signed and stream.bits < bits:
        # Either the sign bit of a narrower number, or the highest bit of one that is not negative: nobody can know.
        wrong = int(np.count_nonzero(raw >> (stream.bits - 1)))
    elif signed and stream.bits > bits:
        spare = 16 - stream.bits
        return ((raw << spare).view(np.int16) >> spare).view(np.uint16)
    else:
        wrong = 0
    if wrong:
        raise RefusedInput(
            f"The compressed pixels of {name} and its header disagree about the sign. The stream holds {stream}; the header "
            f"says BitsStored {bits}, PixelRepresentation {int(signed)}. {wrong:,} pixels have two meanings. "
            "Export the series again, without compression."
        )
    return raw
