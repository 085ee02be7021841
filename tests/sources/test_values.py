"""Values that cannot be Hounsfield units, and slices that cannot belong to the others: DICOM and NIfTI say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.dicom_builder import body_hu, build_series
from tests.nifti_builder import patch, save

from lamella.errors import RefusedInput
from lamella.sources.source import inspect_source, read_source

BODY = body_hu(7, 64).astype(np.int32)

NO_HU = [
    (np.where(BODY < -500, 3096, BODY), "above 3071|nothing below 0"),
    (BODY + 1015, "what lies around the body is near 1"),
    (BODY - 1024, "of many values, lie below -1200"),
    (BODY // 10 - 920, "nothing above -500"),
    (BODY * 2 + 1024, "what is denser than fat is near 11"),
    (BODY * 10 + 9216, "what is denser than fat is near 9"),
]
"""Values with a wrong sign, slope or intercept, and what of them no CT shows."""


def stored(folder: Path, kind: str, hu: np.ndarray) -> Path:
    """A source of these values, in order."""
    if kind == "NIfTI":
        return save(folder / "in.nii", hu.astype(np.int16).transpose(2, 1, 0)[::-1, ::-1])
    build_series(folder, hu, signed=True, bits=16)
    return folder


# SPEC C6
@pytest.mark.parametrize("kind", ["DICOM", "NIfTI"])
@pytest.mark.parametrize(("hu", "why"), NO_HU)
def test_a_wrong_scale_is_refused_in_every_format(tmp_path, kind, hu, why):
    path = stored(tmp_path, kind, hu)
    with pytest.raises(
        RefusedInput, match=rf"cannot be Hounsfield units \(.*({why}).*Found .* expected CT, with air"
    ) as told:
        read_source(path)
    assert inspect_source(path).refusal == str(told.value)


def with_slice(index: int, plane: np.ndarray) -> np.ndarray:
    """The body with another plane in the place of one."""
    return np.concatenate([BODY[:index], plane[None], BODY[index + 1 :]])


ODD = [
    (with_slice(3, np.full((64, 64), -1000)), "of its 64 rows are empty"),
    (with_slice(3, np.zeros((64, 64))), "of its 64 rows are empty"),
    (with_slice(3, np.where(np.arange(64)[:, None] < 30, BODY[3], -1024)), "of its 64 rows are empty"),
    (with_slice(3, BODY[3] + 1024), "nothing in it lies below -500"),
    (with_slice(0, BODY[0] + 1024), "nothing in it lies below -500"),
]
"""A slice whose pixels were lost, in part too, or whose scale is another."""


@pytest.mark.parametrize("kind", ["DICOM", "NIfTI"])
@pytest.mark.parametrize(("hu", "why"), ODD)
def test_a_slice_that_cannot_belong_to_the_others_is_named(tmp_path, kind, hu, why):
    index = int(np.flatnonzero((hu != BODY).any((1, 2)))[0])
    name = f"{index:04d}.dcm" if kind == "DICOM" else f"Slice {index + 1} of 7 of in.nii"
    with pytest.raises(RefusedInput, match=rf"{name} cannot be a slice of this scan: .*{why}"):
        read_source(stored(tmp_path, kind, hu))


@pytest.mark.parametrize("kind", ["DICOM", "NIfTI"])
def test_empty_slices_of_phantoms_by_computation_are_read(tmp_path, kind):
    """Spheres of one value, with nothing but air between and beyond them."""
    z, y, x = np.mgrid[:9, :64, :64]
    spheres = np.full((9, 64, 64), -1000)
    for at in (1, 4, 7):
        spheres[(z - at) ** 2 * 90 + (y - 30) ** 2 + (x - 34) ** 2 < 99] = 200
    np.testing.assert_array_equal(read_source(stored(tmp_path, kind, spheres)).hu, spheres)


def test_a_slice_of_nothing_but_padding_is_refused(tmp_path):
    hu = with_slice(6, np.full((64, 64), -2000))
    build_series(tmp_path, hu, signed=True, bits=16, tags={"PixelPaddingValue": ("SS", -2000)})
    with pytest.raises(RefusedInput, match=r"0006.dcm holds nothing but padding"):
        read_source(tmp_path)


def test_a_slope_of_nifti_is_positive(tmp_path):
    path = patch(stored(tmp_path, "NIfTI", -BODY), scl_slope=-1.0, scl_inter=0.0)
    with pytest.raises(RefusedInput, match=r"scl_slope of in.nii is not positive. Found -1"):
        read_source(path)
