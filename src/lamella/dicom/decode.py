"""One frame's bytes -> stored integers -> Hounsfield units.

Every decoder gets a buffer of the size that Rows and Columns promise, so a code stream that claims a larger picture is
an error and not an allocation. imagecodecs releases the interpreter lock while it decodes (pydicom's plugins do not:
2.3 s against 0.9 s for 275 JPEG-LS slices on two cores), and its `jpegsof3` reads JPEG lossless, for which the usual
pydicom plugin is under the GPL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from lamella.dicom.archive import inflation_limit
from lamella.dicom.codestream import StreamFormat, signed_by_stream, stream_format
from lamella.dicom.elements import shown, text_of, uid_name, uid_of, whole_number
from lamella.errors import RefusedInput

Stored = NDArray[np.int16] | NDArray[np.uint16]
Frame = bytes | memoryview
Decoder = Callable[[Frame, "PixelFormat"], NDArray[np.uint16]]

_END_OF_IMAGE = b"\xff\xd9"
_ITEM = b"\xfe\xff\x00\xe0"
"""Begins encapsulated pixel data (PS3.5 A.4)."""


@dataclass(frozen=True)
class PixelFormat:
    """How the frames of one file are stored. `name` is the file's, for messages."""

    name: str
    syntax: str
    rows: int
    columns: int
    bits: int
    signed: bool
    overlaid: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * 2


@dataclass(frozen=True)
class Syntax:
    """How a transfer syntax stores a frame.

    Attributes:
        decode: a frame's bytes -> its (rows, columns) 16-bit words.
        encapsulated: frames are fragments of a sequence (PS3.5 A.4).
        loss: whether compression may have lost something.
    """

    decode: Decoder
    encapsulated: bool = True
    loss: Literal["none", "possible", "certain"] = "none"


def pixel_format(dataset: Dataset, name: str) -> PixelFormat:
    """Reads and checks the Image Pixel module (PS3.3 C.7.6.3) as far as CT allows it (C.8.2.1).

    Raises:
        RefusedInput: colour, not 16 bits a pixel, or a transfer syntax that is not read.
    """
    samples, photometric = text_of(dataset, "SamplesPerPixel"), text_of(dataset, "PhotometricInterpretation")
    if (samples and whole_number(dataset, "SamplesPerPixel") != 1) or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise RefusedInput(
            f"{name} is no grey picture, as CT is. Found SamplesPerPixel {shown(samples)}, PhotometricInterpretation "
            f"{shown(photometric)}; expected 1 and MONOCHROME2. Take the file out, or choose another series."
        )
    allocated, bits = whole_number(dataset, "BitsAllocated"), whole_number(dataset, "BitsStored")
    if allocated != 16 or bits is None or not 1 <= bits <= 16 or whole_number(dataset, "HighBit") != bits - 1:
        raise RefusedInput(
            f"The pixels of {name} are not stored as CT demands. Found BitsAllocated {allocated}, BitsStored {bits}, "
            f"HighBit {whole_number(dataset, 'HighBit')}; expected 16, at most 16 and BitsStored - 1. Export the series again."
        )
    sign = whole_number(dataset, "PixelRepresentation")
    if sign not in (0, 1):
        raise RefusedInput(
            f"It is unknown whether the pixels of {name} are signed. Found PixelRepresentation "
            f"{'missing' if sign is None else sign}; expected 0 or 1. Export the series again."
        )
    syntax = syntax_of(dataset) or _native_syntax(dataset)
    if syntax not in SYNTAXES:
        raise RefusedInput(
            f"The transfer syntax of {name} is not read: {uid_name(syntax)}. Expected uncompressed, deflated, RLE, "
            "JPEG-LS, JPEG 2000, HTJ2K or JPEG lossless. Convert it without loss, for example with dcmdjpeg or gdcmconv --raw."
        )
    return PixelFormat(
        name=name,
        syntax=syntax,
        rows=whole_number(dataset, "Rows") or 0,
        columns=whole_number(dataset, "Columns") or 0,
        bits=bits,
        signed=sign == 1,
        # Retired: overlays in the unused high bits (PS3.3-2004 C.9.2); OverlayBitPosition 0 means elsewhere.
        overlaid=any(dataset[tag].value for group in range(0x6000, 0x6020, 2) if (tag := (group, 0x0102)) in dataset),
    )


def syntax_of(dataset: Dataset) -> uid.UID:
    """TransferSyntaxUID; empty where the file has no file meta information."""
    return uid_of(getattr(dataset, "file_meta", None) or Dataset(), "TransferSyntaxUID")


def _native_syntax(dataset: Dataset) -> uid.UID:
    implicit, little = dataset.original_encoding
    if not little:
        return uid.ExplicitVRBigEndian
    return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


def frames_of(data: bytes, form: PixelFormat, count: int) -> Iterator[Frame]:
    """The bytes of each frame in file order, still encoded.

    Raises:
        RefusedInput: not as many bytes or frames as the header promises.
    """
    if not SYNTAXES[form.syntax].encapsulated:
        expected = form.frame_bytes * count
        if bytes(data[: len(_ITEM)]) == _ITEM:  # -2 and -8192, which no two pixels of a CT are
            raise RefusedInput(
                f"The pixels of {form.name} are compressed. Its transfer syntax says that they are not "
                f"({uid_name(uid.UID(form.syntax))}). Export the series again."
            )
        # Bytes behind the last frame mean nothing (PS3.5 8.1.1 pads to even length); a whole frame would.
        if not expected <= len(data) < expected + form.frame_bytes:
            raise RefusedInput(
                f"The pixel data of {form.name} has the wrong length (cut off?). Found {len(data):,} bytes, expected "
                f"{expected:,} for {count} x {form.rows} x {form.columns}. Copy or export it again."
            )
        view = memoryview(data)
        yield from (view[i * form.frame_bytes : (i + 1) * form.frame_bytes] for i in range(count))
        return
    found = 0
    try:
        for frame in generate_frames(data, number_of_frames=count):
            found += 1
            yield frame
    # pydicom reports a broken encapsulation by whatever went wrong first (ValueError, EOFError, struct.error, ...).
    except Exception as error:
        raise _undecodable(form, error) from None
    if found != count:
        raise RefusedInput(f"{form.name} holds {found} encoded frames. Its header says {count}. Export it again.")


def surplus_bytes(data: bytes, form: PixelFormat, count: int) -> int:
    """Bytes behind the last uncompressed frame, apart from one that makes the length even."""
    if SYNTAXES[form.syntax].encapsulated:
        return 0
    surplus = len(data) - form.frame_bytes * count
    return surplus if surplus > 1 else 0


def stored_values(frame: Frame, form: PixelFormat) -> Stored:
    """(rows, columns) uint16 or int16 stored values of one frame.

    Raises:
        RefusedInput: the frame cannot be decoded, holds values beyond BitsStored, or its stream contradicts the header.
    """
    syntax = SYNTAXES[form.syntax]
    stream = stream_format(bytes(frame)) if syntax.encapsulated else None
    # Some decoders make room for what the stream claims before they look at the buffer.
    if stream is not None and stream.shape != form.shape:
        raise RefusedInput(
            f"The compressed pixels of {form.name} have another size than its header says. Found {stream.shape[0]} x "
            f"{stream.shape[1]}; expected {form.rows} x {form.columns}. It is damaged: export it again."
        )
    if syntax.encapsulated and form.frame_bytes > inflation_limit(len(frame)):
        raise RefusedInput(
            f"The pixel data of {form.name} looks like a bomb: {len(frame):,} bytes decode to {form.frame_bytes:,}, at most "
            f"{inflation_limit(len(frame)):,} are read."
        )
    try:
        raw = syntax.decode(frame, form)
    except (RuntimeError, ValueError, TypeError, IndexError, OSError, NotImplementedError, AttributeError) as error:
        raise _undecodable(form, error) from None
    if stream is not None:
        raw = (raw << stream.shift).astype(np.uint16, copy=False)
        raw = signed_by_stream(raw, stream, form.bits, form.signed, form.name)
    return _in_range(raw, form, stream)


def _words(order: str) -> Decoder:
    """Uncompressed 16-bit words in one byte order."""
    return lambda frame, form: np.frombuffer(frame, f"{order}u2").reshape(form.shape).astype(np.uint16, copy=False)


def _imagecodec(decoder: Callable[..., object]) -> Decoder:
    """One of imagecodecs' decoders."""

    def decode(frame: Frame, form: PixelFormat) -> NDArray[np.uint16]:
        frame = bytes(frame)
        stream = stream_format(frame)
        if stream is None:
            raise ValueError("no header of a stream")
        # A signed JPEG 2000 stream decodes into signed numbers only; they keep their sign in the wider word.
        out = np.empty(form.shape, f"{'i' if stream.signed else 'u'}{1 if stream.bits <= 8 else 2}")
        decoder(frame, out=out)
        return out.astype(np.int16 if out.dtype.kind == "i" else np.uint16, copy=False).view(np.uint16)

    return decode


def _jpeg_extended(frame: Frame, form: PixelFormat) -> NDArray[np.uint16]:
    if not bytes(frame).rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise ValueError("no end-of-image marker")
    return _imagecodec(imagecodecs.jpeg8_decode)(frame, form)


def _run_lengths(frame: Frame, form: PixelFormat) -> NDArray[np.uint16]:
    """PS3.5 annex G: a header of 16 words, then one PackBits segment of high bytes and one of low bytes.

    imagecodecs' own decoder of this format ends the process on some damaged frames (seen in 2026.3.6); its PackBits does not.
    """
    frame = bytes(frame)
    head = np.frombuffer(frame, "<u4", count=16)
    if head[0] != 2:
        raise ValueError("not two segments")
    ends = (int(head[2]), len(frame))
    words = np.empty((*form.shape, 2), np.uint8)
    for place, start, end in zip((1, 0), (int(head[1]), int(head[2])), ends, strict=True):
        segment = imagecodecs.packbits_decode(frame[start:end])
        # A segment may be padded to even length, which decodes to at most a stray byte; bytes behind the last mean nothing.
        surplus = len(segment) - form.rows * form.columns
        if surplus < 0 or (surplus > 1 and place == 1):
            raise ValueError("segment of another length")
        words[..., place] = np.frombuffer(segment, np.uint8, count=form.rows * form.columns).reshape(words.shape[:2])
    return words.view("<u2")[..., 0].astype(np.uint16, copy=False)


SYNTAXES: dict[str, Syntax] = {
    uid.ImplicitVRLittleEndian: Syntax(_words("<"), encapsulated=False),
    uid.ExplicitVRLittleEndian: Syntax(_words("<"), encapsulated=False),
    uid.DeflatedExplicitVRLittleEndian: Syntax(_words("<"), encapsulated=False),
    uid.ExplicitVRBigEndian: Syntax(_words(">"), encapsulated=False),
    uid.RLELossless: Syntax(_run_lengths),
    uid.JPEGLossless: Syntax(_imagecodec(imagecodecs.jpegsof3_decode)),
    uid.JPEGLosslessSV1: Syntax(_imagecodec(imagecodecs.jpegsof3_decode)),
    uid.JPEGLSLossless: Syntax(_imagecodec(imagecodecs.jpegls_decode)),
    uid.JPEG2000Lossless: Syntax(_imagecodec(imagecodecs.jpeg2k_decode)),
    uid.JPEG2000: Syntax(_imagecodec(imagecodecs.jpeg2k_decode), loss="possible"),
    uid.HTJ2KLossless: Syntax(_imagecodec(imagecodecs.jpeg2k_decode)),
    uid.HTJ2KLosslessRPCL: Syntax(_imagecodec(imagecodecs.jpeg2k_decode)),
    uid.HTJ2K: Syntax(_imagecodec(imagecodecs.jpeg2k_decode), loss="possible"),
    uid.JPEGLSNearLossless: Syntax(_imagecodec(imagecodecs.jpegls_decode), loss="certain"),
    uid.JPEGExtended12Bit: Syntax(_jpeg_extended, loss="certain"),
}
"""Transfer syntaxes that are read; those with a possible loss are read with a note, and the flag is sticky for the writer."""


def _in_range(raw: NDArray[np.uint16], form: PixelFormat, stream: StreamFormat | None) -> Stored:
    """Words -> numbers of `bits` bits, with the sign of PixelRepresentation; refuses what does not fit."""
    spare = 16 - form.bits
    values: Stored
    if form.signed:
        words = raw.view(np.int16)
        if spare == 0:
            return words
        values = (words << spare) >> spare
        high = raw >> form.bits
        wrong = (values != words) & (high != 0)
    else:
        if spare == 0:
            return raw
        values = raw & np.uint16((1 << form.bits) - 1)
        wrong = values != raw
    if not form.overlaid and wrong.any():
        held = f" Its compressed stream holds {stream}." if stream is not None else ""
        raise RefusedInput(
            f"{form.name} holds stored values that do not fit BitsStored {form.bits} "
            f"({'signed' if form.signed else 'unsigned'}): {int(wrong.sum()):,} pixels.{held} Its header is wrong: "
            "export it again."
        )
    return values


def _undecodable(form: PixelFormat, error: Exception) -> RefusedInput:
    return RefusedInput(
        f"The pixel data of {form.name} cannot be decoded ({uid.UID(form.syntax).name}; {type(error).__name__}). "
        "It is damaged or cut off: copy or export it again."
    )
