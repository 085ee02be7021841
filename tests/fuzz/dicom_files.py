"""Seeds of the fuzz targets that read DICOM: the smallest files of every kind that the reader knows, made by code."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from tests.dicom.test_identity import SEVERAL, SINGLE
from tests.dicom_builder import build_enhanced, build_series
from tests.fuzz.containers import pack

from lamella.dicom.parse import quiet_pydicom

HU = np.random.default_rng(0).integers(-1024, 3072, (3, 4, 4)).astype(np.int16)
HU[:, 0] = -1000

LOSSLESS = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "big-endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000": uid.JPEG2000Lossless,
    "jpeg-lossless": uid.JPEGLossless,
    "jpeg-lossless-sv1": uid.JPEGLosslessSV1,
}
OTHERS = {
    "htj2k": (uid.HTJ2KLossless, lambda one: imagecodecs.htj2k_encode(one, reversible=True)),
    "htj2k-rpcl": (uid.HTJ2KLosslessRPCL, lambda one: imagecodecs.htj2k_encode(one, reversible=True)),
    "htj2k-lossy": (uid.HTJ2K, lambda one: imagecodecs.htj2k_encode(one, reversible=True)),
    "jpeg-ls-near": (uid.JPEGLSNearLossless, lambda one: imagecodecs.jpegls_encode(one, level=3)),
    "jpeg-2000-lossy": (
        uid.JPEG2000,
        lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", level=60, reversible=False, bitspersample=12),
    ),
    "jpeg-12": (uid.JPEGExtended12Bit, lambda one: imagecodecs.jpeg8_encode(one, level=90, bitspersample=12)),
}
"""Syntaxes that `build_series` does not encode -> an encoder of one frame of 12 bits."""

SYNTAXES = {*LOSSLESS.values(), *(syntax for syntax, _ in OTHERS.values())}


SPARED = (
    "SpecificCharacterSet", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "SeriesTime",
    "AcquisitionTime", "ContentTime", "AccessionNumber", "Manufacturer", "ReferringPhysicianName", "StudyDescription",
    "SeriesDescription", "PatientBirthDate", "PatientSex", "BodyPartExamined", "KVP", "ConvolutionKernel", "PatientPosition",
    "StudyID", "SeriesNumber", "AcquisitionNumber", "PositionReferenceIndicator", "WindowCenter", "WindowWidth",
    "RescaleType",
)  # fmt: skip
"""What most seeds do without, so that an execution is short."""


def series(tags: Mapping[Any, Any] | None = None, *, full: bool = False, **how: Any) -> list[bytes]:
    """The files of one series of three slices, in order; `tags` and `how` go to `build_series`."""
    with tempfile.TemporaryDirectory() as name:
        build_series(Path(name), HU, tags={**({} if full else dict.fromkeys(SPARED)), **(tags or {})}, **how)
        return [path.read_bytes() for path in sorted(Path(name).iterdir())]


def slices() -> dict[str, bytes]:
    """Name -> the second slice of a series, one for every syntax, sign, character set and unusual element."""
    files = {name: series(syntax=syntax)[1] for name, syntax in LOSSLESS.items()}
    stored = (HU[1].astype(np.int32) + 1024).astype(np.uint16)
    for name, (syntax, encode) in OTHERS.items():
        files[name] = series(syntax=syntax, tags={"PixelData": encapsulate([encode(stored)])})[1]
    for bits in (13, 16):
        files |= {f"signed-{bits}-{k}": series(syntax=LOSSLESS[k], bits=bits, signed=True)[1] for k in LOSSLESS}
    for k, (character_set, raw) in enumerate([*SINGLE.items(), *SEVERAL.items()]):
        files[f"characters-{k}"] = _named(character_set, raw)
    for name, tags in _UNUSUAL.items():
        files[name] = series(tags=tags)[1]
        files[f"{name}-implicit"] = series(tags=tags, syntax=uid.ImplicitVRLittleEndian)[1]
        if name in ("sequences", "private"):
            files |= {f"{one}-undefined": _undefined(files[one]) for one in (name, f"{name}-implicit")}
    files["full"], files["full-implicit"] = (series(full=True, syntax=LOSSLESS[k])[1] for k in ("explicit", "implicit"))
    files["bare"] = files["full-implicit"][files["full-implicit"].index(b"\x08\0\x05\0") :]
    return files


def enhanced() -> dict[str, bytes]:
    """Name -> an enhanced file of three frames."""
    found = {}
    names = ("explicit", "implicit", "big-endian", "deflated", "rle", "jpeg-ls", "jpeg-2000", "jpeg-lossless")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, name)
            build_enhanced(path, HU, syntax=LOSSLESS[name], shared_measures=name != "implicit")
            found[f"enhanced-{name}"] = path.read_bytes()
    return found


def folders() -> dict[str, bytes]:
    """Name -> the packed files of a folder: several series, a localizer, copies, an object that is no image."""
    plain = series()
    other = series(series_uid="1.2.826.0.1.3680043.8.498.9", syntax=uid.ImplicitVRLittleEndian)
    oblique = series(orientation=(0.8, 0.6, 0, 0, 0, -1))
    no_image = series(
        tags={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.22", "PixelData": None, "Rows": None, "Columns": None}
    )[0]
    localizer = series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})[0]
    twice = {"AcquisitionNumber": 1, "ContentTime": "101112.5"}, {"AcquisitionNumber": 2, "AcquisitionTime": "101259"}
    found = {
        "plain": plain[:2],
        "full": series(full=True)[:2],
        "reversed": plain[::-1],
        "copy": [*plain[:2], plain[1]],
        "gap": plain[::2],
        "two-series": [*plain[:2], *other[:2]],
        "oblique": oblique[:2],
        "not-image": [*plain[:2], no_image],
        "localizer": [localizer, *plain[1:]],
        "acquisitions": series(per_slice={0: twice[0], 1: twice[1], 2: twice[0]}),
        "times": series(
            per_slice={k: {"AcquisitionTime": f"1011{k:02d}.25", "TriggerTime": 1.5 * k} for k in range(3)}
        ),
        "rounded": series(spacing_mm=0.7, thickness_mm=0.7, origin_mm=(-120.5, -100.0, -50.1)),
        "padded": series(tags={"PixelPaddingValue": ("US", 24)})[:2],
        "concatenation": [*enhanced().values()][:2],
        "other-files": [plain[0], plain[1], b"readme", b"PK\x03\x04", b"\x1f\x8b\x08"],
    }
    return {name: pack(files) for name, files in found.items()}


def zips() -> dict[str, bytes]:
    """Name -> a ZIP of a series: stored and deflated, streamed, ZIP64, with folders, comments and other names."""
    plain = series()[:2]
    found = {}
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        found[name] = _zip(plain, method)
        found[f"{name}-comment"] = _zip(plain, method, comment=b"study")
        found[f"{name}-zip64"] = _zip(plain, method, force_zip64=True)
        found[f"{name}-streamed"] = _zip(plain, method, streamed=True)
    found["bzip2"] = _zip(plain, zipfile.ZIP_BZIP2)
    found["lzma"] = _zip(plain, zipfile.ZIP_LZMA)
    found["names"] = _zip(plain, zipfile.ZIP_DEFLATED, names=["дом/ä.dcm", "a/b/c"])
    found["nested"] = _zip([found["deflated"], plain[0]], zipfile.ZIP_STORED, names=["a", "b"])
    found["with-prefix"] = b"prefix" * 20 + found["deflated"]
    for syntax in ("deflated", "rle", "jpeg-ls"):
        found[f"of-{syntax}"] = _zip(series(syntax=LOSSLESS[syntax])[:2], zipfile.ZIP_DEFLATED)
    found["of-enhanced"] = _zip([enhanced()["enhanced-explicit"]], zipfile.ZIP_DEFLATED)
    return found


def _zip(
    files: list[bytes],
    method: int,
    names: list[str] | None = None,
    *,
    comment: bytes = b"",
    force_zip64: bool = False,
    streamed: bool = False,
) -> bytes:
    buffer: io.BytesIO = _Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        archive.mkdir("study")
        for k, data in enumerate(files):
            with archive.open(names[k] if names else f"study/{k}.dcm", "w", force_zip64=force_zip64) as member:
                member.write(data)
    return buffer.getvalue()


class _Unseekable(io.BytesIO):
    """What makes zipfile write sizes behind the data, as streams do."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def _named(character_set: str | None, raw: bytes) -> bytes:
    """A slice that names a person in these bytes, put into the finished file; the patient is the same in every slice."""
    mark = b"M".ljust(len(raw) + len(raw) % 2, b"x").decode()
    tags = {"SpecificCharacterSet": character_set and character_set.split("\\"), "ReferringPhysicianName": mark}
    with quiet_pydicom():  # it does not know every set
        return series(tags=tags)[1].replace(mark.encode(), raw + b" " * (len(raw) % 2))


def _undefined(data: bytes) -> bytes:
    """The same file with sequences and items of undefined length."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def _item(depth: int = 2) -> Dataset:
    item = Dataset()
    item.PatientID = "P1"
    if depth:
        item.OtherPatientIDsSequence = [_item(depth - 1), Dataset()]
    return item


_UNUSUAL: dict[str, Mapping[Any, Any]] = {
    "sequences": {"OtherPatientIDsSequence": [_item()], "RequestAttributesSequence": [Dataset()]},
    "private": {
        0x00090010: ("LO", "ACME 1.1"),
        0x00091001: ("UN", b"1234"),
        0x00091002: ("DS", "1.5"),
        0x00091003: ("SQ", [_item(1)]),
        0x70530010: ("LO", "Philips PET Private Group"),
        0x70531000: ("DS", "1"),
    },
    "padding": {"PixelPaddingValue": ("US", 24), "PixelPaddingRangeLimit": ("US", 20)},
    "frames": {"NumberOfFrames": 1, "SpacingBetweenSlices": 5, "GantryDetectorTilt": 0, "RescaleType": "US"},
    "promises": {"NumberOfSeriesRelatedInstances": 3, "ImagesInAcquisition": 3, "TimezoneOffsetFromUTC": "+0100"},
    "moments": {"AcquisitionDateTime": "20200102101112.5", "TemporalPositionIndex": 1, "TriggerTime": 100},
    "slope": {"RescaleSlope": "0.5", "RescaleIntercept": "-1024.5", "LossyImageCompression": "01"},
    "odd-numbers": {"SliceThickness": "5.0e0", "ImagePositionPatient": ["-1.2e2", "-100", "-45.000"]},
}
