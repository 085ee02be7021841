"""Images of nibabel and SimpleITK -> `Volume`, with the checks and the axes of the NIfTI reader."""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from lamella.errors import RefusedInput
from lamella.nifti.affine import LPS_RAS
from lamella.nifti.checks import shape_of
from lamella.nifti.image import volume_of
from lamella.volume import Volume


def from_nibabel(image: Any, thickness_mm: float | None = None) -> Volume:
    """A volume from a nibabel image, read as `lamella.read` reads a NIfTI file.

    Args:
        image: `nibabel.Nifti1Image`, or any spatial image of nibabel.
        thickness_mm: of the slabs; None: equal to the spacing, with a note.

    Raises:
        RefusedInput: not one regular 3-D volume in Hounsfield units.
    """
    name = Path(image.get_filename() or "image").name
    values = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "iuf":
        raise RefusedInput(f"The NIfTI {name} does not hold plain numbers. Found {values.dtype}.")
    header = image.header if isinstance(image, nib.Nifti1Image) else nib.Nifti1Image.from_image(image).header
    return volume_of(name, header, values.reshape(shape_of(name, header)), (1.0, 0.0), thickness_mm)


def from_simpleitk(image: Any, thickness_mm: float | None = None) -> Volume:
    """A volume from a SimpleITK image; see `from_nibabel`.

    Raises:
        RefusedInput: not one regular 3-D volume in Hounsfield units.
    """
    import SimpleITK

    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise RefusedInput(
            f"The SimpleITK image must be one 3-D volume. Found {image.GetDimension()} axes with "
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel."
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    values = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    return from_nibabel(nib.Nifti1Image(values, LPS_RAS @ affine, dtype=values.dtype), thickness_mm)
