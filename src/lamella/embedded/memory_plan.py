"""The block sizes of a run and the memory that they need, known before the start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lamella.embedded.weights import EmbeddedWeights
from lamella.errors import RefusedInput
from lamella.machine.runtime import BASE_BYTES, GIB, free_bytes, runtime, usable_bytes
from lamella.physics.slice_operator import covering_grid
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry

Choice = tuple[int, int, int, int]
_CHOICES: tuple[Choice, ...] = ((2, 4, 4, 640), (1, 2, 2, 384), (1, 1, 1, 192))
"""(thick slices, thin slices, thin slices of the flow, pixels a side) of a piece, from fast to frugal. More slices at a time
are slower: what a piece leaves in the processor's cache and in memory that is used again is lost."""

_WIDE: tuple[Choice, ...] = ((16, 16, 16, 640), (8, 8, 8, 640))
"""Those that an accelerator is given first: it works on all slices at once."""


@dataclass(frozen=True)
class MemoryPlan:
    """Block sizes and the memory they need.

    Attributes:
        slab_thick, slab_thin, slab_flow: slices that the trunk, the head and the flow are fed at a time.
        tile: pixels a side of a piece.
        peak_bytes: expected peak of the process.
        available_bytes: what may be used.
    """

    slab_thick: int
    slab_thin: int
    slab_flow: int
    tile: int
    peak_bytes: int
    available_bytes: int

    @property
    def pieces(self) -> Choice:
        """Slices that trunk, head and flow are fed, and pixels a side."""
        return self.slab_thick, self.slab_thin, self.slab_flow, self.tile

    def describe(self) -> str:
        """One line for people."""
        return (
            f"about {self.peak_bytes / GIB:.1f} GiB of {self.available_bytes / GIB:.1f} GiB usable; "
            f"blocks of {self.slab_thick} thick or {self.slab_thin} thin slices"
        )


def memory_plan(
    thick: Geometry,
    grid: Geometry,
    model: EmbeddedWeights,
    settings: ThinSettings,
    smaller_than: MemoryPlan | None = None,
) -> MemoryPlan:
    """Choose the largest blocks that fit, or the largest that are smaller than those of another plan.

    Raises:
        RefusedInput: not even the smallest blocks fit, or there are no smaller ones; the message holds the plan.
    """
    available, where = int(usable_bytes(settings.memory_gb)), runtime(settings.device, settings.precision)
    room, on_device = free_bytes(where.device), _resident_bytes(model, bf16=where.bf16)
    choices = (() if where.device.type == "cpu" else _WIDE) + _CHOICES
    if smaller_than is not None:
        choices = choices[choices.index(smaller_than.pieces) + 1 :]
        if not choices:
            raise RefusedInput(f"There are no smaller blocks. Found {smaller_than.describe()}.")
    for choice in choices:
        blocks = _block_bytes(thick, model, settings, choice)
        smallest = MemoryPlan(*choice, _peak(thick, grid, model, settings, choice, blocks), available)
        needed = on_device + max(blocks)
        if smallest.peak_bytes <= available and needed <= room:
            return smallest
    if smallest.peak_bytes <= available:
        raise RefusedInput(
            f"The smallest blocks are too large for {where.device}. They need {needed / GIB:.1f} GiB, {room / GIB:.1f} GiB "
            "are usable. End what else runs there, or use device cpu."
        )
    more = "a machine with more memory" if settings.memory_gb is None else "a larger memory_gb"
    raise RefusedInput(
        f"The volume is too large for the memory. {thick.shape[0]} x {thick.shape[1]} x {thick.shape[2]} to "
        f"{grid.shape[0]} slices needs {smallest.describe()}. Ask for fewer slices, a coarser spacing"
        f"{'' if settings.mode == 'mean' else ', mode mean'} or {more}."
    )


def _peak(
    thick: Geometry,
    grid: Geometry,
    model: EmbeddedWeights,
    settings: ThinSettings,
    choice: Choice,
    blocks: tuple[int, int, int],
) -> int:
    """Sum of what is alive at the worst moment (see `model`), in bytes."""
    side, step = model.settings.side, model.pixel_step
    half = 2 if runtime(settings.device, settings.precision).bf16 else 4
    longer, _ = covering_grid(grid, thick)
    plane = math.prod(-(-n // step) * step for n in thick.shape[1:])
    thin_volume, thick_volume = longer.shape[0] * plane * 4, thick.shape[0] * plane * 4
    summary = longer.shape[0] * plane // side**2 * model.flow.read_channels  # a byte each
    held = min(thick.shape[0], 2 * choice[0] + 12)  # slices whose features are kept or copied
    slice_features = held * plane // side**2 * model.settings.head_basis * model.settings.head_hidden * half
    trunk, head, flow = blocks
    source = math.prod(thick.shape) * 4
    predicting = slice_features + summary * (settings.mode != "mean") + 2.5 * thin_volume + max(trunk, head)
    state = (2.5 + half / 4) * thin_volume  # mean, scale and state; the network's output
    sampling = summary + state + max(flow, thin_volume)
    finishing = 3.5 * thin_volume
    worst = max(predicting, finishing, sampling if settings.mode != "mean" else 0)
    # several samples are kept as int16, and once more while NIfTI of four axes is written
    kept = settings.sample_count * thin_volume if settings.sample_count > 1 else 0
    return int(BASE_BYTES + source + 3 * thick_volume + worst + kept)


def _block_bytes(
    thick: Geometry, model: EmbeddedWeights, settings: ThinSettings, choice: Choice
) -> tuple[int, int, int]:
    """Bytes that a block of the trunk, the head and the flow take where it is computed; 0 for a flow that is not needed."""
    side, step, (late, reach) = model.settings.side, model.pixel_step, model.mean.trunk.reach
    slab_thick, slab_thin, slab_flow, tile = choice
    rows, columns = (-(-n // step) * step // side for n in thick.shape[1:])
    plane, pixels = rows * columns, min(rows, tile // side + 2 * reach) * min(columns, tile // side + 2 * reach)
    trunk, head, wide = model.settings.trunk_channels[0], model.settings.head_hidden, model.settings.flow_channels[0]

    def piece(slab: int, late: int, channels: int) -> int:
        """Five tensors of the first piece, the longest, are alive at a time, and what is kept of the slices before."""
        return (5 * (slab + late + 2) * pixels + 3 * late * plane) * channels * 4

    flow = 0 if settings.mode == "mean" else piece(slab_flow, model.flow.unet.reach[0], wide + 24)
    return piece(slab_thick, late, trunk), piece(slab_thin, 1, head + 8), flow


def _resident_bytes(model: EmbeddedWeights, *, bf16: bool) -> int:
    """Bytes that stay on an accelerator beside the blocks: its own context, and the weights."""
    weights = sum(p.numel() for network in (model.mean, model.flow) for p in network.parameters())
    return int(0.5 * GIB + weights * (6 if bf16 else 4))
