"""Numbers, pixels and bytes of a written slice; pixels uncompressed, or compressed without loss.

JPEG-LS (PS3.5 8.2.3) has no word for a sign: its samples are the 16 bits of the signed value, as decoders and
PixelRepresentation 1 expect; its arithmetic modulo 2^16 makes that cost nothing. JPEG 2000 (PS3.5 8.2.4) stores the sign.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless
from pydicom.valuerep import format_number_as_ds

from lamella.errors import LamellaError

Compression = Literal["jpegls", "j2k"]

_DS_DECIMALS = 9  # beyond any scanner's precision; keeps float noise such as 1e-17 out of the files


def _jpegls(plane: NDArray[np.int16]) -> bytes:
    longest = 4 * plane.nbytes + 1024  # ISO/IEC 14495-1 A.5.3: no sample of 16 bits takes more than 64
    return bytes(imagecodecs.jpegls_encode(plane.view(np.uint16), out=longest))


def _j2k(plane: NDArray[np.int16]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(plane, level=0, codecformat="j2k", reversible=True, mct=False))


_ENCODERS: dict[Compression, tuple[UID, Callable[[NDArray[np.int16]], bytes]]] = {
    "jpegls": (JPEGLSLossless, _jpegls),
    "j2k": (JPEG2000Lossless, _j2k),
}


def written_syntaxes() -> dict[str, UID]:
    """Option of the command line -> transfer syntax of the result."""
    return {"default": ExplicitVRLittleEndian, **{f"--compress {name}": uid for name, (uid, _) in _ENCODERS.items()}}


def set_pixels(dataset: Dataset, plane: NDArray[np.int16], compress: Compression | None) -> None:
    """Give a data set with file meta its pixels and transfer syntax, in place.

    Args:
        dataset: signed, 16 bits stored.
        plane: (rows, columns) HU.
        compress: None for Explicit VR Little Endian.
    """
    if compress is None:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        pixels = np.ascontiguousarray(plane, dtype="<i2").tobytes()
        dataset.add_new("PixelData", "OW", pixels + b"\0" * (len(pixels) % 2))
        return
    dataset.file_meta.TransferSyntaxUID, encode = _ENCODERS[compress]
    dataset.add_new("PixelData", "OB", encapsulate([encode(np.ascontiguousarray(plane))]))
    dataset["PixelData"].is_undefined_length = True


def encoded(dataset: Dataset) -> bytes:
    """The file's bytes. Encoding in memory keeps pydicom from rewrapping the disk's errors without their number."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def decimal(value: float) -> str:
    """A DICOM decimal string (PS3.5 table 6.2-1): at most 16 characters, rounded to nine decimals.

    Raises:
        LamellaError: the value is not finite.
    """
    if not np.isfinite(value):
        raise LamellaError(f"A DICOM decimal string holds a finite number. Found {value:g}.")
    return format_number_as_ds(round(float(value), _DS_DECIMALS) + 0.0).removesuffix(".0")
