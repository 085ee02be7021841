"""Items of unlike depth -> one batch, padded at the end along z, with masks that say what is real (SPEC A5, A6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.errors import UsageError
from lamella.window import HuWindow

PADDING = -1.0
"""Air at the bottom of any window."""


class Item(TypedDict):
    """One scan, or a block of it: the keys of SPEC A5, positions, and a name.

    Attributes:
        input: (1, D_thick, H, W) float32 in [-1, 1].
        target: (1, D_thin, H, W) the same.
        category: folder the case came from, as "APE".
        patient_id: pseudonym.
        num_thick_slices: D_thick.
        num_thin_slices: D_thin.
        thick_mm: (D_thick,) float64 centres along the slice axis, rising.
        thin_mm: (D_thin,) the same.
        name: what the item was cut from.
    """

    input: Tensor
    target: Tensor
    category: str
    patient_id: str
    num_thick_slices: int
    num_thin_slices: int
    thick_mm: Tensor
    thin_mm: Tensor
    name: str


class Batch(TypedDict):
    """A batch of items; B of them, padded to the largest depth D of each grid.

    Attributes:
        input: (B, 1, D_thick, H, W) float32 in [-1, 1], padding -1.
        target: (B, 1, D_thin, H, W) the same.
        thick_mask: (B, 1, D_thick) float32, 1 real, 0 padding.
        thin_mask: (B, 1, D_thin) the same.
        category, patient_id, name: of each item.
        num_thick_slices: (B,) int64 real slices of `input`.
        num_thin_slices: (B,) int64 real slices of `target`.
        thick_mm: (B, D_thick) float32 centres; those of padding continue the grid.
        thin_mm: (B, D_thin) the same.
    """

    input: Tensor
    target: Tensor
    thick_mask: Tensor
    thin_mask: Tensor
    category: list[str]
    patient_id: list[str]
    name: list[str]
    num_thick_slices: Tensor
    num_thin_slices: Tensor
    thick_mm: Tensor
    thin_mm: Tensor


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
            "Set size_px to the smallest, or use batches of one."
        )
    counts = {key: torch.tensor([item[key] for item in items]) for key in ("num_thick_slices", "num_thin_slices")}
    return Batch(
        input=_padded([item["input"] for item in items]),
        target=_padded([item["target"] for item in items]),
        thick_mask=_mask(counts["num_thick_slices"]),
        thin_mask=_mask(counts["num_thin_slices"]),
        category=[item["category"] for item in items],
        patient_id=[item["patient_id"] for item in items],
        name=[item["name"] for item in items],
        num_thick_slices=counts["num_thick_slices"],
        num_thin_slices=counts["num_thin_slices"],
        thick_mm=_continued([item["thick_mm"] for item in items]),
        thin_mm=_continued([item["thin_mm"] for item in items]),
    )


def _padded(stacks: Sequence[Tensor]) -> Tensor:
    """(1, D_i, y, x) each -> (b, 1, max D, y, x)."""
    depth = max(stack.shape[1] for stack in stacks)
    return torch.stack([F.pad(stack, (0, 0, 0, 0, 0, depth - stack.shape[1]), value=PADDING) for stack in stacks])


def _mask(depths: Tensor) -> Tensor:
    """(b, 1, max D) float32: 1 for the first D_i slices of sample i, 0 for its padding."""
    return (torch.arange(int(depths.max())) < depths[:, None]).float()[:, None]


def _continued(positions: Sequence[Tensor]) -> Tensor:
    """(D_i,) each -> (b, max D) float32, each grid going on with its last step (1 mm where there is one slice)."""
    longest = max(len(at) for at in positions)
    rows = []
    for at in positions:
        step = float(at[-1] - at[-2]) if len(at) > 1 else 1.0
        rows.append(torch.cat([at, at[-1] + step * torch.arange(1, longest - len(at) + 1)]))
    return torch.stack(rows).float()


def hu_of(stacks: Tensor, counts: Tensor, window: HuWindow) -> Tensor:
    """Stacks of a batch in HU, their padding replaced by the last real slice, as a codec pads up to its factor.

    Args:
        stacks: (b, 1, D, y, x) `input` or `target`.
        counts: (b,) real slices of each.
        window: that of the items.
    """
    at = torch.minimum(torch.arange(stacks.shape[2], device=stacks.device)[None], counts[:, None] - 1)
    filled = stacks[torch.arange(len(stacks), device=stacks.device)[:, None], :, at].movedim(2, 1)
    return filled * (window.width_hu / 2) + window.centre_hu


def unpadded_hu(batch: Batch, window: HuWindow) -> Tensor:
    """(b, 1, D', y, x) the thin slices that are real in every item, in HU."""
    counts = batch["num_thin_slices"]
    return hu_of(batch["target"][:, :, : int(counts.min())], counts, window)
