"""Slices that are empty at an end of the stack, copies of slices, a surround that was masked: no measurement, though HU."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from tests.dicom_builder import body_hu, build_series
from tests.nifti_builder import save

from lamella.dicom import read_series
from lamella.errors import RefusedInput
from lamella.physics.hounsfield import doubts, odd_slice, take_turns, why_not_hu_volume
from lamella.sources.source import inspect_source, read_source

# SPEC C6

SIGNED = {"signed": True, "bits": 16}


def lungs_in_a_body(slices=6, side=64):
    """A body with lung, and air around it, all with noise."""
    return body_hu(slices, side)


def masked(hu, value, margin=2):
    """Everything outside the body set to one value, as segmentation tools do; the lungs stay."""
    found = np.array(hu)
    body = np.stack(
        [ndimage.binary_fill_holes(ndimage.binary_opening(plane > -300, iterations=margin)) for plane in hu]
    )
    found[~body] = value
    return found


def read_both(tmp_path, hu):
    """The same values as DICOM and as NIfTI: what each reader says, refusal or notes."""
    build_series(tmp_path / "dicom", hu, **SIGNED)
    tmp_path.mkdir(exist_ok=True)
    path = save(tmp_path / "in.nii", np.transpose(hu, (2, 1, 0)))
    said = []
    for source in (tmp_path / "dicom", path):
        refusal = inspect_source(source).refusal
        if refusal is not None:
            with pytest.raises(RefusedInput) as caught:
                read_source(source)
            said.append(str(caught.value))
            assert said[-1] == refusal
            continue
        volume = read_source(source)
        np.testing.assert_array_equal(np.sort(volume.hu, axis=None), np.sort(hu, axis=None))
        said.append(" | ".join(volume.header.notes))
    return said


@pytest.mark.parametrize("value", [-1024, -1000, 0, 40, 3071])
@pytest.mark.parametrize("at", [0, -1, slice(0, 2), slice(-3, None)])
def test_an_end_of_the_stack_that_is_empty_is_refused(tmp_path, at, value):
    hu = lungs_in_a_body()
    hu[at] = value
    dicom, nifti = read_both(tmp_path, hu)
    assert ".dcm cannot be a slice of this scan" in dicom
    assert "take the file out" in dicom
    assert "cannot be a slice of this scan" in nifti


@pytest.mark.parametrize("at", [0, 5])
def test_a_slice_at_an_end_that_was_cut_off_is_refused(tmp_path, at):
    hu = lungs_in_a_body()
    hu[at, 30:] = -1024
    for said in read_both(tmp_path, hu):
        assert "rows are empty where the slice beside it shows a body" in said


def test_a_body_that_ends_before_the_scan_does_is_read(tmp_path):
    """The top of a head, in air without noise: scanners cut values below -1024 off."""
    hu = np.maximum(lungs_in_a_body(), -1000)
    hu[hu < -900] = -1024
    y, x = np.mgrid[:64, :64] - 31.5
    hu[-1][np.hypot(y, x) > 9] = -1024
    build_series(tmp_path, hu, **SIGNED)
    np.testing.assert_array_equal(read_series(tmp_path).hu, hu)


def test_a_single_slice_that_is_not_empty_has_nothing_beside_it():
    hu = np.full((3, 6, 6), -1000, np.int16)
    hu[1, 2] = np.arange(6)
    assert odd_slice(hu) is None


def test_computed_images_may_end_in_nothing_and_say_so(tmp_path):
    hu = np.full((6, 40, 40), -1000, np.int16)
    hu[1:4, 10:30, 10:30] = 40
    hu[2, 12:20, 12:20] = 300
    for said in read_both(tmp_path, hu):
        assert "3 slices hold a single value each, the first" in said
        assert "nothing was measured there" in said


def test_a_slice_that_is_a_copy_of_its_neighbour_is_noted(tmp_path):
    hu = lungs_in_a_body()
    hu[3] = hu[2]
    for said in read_both(tmp_path, hu):
        assert "1 slices hold the same pixels as the one before, the first " in said


@pytest.mark.parametrize("second", ["contrast", "moved"])
def test_slices_that_take_turns_are_noted_without_a_word_in_any_header(tmp_path, second):
    hu = lungs_in_a_body(8)
    for k, plane in enumerate(hu):
        plane[10 + k : 40, 20:30] += 5  # an anatomy that changes
    for said in read_both(tmp_path / "one", hu):
        assert "take turns" not in said
    hu[1::2] = np.roll(hu[1::2], 4, axis=2) if second == "moved" else np.where(hu[1::2] > 0, hu[1::2] + 90, hu[1::2])
    for said in read_both(tmp_path / "two", hu):
        assert "two scans, times or phases may take turns along the stack" in said


def test_slices_of_nothing_but_noise_take_no_turns():
    noise = np.random.default_rng(3).normal(0, 30, (12, 64, 64))
    assert not take_turns(noise)
    assert not take_turns(np.full((12, 64, 64), 40))


@pytest.mark.parametrize("value", [0, -100, 40, 1000])
def test_a_surround_masked_to_what_air_never_is_beside_lung_is_refused(tmp_path, value):
    dicom, nifti = read_both(tmp_path, masked(lungs_in_a_body(side=96), value))
    for said in (dicom, nifti):
        assert f"cannot be Hounsfield units (everything around the body is {value})" in said
        assert "set it to -1000" in said


@pytest.mark.parametrize("value", [-1000, -1024])
def test_a_surround_masked_to_air_is_read(tmp_path, value):
    for said in read_both(tmp_path, masked(lungs_in_a_body(side=96), value)):
        assert "around the body" not in said


def test_a_field_that_was_filled_beyond_air_is_read_and_noted(tmp_path):
    hu = lungs_in_a_body(side=96)
    y, x = np.mgrid[:96, :96] - 47.5
    hu[:, np.hypot(y, x) > 47] = 0
    for said in read_both(tmp_path, hu):
        assert "everything around the body is 0 HU, where air should be near -1000" in said


def test_computed_lungs_in_a_body_that_fills_the_field_are_read_and_noted(tmp_path):
    hu = np.full((6, 40, 40), 40, np.int16)
    hu[:, 10:20, 10:20] = -850
    for said in read_both(tmp_path, hu):
        assert "everything around the body is 40 HU" in said


@pytest.mark.realdata
def test_real_scans_are_measured_and_what_is_done_to_them_is_seen(ct_folder):
    for name in ("pair/phantom-thick-5mm", "train/cptac-c3n00247-3mm", "train/hcc-006-2.5mm"):
        hu = read_series(ct_folder / name).hu
        every = hu[:: max(1, len(hu) // 12)]
        names = [str(k) for k in range(len(every))]
        assert odd_slice(every) is None
        assert doubts(every, names) == []
        for at in (0, -1):
            blank = np.array(every)
            blank[at] = -1024
            assert odd_slice(blank) is not None
        bare = masked(every, 0, margin=3)
        assert why_not_hu_volume(bare, 0.0, float((bare < -500).mean()), 0.0) == "everything around the body is 0"
