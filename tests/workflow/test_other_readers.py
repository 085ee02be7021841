"""SimpleITK, nibabel and dcm2niix read every kind of result: the same voxels, every corner within 0.001 mm."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.dicom_builder import AXIAL, build_series, phantom_hu

import lamella
from lamella.cli import main
from lamella.sources.source import read_source

# SPEC C2, C5

Image = tuple[NDArray[Any], NDArray[np.float64]]
"""Voxels in the order of the file, and the affine from its indices to LPS mm."""

WITHIN_MM = 1e-3
TILTED = (0.96, 0.28, 0.0, -0.2688, 0.9216, 0.28)
ORIENTATIONS = {"axial": AXIAL, "oblique": TILTED, "coronal": (1, 0, 0, 0, 0, -1), "feet first": (-1, 0, 0, 0, 1, 0)}

VERBS = {
    "thin": ["thin"],
    "thin, texture": ["thin", "--mode", "texture", "--spacing-mm", "0.8"],
    "thin, overlapping": ["thin", "--spacing-mm", "0.625", "--output-thickness-mm", "1.25"],
    "degrade": ["degrade", "--thickness-mm", "10", "--spacing-mm", "7.5"],
}


def made(orientation: str, words: list[str], model: Path, folder: Path, name: str) -> Path:
    """A result of a series of 5 mm every 2.5 mm."""
    hu = np.clip(phantom_hu(9, 24, 28) // 8, -1024, 3071).astype(np.int16)
    how = {"spacing_mm": 2.5, "thickness_mm": 5.0, "pixel_mm": (0.7, 0.8), "origin_mm": (-120.37, -99.21, 51.3)}
    build_series(folder / "in", hu, orientation=ORIENTATIONS[orientation], **how)  # type: ignore[arg-type]
    more = ["--model", str(model)] if words[0] == "thin" else []
    assert main([words[0], str(folder / "in"), str(folder / name), "--quiet", *words[1:], *more]) == 0
    return folder / name


def by_simpleitk(result: Path) -> Image:
    itk = pytest.importorskip("SimpleITK")
    files = itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(result)) if result.is_dir() else str(result)
    return of_simpleitk(itk.ReadImage(files))


def of_simpleitk(image: Any) -> Image:
    itk = pytest.importorskip("SimpleITK")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return itk.GetArrayFromImage(image).T, affine


def by_nibabel(result: Path) -> Image:
    return of_nibabel(nib.load(result))  # type: ignore[attr-defined]


def of_nibabel(image: Any) -> Image:
    return np.asanyarray(image.dataobj), np.diag([-1, -1, 1, 1]) @ image.affine


def by_dcm2niix(result: Path) -> Image:
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    place = result.parent / "converted"
    place.mkdir()
    command = ["dcm2niix", "-b", "y", "-f", "image", "-o", str(place), str(result)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert [path.name for path in sorted(place.iterdir())] == ["image.json", "image.nii"], done.stdout
    return by_nibabel(place / "image.nii")


READERS = {"dicom": (by_simpleitk, by_dcm2niix), "made.nii": (by_simpleitk, by_nibabel)}
TABLE = [(one, verb) for one in ORIENTATIONS for verb in VERBS if verb == "thin" or one in ("axial", "oblique")]


def check_alike(found: Image, expected: lamella.Volume, what: str) -> None:
    """The found array, in the order of its own file, has the expected voxels in the expected places."""
    array, affine = found
    turn = np.linalg.inv(affine) @ expected.geometry.affine  # from (z, y, x) to the file's indices
    whole = np.rint(turn)
    axes = np.abs(whole[:3, :3]).argmax(axis=0)
    backwards = tuple(slice(None, None, int(whole[axis, number])) for number, axis in enumerate(axes))
    np.testing.assert_array_equal(array.transpose(axes)[backwards], expected.hu, err_msg=what)
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in expected.hu.shape])).reshape(3, -1)
    corners = np.vstack([ends, np.ones(8)])
    apart_mm = np.linalg.norm(affine @ whole @ corners - expected.geometry.affine @ corners, axis=0)
    assert apart_mm.max() < WITHIN_MM, what


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("orientation", "verb"), TABLE)
def test_others_read_the_same(orientation: str, verb: str, name: str, tiny_model: Path, tmp_path: Path) -> None:
    result = made(orientation, VERBS[verb], tiny_model, tmp_path, name)
    expected = read_source(result)
    assert expected.geometry.pixel_mm == pytest.approx((0.7, 0.8))  # pixels that are not square: the header says which
    for reader in READERS[name]:
        check_alike(reader(result), expected, reader.__name__)


def test_every_sample_of_a_4d_file_is_read(tiny_model: Path, tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    words = ["thin", "--mode", "sample", "--steps", "2", "--samples", "2"]
    series, file = (made("oblique", words, tiny_model, tmp_path, name) for name in ("dicom", "made.nii.gz"))
    image, whole = itk.ReadImage(str(file)), nib.load(file)  # type: ignore[attr-defined]
    for number in range(2):
        expected = read_source(series / f"sample-{number + 1:02d}")
        check_alike(of_simpleitk(image[:, :, :, number]), expected, "SimpleITK")
        check_alike(of_nibabel(whole.slicer[..., number]), expected, "nibabel")


def test_the_spread_is_read(tiny_model: Path, tmp_path: Path) -> None:
    spread = tmp_path / "sd.nii.gz"
    thin = read_source(made("oblique", ["thin", "--spread", str(spread)], tiny_model, tmp_path, "dicom"))
    array, affine = by_nibabel(spread)
    expected = lamella.Volume(np.ascontiguousarray(array.T), thin.geometry)
    check_alike((array, affine), expected, "nibabel")
    check_alike(by_simpleitk(spread), expected, "SimpleITK")
