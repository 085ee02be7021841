"""Evaluate the embedded networks on a whole volume, block by block.

Packed volumes are (n, z, y', x') float32 in main memory; one block at a time visits the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.codecs.packed import PackedCodec
from lamella.embedded.memory_plan import MemoryPlan
from lamella.embedded.weights import EmbeddedWeights
from lamella.machine.memory import give_back_memory
from lamella.machine.runtime import Runtime
from lamella.networks.feed import Feed, pieces
from lamella.physics.grid_pair import GridPair
from lamella.thinning.tiles import Tile, tiles

KEPT_SUMMARY = torch.float8_e4m3fn
"""In which the flow's summary waits in main memory: it has 16 channels, and would else be the largest thing there. Three bits
of mantissa cost nothing that a figure shows (docs/research/lab-notebook.md)."""

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

    @property
    def number(self) -> torch.dtype:
        """In which the networks compute."""
        return torch.bfloat16 if self.runtime.bf16 else torch.float32

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
    start = job.grids.start(job.codec.encode(thick_hu[None, None])[0])
    prediction = _read(job, SliceFeatures(job, thick_hu), start, summarised, advance)
    give_back_memory()
    null_in_place(prediction.mean, job.grids)
    prediction.mean.add_(start)
    return prediction


def _fed_tiles(job: Job, plane: tuple[int, int], reach: int, align: int = 1) -> list[tuple[Tile, Feed]]:
    """The tiles of a plane, each with the feed of its network."""
    return [(tile, Feed()) for tile in tiles(plane, job.tile, reach, align)]


_NEAR = 4
"""Thick slices near the thin ones of one piece, where those are finer."""


class SliceFeatures:
    """Features of the thick slices that the head reads, (basis, hidden, K, y', x') in all.

    Of a whole volume they would be the largest thing in memory, so they are computed some slices at a time, in order, and
    released when no thin slice needs them any more. In memory a slice's set lies beside the next, pixel by pixel: the head's
    product reads them as they are. They stay in one tensor, which grows where more are asked for than usual.

    Attributes:
        held: thick slices whose features are in memory.
    """

    def __init__(self, job: Job, thick_hu: Tensor) -> None:
        network, side = job.weights.mean, job.codec.side
        self._job, self._thick_hu = job, thick_hu
        count, rows, columns = thick_hu.shape
        self.plane = (rows // side, columns // side)
        self._pieces = deque(pieces(count, job.plan.slab_thick, network.trunk.reach[0]))
        self._tiles = _fed_tiles(job, self.plane, network.trunk.reach[1], network.trunk.factor)
        longest, settings = max(done.stop - done.start for _, done in self._pieces), network.head.settings
        room = (min(count, longest + _NEAR), settings.basis, *self.plane, settings.hidden)
        self._held = torch.empty(room, dtype=job.number)
        self._first, self.held = 0, 0

    def between(self, low: int, high: int) -> Tensor:
        """Those of thick slices `low` to `high` - 1. Those before `low` are forgotten: ask in order."""
        while self._first + self.held < high:
            self._forget(min(max(0, low - self._first), self.held))
            self._add(*self._pieces.popleft())
        return self._held[low - self._first : high - self._first].permute(1, 4, 0, 2, 3)

    def _forget(self, count: int) -> None:
        self._first, self.held = self._first + count, self.held - count
        for index in range(self.held if count else 0):
            self._held[index] = self._held[index + count]

    def _add(self, fed: slice, answered: slice) -> None:
        job, network = self._job, self._job.weights.mean
        features = network.features(self._thick_hu[None, None, fed])
        held, self.held = self.held, self.held + answered.stop - answered.start
        if self.held > len(self._held):
            self._held = torch.cat(
                [self._held, self._held.new_empty((self.held - len(self._held), *self._held.shape[1:]))]
            )
        for tile, feed in self._tiles:
            feed.last = fed.stop == len(self._thick_hu)
            with job.inference():
                part = features[..., *tile.halo].to(job.runtime.device)
                out = network.slice_features(part, job.condition, feed)[0, ..., *tile.crop]
            self._held[held : self.held, :, *tile.core] = out.permute(2, 0, 3, 4, 1).to("cpu", job.number)


def _read(job: Job, slice_features: SliceFeatures, start: Tensor, summarised: bool, advance: Advance) -> Prediction:
    """Read the features at every thin slice; `mean` still holds the raw correction."""
    network, flow, device = job.weights.mean, job.weights.flow, job.runtime.device
    offsets = torch.as_tensor(job.grids.offsets, dtype=torch.float32)
    nearest = offsets.abs().argmin(dim=1)
    n, count, plane = job.codec.channels, offsets.shape[0], slice_features.plane
    correction = torch.empty((n, count, *plane))
    log_scale = torch.empty((n, count, *plane), dtype=torch.float16)
    summary = pixel_by_pixel((flow.read_channels if summarised else 0, count, *plane), KEPT_SUMMARY)
    ratios, fed_tiles = job.grids.ratios.to(device), _fed_tiles(job, plane, network.head.reach)
    for fed, answered in pieces(count, job.plan.slab_thin, 1):
        near = slice(max(0, int(nearest[fed].min()) - 1), min(int(nearest[fed].max()) + 2, offsets.shape[1]))
        features = slice_features.between(near.start, near.stop)
        image = start[:, max(0, fed.start - 1) : fed.stop + 1]
        image = F.pad(image, (0, 0, 0, 0, int(fed.start == 0), int(fed.stop == count)))
        for tile, feed in fed_tiles:
            feed.last = fed.stop == count
            sets, part = (whole[None, ..., *tile.halo].to(device) for whole in (features, image))
            with job.inference():
                found = network.read(sets, part, offsets[fed, near].to(device), ratios, feed)
                read = flow.summarise(found.hidden[..., *tile.crop])[0] if summarised else None
            correction[:, answered, *tile.core] = found.correction[0][..., *tile.crop].cpu()
            log_scale[:, answered, *tile.core] = found.log_scale[0][..., *tile.crop].cpu()
            if read is not None:
                limit = torch.finfo(KEPT_SUMMARY).max
                # In eight bits only in main memory: not every device knows such numbers.
                summary[:, answered, *tile.core] = read.clamp(-limit, limit).cpu().to(KEPT_SUMMARY)
        advance(answered.stop / count)
    return Prediction(correction, log_scale, summary, job.codec)


def pixel_by_pixel(shape: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor:
    """An empty (c, z, y, x) volume whose channels lie side by side in memory, as convolutions are fastest."""
    channels, *grid = shape
    return torch.empty((*grid, channels), dtype=dtype).permute(3, 0, 1, 2)


def null_in_place(packed: Tensor, grids: GridPair) -> None:
    """Leave of (n, D, y', x') only what the measurement cannot see."""
    for part in packed:
        part.copy_(grids.operator.null(part))


def flow_network(job: Job, prediction: Prediction) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The flow's raw network over the whole volume.

    A function of the state (1, n, D, y', x'), of t (1,) and of the factor that the state is multiplied with. It answers in the
    state's shape, in the numbers that the network computes in.
    """
    network, device = job.weights.flow, job.runtime.device
    late, reach = network.unet.reach[0], max(1, network.unet.reach[1])  # of the linear path at least

    def evaluate(z_t: Tensor, t: Tensor, c_in: float) -> Tensor:
        raw = torch.empty_like(z_t, dtype=job.number)
        count, fed_tiles = z_t.shape[2], _fed_tiles(job, (z_t.shape[3], z_t.shape[4]), reach, network.unet.factor)
        for fed, answered in pieces(count, job.plan.slab_flow, late):
            for tile, feed in fed_tiles:
                feed.last = fed.stop == count
                parts = (z_t[0], prediction.log_scale, prediction.summary)
                noisy, level, summary = (part[None, :, fed, *tile.halo] for part in parts)
                noisy, level = (c_in * noisy.to(device)).to(job.number), level.to(device)
                summary = summary.to(job.number).to(device)
                with job.inference():
                    out = network(noisy, t.to(device), level.float(), summary, job.condition, feed)[0]
                raw[0][:, answered, *tile.core] = out[..., *tile.crop].cpu()
        give_back_memory()
        return raw

    return evaluate
