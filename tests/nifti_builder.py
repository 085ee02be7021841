"""Builds NIfTI inputs for tests with nibabel."""

from __future__ import annotations

import nibabel as nib
import numpy as np

SPACING_MM = (0.7, 0.8, 5.0)
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_for(axes=(0, 1, 2), signs=(1, 1, 1), spacing=SPACING_MM, origin=(-90.0, -110.0, 30.0)):
    """RAS affine whose index axis k runs along world axis axes[k]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for k, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, k] = sign * spacing[k]
    affine[:3, 3] = origin
    return affine


def save(path, array, affine=None, sform=1, qform=1, header=None):
    affine = affine_for() if affine is None else affine
    image = nib.Nifti1Image(array, affine, header)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nib.save(image, path)
    return path


def ct(shape=(6, 7, 5), seed=0):
    return np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)


def patch(path, **fields):
    """Overwrites fields of a NIfTI-1 header as they lie in the file, past every check of nibabel."""
    data = bytearray(path.read_bytes())
    header = np.frombuffer(data, nib.Nifti1Header.template_dtype, count=1)[0]
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(data)
    return path


def quaternion(axis, degrees):
    """(b, c, d) of a turn, float64."""
    axis = np.array(axis, float) / np.linalg.norm(axis)
    return axis * np.sin(np.radians(degrees) / 2)
