"""Evaluate the embedded networks on a whole volume, block by block.

Packed volumes are (n, z, y', x') float32 in main memory; one block at a time visits the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lamella.embedded import FlowNet, MeanScaleNet
from lamella.passage import Passage
from lamella.slices import along_z
from lamella.thinning.plan import MemoryPlan, Runtime
from lamella.thinning.tiles import blocks

Advance = Callable[[float], None]
"""Called with the fraction done, 0 to 1."""


@dataclass(frozen=True)
class View:
    """What the network sees in the thick slices; packed, on the thin grid.

    Attributes:
        mean: (n, D, y', x') HU, consistent with the measurement.
        log_scale: (n, D, y', x') float16, natural logarithm of the expected error in HU.
        summary: (h, D, y', x') features as the flow reads them (`FlowNet.summarise`); empty where no draw is wanted.
    """

    mean: Tensor
    log_scale: Tensor
    summary: Tensor


@contextmanager
def _format(runtime: Runtime) -> Iterator[None]:
    with torch.inference_mode(), torch.autocast(runtime.device.type, torch.bfloat16, enabled=runtime.bf16):
        yield


def prepare(network: torch.nn.Module, runtime: Runtime) -> None:
    """Move a network to the device, in the memory layout its convolutions are fastest in."""
    network.to(runtime.device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack this overload


def look(
    network: MeanScaleNet,
    thick_hu: Tensor,
    passage: Passage,
    plan: MemoryPlan,
    runtime: Runtime,
    *,
    flow: FlowNet | None,
    advance: Advance,
) -> View:
    """One look at the thick slices (K, y, x) in HU; y and x divisible by `plan.pixel_step`. `flow`: whose summary is wanted."""
    condition = torch.tensor([passage.condition], device=runtime.device)
    features = torch.cat(
        [network.features(part[None, None]) for part in torch.split(thick_hu, plan.slab_thick)], dim=2
    )[0]
    grid = (features.shape[1], features.shape[2], features.shape[3])
    dtype = torch.bfloat16 if runtime.bf16 else torch.float32
    settings = network.head.settings
    offers = torch.empty((settings.basis * settings.hidden, *grid), dtype=dtype)
    tile = plan.tile // network.codec.side
    pieces = list(blocks(grid, (plan.slab_thick, tile, tile), network.trunk.reach, network.trunk.factor))
    for i, block in enumerate(pieces):
        with _format(runtime):
            out = network.offers(features[:, *block.halo][None].to(runtime.device), condition)[0]
        offers[:, *block.core] = out[:, *block.crop].to("cpu", dtype)
        advance(0.5 * (i + 1) / len(pieces))
    del features
    packed = network.codec.encode(thick_hu[None, None])[0]
    view = _read(network, offers, packed, passage, plan, runtime, flow, lambda f: advance(0.5 + 0.5 * f))
    del offers
    _null_in_place(view.mean, passage)
    for part in range(view.mean.shape[0]):
        view.mean[part] += along_z(passage.start_matrix, packed[part])
    return view


def _read(
    network: MeanScaleNet,
    offers: Tensor,
    packed: Tensor,
    passage: Passage,
    plan: MemoryPlan,
    runtime: Runtime,
    flow: FlowNet | None,
    advance: Advance,
) -> View:
    """Read the offers at every thin slice; `mean` still holds the raw correction."""
    offsets = torch.as_tensor(passage.offsets, dtype=torch.float32)
    nearest = offsets.abs().argmin(dim=1)
    count, n = offsets.shape[0], network.codec.channels
    shape = (count, *offers.shape[-2:])
    correction, log_scale = torch.empty((n, *shape)), torch.empty((n, *shape), dtype=torch.float16)
    summary = torch.empty((flow.read_channels if flow else 0, *shape), dtype=offers.dtype)
    ratios = passage.ratios.to(runtime.device)
    tile = plan.tile // network.codec.side
    pieces = list(blocks(shape, (plan.slab_thin, tile, tile), (network.head.reach, network.head.reach)))
    for i, block in enumerate(pieces):
        z, y, x = block.halo
        near = slice(max(0, int(nearest[z].min()) - 1), int(nearest[z].max()) + 2)
        start = along_z(passage.start_matrix[z], packed[:, :, y, x])
        with _format(runtime):
            outlook = network.read(
                offers[:, near, y, x][None].to(runtime.device),
                start[None].to(runtime.device),
                offsets[z, near].to(runtime.device),
                ratios,
            )
        correction[:, *block.core] = outlook.correction[0][:, *block.crop].cpu()
        log_scale[:, *block.core] = outlook.log_scale[0][:, *block.crop].cpu()
        if flow:
            with _format(runtime):
                read = flow.summarise(outlook.hidden[:, :, *block.crop])[0]
            summary[:, *block.core] = read.to("cpu", summary.dtype)
        advance((i + 1) / len(pieces))
    return View(correction, log_scale, summary)


def _null_in_place(packed: Tensor, passage: Passage) -> None:
    for part in range(packed.shape[0]):
        packed[part] = passage.operator.null(packed[part])


def flow_network(
    network: FlowNet, view: View, passage: Passage, plan: MemoryPlan, runtime: Runtime
) -> Callable[[Tensor, Tensor, None], Tensor]:
    """The flow's raw network over the whole volume: ((1, n, D, y', x') standardised, t (1,)) -> the same shape."""
    condition = torch.tensor([passage.condition], device=runtime.device)
    tile = plan.tile // network.side
    reach = (max(1, network.unet.reach[0]), max(1, network.unet.reach[1]))  # of the linear path at least

    def evaluate(z_t: Tensor, t: Tensor, _: None) -> Tensor:
        raw = torch.empty_like(z_t)
        grid = (z_t.shape[2], z_t.shape[3], z_t.shape[4])
        for block in blocks(grid, (plan.slab_flow, tile // 2, tile), reach, network.unet.factor):
            parts = (z_t[0], view.log_scale, view.summary)
            noisy, level, summary = (part[:, *block.halo][None].to(runtime.device) for part in parts)
            with _format(runtime):
                out = network(noisy, t.to(runtime.device), level.float(), summary, condition)[0]
            raw[0][:, *block.core] = out[:, *block.crop].cpu()
        return raw

    return evaluate
