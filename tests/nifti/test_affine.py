"""Places as nifti1.h has them: qfac, quaternions, sform beside qform, shear; compared with nibabel and SimpleITK."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from tests.nifti_builder import LPS_RAS, SPACING_MM, affine_for, ct, patch, quaternion, save

from lamella.errors import RefusedInput
from lamella.nifti.image import read_nifti

# SPEC C2, C6


def places(volume, array):
    """RAS mm of the voxels at three indices of the file, found in the volume by their values."""
    found = []
    for index in ((0, 0, 0), (5, 6, 4), (2, 3, 1)):
        here = np.argwhere(volume.hu == array[index])
        assert len(here) == 1
        found.append((LPS_RAS @ volume.geometry.affine @ [*here[0], 1])[:3])
    return np.array(found)


def unique_ct():
    """(6, 7, 5) int16, no value twice."""
    return (np.random.default_rng(1).permutation(210) * 7 - 900).reshape(6, 7, 5).astype(np.int16)


def expected(affine):
    return np.array([(affine @ [*index, 1])[:3] for index in ((0, 0, 0), (5, 6, 4), (2, 3, 1))])


def turned(degrees, axis):
    matrix = nib.quaternions.angle_axis2mat(np.radians(degrees), axis)
    affine = affine_for()
    affine[:3, :3] = matrix @ affine[:3, :3]
    return affine


@pytest.mark.parametrize("form", ["sform", "qform", "both"])
@pytest.mark.parametrize(("degrees", "axis"), [(0, (0, 0, 1)), (20, (1, 2, 0.5)), (180, (0, 0, 1)), (179.9, (1, 0, 3))])
@pytest.mark.parametrize("mirrored", [False, True])
def test_places_are_nibabels(tmp_path, form, degrees, axis, mirrored):
    array, affine = unique_ct(), turned(degrees, axis)
    affine[:3, 2] *= -1 if mirrored else 1
    path = save(tmp_path / "in.nii", array, affine, sform=int(form != "qform"), qform=int(form != "sform"))
    found = places(read_nifti(path), array)
    np.testing.assert_allclose(found, expected(nib.load(path).affine), atol=1e-4)
    np.testing.assert_allclose(found, expected(affine), atol=0.02)


def test_places_are_those_of_simpleitk(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    array, affine = unique_ct(), turned(20, (1, 2, 0.5))
    path = save(tmp_path / "in.nii", array, affine, sform=0)
    image = itk.ReadImage(str(path))
    theirs = [image.TransformIndexToPhysicalPoint(index) for index in ((0, 0, 0), (5, 6, 4), (2, 3, 1))]
    np.testing.assert_allclose(places(read_nifti(path), array) * (-1, -1, 1), theirs, atol=1e-3)


@pytest.mark.parametrize(("stored", "counts_as"), [(0.0, 1), (1.0, 1), (-1.0, -1)])
def test_a_qfac_of_nought_is_one(tmp_path, stored, counts_as):
    array, affine = unique_ct(), turned(20, (1, 2, 0.5))
    path = patch(
        save(tmp_path / "in.nii", array, affine, sform=0),
        pixdim=[stored, *SPACING_MM, 0, 0, 0, 0],
    )
    affine[:3, 2] *= counts_as
    found = places(read_nifti(path), array)
    np.testing.assert_allclose(found, expected(affine), atol=1e-4)
    np.testing.assert_allclose(found, expected(nib.load(path).affine), atol=1e-4)


@pytest.mark.parametrize("excess", [1e-7, 2e-6, 5e-4])
def test_a_quaternion_a_hair_too_long_is_a_half_turn(tmp_path, excess):
    array, axis = unique_ct(), (1, 0, 3)
    b, c, d = quaternion(axis, 180) * np.sqrt(1 + excess)
    path = patch(save(tmp_path / "in.nii", array, turned(180, axis), sform=0), quatern_b=b, quatern_c=c, quatern_d=d)
    np.testing.assert_allclose(places(read_nifti(path), array), expected(turned(180, axis)), atol=1e-3)


@pytest.mark.parametrize(
    "broken",
    [{"quatern_b": 1.2}, {"quatern_c": np.nan}, {"pixdim": [1, 0, 0, 0, 0, 0, 0, 0]}, {"qoffset_x": np.inf}],
    ids=["long", "nan", "no size", "no place"],
)
def test_sform_counts_where_qform_fails(tmp_path, broken):
    array = unique_ct()
    path = patch(save(tmp_path / "in.nii", array, turned(20, (1, 2, 0.5))), **broken)
    volume = read_nifti(path)
    np.testing.assert_allclose(places(volume, array), expected(turned(20, (1, 2, 0.5))), atol=1e-4)
    assert "qform is malformed: sform is used" in volume.header.notes
    with pytest.raises(RefusedInput, match=r"affine of in.nii is singular or malformed: its qform"):
        read_nifti(patch(path, sform_code=0))


@pytest.mark.parametrize("broken", [{"srow_z": 0}, {"srow_x": np.nan}], ids=["singular", "nan"])
def test_qform_counts_where_sform_fails(tmp_path, broken):
    array = unique_ct()
    path = patch(save(tmp_path / "in.nii", array, turned(20, (1, 2, 0.5)), sform=2, qform=1), **broken)
    volume = read_nifti(path)
    np.testing.assert_allclose(places(volume, array), expected(turned(20, (1, 2, 0.5))), atol=1e-4)
    assert "sform is malformed: qform is used" in volume.header.notes
    assert volume.header.code == 1
    with pytest.raises(RefusedInput, match=r"affine of in.nii is singular or malformed: its sform and its qform"):
        read_nifti(patch(path, quatern_b=np.nan))


def test_rounding_of_a_quaternion_is_no_contradiction_in_a_large_volume(tmp_path):
    """Near half a turn float32 knows an angle to 0.0007 rad: 0.5 mm at the corner of a whole body."""
    affine = affine_for(spacing=(0.98, 0.98, 5.0))
    affine[:3, :3] = nib.quaternions.angle_axis2mat(np.radians(180 - 0.03), (0, 0, 1)) @ affine[:3, :3]
    path = save(tmp_path / "in.nii", ct((512, 512, 3)), affine)
    patch(path, quatern_b=0, quatern_c=0, quatern_d=1)  # as a writer with single precision has it
    header = nib.load(path).header
    assert np.abs(header.get_sform() - header.get_qform())[:3, :3].max() * 511 * np.sqrt(2) > 0.25
    assert read_nifti(path).hu.shape == (3, 512, 512)


@pytest.mark.parametrize("degrees", [0, 11, 180])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_sizes_are_the_decimals_that_were_written(tmp_path, degrees, kind):
    affine = affine_for(spacing=(0.7, 0.7421875, 1.1))
    affine[:3, :3] = nib.quaternions.angle_axis2mat(np.radians(degrees), (1, 2, 0.5)) @ affine[:3, :3]
    nib.save(kind(ct(), affine), tmp_path / "in.nii")
    geometry = read_nifti(tmp_path / "in.nii").geometry
    assert sorted((geometry.spacing_mm, *geometry.pixel_mm)) == pytest.approx([0.7, 0.7421875, 1.1], rel=1e-14)


def sheared(shape, voxels):
    """An affine whose third axis leans along the first so that the last slice lies `voxels` columns off."""
    affine = affine_for()
    affine[0, 2] = voxels * SPACING_MM[0] / (shape[2] - 1)
    return affine


@pytest.mark.parametrize("voxels", [0.001, 0.02, 0.09])
def test_shear_of_less_than_a_tenth_of_a_voxel_is_rounding(tmp_path, voxels):
    array = unique_ct()
    affine = sheared(array.shape, voxels)
    volume = read_nifti(save(tmp_path / "in.nii", array, affine, qform=0))
    apart = places(volume, array) - expected(affine)
    assert np.abs(apart).max() <= 0.1 * SPACING_MM[0]
    noted = [note for note in volume.header.notes if "taken out as rounding" in note]
    assert len(noted) == (voxels > 0.01)


@pytest.mark.parametrize("voxels", [0.12, 1.0])
def test_more_shear_is_refused(tmp_path, voxels):
    affine = sheared((6, 7, 5), voxels)
    with pytest.raises(RefusedInput, match=rf"in.nii is sheared .* by {voxels:.2f} voxels, allowed 0.1"):
        read_nifti(save(tmp_path / "in.nii", ct(), affine, qform=0))


def test_the_same_angle_over_more_slices_is_refused(tmp_path):
    affine = sheared((6, 7, 5), 0.09)
    with pytest.raises(RefusedInput, match=r"sheared"):
        read_nifti(save(tmp_path / "in.nii", ct((6, 7, 9)), affine, qform=0))
