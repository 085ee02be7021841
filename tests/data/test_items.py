"""Items of whole cases, as the reference's description has them; batches of blocks are in test_item_batches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tests.stored_cases import StoredCase, noise, ramp, stored_index

from lamella.data.collate import Batch
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import case_sources
from lamella.errors import LamellaError
from lamella.window import named_window

WHOLE = BlockSettings(
    batch=1, size_px=6, depth=1000, max_thick=1000, context=0, real_pairs=1.0, augment=False, window="full"
)
"""Every slice of a case, in the plane as it is."""


def pair(thick: int = 50, thick_mm: float = 6.0, thin: int = 300, first_mm: float = 120.0) -> StoredCase:
    """A thin ramp and a thick one over the same millimetres."""
    low = first_mm - 0.5
    return StoredCase("c1", ramp(thin, 1.0, first_mm, 6), ramp(thick, thick_mm, low + thick_mm / 2, 6), "non-APE", "p7")


def batch_of(*cases: StoredCase, **changes: Any) -> Batch:
    settings = dataclasses.replace(WHOLE, **{"batch": len(cases), **changes})
    return ItemBatches(case_sources(stored_index(*cases), "train"), settings, 1)[0]


def test_an_item_has_the_keys_shapes_and_ranges_asked_for() -> None:
    # SPEC A5: of what the latent models are trained on
    batches = ItemBatches(case_sources(stored_index(pair()), "train"), WHOLE, 1)
    item = batches._item(0, 0)
    asked = ["input", "target", "category", "patient_id", "num_thick_slices", "num_thin_slices"]
    assert list(item) == [*asked, "thick_mm", "thin_mm", "name"]
    assert (item["input"].shape, item["target"].shape) == ((1, 50, 6, 6), (1, 300, 6, 6))
    assert (item["num_thick_slices"], item["num_thin_slices"]) == (50, 300)
    assert (item["category"], item["patient_id"], item["name"]) == ("non-APE", "p7", "c1")
    for stack in (item["input"], item["target"]):
        assert stack.dtype == torch.float32
        assert -1.0 <= float(stack.min()) < float(stack.max()) <= 1.0
    assert (batches[0]["category"], batches[0]["patient_id"]) == (["non-APE"], ["p7"])


def test_windows_by_name_are_linear_between_their_ends_and_clipped_beyond() -> None:
    # SPEC A4: 40 / 400 -> [-160, 240]; B14: the cache keeps what the window clips
    volume = noise(6, 1.0, plane=6)
    volume.hu[:, 0, 0] = (-161, -160, 40, 1000, 140, -60)
    case = StoredCase("c1", volume, volume)
    soft = batch_of(case, window="soft-tissue")["target"][0, 0, :, 0, 0]
    assert soft.tolist() == [-1.0, -1.0, 0.0, 1.0, 0.5, -0.5]
    full = batch_of(case)["target"][0, 0].numpy()
    np.testing.assert_allclose(named_window("full").to_hu(full), volume.hu, atol=1e-3)
    with pytest.raises(LamellaError, match="Unknown window 'liver'"):
        BlockSettings(window="liver")


@pytest.mark.parametrize(("thick", "thick_mm", "thin"), [(50, 6.0, 300), (50, 5.0, 250), (7, 3.0, 21)])
def test_counts_follow_from_positions(thick: int, thick_mm: float, thin: int) -> None:
    # SPEC B8: 300 slices of 1 mm need 6 mm between 50 thick ones; 5 mm give 250
    batch = batch_of(pair(thick, thick_mm, thin))
    thick_at, thin_at = batch["thick_mm"][0].numpy(), batch["thin_mm"][0].numpy()
    assert (len(thick_at), len(thin_at)) == (thick, thin)
    low, high = thick_at[0] - thick_mm / 2, thick_at[-1] + thick_mm / 2
    np.testing.assert_allclose(thin_at, np.arange(low + 0.5, high, 1.0), atol=1e-3)
    # the volumes say where they are: 2 HU a millimetre
    for stack, at in ((batch["input"], thick_at), (batch["target"], thin_at)):
        hu = named_window("full").to_hu(stack[0, 0, :, 0, 0].numpy())
        np.testing.assert_allclose(hu / 2, at, atol=0.26)


def test_thick_slices_made_from_thin_ones_stand_where_their_positions_say() -> None:
    # SPEC A11: aligned by position; the mean of a ramp over a slab is its value at the slab's centre
    batch = batch_of(StoredCase("c1", ramp(63, 0.8, plane=6)), spacing_mm=(5.0, 5.0))
    thick_at, thin_at = batch["thick_mm"][0].numpy(), batch["thin_mm"][0].numpy()
    for stack, at in ((batch["input"], thick_at), (batch["target"], thin_at)):
        np.testing.assert_allclose(named_window("full").to_hu(stack[0, 0, :, 0, 0].numpy()) / 2, at, atol=0.52)
    np.testing.assert_allclose(np.diff(thick_at), 5.0, atol=1e-4)
    # the target holds the thin slices that an answer to these slabs would have, and not one is missing
    assert thick_at[0] - 2.5 - 1e-4 <= thin_at[0] < thick_at[0] - 2.5 + 0.8
    assert thick_at[-1] + 2.5 - 0.8 - 1e-4 <= thin_at[-1] < thick_at[-1] + 2.5
    hu = named_window("full").to_hu(batch["input"][0].numpy())
    np.testing.assert_allclose(hu, hu.round(), atol=1e-3)  # whole Hounsfield units, as a scanner would store them


def test_cases_of_unlike_depth_form_a_batch() -> None:
    # SPEC A6
    batch = batch_of(pair(5, 5.0, 25), dataclasses.replace(pair(8, 5.0, 40), case_id="c2"))
    assert (batch["input"].shape, batch["target"].shape) == ((2, 1, 8, 6, 6), (2, 1, 40, 6, 6))
    assert batch["thin_mask"].sum(-1).flatten().tolist() == [25, 40]
    assert bool((batch["target"][0, 0, 25:] == -1).all())
