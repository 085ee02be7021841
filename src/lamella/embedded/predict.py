"""Evaluate the embedded networks on a whole volume, block by block.

Packed volumes are (n, z, y', x') float32 in main memory; one block at a time visits the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from lamella.embedded.memory_plan import MemoryPlan
from lamella.embedded.networks import FlowNet, MeanScaleNet
from lamella.machine.runtime import Runtime
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z
from lamella.thinning.tiles import Block, blocks

Advance = Callable[[float], None]
"""Called with the fraction done, 0 to 1."""


@dataclass(frozen=True)
class Prediction:
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


def predict(
    network: MeanScaleNet,
    thick_hu: Tensor,
    grids: GridPair,
    plan: MemoryPlan,
    runtime: Runtime,
    *,
    flow: FlowNet | None,
    advance: Advance,
) -> Prediction:
    """One look at the thick slices (K, y, x) in HU; y and x divisible by `plan.pixel_step`. `flow`: whose summary is wanted."""
    packed = network.codec.encode(thick_hu[None, None])[0]
    prediction = _read(
        network, SliceFeatures(network, thick_hu, grids, plan, runtime), packed, grids, plan, runtime, flow, advance
    )
    null_in_place(prediction.mean, grids)
    for part in range(prediction.mean.shape[0]):
        prediction.mean[part] += along_z(grids.start_matrix, packed[part])
    return prediction


class SliceFeatures:
    """What the thick slices offer the head, (basis * hidden, K, y', x') in all.

    Of a whole volume it would be the largest thing in memory, so it is computed a slab at a time, in order, and let go when
    no thin slice needs it any more.
    """

    def __init__(
        self, network: MeanScaleNet, thick_hu: Tensor, grids: GridPair, plan: MemoryPlan, runtime: Runtime
    ) -> None:
        parts = [network.features(part[None, None]) for part in torch.split(thick_hu, plan.slab_thick)]
        self._network, self._runtime = network, runtime
        self._features = torch.cat(parts, dim=2)[0]
        self._condition = torch.tensor([grids.condition], device=runtime.device)
        self.dtype = torch.bfloat16 if runtime.bf16 else torch.float32
        self.plane = (self._features.shape[2], self._features.shape[3])
        grid = (self._features.shape[1], *self.plane)
        tile = plan.tile // network.codec.side
        pieces = blocks(grid, (plan.slab_thick, tile, tile), network.trunk.reach, network.trunk.factor)
        self._slabs = groupby(pieces, key=lambda block: (block.core[0].start, block.core[0].stop))
        settings = network.head.settings
        self._held = torch.empty((settings.basis * settings.hidden, 0, *self.plane), dtype=self.dtype)
        self._first = 0

    @property
    def held(self) -> int:
        """Thick slices whose slice_features are in memory."""
        return self._held.shape[1]

    def between(self, low: int, high: int) -> Tensor:
        """Those of thick slices `low` to `high` - 1. Those before `low` are forgotten: ask in order."""
        while self._first + self._held.shape[1] < high:
            done_with = min(max(0, low - self._first), self._held.shape[1])
            self._held, self._first = self._held[:, done_with:].clone(), self._first + done_with
            (start, stop), slab = next(self._slabs)
            self._held = torch.cat([self._held, self._of_slab(start, stop, slab)], dim=1)
        return self._held[:, low - self._first : high - self._first]

    def _of_slab(self, start: int, stop: int, slab: Iterable[Block]) -> Tensor:
        slice_features = self._held.new_empty((self._held.shape[0], stop - start, *self.plane))
        for block in slab:
            with _format(self._runtime):
                features = self._features[:, *block.halo][None].to(self._runtime.device)
                out = self._network.slice_features(features, self._condition)[0]
            slice_features[:, :, *block.core[1:]] = out[:, *block.crop].to("cpu", self.dtype)
        return slice_features


def _read(
    network: MeanScaleNet,
    slice_features: SliceFeatures,
    packed: Tensor,
    grids: GridPair,
    plan: MemoryPlan,
    runtime: Runtime,
    flow: FlowNet | None,
    advance: Advance,
) -> Prediction:
    """Read the slice_features at every thin slice; `mean` still holds the raw correction."""
    offsets = torch.as_tensor(grids.offsets, dtype=torch.float32)
    nearest = offsets.abs().argmin(dim=1)
    count, n = offsets.shape[0], network.codec.channels
    shape = (count, *slice_features.plane)
    correction, log_scale = torch.empty((n, *shape)), torch.empty((n, *shape), dtype=torch.float16)
    summary = torch.empty((flow.read_channels if flow else 0, *shape), dtype=slice_features.dtype)
    ratios = grids.ratios.to(runtime.device)
    tile = plan.tile // network.codec.side
    pieces = list(blocks(shape, (plan.slab_thin, tile, tile), (network.head.reach, network.head.reach)))
    for i, block in enumerate(pieces):
        z, y, x = block.halo
        near = slice(max(0, int(nearest[z].min()) - 1), min(int(nearest[z].max()) + 2, offsets.shape[1]))
        start = along_z(grids.start_matrix[z], packed[:, :, y, x])
        with _format(runtime):
            head_output = network.read(
                slice_features.between(near.start, near.stop)[..., y, x][None].to(runtime.device),
                start[None].to(runtime.device),
                offsets[z, near].to(runtime.device),
                ratios,
            )
        correction[:, *block.core] = head_output.correction[0][:, *block.crop].cpu()
        log_scale[:, *block.core] = head_output.log_scale[0][:, *block.crop].cpu()
        if flow:
            with _format(runtime):
                read = flow.summarise(head_output.hidden[:, :, *block.crop])[0]
            summary[:, *block.core] = read.to("cpu", summary.dtype)
        advance((i + 1) / len(pieces))
    return Prediction(correction, log_scale, summary)


def null_in_place(packed: Tensor, grids: GridPair) -> None:
    """Leave of (n, D, y', x') only what the measurement cannot see."""
    for part in range(packed.shape[0]):
        packed[part] = grids.operator.null(packed[part])


def flow_network(
    network: FlowNet, prediction: Prediction, grids: GridPair, plan: MemoryPlan, runtime: Runtime
) -> Callable[[Tensor, Tensor, None], Tensor]:
    """The flow's raw network over the whole volume: ((1, n, D, y', x') standardised, t (1,)) -> the same shape."""
    condition = torch.tensor([grids.condition], device=runtime.device)
    tile = plan.tile // network.side
    reach = (max(1, network.unet.reach[0]), max(1, network.unet.reach[1]))  # of the linear path at least

    def evaluate(z_t: Tensor, t: Tensor, _: None) -> Tensor:
        raw = torch.empty_like(z_t)
        grid = (z_t.shape[2], z_t.shape[3], z_t.shape[4])
        for block in blocks(grid, (plan.slab_flow, tile // 2, tile), reach, network.unet.factor):
            parts = (z_t[0], prediction.log_scale, prediction.summary)
            noisy, level, summary = (part[:, *block.halo][None].to(runtime.device) for part in parts)
            with _format(runtime):
                out = network(noisy, t.to(runtime.device), level.float(), summary, condition)[0]
            raw[0][:, *block.core] = out[:, *block.crop].cpu()
        return raw

    return evaluate
