"""NIfTI: round trips in every axis order, agreement with nibabel on places, and the refusals."""

from __future__ import annotations

import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from tests.dicom_builder import phantom_hu
from tests.nifti_builder import LPS_RAS, affine_for, ct, save

from lamella.errors import LamellaError
from lamella.nifti.image import read_nifti, write_nifti
from lamella.volume import Geometry, Volume


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_every_voxel_keeps_its_place_and_the_file_comes_back(tmp_path, axes, signs):
    array = ct()
    path = save(tmp_path / "in.nii", array, affine_for(axes, signs))
    volume = read_nifti(path)
    image = nib.load(path)
    for index in ((0, 0, 0), (5, 6, 4), (2, 3, 1)):
        place = LPS_RAS[:3, :3] @ (image.affine @ [*index, 1])[:3]
        here = np.linalg.solve(volume.geometry.affine, [*place, 1])[:3]
        np.testing.assert_allclose(here, np.rint(here), atol=1e-4)
        assert volume.hu[tuple(np.rint(here).astype(int))] == array[index]
    assert volume.geometry.spacing_mm == pytest.approx(5.0, rel=1e-6)
    slices, rows, columns = volume.geometry.axes.T
    np.testing.assert_allclose(np.cross(columns, rows), slices, atol=1e-6)  # right-handed, as DICOM
    write_nifti(tmp_path / "out.nii", [volume], volume.header)
    again = nib.load(tmp_path / "out.nii")
    np.testing.assert_array_equal(np.asanyarray(again.dataobj), array)
    np.testing.assert_allclose(again.affine, image.affine, atol=1e-4)
    assert again.get_data_dtype() == np.int16


@pytest.mark.parametrize(
    ("axes", "expected_lps"),
    [
        ((0, 1, 2), [(0, 0, 1), (0, 1, 0), (1, 0, 0)]),
        ((0, 2, 1), [(0, 1, 0), (0, 0, -1), (1, 0, 0)]),
        ((2, 1, 0), [(-1, 0, 0), (0, 0, -1), (0, 1, 0)]),
    ],
)
def test_slices_lie_as_in_dicom(tmp_path, axes, expected_lps):
    """Axial: rows to the back, columns to the left; coronal and sagittal: rows to the feet."""
    volume = read_nifti(save(tmp_path / "in.nii", ct(), affine_for(axes)))
    np.testing.assert_allclose(volume.geometry.axes.T, expected_lps, atol=1e-6)


def test_the_third_axis_is_the_slice_axis_when_all_are_equal(tmp_path):
    volume = read_nifti(save(tmp_path / "in.nii", ct((3, 4, 5)), affine_for(spacing=(1, 1, 1))))
    assert volume.hu.shape == (5, 4, 3)


@pytest.mark.parametrize(("spacing", "slices"), [((1.4, 1.4, 1.0), 5), ((1.4, 1.0, 1.4), 4), ((0.8, 0.7, 3.0), 5)])
def test_the_slice_axis_is_the_odd_one_out_even_where_slices_are_finer_than_pixels(tmp_path, spacing, slices):
    """A thinned series may have 1 mm slices of 1.4 mm pixels: read back, its slices must still be its slices."""
    volume = read_nifti(save(tmp_path / "in.nii", ct((3, 4, 5)), affine_for(spacing=spacing)))
    assert volume.hu.shape[0] == slices


def test_an_oblique_volume(tmp_path):
    turn = nib.eulerangles.euler2mat(0.3, 0.2, 0.1)
    affine = affine_for()
    affine[:3, :3] = turn @ affine[:3, :3]
    path = save(tmp_path / "in.nii", ct(), affine)
    volume = read_nifti(path)
    write_nifti(tmp_path / "out.nii", [volume], volume.header)
    np.testing.assert_allclose(nib.load(tmp_path / "out.nii").affine, affine, atol=1e-4)


def test_thickness_is_assumed_and_said(tmp_path):
    volume = read_nifti(save(tmp_path / "in.nii", ct()))
    assert volume.geometry.thickness_mm == pytest.approx(5.0, rel=1e-6)
    (note,) = volume.header.notes
    assert note.startswith("thickness is unknown in NIfTI: taken equal to the spacing, 5 mm. Slices that overlap")
    assert volume.header.warnings == (note,)


def test_thinned_slices_lie_over_the_source(tmp_path):
    """What a viewer needs: the written thin volume covers the thick one, in the file's own axis order."""
    path = save(tmp_path / "in.nii", ct(), affine_for((0, 1, 2), (-1, 1, -1)))
    thick = read_nifti(path)
    geometry = thick.geometry.with_slices(25, 1.0, -2.0, 1.0)
    thin = Volume(np.repeat(thick.hu, 5, axis=0), geometry)
    write_nifti(tmp_path / "out.nii.gz", [thin], thick.header)
    out, source = nib.load(tmp_path / "out.nii.gz"), nib.load(path)
    assert out.shape == (6, 7, 25)
    np.testing.assert_array_equal(np.asanyarray(out.dataobj)[:, :, 2::5], ct())
    np.testing.assert_allclose(out.affine @ [0, 0, 2, 1], source.affine @ [0, 0, 0, 1], atol=1e-4)
    np.testing.assert_allclose(out.affine @ [0, 0, 22, 1], source.affine @ [0, 0, 4, 1], atol=1e-4)


def test_without_a_nifti_header_the_order_is_column_row_slice(tmp_path):
    hu = phantom_hu(4, 5, 6)
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, 0.5], [0, 0.75, 0], [2.5, 0, 0]]
    write_nifti(tmp_path / "out.nii.gz", [Volume(hu, Geometry(hu.shape, affine, 5.0))], None)
    image = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), hu.transpose(2, 1, 0))
    np.testing.assert_allclose(np.diag(image.affine), [-0.5, -0.75, 2.5, 1])
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    volume = read_nifti(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-6)


def test_several_volumes_make_four_dimensions_and_the_same_bytes_each_time(tmp_path):
    volume = read_nifti(save(tmp_path / "in.nii", ct()))
    other = Volume(volume.hu.astype(np.float32) + np.float32(0.5), volume.geometry)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, [volume, other], volume.header)
    data = np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(data[..., 0], ct())
    np.testing.assert_array_equal(data[..., 1], ct() + np.float32(0.5))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_volumes_of_different_geometry_are_not_written(tmp_path):
    volume = read_nifti(save(tmp_path / "in.nii", ct()))
    other = Volume(volume.hu[1:], volume.geometry.with_slices(4, 5.0, 5.0, 5.0))
    with pytest.raises(LamellaError, match=r"volumes of one geometry"):
        write_nifti(tmp_path / "out.nii", [volume, other], None)
    assert not (tmp_path / "out.nii").exists()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_numbers_of_every_kind(tmp_path, dtype):
    volume = read_nifti(save(tmp_path / "in.nii", ct().astype(dtype)))
    assert volume.hu.dtype == (np.int16 if np.issubdtype(dtype, np.integer) else np.float32)
    np.testing.assert_array_equal(np.sort(volume.hu.ravel()), np.sort(ct().ravel()))


def test_scaled_unsigned_values_and_air(tmp_path):
    header = nib.Nifti1Header()
    array = np.array([0, 500, 1024, 4000] * 6, np.uint16).reshape(2, 3, 4)
    image = nib.Nifti1Image(array, affine_for(), header)
    image.header.set_slope_inter(1, -1124)
    nib.save(image, tmp_path / "in.nii")
    image = nib.load(tmp_path / "in.nii")
    volume = read_nifti(tmp_path / "in.nii")
    expected = np.maximum(np.asarray(image.dataobj), -1024)
    np.testing.assert_allclose(np.sort(volume.hu.ravel()), np.sort(expected.ravel()))
    assert any("voxels below -1024 HU set to air" in note for note in volume.header.notes)


def test_nifti_2_big_endian_gzip_and_a_trailing_axis_of_one(tmp_path):
    image = nib.Nifti2Image(ct()[..., None], affine_for())
    image.set_sform(affine_for(), 1)
    nib.save(image, tmp_path / "two.nii.gz")
    swapped = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(ct().astype(">i2"), affine_for(), swapped), tmp_path / "big.nii")
    expected = read_nifti(save(tmp_path / "in.nii", ct())).hu
    for name in ("two.nii.gz", "big.nii"):
        np.testing.assert_array_equal(read_nifti(tmp_path / name).hu, expected)


def test_gzip_is_told_by_content(tmp_path):
    path = save(tmp_path / "in.nii", ct())
    (tmp_path / "packed.nii").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_nifti(tmp_path / "packed.nii").hu, read_nifti(path).hu)
