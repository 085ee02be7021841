"""Volumes from and to images in memory: the right way round."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import lamella
from lamella.nifti.image import read_nifti, write_nifti
from lamella.volume import Volume


def marked() -> Volume:
    """Air with one voxel towards head, left and back, and another twice as bright towards the feet, right and front."""
    hu = np.full((5, 6, 7), -1000, np.int16)
    hu[4, 5, 6], hu[0, 0, 0] = 100, 200
    return Volume.from_array(hu, spacing_mm=4.0, thickness_mm=5.0, pixel_mm=(0.8, 0.5), origin_mm=(-30.0, 20.0, 7.0))


def places_ras(image: nib.Nifti1Image) -> dict[int, tuple[float, ...]]:
    """RAS mm of the two marks, as every reader of NIfTI finds them."""
    data = np.asarray(image.dataobj)
    return {
        value: tuple(np.round((image.affine @ [*np.argwhere(data == value)[0], 1.0])[:3], 4)) for value in (100, 200)
    }


def test_an_image_lies_where_the_volume_does(tmp_path: Path) -> None:
    volume = marked()
    # LPS of the last voxel is (-30 + 6 * 0.5, 20 + 5 * 0.8, 7 + 4 * 4); RAS turns the first two round.
    expected = {100: (27.0, -24.0, 23.0), 200: (30.0, -20.0, 7.0)}
    image = volume.to_nibabel()
    assert image.shape == (7, 6, 5)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert places_ras(image) == expected
    naive = nib.Nifti1Image(volume.hu, volume.geometry.affine)
    assert places_ras(naive) != expected
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")

    nib.save(image, tmp_path / "image.nii.gz")
    again = read_nifti(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(again.hu, volume.hu)
    np.testing.assert_allclose(again.geometry.affine, volume.geometry.affine, atol=1e-5)
    np.testing.assert_allclose(volume.affine_ras, volume.geometry.affine_ras)


def test_the_own_writer_agrees(tmp_path: Path) -> None:
    volume = marked()
    write_nifti(tmp_path / "own.nii", [volume], None)
    own, image = nib.load(tmp_path / "own.nii"), volume.to_nibabel()
    np.testing.assert_array_equal(np.asarray(own.dataobj), np.asarray(image.dataobj))
    np.testing.assert_allclose(own.affine, image.affine, atol=1e-5)


@pytest.mark.parametrize("axcodes", ["LPS", "RAS", "SAR", "PIL"])
def test_a_nibabel_image_is_read_as_its_file(tmp_path: Path, axcodes: str) -> None:
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(axcodes))
    image = marked().to_nibabel().as_reoriented(turn)
    nib.save(image, tmp_path / "image.nii")
    by_file, by_image = read_nifti(tmp_path / "image.nii"), lamella.from_nibabel(image)
    np.testing.assert_array_equal(by_image.hu, marked().hu)
    np.testing.assert_array_equal(by_image.hu, by_file.hu)
    np.testing.assert_allclose(by_image.geometry.affine, by_file.geometry.affine, atol=1e-5)
    assert by_image.geometry.thickness_mm == pytest.approx(4.0)
    assert any("thickness is unknown" in note for note in by_image.header.notes)  # type: ignore[union-attr]
    known = lamella.from_nibabel(nib.load(tmp_path / "image.nii"), thickness_mm=5.0)
    assert known.geometry.thickness_mm == 5.0
    assert not any("thickness" in note for note in known.header.notes)  # type: ignore[union-attr]


def test_scaled_values_are_taken_as_they_are(tmp_path: Path) -> None:
    stored = (marked().hu.astype(np.int16) + 1024).transpose(2, 1, 0)
    image = nib.Nifti1Image(stored, marked().affine_ras)
    image.header.set_slope_inter(1.0, -1024.0)
    nib.save(image, tmp_path / "scaled.nii")
    np.testing.assert_array_equal(lamella.from_nibabel(nib.load(tmp_path / "scaled.nii")).hu, marked().hu)


def test_what_is_no_ct_is_refused() -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    with pytest.raises(lamella.RefusedInput, match="cannot be Hounsfield"):
        lamella.from_nibabel(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), affine))
    with pytest.raises(lamella.RefusedInput, match="plain numbers"):
        lamella.from_nibabel(nib.Nifti1Image(np.ones((4, 4, 4), np.complex64), affine))
    with pytest.raises(lamella.RefusedInput, match="4-D"):
        lamella.from_nibabel(nib.Nifti1Image(np.ones((4, 4, 4, 2), np.float32), affine))


def test_a_simpleitk_image_lies_where_it_did(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    volume = marked()
    nib.save(volume.to_nibabel(), tmp_path / "image.nii")
    image = itk.ReadImage(str(tmp_path / "image.nii"))
    found = lamella.from_simpleitk(image, thickness_mm=5.0)
    np.testing.assert_array_equal(found.hu, volume.hu)
    np.testing.assert_allclose(found.geometry.affine, volume.geometry.affine, atol=1e-5)
    index = [int(n) for n in np.argwhere(found.hu == 100)[0]]
    np.testing.assert_allclose(
        found.geometry.position(*index), image.TransformIndexToPhysicalPoint([6, 5, 4]), atol=1e-4
    )
    turned = lamella.from_simpleitk(itk.DICOMOrient(image, "RAS"), thickness_mm=5.0)
    np.testing.assert_array_equal(turned.hu, volume.hu)
    np.testing.assert_allclose(turned.geometry.affine, volume.geometry.affine, atol=1e-5)
    with pytest.raises(lamella.RefusedInput, match="one 3-D volume"):
        lamella.from_simpleitk(itk.Image(4, 4, itk.sitkInt16))


def test_arrays() -> None:
    assert (
        Volume.from_array(np.zeros((2, 3, 4), np.uint8), spacing_mm=5, thickness_mm=5, pixel_mm=1).hu.dtype
        == np.float32
    )
    volume = marked()
    assert volume.hu.dtype == np.int16
    assert repr(volume) == "Volume(int16, Geometry(5 x 6 x 7, 5 mm thick every 4 mm, pixel 0.8 x 0.5 mm))"
    np.testing.assert_allclose(volume.geometry.position(1, 1, 1), (-29.5, 20.8, 11.0))
    for hu, spacing, message in (
        (np.zeros((3, 4)), 5.0, "2 axes"),
        (np.zeros((3, 4, 5), complex), 5.0, "complex"),
        (np.zeros((3, 4, 5)), 0.0, "above 0"),
        (np.zeros((3, 4, 5)), float("nan"), "above 0"),
    ):
        with pytest.raises(lamella.LamellaError, match=message):
            Volume.from_array(hu, spacing_mm=spacing, thickness_mm=5.0, pixel_mm=1.0)
