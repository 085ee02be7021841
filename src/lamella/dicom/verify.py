"""Read back what was written, before the output appears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from lamella.dicom.decode import frames_of, pixel_format, stored_values
from lamella.dicom.parse import quiet_pydicom
from lamella.errors import LamellaError, RefusedInput
from lamella.volume import Geometry, Volume

POSITION_MM = 0.001
"""Largest distance between a written slice position and the geometry's; viewers call a series irregular beyond it."""

_FAR_CORNER_MM = 0.002  # the orientation's own digits add their share across the field of view
_NUMBER = 1e-6


def verify_written(folder: Path, volume: Volume) -> None:
    """Compare the files that `write_series` wrote with the int16 volume that they should hold.

    Every slice must be there once, within 0.001 mm of its place, with exactly its voxels; numbering, spacing, thickness
    and identity must be consistent. Nothing is taken from file names.

    Raises:
        LamellaError: any difference; the message names the file.
    """
    files = sorted(folder.iterdir())
    if len(files) != volume.geometry.shape[0]:
        raise LamellaError(f"The written series has {len(files)} files. Expected {volume.geometry.shape[0]}.")
    slices, numbers, instances, series = set(), set(), set(), set()
    for file in files:
        with quiet_pydicom():
            try:
                dataset = dcmread(file)
                slices.add(_verify_slice(file.name, dataset, volume))
            except LamellaError:
                raise
            except Exception as error:  # pydicom raises anything on a damaged file
                found = type(error).__name__
                raise LamellaError(f"The written file {file.name} cannot be read back ({found}).") from None
        numbers.add(int(dataset.InstanceNumber))
        instances.add(dataset.SOPInstanceUID)
        series.add(dataset.SeriesInstanceUID)
    whole = set(range(len(files)))
    if slices != whole or numbers != {k + 1 for k in whole} or len(instances) != len(files) or len(series) != 1:
        raise LamellaError(
            f"The written series is not one series of {len(files)} different slices. Found {len(slices)} positions, "
            f"{len(numbers)} instance numbers, {len(instances)} instance UIDs, {len(series)} series UIDs."
        )


def _verify_slice(name: str, dataset: Dataset, volume: Volume) -> int:
    """The index of the slice that the file holds."""
    geometry = volume.geometry
    position = np.array(dataset.ImagePositionPatient, dtype=np.float64)
    along = (position - geometry.position(0)) @ geometry.axes[:, 0]
    k = int(np.clip(np.rint(along / geometry.spacing_mm), 0, geometry.shape[0] - 1))
    _verify_place(name, dataset, geometry, position, k)
    expected = {
        "SliceThickness": geometry.thickness_mm,
        "SpacingBetweenSlices": geometry.spacing_mm,
        "RescaleSlope": 1.0,
        "RescaleIntercept": 0.0,
        "Rows": geometry.shape[1],
        "Columns": geometry.shape[2],
        "PixelRepresentation": 1,
        "BitsStored": 16,
    }
    for keyword, value in expected.items():
        found = float(dataset[keyword].value)
        if abs(found - value) > _NUMBER:
            raise LamellaError(f"{keyword} in the written file {name} is wrong. Found {found:g}, expected {value:g}.")
    try:
        form = pixel_format(dataset, name)
        (frame,) = frames_of(dataset.PixelData, form, 1)
        written = stored_values(frame, form)
    except RefusedInput as error:
        raise LamellaError(f"The voxels in the written file {name} cannot be read back. {error}") from None
    if not np.array_equal(written, volume.hu[k]):
        raise LamellaError(f"The voxels in the written file {name} differ from those of slice {k}.")
    return k


def _verify_place(name: str, dataset: Dataset, geometry: Geometry, position: NDArray[np.float64], k: int) -> None:
    rows, columns = geometry.shape[1] - 1, geometry.shape[2] - 1
    cosines = np.array(dataset.ImageOrientationPatient, dtype=np.float64)
    row_mm, column_mm = (float(v) for v in dataset.PixelSpacing)
    corner = position + cosines[3:] * row_mm * rows + cosines[:3] * column_mm * columns  # PS3.3 equation C.7.6.2.1-1
    for what, found, expected, limit in (
        ("position", position, geometry.position(k), POSITION_MM),
        ("far corner", corner, geometry.position(k, rows, columns), _FAR_CORNER_MM),
    ):
        off = float(np.linalg.norm(found - expected))
        if off > limit:
            raise LamellaError(
                f"The {what} of the written file {name} is {off:.4f} mm from where slice {k} lies. Allowed {limit} mm."
            )
