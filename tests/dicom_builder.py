"""Builds DICOM inputs for tests: plain CT series, one enhanced multi-frame file, and every lossless encoding.

`build_series` writes a correct series; everything can be bent by `tags` (all slices) and `per_slice` (one slice).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PATIENT_NAME = "Mustermann^Erika"


def phantom_hu(slices: int = 8, rows: int = 16, columns: int = 20, seed: int = 0) -> NDArray[np.int16]:
    """(slices, rows, columns) HU in [-1024, 3071], different in every slice."""
    return np.random.default_rng(seed).integers(-1024, 3072, (slices, rows, columns)).astype(np.int16)


def body_hu(slices: int = 4, side: int = 48, seed: int = 0) -> NDArray[np.int16]:
    """A body of soft tissue, lung and bone with air around it, HU."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    r = np.hypot(y / 0.42, x / 0.42) / side
    plane = np.full((side, side), -1000.0)
    plane[r < 1], plane[r < 0.5], plane[r < 0.2] = 40, -800, 700
    noisy = np.rint(plane + np.random.default_rng(seed).normal(0, 8, (slices, side, side)))
    return np.maximum(noisy, -1020).astype(np.int16)


def build_series(
    folder: Path,
    hu: NDArray[Any],
    spacing_mm: float = 5.0,
    thickness_mm: float = 5.0,
    *,
    pixel_mm: tuple[float, float] = (0.75, 0.5),
    orientation: Sequence[float] = AXIAL,
    origin_mm: Sequence[float] = (-120.0, -100.0, -50.0),
    positions_mm: Sequence[Sequence[float]] | None = None,
    series_uid: str = "1.2.826.0.1.3680043.8.498.1",
    study_uid: str = "1.2.826.0.1.3680043.8.498.2",
    frame_uid: str = "1.2.826.0.1.3680043.8.498.3",
    syntax: str = uid.ExplicitVRLittleEndian,
    signed: bool = False,
    bits: int = 12,
    slope: float = 1.0,
    intercept: float | None = None,
    tags: Mapping[str, Any] | None = None,
    per_slice: Mapping[int, Mapping[str, Any]] | None = None,
    prefix: str = "",
) -> None:
    """Writes hu (z, y, x) as a CT Image Storage series, one file a slice, named 0000.dcm and on in array order.

    Args:
        positions_mm: ImagePositionPatient of each slice; by default origin + k * spacing * (row x column).
        syntax: transfer syntax UID; compressed ones are encoded without loss.
        signed, bits, slope, intercept: how HU are stored; intercept is -1024 for unsigned and 0 for signed by default.
        tags: keyword -> value for every slice, None removes the element. "SyntaxUID" and such do not exist: `syntax`.
        per_slice: slice index -> the same for that slice only.
        prefix: put before every file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    intercept = (0.0 if signed else -1024.0) if intercept is None else intercept
    for index, plane in enumerate(hu):
        position = np.array(origin_mm) + index * spacing_mm * normal if positions_mm is None else positions_mm[index]
        dataset = base_dataset(plane.shape, series_uid, study_uid, frame_uid, bits, signed)
        dataset.SOPInstanceUID = f"{series_uid}.{index + 1}"
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [float(f"{p:.10g}") for p in position]
        dataset.ImageOrientationPatient = [float(f"{c:.10g}") for c in orientation]
        dataset.PixelSpacing = list(pixel_mm)
        dataset.SliceThickness = thickness_mm
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "HU"
        changes = {**(tags or {}), **((per_slice or {}).get(index, {}))}
        stored = np.rint((plane.astype(np.float64) - intercept) / slope).astype(np.int16 if signed else np.uint16)
        set_pixels(dataset, [changes.pop("stored", stored)], syntax, bits)
        apply(dataset, changes)
        write(dataset, folder / f"{prefix}{index:04d}.dcm", syntax)


def base_dataset(
    shape: Sequence[int], series_uid: str, study_uid: str, frame_uid: str, bits: int, signed: bool
) -> Dataset:
    """Everything of a CT image but its place, its scale and its pixels."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = uid.CTImageStorage
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101112"
    dataset.AccessionNumber = "A1"
    dataset.Modality = "CT"
    dataset.Manufacturer = "Lamella tests"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription, dataset.SeriesDescription = "phantom", "thick"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, "P1"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.BodyPartExamined = "CHEST"
    dataset.KVP = 120
    dataset.ConvolutionKernel = "B30f"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.StudyID = study_uid, series_uid, "S1"
    dataset.SeriesNumber, dataset.AcquisitionNumber = 3, 1
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_uid, ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    return dataset


def apply(dataset: Dataset, changes: Mapping[str, Any]) -> None:
    """Sets elements by keyword; None removes one; ("SS", value) gives an ambiguous element its VR."""
    for keyword, value in changes.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        elif isinstance(value, tuple):
            dataset.add_new(keyword, *value)
        else:
            setattr(dataset, keyword, value)


def set_pixels(dataset: Dataset, frames: Sequence[NDArray[Any]], syntax: str, bits: int) -> None:
    """Puts the stored values in, encoded as the transfer syntax demands."""
    encode = encoder(syntax, bits)
    if encode is None and uid.UID(syntax).is_encapsulated:
        return  # the caller brings PixelData of its own
    if encode is None:
        order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
        dataset.PixelData = b"".join(frame.astype(frame.dtype.newbyteorder(order)).tobytes() for frame in frames)
        dataset["PixelData"].VR = "OW"
    else:
        words = [np.ascontiguousarray(frame).view(np.uint16) & ((1 << bits) - 1) for frame in frames]
        dataset.PixelData = encapsulate([encode(frame) for frame in words])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def encoder(syntax: str, bits: int) -> Any:
    """Lossless encoder of one frame of unsigned words; None for the uncompressed syntaxes."""
    if syntax == uid.RLELossless:
        return encode_rle
    if syntax == uid.JPEGLSLossless:
        return lambda frame: imagecodecs.jpegls_encode(frame)
    if syntax == uid.JPEG2000Lossless:
        return lambda frame: imagecodecs.jpeg2k_encode(
            frame, codecformat="J2K", level=0, reversible=True, bitspersample=bits
        )
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        return lambda frame: imagecodecs.ljpeg_encode(frame, bitspersample=bits)
    return None


def encode_rle(frame: NDArray[np.uint16]) -> bytes:
    """PS3.5 annex G by literal runs of at most 128 bytes; a row never shares a run with the next."""
    segments = []
    for half in (frame >> 8, frame & 0xFF):
        segment = bytearray()
        for row in half.astype(np.uint8):
            line = row.tobytes()
            for start in range(0, len(line), 128):
                run = line[start : start + 128]
                segment += bytes([len(run) - 1]) + run
        segments.append(bytes(segment) + b"\0" * (len(segment) % 2))
    offsets = [2, 64, 64 + len(segments[0]), *[0] * 13]
    return np.array(offsets, "<u4").tobytes() + segments[0] + segments[1]


def write(dataset: Dataset, path: Path, syntax: str) -> None:
    """Writes a file with preamble and file meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", uid.CTImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = uid.UID(syntax)
    little = syntax != uid.ExplicitVRBigEndian
    implicit = syntax == uid.ImplicitVRLittleEndian
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    dataset.save_as(path, implicit_vr=implicit, little_endian=little, enforce_file_format=True)


def build_enhanced(
    path: Path,
    hu: NDArray[Any],
    spacing_mm: float = 5.0,
    thickness_mm: float = 5.0,
    *,
    pixel_mm: tuple[float, float] = (0.75, 0.5),
    origin_mm: Sequence[float] = (-120.0, -100.0, -50.0),
    order: Sequence[int] | None = None,
    shared_measures: bool = True,
    syntax: str = uid.ExplicitVRLittleEndian,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """Writes hu (z, y, x) as one Enhanced CT file.

    Args:
        order: which slice each frame holds; by default frame k is slice k.
        shared_measures: PixelMeasuresSequence in the shared groups, else repeated in every frame's.
    """
    root = "1.2.826.0.1.3680043.8.498"
    dataset = base_dataset(hu.shape[1:], f"{root}.1", f"{root}.2", f"{root}.3", 12, False)
    for keyword in ("AcquisitionNumber", "KVP", "ConvolutionKernel", "WindowCenter", "WindowWidth"):
        del dataset[keyword]
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.EnhancedCTImageStorage, f"{root}.1.1"
    order = list(range(len(hu))) if order is None else order
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(order)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    measures = _item(PixelSpacing=list(pixel_mm), SliceThickness=thickness_mm, SpacingBetweenSlices=spacing_mm)
    shared = Dataset()
    shared.PlaneOrientationSequence = Items([_item(ImageOrientationPatient=list(AXIAL))])
    shared.CTReconstructionSequence = Items([_item(ConvolutionKernel="B30f")])
    shared.CTXRayDetailsSequence = Items([_item(KVP=120)])
    if shared_measures:
        shared.PixelMeasuresSequence = Items([measures])
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for index in order:
        group = Dataset()
        position = [origin_mm[0], origin_mm[1], origin_mm[2] + index * spacing_mm]
        group.PlanePositionSequence = Items([_item(ImagePositionPatient=position)])
        scale = _item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
        group.PixelValueTransformationSequence = Items([scale])
        group.CTImageFrameTypeSequence = Items([_item(FrameType=["ORIGINAL", "PRIMARY", "AXIAL", "NONE"])])
        group.FrameContentSequence = Items([_item(FrameAcquisitionNumber=1, StackID="1")])
        group.FrameVOILUTSequence = Items([_item(WindowCenter=40, WindowWidth=400)])
        if not shared_measures:
            group.PixelMeasuresSequence = Items([measures])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
    set_pixels(dataset, [(hu[index].astype(np.int32) + 1024).astype(np.uint16) for index in order], syntax, 12)
    apply(dataset, tags or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    write(dataset, path, syntax)


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
