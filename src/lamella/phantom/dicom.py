"""The phantom as an original CT series: one CT Image Storage file a slice (PS3.3 A.3, C.8.2.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from lamella.dicom.write import decimal
from lamella.errors import NonFiniteError, UsageError
from lamella.phantom.head import head_build
from lamella.phantom.settings import Region
from lamella.volume import AIR_HU, MAX_HU, Geometry, Volume

_INTERCEPT_HU = -1024
_PADDING_DIGITS = 4


def _uid(*parts: object) -> str:
    """A UID that depends on its parts alone: 2.25 and a 128-bit number (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(["lamella-phantom", *map(str, parts)]).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_phantom_study(
    folder: Path,
    volume: Volume,
    *,
    seed: int = 0,
    series_number: int = 2,
    description: str | None = None,
    kernel: str = "STANDARD",
    region: Region = "chest",
) -> list[Path]:
    """Write a phantom volume, thin or thickened, as a DICOM CT series.

    UIDs depend on the arguments alone. All series of one seed share study and frame of reference, so that a thin and a
    thick one lie in the same space.

    Args:
        folder: where the files go; made if missing.
        volume: HU on any geometry; rounded to whole HU, clipped to [-1024, 3071].
        seed: the phantom's, names the study.
        series_number: SeriesNumber (0020,0011).
        description: SeriesDescription (0008,103E); by default thickness and spacing.
        kernel: ConvolutionKernel (0018,1210).
        region: what was painted.

    Returns:
        The files, in slice order.

    Raises:
        UsageError: the folder holds files already.
        NonFiniteError: the volume holds NaN or infinity.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"The phantom's folder is not empty: {folder}. Choose a new one or empty it.")
    if volume.hu.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in volume.hu):
        raise NonFiniteError("The phantom holds values that are not finite; nothing was written.")
    geometry = volume.geometry
    description = description or f"Phantom {geometry.thickness_mm:g} mm every {geometry.spacing_mm:g} mm"
    # The voxels are part of the name: other voxels are another series, whatever their grid.
    voxels = hashlib.sha256(np.ascontiguousarray(volume.hu).tobytes()).hexdigest()
    series = _uid(seed, series_number, description, kernel, geometry.shape, geometry.affine.tobytes().hex(), voxels)
    common = _series_header(seed, series, series_number, description, kernel, region)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(geometry.shape[0]):
        file = folder / f"IM{index + 1:0{_PADDING_DIGITS}d}.dcm"
        _slice(common, geometry, volume, index, file).save_as(file, enforce_file_format=True)
        files.append(file)
    return files


def _series_header(
    seed: int, series: str, series_number: int, description: str, kernel: str, region: Region
) -> Dataset:
    """Patient, study, series, equipment and acquisition: what all slices share."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20260101"
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = "120000"
    header.AccessionNumber = ""
    header.Modality = "CT"
    header.Manufacturer = "Lamella"
    header.ManufacturerModelName = "Phantom"
    header.DeviceSerialNumber = "0"
    header.SoftwareVersions = "1"
    header.ReferringPhysicianName = ""
    header.StudyDescription = f"Lamella {region} phantom, made by code"
    header.SeriesDescription = description
    header.PatientName = "Lamella^Phantom"
    header.PatientID = f"LAMELLA-PHANTOM-{seed}"
    header.PatientBirthDate = ""
    header.PatientSex = "O"
    header.BodyPartExamined = "PHANTOM" if region == "solids" else region.upper()
    header.KVP = "120"
    if region == "chest" or (region == "head" and head_build(seed)[1]):
        header.ContrastBolusAgent = "Iodine, simulated"
    header.DataCollectionDiameter = "500"
    header.XRayTubeCurrent = "200"
    header.ExposureTime = "500"
    header.ConvolutionKernel = kernel
    header.PatientPosition = "HFS"
    header.StudyInstanceUID = _uid(seed, "study")
    header.SeriesInstanceUID = series
    header.StudyID = str(seed)
    header.SeriesNumber = series_number
    header.AcquisitionNumber = 1
    header.FrameOfReferenceUID = _uid(seed, "frame of reference")
    header.PositionReferenceIndicator = ""
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    header.WindowCenter, header.WindowWidth = "40", "400"
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = str(_INTERCEPT_HU), "1", "HU"
    return header


def _slice(common: Dataset, geometry: Geometry, volume: Volume, index: int, file: Path) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(_uid(common.SeriesInstanceUID, index))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.update(common)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.InstanceNumber = index + 1
    dataset.SliceThickness = decimal(geometry.thickness_mm)
    dataset.SpacingBetweenSlices = decimal(geometry.spacing_mm)
    dataset.ImagePositionPatient = [decimal(v) for v in geometry.position(index)]
    # First the direction along a row (rising column), then the direction along a column (PS3.3 C.7.6.2.1.1).
    dataset.ImageOrientationPatient = [decimal(v) for v in (*geometry.axes[:, 2], *geometry.axes[:, 1])]
    dataset.PixelSpacing = [decimal(v) for v in geometry.pixel_mm]
    dataset.SliceLocation = decimal(geometry.centres_mm[index])
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    stored = np.clip(np.rint(volume.hu[index]), AIR_HU, MAX_HU) - _INTERCEPT_HU
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset
