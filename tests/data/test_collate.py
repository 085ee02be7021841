from __future__ import annotations

import pytest
import torch

from lamella.data.collate import Item, collate, hu_of
from lamella.errors import UsageError
from lamella.window import HuWindow


def item(thick: int, thin: int, plane: int = 2, patient_id: str = "p1") -> Item:
    return Item(
        input=torch.full((1, thick, plane, plane), 0.25),
        target=torch.full((1, thin, plane, plane), 0.5),
        category="APE",
        patient_id=patient_id,
        num_thick_slices=thick,
        num_thin_slices=thin,
        thick_mm=5.0 * torch.arange(thick, dtype=torch.float64),
        thin_mm=torch.arange(thin, dtype=torch.float64) - 2.0,
        name="c1",
    )


def test_a_batch_worked_by_hand() -> None:
    # SPEC A6, A13: air below the shorter case, masks of ones and zeros, nothing else
    batch = collate([item(2, 5), item(3, 4, patient_id="p2")])
    assert set(batch) == {
        *("input", "target", "thick_mask", "thin_mask"),
        *("category", "patient_id", "num_thick_slices", "num_thin_slices"),
        *("thick_mm", "thin_mm", "name"),
    }
    assert batch["input"].shape == (2, 1, 3, 2, 2)
    assert batch["target"].shape == (2, 1, 5, 2, 2)
    assert batch["thick_mask"].tolist() == [[[1, 1, 0]], [[1, 1, 1]]]
    assert batch["thin_mask"].tolist() == [[[1, 1, 1, 1, 1]], [[1, 1, 1, 1, 0]]]
    assert batch["input"][0, 0, :, 0, 0].tolist() == [0.25, 0.25, -1.0]
    assert batch["target"][1, 0, :, 1, 1].tolist() == [0.5, 0.5, 0.5, 0.5, -1.0]
    assert {batch[key].dtype for key in ("input", "target", "thick_mask", "thin_mask")} == {torch.float32}
    assert (batch["category"], batch["patient_id"]) == (["APE", "APE"], ["p1", "p2"])
    assert batch["thick_mm"].tolist() == [[0, 5, 10], [0, 5, 10]]  # padding goes on
    assert batch["thin_mm"].tolist() == [[-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2]]
    assert batch["num_thick_slices"].tolist() == [2, 3]
    assert batch["num_thin_slices"].tolist() == [5, 4]


@pytest.mark.parametrize("depths", [(1,), (7, 7), (1, 9, 4), (50, 300)])
def test_masks_count_the_real_slices_of_any_depth(depths: tuple[int, ...]) -> None:
    # SPEC A6, B9: no depth is special
    batch = collate([item(depth, 2 * depth + 1) for depth in depths])
    assert batch["thick_mask"].sum(-1).flatten().tolist() == list(depths)
    assert batch["thin_mask"].sum(-1).flatten().tolist() == [2 * depth + 1 for depth in depths]
    real = batch["thin_mask"][..., None, None].expand((*batch["target"].shape[:3], 2, 2)).reshape(batch["target"].shape)
    assert bool(((batch["target"] == -1.0) == (real == 0)).all())


def test_planes_of_unlike_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Found 2 x 2, 3 x 3 pixels, expected one size. Set size_px"):
        collate([item(2, 4), item(2, 4, plane=3)])
    with pytest.raises(UsageError, match="at least one item"):
        collate([])


def test_padding_in_hu_repeats_the_last_slice() -> None:
    # as a codec does up to its factor (SPEC B10)
    stacks = torch.tensor([[0.0, 0.5, -1.0, -1.0], [-0.5, 0.0, 0.5, 1.0]]).reshape(2, 1, 4, 1, 1)
    found = hu_of(stacks, torch.tensor([2, 4]), HuWindow(40, 400))
    assert found.flatten(1).tolist() == [[40, 140, 140, 140], [-60, 40, 140, 240]]
