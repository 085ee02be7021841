"""The phantom as an original CT series: one CT Image Storage file a slice (PS3.3 A.3, C.8.2.1)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from lamella.dicom.encode import decimal, encoded
from lamella.errors import NonFiniteError, UsageError
from lamella.phantom.head import head_build
from lamella.phantom.settings import Region
from lamella.volume import AIR_HU, MAX_HU, Volume

_DATE, _TIME, _INTERCEPT_HU = "20260101", "120000", -1024
_FIXED = {
    "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "SOPClassUID": CTImageStorage,
    "StudyDate": _DATE, "SeriesDate": _DATE, "AcquisitionDate": _DATE, "ContentDate": _DATE,
    "StudyTime": _TIME, "SeriesTime": _TIME, "AcquisitionTime": _TIME, "ContentTime": _TIME,
    "AccessionNumber": "", "ReferringPhysicianName": "", "PatientBirthDate": "", "PositionReferenceIndicator": "",
    "PatientName": "Lamella^Phantom", "PatientSex": "O", "PatientPosition": "HFS", "Modality": "CT",
    "Manufacturer": "Lamella", "ManufacturerModelName": "Phantom", "DeviceSerialNumber": "0", "SoftwareVersions": "1",
    "AcquisitionNumber": 1, "KVP": "120", "DataCollectionDiameter": "500", "XRayTubeCurrent": "200", "ExposureTime": "500",
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0,
    "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "WindowCenter": "40", "WindowWidth": "400",
    "RescaleIntercept": str(_INTERCEPT_HU), "RescaleSlope": "1", "RescaleType": "HU",
}  # fmt: skip
"""The same in every file of every phantom."""


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
        folder: made if missing.
        volume: HU on any geometry; rounded to whole HU, clipped to [-1024, 3071].
        seed, region: of the phantom; the seed names the study.
        series_number, description, kernel: of the header; the description defaults to thickness and spacing.

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
        files.append(folder / f"IM{index + 1:04d}.dcm")
        files[-1].write_bytes(encoded(_slice(common, volume, index)))
    return files


def _series_header(
    seed: int, series: str, series_number: int, description: str, kernel: str, region: Region
) -> Dataset:
    """Patient, study, series, equipment and acquisition: what all slices share."""
    header = Dataset()
    varying = {
        "StudyDescription": f"Lamella {region} phantom, made by code",
        "SeriesDescription": description,
        "PatientID": f"LAMELLA-PHANTOM-{seed}",
        "BodyPartExamined": "PHANTOM" if region not in ("chest", "head") else region.upper(),
        "ConvolutionKernel": kernel,
        "StudyInstanceUID": _uid(seed, "study"),
        "SeriesInstanceUID": series,
        "StudyID": str(seed),
        "SeriesNumber": series_number,
        "FrameOfReferenceUID": _uid(seed, "frame of reference"),
    }
    for keyword, value in {**_FIXED, **varying}.items():
        setattr(header, keyword, value)
    if region == "chest" or (region == "head" and head_build(seed)[1]):
        header.ContrastBolusAgent = "Iodine, simulated"
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def _slice(common: Dataset, volume: Volume, index: int) -> Dataset:
    geometry = volume.geometry
    dataset = Dataset()
    dataset.update(common)
    dataset.file_meta = common.file_meta
    dataset.SOPInstanceUID = UID(_uid(common.SeriesInstanceUID, index))
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
    dataset.add_new("PixelData", "OW", stored.astype("<u2").tobytes())
    return dataset
