"""Evaluate the embedded networks on a whole volume, block by block.

Packed volumes are (n, z, y', x') float32 in main memory; one block at a time visits the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from lamella.codecs.packed import PackedCodec
from lamella.embedded.memory_plan import MemoryPlan
from lamella.embedded.weights import EmbeddedWeights
from lamella.machine.runtime import Runtime
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z
from lamella.thinning.tiles import Block, blocks

Advance = Callable[[float], None]
"""Called with the fraction done, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Job:
    """What every step of one volume shares: the networks, the two grids, the block sizes and where to compute."""

    weights: EmbeddedWeights
    grids: GridPair
    plan: MemoryPlan
    runtime: Runtime

    @property
    def codec(self) -> PackedCodec:
        """How pixels are packed."""
        return self.weights.mean.codec

    @property
    def tile(self) -> int:
        """Packed pixels a side of a block."""
        return self.plan.tile // self.codec.side

    @cached_property
    def condition(self) -> Tensor:
        """(1, 3) the geometry as the networks read it, on the device."""
        return torch.tensor([self.grids.condition], device=self.runtime.device)

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Networks compute without gradients, in the number format of the device."""
        with (
            torch.inference_mode(),
            torch.autocast(self.runtime.device.type, torch.bfloat16, enabled=self.runtime.bf16),
        ):
            yield


@dataclass(frozen=True)
class Prediction:
    """What the network predicts from the thick slices; packed, on the thin grid.

    Attributes:
        mean: (n, D, y', x') HU, consistent with the measurement.
        log_scale: (n, D, y', x') float16, natural logarithm of the expected error in HU.
        summary: (h, D, y', x') features as the flow reads them (`FlowNet.summarise`); empty where no sample is wanted.
        codec: how pixels are packed.
    """

    mean: Tensor
    log_scale: Tensor
    summary: Tensor
    codec: PackedCodec


def prepare(network: torch.nn.Module, runtime: Runtime) -> None:
    """Move a network to the device, in the memory layout its convolutions are fastest in."""
    network.to(runtime.device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack this overload


def predict(job: Job, thick_hu: Tensor, *, summarised: bool, advance: Advance) -> Prediction:
    """Evaluate mean and scale of a volume.

    Args:
        job: networks and geometry.
        thick_hu: (K, y, x) HU; y and x divisible by `EmbeddedWeights.pixel_step`.
        summarised: whether the flow's summary is wanted.
        advance: called with the fraction done.
    """
    packed = job.codec.encode(thick_hu[None, None])[0]
    prediction = _read(job, SliceFeatures(job, thick_hu), packed, summarised, advance)
    null_in_place(prediction.mean, job.grids)
    for mean, thick in zip(prediction.mean, packed, strict=True):
        mean.add_(along_z(job.grids.start_matrix, thick))
    return prediction


class SliceFeatures:
    """Features of the thick slices that the head reads, (basis * hidden, K, y', x') in all.

    Of a whole volume they would be the largest thing in memory, so they are computed a slab at a time, in order, and released
    when no thin slice needs them any more.
    """

    def __init__(self, job: Job, thick_hu: Tensor) -> None:
        network = job.weights.mean
        parts = [network.features(part[None, None]) for part in torch.split(thick_hu, job.plan.slab_thick)]
        self._job, self._features = job, torch.cat(parts, dim=2)[0]
        self.dtype = torch.bfloat16 if job.runtime.bf16 else torch.float32
        count, *plane = self._features.shape[1:]
        self.plane = (plane[0], plane[1])
        sizes = (job.plan.slab_thick, job.tile, job.tile)
        pieces = blocks((count, *self.plane), sizes, network.trunk.reach, network.trunk.factor)
        self._slabs = groupby(pieces, key=lambda block: (block.core[0].start, block.core[0].stop))
        settings = network.head.settings
        self._held = torch.empty((settings.basis * settings.hidden, 0, *self.plane), dtype=self.dtype)
        self._first = 0

    @property
    def held(self) -> int:
        """Thick slices whose features are in memory."""
        return self._held.shape[1]

    def between(self, low: int, high: int) -> Tensor:
        """Those of thick slices `low` to `high` - 1. Those before `low` are forgotten: ask in order."""
        while self._first + self.held < high:
            done_with = min(max(0, low - self._first), self.held)
            self._held, self._first = self._held[:, done_with:].clone(), self._first + done_with
            (start, stop), slab = next(self._slabs)
            self._held = torch.cat([self._held, self._of_slab(start, stop, slab)], dim=1)
        return self._held[:, low - self._first : high - self._first]

    def _of_slab(self, start: int, stop: int, slab: Iterable[Block]) -> Tensor:
        job = self._job
        slice_features = self._held.new_empty((self._held.shape[0], stop - start, *self.plane))
        for block in slab:
            with job.inference():
                features = self._features[:, *block.halo][None].to(job.runtime.device)
                out = job.weights.mean.slice_features(features, job.condition)[0]
            slice_features[:, :, *block.core[1:]] = out[:, *block.crop].to("cpu", self.dtype)
        return slice_features


def _read(job: Job, slice_features: SliceFeatures, packed: Tensor, summarised: bool, advance: Advance) -> Prediction:
    """Read the features at every thin slice; `mean` still holds the raw correction."""
    network, flow, device = job.weights.mean, job.weights.flow, job.runtime.device
    offsets = torch.as_tensor(job.grids.offsets, dtype=torch.float32)
    nearest = offsets.abs().argmin(dim=1)
    n, shape = job.codec.channels, (offsets.shape[0], *slice_features.plane)
    correction, log_scale = torch.empty((n, *shape)), torch.empty((n, *shape), dtype=torch.float16)
    summary = torch.empty((flow.read_channels if summarised else 0, *shape), dtype=slice_features.dtype)
    ratios = job.grids.ratios.to(device)
    pieces = list(blocks(shape, (job.plan.slab_thin, job.tile, job.tile), (network.head.reach, network.head.reach)))
    for i, block in enumerate(pieces):
        z, y, x = block.halo
        near = slice(max(0, int(nearest[z].min()) - 1), min(int(nearest[z].max()) + 2, offsets.shape[1]))
        start = along_z(job.grids.start_matrix[z], packed[:, :, y, x])
        features = slice_features.between(near.start, near.stop)[..., y, x]
        with job.inference():
            found = network.read(features[None].to(device), start[None].to(device), offsets[z, near].to(device), ratios)
            read = flow.summarise(found.hidden[:, :, *block.crop])[0] if summarised else None
        correction[:, *block.core] = found.correction[0][:, *block.crop].cpu()
        log_scale[:, *block.core] = found.log_scale[0][:, *block.crop].cpu()
        if read is not None:
            summary[:, *block.core] = read.to("cpu", summary.dtype)
        advance((i + 1) / len(pieces))
    return Prediction(correction, log_scale, summary, job.codec)


def null_in_place(packed: Tensor, grids: GridPair) -> None:
    """Leave of (n, D, y', x') only what the measurement cannot see."""
    for part in packed:
        part.copy_(grids.operator.null(part))


def flow_network(job: Job, prediction: Prediction) -> Callable[[Tensor, Tensor, None], Tensor]:
    """The flow's raw network over the whole volume: ((1, n, D, y', x') standardised, t (1,)) -> the same shape."""
    network, device = job.weights.flow, job.runtime.device
    reach = (max(1, network.unet.reach[0]), max(1, network.unet.reach[1]))  # of the linear path at least

    def evaluate(z_t: Tensor, t: Tensor, _: None) -> Tensor:
        raw = torch.empty_like(z_t)
        grid = (z_t.shape[2], z_t.shape[3], z_t.shape[4])
        for block in blocks(grid, (job.plan.slab_flow, job.tile // 2, job.tile), reach, network.unet.factor):
            parts = (z_t[0], prediction.log_scale, prediction.summary)
            noisy, level, summary = (part[:, *block.halo][None].to(device) for part in parts)
            with job.inference():
                out = network(noisy, t.to(device), level.float(), summary, job.condition)[0]
            raw[0][:, *block.core] = out[:, *block.crop].cpu()
        return raw

    return evaluate
