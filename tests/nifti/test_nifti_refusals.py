"""NIfTI files that are no regular volume in Hounsfield units, or damaged: each is built and refused."""

from __future__ import annotations

import contextlib
import gzip

import nibabel as nib
import numpy as np
import pytest
from tests.nifti_builder import affine_for, ct, patch, save

from lamella.errors import RefusedInput
from lamella.nifti.image import read_nifti
from lamella.sources.source import inspect_source, read_source

# SPEC C6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    array = ct().astype(np.float32)
    array[1, 2, 3] = value
    with pytest.raises(RefusedInput, match=r"in.nii holds 1 values that are not finite .* in slice 3"):
        read_nifti(save(tmp_path / "in.nii", array))


NO_HU = [
    (ct().clip(0, 255).astype(np.uint8), "8-bit picture"),
    (ct().clip(0, 255).astype(np.float32), "8-bit picture"),
    ((ct().astype(np.int32) + 1024).astype(np.uint16), "nothing below 0"),
    (ct().astype(np.float32) / 3000, r"scaled to \[-1, 1\]"),
    (ct().astype(np.float32) * 100, "beyond"),
]
"""Values, and why they are not those of CT."""


@pytest.mark.parametrize(("array", "why"), NO_HU)
def test_values_that_cannot_be_hu(tmp_path, array, why):
    with pytest.raises(RefusedInput, match=rf"in.nii cannot be Hounsfield units \(.*{why}"):
        read_nifti(save(tmp_path / "in.nii", array))


@pytest.mark.parametrize("shape", [(6, 7, 5, 2), (6, 7), (6, 7, 1, 1, 3)])
def test_other_than_three_dimensions(tmp_path, shape):
    with pytest.raises(RefusedInput, match=rf"in.nii is {len(shape)}-D. Found .*; expected one 3-D volume"):
        read_nifti(save(tmp_path / "in.nii", ct(shape)))


def test_one_slice_has_no_spacing(tmp_path):
    with pytest.raises(RefusedInput, match=r"in.nii holds a single slice"):
        read_nifti(save(tmp_path / "in.nii", ct((6, 7, 1))))


def test_shear(tmp_path):
    affine = affine_for()
    affine[1, 2] = 1.3
    with pytest.raises(RefusedInput, match=r"affine of in.nii is sheared .* cosine of 0.25"):
        read_nifti(save(tmp_path / "in.nii", ct(), affine, qform=0))


def test_singular_affine(tmp_path):
    path = save(tmp_path / "in.nii", ct(), qform=0)
    data = bytearray(path.read_bytes())
    data[312:328] = bytes(16)  # srow_z
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"affine of in.nii is singular"):
        read_nifti(path)


def test_no_orientation_at_all(tmp_path):
    with pytest.raises(RefusedInput, match=r"in.nii has neither a sform nor a qform code"):
        read_nifti(save(tmp_path / "in.nii", ct(), sform=0, qform=0))


def test_qform_against_sform(tmp_path):
    image = nib.Nifti1Image(ct(), affine_for())
    image.set_sform(affine_for(), 1)
    image.set_qform(affine_for(spacing=(0.7, 0.8, 3.0)), 1)
    nib.save(image, tmp_path / "in.nii")
    with pytest.raises(RefusedInput, match=r"sform and qform of in.nii disagree. Found 8.00 mm"):
        read_nifti(tmp_path / "in.nii")


def test_pixdim_against_sform(tmp_path):
    path = save(tmp_path / "in.nii", ct(), qform=0)
    data = bytearray(path.read_bytes())
    data[88:92] = np.array([3.0], "<f4").tobytes()  # pixdim[3]
    path.write_bytes(data)
    with pytest.raises(
        RefusedInput, match=r"pixdim and the affine of in.nii disagree.* 0.7 x 0.8 x 3 and 0.7 x 0.8 x 5 mm"
    ):
        read_nifti(path)


def test_a_pixdim_of_nought_says_nothing(tmp_path):
    path = save(tmp_path / "in.nii", ct(), qform=0)
    data = bytearray(path.read_bytes())
    data[80:92] = bytes(12)
    path.write_bytes(data)
    assert read_nifti(path).geometry.spacing_mm == pytest.approx(5.0)


@pytest.mark.parametrize("code", [0, 4, 7])
def test_an_unknown_unit_is_said(tmp_path, code):
    patch(save(tmp_path / "in.nii", ct()), xyzt_units=code)
    assert "unit of length is unknown: millimetres assumed" in read_nifti(tmp_path / "in.nii").header.notes


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 2, 1)])
def test_a_slice_dim_from_before_axes_were_exchanged_is_refused(tmp_path, axes):
    """As `nibabel.Nifti1Image(array.transpose(axes), affine[:, [*axes, 3]], old.header)` leaves it."""
    array, affine = ct((20, 20, 6)), affine_for(spacing=(0.8, 0.8, 5.0))
    path = save(tmp_path / "in.nii", array.transpose(axes), affine[:, [*axes, 3]])
    assert read_nifti(path).geometry.spacing_mm == pytest.approx(5.0)
    patch(path, dim_info=3 << 4)
    with pytest.raises(
        RefusedInput, match=rf"in in.nii. Found slices along axis 3.* set its slice_dim to {axes.index(2) + 1}"
    ):
        read_nifti(path)


@pytest.mark.parametrize("name", ["in.nii", "in.nii.gz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_half_a_file(tmp_path, name, share):
    path = save(tmp_path / name, ct((20, 20, 10)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(RefusedInput, match=rf"{name} is cut off"):
        read_nifti(path)


def test_gzip_checksum(tmp_path):
    path = save(tmp_path / "in.nii.gz", ct((20, 20, 10)))
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"in.nii.gz is damaged"):
        read_nifti(path)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((30000, 30000, 30000), r"claims 27,000,000,000,000 voxels"),
        ((1000, 1000, 1000), r"cut off, or its header claims too much"),
        ((-5, 10, 10), r"invalid dimensions"),
        ((0, 10, 10), r"invalid dimensions"),
    ],
)
@pytest.mark.parametrize("name", ["in.nii", "in.nii.gz"])
def test_header_that_claims_too_much(tmp_path, dims, message, name):
    path = save(tmp_path / "in.nii", ct())
    data = bytearray(path.read_bytes())
    data[42:48] = np.array(dims, "<i2").tobytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(RefusedInput, match=message):
        read_nifti(tmp_path / name)


def test_colour_and_pairs_and_units(tmp_path):
    rgb = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(RefusedInput, match=r"does not hold plain numbers"):
        read_nifti(save(tmp_path / "rgb.nii", rgb))
    nib.save(nib.Nifti1Pair(ct(), affine_for()), tmp_path / "pair.img")
    with pytest.raises(RefusedInput, match=r"pair.hdr is a .hdr/.img pair"):
        read_nifti(tmp_path / "pair.hdr")
    image = nib.Nifti1Image(ct(), affine_for())
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "small.nii")
    with pytest.raises(RefusedInput, match=r"small.nii is not in millimetres"):
        read_nifti(tmp_path / "small.nii")


@pytest.mark.parametrize("name", ["in.nii", "in.nii.gz", "IN.NII"])
@pytest.mark.parametrize(
    "data", [b"", b"hello", bytes(700), gzip.compress(b"hello")], ids=["empty", "words", "zeros", "gzip"]
)
def test_what_is_called_nifti_and_is_none(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(
        RefusedInput, match=rf"{name} is no NIfTI file: it (is empty|does not begin as one)|{name} is cut off"
    ):
        read_source(tmp_path / name)
    assert inspect_source(tmp_path / name).kind == "nifti"


def test_a_header_that_is_none(tmp_path):
    path = tmp_path / "in.nii"
    path.write_bytes(b"nonsense" * 100)
    with pytest.raises(RefusedInput, match=r"in.nii"):
        read_nifti(path)


@pytest.mark.parametrize("field", ["pixdim", "srow_z", "quatern_b"])
def test_a_signalling_nan_is_no_warning_of_numpy(tmp_path, field):
    """Warnings are errors here; on a terminal they would be noise."""
    path = save(tmp_path / "in.nii", ct(), sform=0 if field != "srow_z" else 1)
    data = bytearray(path.read_bytes())
    at = {"pixdim": 76 + 4, "srow_z": 312, "quatern_b": 256}[field]
    data[at : at + 4] = (0x7FA00000).to_bytes(4, "little")
    path.write_bytes(data)
    with contextlib.suppress(RefusedInput):
        read_nifti(path)
