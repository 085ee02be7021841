from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.stored_cases import StoredCase, noise, ramp, stored_index

from lamella.data.collate import collate
from lamella.data.items import CaseItems, ItemSettings
from lamella.errors import LamellaError, UsageError
from lamella.window import named_window


def pair(thick: int = 50, thick_mm: float = 6.0, thin: int = 300, first_mm: float = 120.0) -> StoredCase:
    """A thin ramp and a thick one over the same millimetres."""
    low = first_mm - 0.5
    return StoredCase("c1", ramp(thin, 1.0, first_mm, 6), ramp(thick, thick_mm, low + thick_mm / 2, 6), "non-APE", "p7")


def test_an_item_has_the_keys_shapes_and_ranges_asked_for() -> None:
    # SPEC A5
    item = CaseItems(stored_index(pair()), "train", ItemSettings())[0]
    assert list(item) == ["input", "target", "category", "patient_id", "num_thick_slices", "num_thin_slices"]
    assert (item["input"].shape, item["target"].shape) == ((1, 50, 6, 6), (1, 300, 6, 6))
    assert (item["num_thick_slices"], item["num_thin_slices"]) == (50, 300)
    assert (item["category"], item["patient_id"]) == ("non-APE", "p7")
    for stack in (item["input"], item["target"]):
        assert stack.dtype == torch.float32
        assert float(stack.min()) >= -1.0
        assert float(stack.max()) == 1.0


def test_windows_by_name_are_linear_between_their_ends_and_clipped_beyond() -> None:
    # SPEC A4: 40 / 400 -> [-160, 240]; B14: the cache keeps what the window clips
    volume = noise(4, 1.0, plane=2)
    volume.hu[:, 0, 0] = (-161, -160, 40, 1000)
    case = StoredCase("c1", volume, volume)
    soft = CaseItems(stored_index(case), "train", ItemSettings())[0]["target"][0, :, 0, 0]
    assert soft.tolist() == [-1.0, -1.0, 0.0, 1.0]
    full = CaseItems(stored_index(case), "train", ItemSettings(window="full"))[0]["target"][0].numpy()
    np.testing.assert_allclose(named_window("full").to_hu(full), volume.hu, atol=1e-3)
    with pytest.raises(LamellaError, match="Unknown window 'liver'"):
        CaseItems(stored_index(case), "train", ItemSettings(window="liver"))


@pytest.mark.parametrize(("thick", "thick_mm", "thin"), [(50, 6.0, 300), (50, 5.0, 250), (7, 3.0, 21)])
def test_counts_follow_from_positions(thick: int, thick_mm: float, thin: int) -> None:
    # SPEC B8: 300 slices of 1 mm need 6 mm between 50 thick ones; 5 mm give 250
    items = CaseItems(stored_index(pair(thick, thick_mm, thin)), "train", ItemSettings(window="full"))
    grids, item = items.grids(0), items[0]
    assert (len(grids.thick_mm), len(grids.thin_mm)) == (thick, thin)
    low, high = grids.thick_mm[0] - thick_mm / 2, grids.thick_mm[-1] + thick_mm / 2
    np.testing.assert_allclose(grids.thin_mm, np.arange(low + 0.5, high, 1.0), atol=1e-3)
    # the volumes say where they are: 2 HU a millimetre
    for stack, at in ((item["input"], grids.thick_mm), (item["target"], grids.thin_mm)):
        hu = named_window("full").to_hu(stack[0, :, 0, 0].numpy())
        np.testing.assert_allclose(hu / 2, at, atol=0.26)


def test_thick_slices_made_from_thin_ones_stand_where_the_grids_say() -> None:
    # SPEC A11: aligned by position; the mean of a ramp over a slab is its value at the slab's centre
    case = StoredCase("c1", ramp(63, 0.8, plane=4))
    for split in ("train", "validation"):
        items = CaseItems(stored_index(case), split, ItemSettings(window="full"))
        grids, item = items.grids(0), items[0]
        for stack, at in ((item["input"], grids.thick_mm), (item["target"], grids.thin_mm)):
            assert stack.shape[1] == len(at)
            np.testing.assert_allclose(named_window("full").to_hu(stack[0, :, 0, 0].numpy()) / 2, at, atol=0.52)
        half = (grids.thick_mm[1] - grids.thick_mm[0]) / 2
        assert grids.thin_mm[0] >= grids.thick_mm[0] - half - 1e-6
        assert grids.thin_mm[-1] <= grids.thick_mm[-1] + half + 1e-6
        # not one thin slice that an answer would have is missing
        assert grids.thin_mm[0] - 0.8 < grids.thick_mm[0] - half
        assert grids.thin_mm[-1] + 0.8 > grids.thick_mm[-1] + half
    np.testing.assert_allclose(np.diff(grids.thick_mm), 5.0)


def test_an_item_is_the_same_whenever_it_is_asked_for() -> None:
    index = stored_index(*(StoredCase(f"c{i}", noise(40, 1.0, plane=4, seed=i)) for i in range(4)))
    first, again = CaseItems(index, "train", ItemSettings()), CaseItems(index, "train", ItemSettings())
    assert all(torch.equal(first[i]["input"], again[i]["input"]) for i in (3, 1, 0))
    assert len({first[i]["num_thick_slices"] for i in range(4)}) > 1, "geometries are drawn case by case"
    fixed = CaseItems(index, "train", ItemSettings(other_profile=None))
    assert {fixed[i]["num_thick_slices"] for i in range(4)} == {8}


def test_a_crop_is_central_and_read_as_such() -> None:
    volume = noise(3, 1.0, plane=10)
    items = CaseItems(stored_index(StoredCase("c1", volume, volume)), "validation", ItemSettings("full", crop_px=4))
    target = named_window("full").to_hu(items[0]["target"][0].numpy())
    np.testing.assert_allclose(target, volume.hu[:, 3:7, 3:7], atol=1e-3)
    assert all(block[1:] == (slice(3, 7), slice(3, 7)) for block in volume.reads)
    with pytest.raises(
        LamellaError, match=r"Case c1 is too small to crop. Found planes of 10 x 10 pixels.*at least 12 x 12"
    ):
        CaseItems(stored_index(StoredCase("c1", volume, volume)), "train", ItemSettings(crop_px=12))[0]
    with pytest.raises(UsageError, match="crop_px must be at least 1"):
        CaseItems(stored_index(), "train", ItemSettings(crop_px=0))


def test_a_case_too_short_for_a_slab_is_named() -> None:
    index = stored_index(StoredCase("c9", noise(3, 1.0, plane=4)))
    with pytest.raises(LamellaError, match="Case c9: The series is too short to thicken"):
        CaseItems(index, "validation", ItemSettings())[0]


def test_items_of_unlike_depth_form_a_batch() -> None:
    # SPEC A6
    cases = [pair(5, 5.0, 25), dataclasses.replace(pair(8, 5.0, 40), case_id="c2")]
    items = CaseItems(stored_index(*cases), "train", ItemSettings())
    batch = collate([items[i] for i in range(len(items))])
    assert (batch["input"].shape, batch["target"].shape) == ((2, 1, 8, 6, 6), (2, 1, 40, 6, 6))
    assert batch["thin_mask"].sum(-1).flatten().tolist() == [25, 40]
    with pytest.raises(IndexError):
        items[2]


def test_only_whole_hounsfield_units_are_made() -> None:
    items = CaseItems(stored_index(StoredCase("c1", noise(40, 1.0, plane=4))), "validation", ItemSettings("full"))
    hu = named_window("full").to_hu(items[0]["input"][0].numpy())
    np.testing.assert_allclose(hu, hu.round(), atol=1e-3)
