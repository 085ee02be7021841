"""Items of unlike depth -> one batch, padded at the end along z, with masks that say what is real (SPEC A6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from lamella.data.items import Item
from lamella.errors import UsageError

PADDING = -1.0
"""Air at the bottom of any window."""


class Batch(TypedDict):
    """A batch of items; B of them, padded to the largest depth D of each grid.

    Attributes:
        input: (B, 1, D_thick, H, W) float32 in [-1, 1], padding -1.
        target: (B, 1, D_thin, H, W) the same.
        thick_mask: (B, 1, D_thick) float32, 1 real, 0 padding.
        thin_mask: (B, 1, D_thin) the same.
        category: folder each case came from.
        patient_id: pseudonym of each patient.
        num_thick_slices: (B,) int64 real slices of `input`.
        num_thin_slices: (B,) int64 real slices of `target`.
    """

    input: Tensor
    target: Tensor
    thick_mask: Tensor
    thin_mask: Tensor
    category: list[str]
    patient_id: list[str]
    num_thick_slices: Tensor
    num_thin_slices: Tensor


def collate(items: Sequence[Item]) -> Batch:
    """One batch of the items, in their order.

    Raises:
        UsageError: no items, or planes of unlike size.
    """
    if not items:
        raise UsageError("A batch needs at least one item.")
    planes = {tuple(stack.shape[2:]) for item in items for stack in (item["input"], item["target"])}
    if len(planes) > 1:
        found = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(planes))
        raise UsageError(
            f"Items with planes of unlike size cannot form a batch. Found {found} pixels, expected one size. "
            "Set crop_px to the smallest, or use batches of one."
        )
    return Batch(
        input=padded([item["input"] for item in items], PADDING),
        target=padded([item["target"] for item in items], PADDING),
        thick_mask=mask_of([item["num_thick_slices"] for item in items]),
        thin_mask=mask_of([item["num_thin_slices"] for item in items]),
        category=[item["category"] for item in items],
        patient_id=[item["patient_id"] for item in items],
        num_thick_slices=torch.tensor([item["num_thick_slices"] for item in items]),
        num_thin_slices=torch.tensor([item["num_thin_slices"] for item in items]),
    )


def padded(stacks: Sequence[Tensor], value: float | None) -> Tensor:
    """(c, D_i, y, x) each -> (b, c, max D, y, x).

    Args:
        stacks: the samples, alike but for their depth.
        value: what fills their ends; None repeats the last slice.
    """
    depth = max(stack.shape[1] for stack in stacks)
    ends = []
    for stack in stacks:
        shape = (stack.shape[0], depth - stack.shape[1], *stack.shape[2:])
        end = stack[:, -1:].expand(shape) if value is None else stack.new_full(shape, value)
        ends.append(torch.cat([stack, end], dim=1))
    return torch.stack(ends)


def mask_of(depths: Sequence[int]) -> Tensor:
    """(b, 1, max D) float32: 1 for the first D_i slices of sample i, 0 for its padding."""
    return (torch.arange(max(depths)) < torch.tensor(depths)[:, None]).float()[:, None]
