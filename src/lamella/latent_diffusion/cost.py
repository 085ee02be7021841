"""What the reference system's networks cost: parameters, arithmetic and memory, without building or running them.

Arithmetic is counted on the meta device. Memory is followed through a forward and a backward pass on fake tensors: every
storage counts from the operation that makes it to its release, so a peak is that of the operations' own order. Both are
computed, not measured: kernels' workspaces, the allocator's gaps and the device context (about 1 GB) come on top.

FLOP are twice the multiplications of convolutions, matrix products and attention; everything else is left out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from lamella.codecs.kl import WIDEST_BLEND, CodecSettings
from lamella.codecs.tiles import spans
from lamella.errors import LamellaError
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.networks.diffusion_unet import DiffusionUNet, DiffusionUNetSettings

Precision = Literal["bf16-mixed", "32-true"]
Shape = tuple[int, int, int]

REFERENCE_LATENT: Shape = (75, 128, 128)
"""(z, y, x) latent cells of 300 slices of 512 x 512 pixels with a codec of factor 4."""

STATE_BYTES = 12
"""A parameter's float32 share of AdamW's two moments and of the running average (EMA)."""


@dataclass(frozen=True)
class Cost:
    """Of the denoising network on one latent of a given shape, beside a frozen autoencoder.

    Attributes:
        unet_parameters: numbers that are trained.
        unet_tensors: entries of the network's state dict.
        autoencoder_parameters, autoencoder_tensors: the same of the autoencoder.
        shape: (z, y, x) latent cells.
        precision: of training and inference.
        step_flop: of one evaluation, a sampler's step.
        weight_bytes: of the network's parameters in float32.
        state_bytes: weights, AdamW's two moments and the running average; gradients come on top.
        inference_bytes: peak of one evaluation, weights included.
        activation_bytes: what the forward pass keeps for the backward one, copies of weights apart.
        checkpointed_bytes: the same with gradient checkpointing.
        training_bytes: peaks of a training step with one latent, without and with gradient checkpointing: state,
            gradients, activations and what the operations need for a while.
    """

    unet_parameters: int
    unet_tensors: int
    autoencoder_parameters: int
    autoencoder_tensors: int
    shape: Shape
    precision: Precision
    step_flop: int
    weight_bytes: int
    state_bytes: int
    inference_bytes: int
    activation_bytes: int
    checkpointed_bytes: int
    training_bytes: tuple[int, int]


@dataclass(frozen=True)
class CodecCost:
    """Of a frozen autoencoder, in float32, on one block of a given shape.

    Attributes:
        shape: (z, y, x) voxels, of whole latent cells.
        encode_flop, decode_flop: of one pass, untiled.
        encode_bytes, decode_bytes: peak of one untiled pass, weights included.
        tile_shape: (z, y, x) voxels that the largest tile reads, blend and halo included; `shape` if there are no tiles.
        tile_bytes: peak of encoding or decoding that tile, whichever is larger, weights included.
    """

    shape: Shape
    encode_flop: int
    decode_flop: int
    encode_bytes: int
    decode_bytes: int
    tile_shape: Shape
    tile_bytes: int


def cost(
    unet: DiffusionUNetSettings,
    autoencoder: AutoencoderSettings,
    shape: Shape = REFERENCE_LATENT,
    precision: Precision = "bf16-mixed",
) -> Cost:
    """Count a denoising network, and the parameters of its autoencoder.

    Args:
        unet: the network's shape; `checkpoint` is not looked at, both cases are counted.
        autoencoder: the autoencoder's shape.
        shape: (z, y, x) latent cells.
        precision: "bf16-mixed" is autocast as on CUDA, where normalisation stays in float32.

    Raises:
        LamellaError: the shape is not positive.
    """
    _check(shape)
    with torch.device("meta"):
        network, codec = DiffusionUNet(unet), Autoencoder(autoencoder)
        latent, t = torch.empty(1, unet.in_channels, *shape), torch.empty(1)
    weights = _weight_bytes(network)
    state = weights + STATE_BYTES * _parameters(network)
    plain, spared = (_unet_memory(replace(unet, checkpoint=on), shape, precision, train=True) for on in (False, True))
    return Cost(
        _parameters(network),
        len(network.state_dict()),
        _parameters(codec),
        len(codec.state_dict()),
        shape,
        precision,
        _flop(network, latent, t),
        weights,
        state,
        weights + _unet_memory(unet, shape, precision, train=False).peak,
        plain.kept,
        spared.kept,
        (state + plain.peak, state + spared.peak),
    )


def codec_cost(codec: CodecSettings, shape: Shape) -> CodecCost:
    """Count an autoencoder.

    Args:
        codec: what belongs to its weights; its shape and tile are looked at.
        shape: (z, y, x) voxels; rounded up to whole latent cells, as `KlCodec` pads.

    Raises:
        LamellaError: the shape is not positive.
    """
    _check(shape)
    settings, f = codec.network, codec.network.factor
    cells = _each(-(-n // f) for n in shape)
    with torch.device("meta"):
        network = Autoencoder(settings)
        image, latent = torch.empty(1, 1, *(f * n for n in cells)), torch.empty(1, settings.latent_channels, *cells)
    weights = _weight_bytes(network)
    encode, decode = _codec_peaks(settings, cells)
    read = cells if codec.tile is None else _largest_read(network, codec.tile, cells)
    return CodecCost(
        _each(f * n for n in cells),
        _flop(network.moments, image),
        _flop(network.decode, latent),
        weights + encode,
        weights + decode,
        _each(f * n for n in read),
        weights + max(_codec_peaks(settings, read)),
    )


def _largest_read(network: Autoencoder, tile: Shape, cells: Shape) -> Shape:
    """(z, y, x) latent cells that the largest tile reads, as `KlCodec` cuts them."""
    reach = max(network.encoder_reach, network.decoder_reach)
    sides = []
    for n, voxels in zip(cells, tile, strict=True):
        core = voxels // network.factor
        blend = min(core // 4, WIDEST_BLEND) if network.settings.groups else 0
        sides.append(max(s.read[1] - s.read[0] for s in spans(n, core, reach, blend)))
    return _each(sides)


def _codec_peaks(settings: AutoencoderSettings, cells: Shape) -> tuple[int, int]:
    """Peaks of encoding and decoding so many latent cells, weights apart."""
    with FakeTensorMode():
        network = Autoencoder(settings)
        encode = _memory(
            network, lambda: network.moments(torch.empty(1, 1, *(settings.factor * n for n in cells))), train=False
        ).peak
        decode = _memory(
            network, lambda: network.decode(torch.empty(1, settings.latent_channels, *cells)), train=False
        ).peak
    return encode, decode


def _each(sizes: Iterable[int]) -> Shape:
    z, y, x = sizes
    return (z, y, x)


def _check(shape: Shape) -> None:
    if min(shape) < 1:
        raise LamellaError(f"A shape must be positive to be counted. Found {shape}.")


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _weight_bytes(network: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in network.parameters())


def _flop(call: Callable[..., Any], *inputs: Tensor) -> int:
    """Of one call on meta tensors; attention is there two batched products, which the counter knows."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(*inputs)
    return int(counter.get_total_flops())


class _Memory(NamedTuple):
    """Bytes at the worst moment, and at the end of the forward pass without copies of weights."""

    peak: int
    kept: int


def _unet_memory(settings: DiffusionUNetSettings, shape: Shape, precision: Precision, *, train: bool) -> _Memory:
    """What one evaluation makes and, if `train`, the loss and its gradients too; weights apart."""
    with FakeTensorMode():
        network = DiffusionUNet(settings)
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                # CUDA's autocast normalises in float32; the CPU's, which fake tensors follow, does not
                module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))

        def step() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                out = network(torch.empty(1, settings.in_channels, *shape), torch.empty(1))
            return F.mse_loss(out.float(), torch.empty(out.shape))

        return _memory(network, step, train=train)


def _memory(network: nn.Module, step: Callable[[], Any], *, train: bool) -> _Memory:
    """Sums of the storages that live at one time during `step` and its backward pass, the network's own apart."""
    with torch.set_grad_enabled(train), _Live(network.parameters()) as live:
        out = step()
        kept = live.now - live.copies
        if train:
            out.backward()
    return _Memory(live.peak, kept)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make, until they are released.

    Attributes:
        now, peak: bytes that live, and lived at the worst moment.
        copies: bytes of `now` that are the parameters in another number format, which autocast makes.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.copies = 0
        self._apart = {_key(p) for p in parameters}
        self._watched: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and _key(args[0]) in self._apart
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._see(value.untyped_storage(), copied=copied)
        return out

    def _see(self, storage: Any, *, copied: bool) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._apart or key in self._watched:
            return
        self.now += size
        self.copies += size if copied else 0
        self.peak = max(self.peak, self.now)

        def forget(_: Any) -> None:
            self.now -= size
            self.copies -= size if copied else 0
            del self._watched[key]

        self._watched[key] = weakref.ref(storage, forget)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
