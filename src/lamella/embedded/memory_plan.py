"""Where to compute, in what pieces, and how much memory it will take: known before the start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lamella.errors import RefusedInput, UsageError
from lamella.memory import available_bytes
from lamella.model import Model
from lamella.processor import native_bf16
from lamella.slices import covering_grid
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry

GIB = 2**30
RESERVE = 0.85
"""Share of the free memory that may be planned for."""

BASE_BYTES = int(0.6 * GIB)
"""Python, torch and the weights."""

_CHOICES = ((16, 16, 16, 640), (8, 8, 8, 640), (4, 8, 8, 384), (2, 4, 4, 192))
"""(thick slices, thin slices, thin slices of the flow, pixels a side) of a block, from fast to frugal."""


@dataclass(frozen=True)
class Runtime:
    """Device and number format of the networks.

    Attributes:
        device: where blocks are computed; volumes stay in main memory.
        bf16: whether convolutions multiply in bfloat16 (sums in float32).
    """

    device: torch.device
    bf16: bool


@dataclass(frozen=True)
class MemoryPlan:
    """Block sizes and the memory they need.

    Attributes:
        slab_thick: thick slices a block of the trunk.
        slab_thin: thin slices a block of the head.
        slab_flow: thin slices a block of the flow.
        tile: pixels a side of a block; the flow's have half as many rows.
        peak_bytes: expected peak of the process.
        available_bytes: what may be used.
    """

    slab_thick: int
    slab_thin: int
    slab_flow: int
    tile: int
    peak_bytes: int
    available_bytes: int

    def describe(self) -> str:
        """One line for people."""
        return (
            f"about {self.peak_bytes / GIB:.1f} GiB of {self.available_bytes / GIB:.1f} GiB usable; "
            f"blocks of {self.slab_thick} thick or {self.slab_thin} thin slices"
        )


def runtime(settings: ThinSettings) -> Runtime:
    """Resolve device and number format.

    Raises:
        UsageError: a device that is not there; nothing is moved to another one in silence.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {name!r}. Expected auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"Device {name!r} is not supported. Expected auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {name!r} is not there: {torch.cuda.device_count()} CUDA devices found. Use --device cpu."
        )
    return Runtime(device, native_bf16(device.type) if settings.precision == "auto" else settings.precision == "bf16")


def pixel_step(model: Model) -> int:
    """Rows and columns are padded to a multiple of this many pixels."""
    return model.settings.side * math.lcm(model.mean.trunk.factor, model.flow.unet.factor)


def usable_bytes(settings: ThinSettings) -> float:
    """Main memory that may be planned for."""
    available = float(RESERVE * available_bytes())
    return available if settings.memory_gb is None else min(available, settings.memory_gb * GIB)


def plan(thick: Geometry, grid: Geometry, model: Model, settings: ThinSettings) -> MemoryPlan:
    """Choose the largest blocks that fit.

    Raises:
        RefusedInput: not even the smallest blocks fit; the message holds the plan.
    """
    settings = settings.resolved(model.kind)
    available = usable_bytes(settings)
    plans = [
        MemoryPlan(*choice, peak_bytes=_peak(thick, grid, model, settings, choice), available_bytes=int(available))
        for choice in _CHOICES
    ]
    where = runtime(settings)
    on_card = _card_bytes(model, bf16=where.bf16)
    room = RESERVE * _free_on(where.device) if where.device.type == "cuda" else math.inf
    for candidate, choice in zip(plans, _CHOICES, strict=True):
        if candidate.peak_bytes <= available and on_card + max(_block_bytes(thick, model, settings, choice)) <= room:
            return candidate
    smallest = plans[-1]
    if smallest.peak_bytes <= available:
        needed = on_card + max(_block_bytes(thick, model, settings, _CHOICES[-1]))
        raise RefusedInput(
            f"The smallest blocks are too large for {where.device}. They need {needed / GIB:.1f} GiB, {room / GIB:.1f} GiB "
            "are usable. End what else runs there, or use --device cpu."
        )
    raise RefusedInput(
        f"The volume is too large for the memory. {thick.shape[0]} x {thick.shape[1]} x {thick.shape[2]} to "
        f"{grid.shape[0]} slices needs {smallest.describe()}. Ask for fewer slices, a coarser spacing"
        f"{'' if settings.mode == 'mean' else ', mode mean'} or a machine with more memory."
    )


def _peak(
    thick: Geometry, grid: Geometry, model: Model, settings: ThinSettings, choice: tuple[int, int, int, int]
) -> int:
    """Sum of what is alive at the worst moment (see `pipeline`), in bytes."""
    side, step = model.settings.side, pixel_step(model)
    bf16 = runtime(settings).bf16
    half = 2 if bf16 else 4
    longer, _ = covering_grid(grid, thick)
    plane = math.prod(-(-n // step) * step for n in thick.shape[1:])
    thin_volume, thick_volume = longer.shape[0] * plane * 4, thick.shape[0] * plane * 4
    summary = longer.shape[0] * plane // side**2 * model.flow.read_channels * half
    slab_thick = choice[0]
    held = min(thick.shape[0], 2 * slab_thick + 8)  # thick slices whose offers are kept, those being added among them
    offers = held * plane // side**2 * model.settings.head_basis * model.settings.head_hidden * half
    trunk, head, flow = _block_bytes(thick, model, settings, choice)
    source = math.prod(thick.shape) * 4
    looking = offers + summary * (settings.mode != "mean") + 2 * thin_volume + max(trunk, head)
    state = (2.5 + half / 2) * thin_volume  # mean, scale and state; the network's input and output
    drawing = summary + max(state + flow, 5.0 * thin_volume)
    finishing = 3.5 * thin_volume
    worst = max(looking, finishing, drawing if settings.mode != "mean" else 0)
    # several draws are kept as int16, and stand in memory once more while NIfTI of four axes is written
    kept = settings.draw_count * thin_volume if settings.draw_count > 1 else 0
    return int(BASE_BYTES + source + 3 * thick_volume + worst + kept)


def _block_bytes(
    thick: Geometry, model: Model, settings: ThinSettings, choice: tuple[int, int, int, int]
) -> tuple[int, int, int]:
    """Bytes that a block of the trunk, the head and the flow take where it is computed; 0 for a flow that is not asked."""
    side, step = model.settings.side, pixel_step(model)
    slab_thick, slab_thin, slab_flow, tile = choice
    rows, columns = (-(-n // step) * step // side for n in thick.shape[1:])
    pixels = min(rows * columns, (tile // side + 2 * model.mean.trunk.reach[1]) ** 2)
    trunk = (slab_thick + 8) * pixels * model.settings.trunk_channels[0] * 4 * 6
    head = (slab_thin + 4) * pixels * (model.settings.head_hidden + 48) * 4 * 5
    halo = 2 * model.flow.unet.reach[1]
    part = min(rows, tile // side // 2 + halo) * min(columns, tile // side + halo)
    flow = (slab_flow + 8) * part * (model.settings.flow_channels[0] + 48) * 4 * 6
    return trunk, head, 0 if settings.mode == "mean" else flow


def _free_on(card: torch.device) -> int:
    """Bytes that are free on an accelerator, torch's own cache among them."""
    cached = torch.cuda.memory_reserved(card) - torch.cuda.memory_allocated(card)
    return int(torch.cuda.mem_get_info(card)[0] + cached)


def _card_bytes(model: Model, *, bf16: bool) -> int:
    """Bytes that stay on an accelerator beside the blocks: its own context, and the weights."""
    weights = sum(p.numel() for network in (model.mean, model.flow) for p in network.parameters())
    return int(0.5 * GIB + weights * (6 if bf16 else 4))
