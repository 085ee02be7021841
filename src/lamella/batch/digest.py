"""One SHA-256 for a written result: over its voxels in order and its labels, whatever the encoding and the time of writing."""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
import hashlib
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from lamella.dicom.elements import text_of
from lamella.dicom.read import read_series
from lamella.nifti.sidecar import sidecar_path
from lamella.workflow.outputs import is_nifti_name

_SERIES_LABELS = (
    "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "SeriesDescription", "ImageType",
    "DerivationDescription", "SyntheticData", "ContentQualification", "ImageComments", "PixelSpacing", "SliceThickness",
    "ImageOrientationPatient",
)  # fmt: skip
_SLICE_LABELS = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")


def result_sha256(result: Path) -> str:
    """SHA-256 in hexadecimal digits of what was written at `result`.

    Args:
        result: a folder that holds a DICOM series, or one folder for each sample, or a NIfTI file with its sidecar.

    Raises:
        RefusedInput: it is damaged.
        OSError: it is not there.
    """
    total = hashlib.sha256()
    for part in _nifti(result) if is_nifti_name(result) else _dicom(result):
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


def _dicom(result: Path) -> Iterator[bytes]:
    for folder in sorted(path for path in result.iterdir() if path.is_dir()) or [result]:
        volume = read_series(folder)
        slices = list(getattr(volume.header, "slices", ()))
        for keyword in _SERIES_LABELS:
            yield text_of(slices[0], keyword).encode()
        for index, header in enumerate(slices):
            for keyword in _SLICE_LABELS:
                yield text_of(header, keyword).encode()
            yield volume.hu[index].astype("<i2").tobytes()


def _nifti(result: Path) -> Iterator[bytes]:
    sidecar = sidecar_path(result)
    assert sidecar is not None, "the name is that of NIfTI"
    yield sidecar.read_bytes()
    image = nib.nifti1.Nifti1Image.from_filename(result)
    yield np.asarray(image.affine, "<f8").tobytes()
    yield np.asarray(image.dataobj, "<i2").tobytes(order="F")
