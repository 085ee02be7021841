"""A sheared affine is a gantry tilt, and is repaired when asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from tests.broken_scans import ORIGIN_MM, axes_of, centre_mm, scanned, write

from lamella.errors import RefusedInput
from lamella.metrics.spheres import Sphere
from lamella.nifti.image import read_nifti
from lamella.sources.source import inspect_source, read_source

# Issue 26, item 7

SPACING_MM, SLICES, TILT_DEG = 2.5, 13, 15.0


def tilted(folder: Path) -> tuple[Path, Sphere, NDArray[np.float64]]:
    """A tilted DICOM series, the sphere in it, and its positions."""
    axes = axes_of(TILT_DEG)
    positions = np.array(ORIGIN_MM) + np.arange(SLICES)[:, None] * np.array([0.0, 0.0, SPACING_MM / axes[2, 0]])
    x, y, z = (positions[6] + axes @ np.array([0.3, 20.0, 22.0])).tolist()
    sphere = Sphere((x, y, z), 12.0)
    hu = scanned([sphere], positions, axes, SPACING_MM, (56, 60))
    return write(folder, hu, positions, axes, SPACING_MM), sphere, positions


def as_nifti(folder: Path, out: Path, positions: NDArray[np.float64], **form: Any) -> Path:
    """The same voxels and places as NIfTI: with a sheared sform."""
    files = sorted(folder.iterdir())
    hu = np.stack([pydicom.dcmread(file).pixel_array.astype(np.int16) - 1024 for file in files])
    axes, affine = axes_of(TILT_DEG), np.eye(4)
    affine[:3, :3] = np.stack([0.8 * axes[:, 2], 0.8 * axes[:, 1], positions[1] - positions[0]], axis=1)
    affine[:3, 3] = positions[0]
    image = nib.Nifti1Image(hu.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    image.set_sform(image.affine, 1)
    image.set_qform(None, 0)
    nib.save(image, out)
    return out


def test_the_repair_of_a_sheared_nifti_is_that_of_the_tilted_series(tmp_path: Path) -> None:
    folder, sphere, positions = tilted(tmp_path / "dicom")
    file = as_nifti(folder, tmp_path / "in.nii", positions)
    with pytest.raises(RefusedInput, match=r"sheared .*`lamella thin --repair tilt` does that for a gantry tilt"):
        read_nifti(file, SPACING_MM)
    volume, series = read_nifti(file, SPACING_MM, "tilt"), read_source(folder, repair="tilt")
    np.testing.assert_allclose(volume.geometry.affine, series.geometry.affine, atol=1e-4)
    np.testing.assert_allclose(volume.hu, series.hu, atol=1)
    assert np.abs(centre_mm(volume, sphere, SPACING_MM) - np.array(sphere.centre_mm)).max() < 0.05
    header: Any = volume.header
    assert header.repair.kind == "tilt"
    assert header.repair.note in header.notes
    assert inspect_source(file, repair="tilt").refusal is None


@pytest.mark.parametrize("repair", ["tilt", "gap", "uneven"])
def test_there_is_nothing_else_to_repair(repair: Any, tmp_path: Path) -> None:
    hu = np.full((16, 16, 6), -1000, np.int16)
    hu[4:12, 4:12] = 40
    nib.save(nib.Nifti1Image(hu, np.diag([-0.8, -0.8, 5.0, 1.0])), tmp_path / "in.nii")
    with pytest.raises(RefusedInput, match=rf"nothing to repair. --repair {repair} .* of one spacing"):
        read_nifti(tmp_path / "in.nii", 5.0, repair)


@pytest.mark.parametrize(("axis", "lean"), [(1, 0.3), (2, 4.0)], ids=["rows lean", "too far"])
def test_other_shears_are_refused(axis: int, lean: float, tmp_path: Path) -> None:
    affine = np.diag([-0.8, -0.8, 5.0, 1.0])
    affine[0, axis] = lean
    image = nib.Nifti1Image(np.full((16, 16, 6), -1000, np.int16), affine)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "in.nii")
    with pytest.raises(RefusedInput, match="sheared, and not by a gantry tilt"):
        read_nifti(tmp_path / "in.nii", 5.0, "tilt")


def test_dcm2niix_shears_in_the_same_way(tmp_path: Path) -> None:
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    folder, *_ = tilted(tmp_path / "dicom")
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        header.GantryDetectorTilt = str(TILT_DEG)
        header.save_as(file)
    command = ["dcm2niix", "-z", "n", "-f", "converted", "-o", str(tmp_path), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    theirs = np.asarray(nib.load(tmp_path / "converted_Tilt_1.nii").dataobj).transpose(2, 1, 0)[:, ::-1]
    ours = read_source(folder, repair="tilt").hu
    assert theirs.shape == ours.shape
    rows = []
    for hu in (theirs, ours):
        mass = np.clip(hu.astype(float) + 700, 0, None).sum(axis=2)[4:9]
        rows.append((mass * np.arange(hu.shape[1])).sum(axis=1) / mass.sum(axis=1))
    assert np.ptp(rows[1]) < 0.05  # the sphere stands upright
    np.testing.assert_allclose(np.diff(rows[0] - rows[1]), 0.0, atol=0.05)
