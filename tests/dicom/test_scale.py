"""Scales and signs that the pixels contradict: lost intercepts behind padding, bone that became negative, slopes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from pydicom import uid
from tests.dicom_builder import body_hu, build_series
from tests.nifti_builder import save

from lamella.dicom import read_series
from lamella.errors import RefusedInput
from lamella.sources.source import inspect_source, read_source

# SPEC C6

SIGNED = {"signed": True, "bits": 16}


def in_a_circle(hu, padding):
    """The field of a scanner: everything outside the inscribed circle is padding."""
    y, x = np.mgrid[: hu.shape[1], : hu.shape[2]] - (hu.shape[1] - 1) / 2
    found = hu.astype(np.int32)
    found[:, np.hypot(y, x) > hu.shape[1] / 2] = padding
    return found.astype(np.int16)


@pytest.mark.parametrize("kind", ["declared", "not declared", "nifti"])
@pytest.mark.parametrize("padding", [-2000, -3024])
@pytest.mark.parametrize("lost", [1024, 1000, 700])
def test_a_lost_intercept_is_seen_behind_padding(tmp_path, kind, padding, lost):
    """Air near 0 and tissue near 1000; the padding, which is no measurement, is not taken for the air."""
    stored = in_a_circle(body_hu(6, 64) + np.int16(lost), padding)
    source = tmp_path / "in"
    if kind == "nifti":
        source = save(tmp_path / "in.nii", np.transpose(stored, (2, 1, 0)))
    else:
        tags = {"PixelPaddingValue": ("SS", padding)} if kind == "declared" else {}
        build_series(source, stored, **SIGNED, tags=tags)
    with pytest.raises(RefusedInput, match=r"cannot be Hounsfield units"):
        read_source(source)
    assert "cannot be Hounsfield units" in inspect_source(source).refusal


@pytest.mark.parametrize("inside", ["air", "head", "shaft", "fat"])
def test_padding_around_a_right_scale_is_air(tmp_path, inside):
    """With air in the field, and where the field lies within the body."""
    y, x = np.mgrid[:64, :64] - 31.5
    r = np.hypot(y, x)
    plane = {
        "head": np.where(r < 28, 35, 1200) + np.where(r < 8, -28, 0),
        "shaft": np.where(r < 7, 60, np.where(r < 12, 1300, np.where(r < 24, 55, -105))),
        "fat": np.where(r < 12, 380, -105),
    }
    noise = np.random.default_rng(1).normal(0, 12, (4, 64, 64))
    hu = body_hu(4, 64) if inside == "air" else np.rint(plane[inside] + noise).astype(np.int16)
    build_series(tmp_path, in_a_circle(hu, -2000), **SIGNED)
    np.testing.assert_array_equal(read_series(tmp_path).hu, in_a_circle(hu, -1024))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"RescaleIntercept": -824}, "everything around the body is near -80[0-9] HU, where air should be near -1000"),
        ({"RescaleIntercept": -600}, "everything around the body is near -57[0-9] HU, where air should be near -1000"),
        ({"RescaleSlope": 0.5}, "hardly anything in the body is denser than -300 HU"),
    ],
)
def test_a_scale_that_is_possible_and_unlikely_is_noted(tmp_path, tags, said):
    hu = np.where(body_hu(4, 64) > 300, 40, body_hu(4, 64))
    build_series(tmp_path / "right", hu)
    build_series(tmp_path / "wrong", hu, tags=tags)
    assert not any("RescaleIntercept" in note for note in read_series(tmp_path / "right").header.notes)
    (note,) = [one for one in read_series(tmp_path / "wrong").header.notes if "RescaleIntercept may be wrong" in one]
    assert re.search(said, note)


def test_noise_of_air_that_is_too_high_is_no_lung(tmp_path):
    build_series(tmp_path, body_hu(4, 64) + np.int16(512), **SIGNED)
    with pytest.raises(RefusedInput, match=r"what lies around the body is near -48\d, and hardly anything lies below"):
        read_series(tmp_path)


@pytest.mark.parametrize(
    "syntax",
    [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1],
)
@pytest.mark.parametrize("noise", [True, False])
def test_bone_whose_highest_bit_was_taken_for_a_sign_is_refused(tmp_path, syntax, noise):
    hu = body_hu(3, 64)
    hu[hu > 500] = hu[hu > 500] + np.int16(800) if noise else 1500
    build_series(tmp_path / "right", hu, syntax=syntax)
    build_series(tmp_path / "wrong", hu, syntax=syntax, tags={"PixelRepresentation": 1})
    np.testing.assert_array_equal(read_series(tmp_path / "right").hu, hu)
    with pytest.raises(RefusedInput, match=r"0000.dcm look unsigned, .* PixelRepresentation 1, RescaleIntercept -1024"):
        read_series(tmp_path / "wrong")


@pytest.mark.parametrize("declared", [True, False])
def test_padding_in_twelve_signed_bits_is_air(tmp_path, declared):
    hu = np.minimum(body_hu(3, 64), 1000)
    tags = {"PixelPaddingValue": ("SS", -2000)} if declared else {}
    stored = in_a_circle(hu + np.int16(1024), -2000)
    build_series(
        tmp_path, hu, signed=True, intercept=-1024, tags=tags, per_slice={k: {"stored": stored[k]} for k in range(3)}
    )
    np.testing.assert_array_equal(read_series(tmp_path).hu, in_a_circle(hu, -1024))


@pytest.mark.parametrize("wrong", [{"RescaleSlope": 2}, {"RescaleIntercept": -824}, {"RescaleSlope": 0.5}])
@pytest.mark.parametrize("where", [[3], [0], range(4)])
def test_a_scale_that_the_neighbours_pixels_contradict_is_refused(tmp_path, wrong, where):
    build_series(tmp_path, body_hu(8, 64), per_slice=dict.fromkeys(where, wrong))
    with pytest.raises(
        RefusedInput, match=r"RescaleSlope and RescaleIntercept of 000\d.dcm and 000\d.dcm contradict their"
    ):
        read_series(tmp_path)


def test_scales_that_differ_from_slice_to_slice_as_the_pixels_do_are_read(tmp_path):
    hu = body_hu(8, 64)
    scales = [
        (0.5, -1024),
        (1.0, -1024),
        (1.0, -1200),
        (0.25, -2048),
        (1.0, 0),
        (0.5, -1000),
        (1.0, -1024),
        (1.0, -1500),
    ]
    build_series(
        tmp_path,
        hu,
        **SIGNED,
        per_slice={
            k: {
                "RescaleSlope": slope,
                "RescaleIntercept": intercept,
                "stored": ((hu[k] - intercept) / slope).astype(np.int16),
            }
            for k, (slope, intercept) in enumerate(scales)
        },
    )
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)
