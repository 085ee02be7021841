"""The codec of an `Autoencoder`: HU in, scaled latents out, and back, for blocks of any size.

Range, axes and scale belong to the weights and are fields of `CodecSettings`; nobody else converts them.

Axes. Arrays are (slice, row, column) and this codec reads them as an axial CT whatever their affine: slices to the head,
rows to the back, columns to the patient's left, which are L, P, S for x, y, z. "ras_xyz" gives the network (x, y, z)
with x to the right and y to the front, as MAISI was trained, by a transposition and two flips; "zyx" changes nothing. A
coronal or sagittal series, or one scanned feet first, keeps working but is not what such weights have seen.

Sizes. A block is padded at the END of each axis, by repeating its last slice, row or column, to whole latent cells;
decoding crops to the shape asked for. Latent cell k therefore always begins at slice 4 k.

Side information. Where the network's `side_information` is "interpolated_thick", decoding needs the thick slices interpolated
to the image's slices (`beside`); it goes through range, axes, padding and tiles as an image does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.codecs.tiles import run_tiled, spans
from lamella.errors import LamellaError, NonFiniteError
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings

Axes = Literal["zyx", "ras_xyz"]

SMALLEST_TILE = 4
"""Latent cells; below this there is no room for a blend."""

WIDEST_BLEND = 8
"""Latent cells to either side of a border (32 voxels); more would cost time and hide no more."""


@dataclass(frozen=True)
class CodecSettings:
    """What belongs to an autoencoder's weights.

    Attributes:
        network: shape of the network.
        low_hu, high_hu: the range of HU that is mapped linearly to `unit`; outside it values are clipped, both ways.
        unit: the network's own range.
        axes: the network's own order of axes.
        scale: latents are multiplied by it after encoding and divided by it before decoding: 1 / standard deviation of
            the latents on the training set (`measure_scale`). 0.18215 is Stable Diffusion's.
        tile: (z, y, x) largest core of a tile in voxels, for short memory; None means untiled. See `tiles`.

    Raises:
        LamellaError: a range is empty, the axes are unknown, the scale is not positive, or the tile is too small.
    """

    network: AutoencoderSettings
    low_hu: float = -1000.0
    high_hu: float = 1000.0
    unit: tuple[float, float] = (0.0, 1.0)
    axes: Axes = "zyx"
    scale: float = 1.0
    tile: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name, (low, high) in (("HU", (self.low_hu, self.high_hu)), ("unit", self.unit)):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise LamellaError(f"The {name} range of a codec must rise. Found {low:g} to {high:g}.")
        if self.axes not in get_args(Axes):
            raise LamellaError(f"Unknown axes of a codec: {self.axes!r}. Expected one of {', '.join(get_args(Axes))}.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise LamellaError(f"The latent scale must be a positive number. Found {self.scale:g}.")
        factor = self.network.factor
        if self.tile is not None and any(n % factor or n < SMALLEST_TILE * factor for n in self.tile):
            raise LamellaError(
                f"A codec's tile must be whole latent cells of {factor} voxels and at least {SMALLEST_TILE} of them "
                f"along each axis. Found {self.tile} voxels. Choose multiples of {factor} from {SMALLEST_TILE * factor}."
            )

    def to_unit(self, hu: Tensor) -> Tensor:
        """HU to the network's own range, clipped."""
        low, high = self.unit
        share = ((hu - self.low_hu) / (self.high_hu - self.low_hu)).clamp(0.0, 1.0)
        return low + share * (high - low)

    def from_unit(self, unit: Tensor) -> Tensor:
        """The way back, clipped."""
        low, high = self.unit
        share = ((unit - low) / (high - low)).clamp(0.0, 1.0)
        return self.low_hu + share * (self.high_hu - self.low_hu)

    def to_network(self, block: Tensor) -> Tensor:
        """(b, c, z, y, x) in the network's own order of axes."""
        if self.axes == "zyx":
            return block
        return block.permute(0, 1, 4, 3, 2).flip(2, 3)  # L to R, P to A; S stays

    def from_network(self, block: Tensor) -> Tensor:
        """The way back."""
        if self.axes == "zyx":
            return block
        return block.flip(2, 3).permute(0, 1, 4, 3, 2)


@dataclass(frozen=True, eq=False)
class KlCodec:
    """HU <-> scaled latents of a frozen autoencoder.

    The network is taken over: `eval()`, no gradients, from now on. Give a copy of one that is still being trained.

    Attributes:
        network: the autoencoder.
        settings: what belongs to its weights.

    Raises:
        LamellaError: the network has another shape than the settings say.
    """

    network: Autoencoder
    settings: CodecSettings

    def __post_init__(self) -> None:
        if self.network.settings != self.settings.network:
            raise LamellaError(
                f"The codec's settings describe another network. Found {self.network.settings}, expected "
                f"{self.settings.network}."
            )
        self.network.eval().requires_grad_(False)

    @property
    def channels(self) -> int:
        """Latent channels."""
        return self.settings.network.latent_channels

    @property
    def factor(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x) in one latent cell."""
        n = self.settings.network.factor
        return (n, n, n)

    @property
    def shown(self) -> bool:
        """Whether the decoder is shown the interpolated thick slices."""
        return self.settings.network.side_information == "interpolated_thick"

    @property
    def exact_tiles(self) -> bool:
        """Whether tiled and untiled answers are the same; with normalisation they are blended (see `tiles`)."""
        return self.settings.network.groups == 0

    def latent_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(z, y, x) latent cells of a block of that many voxels: whole cells, the last one padded."""
        n = self.settings.network.factor
        return (-(-shape[0] // n), -(-shape[1] // n), -(-shape[2] // n))

    def to(self, device: torch.device | str) -> KlCodec:
        """Move the network; blocks may stay elsewhere, each tile travels by itself."""
        self.network.to(device)
        return self

    def with_settings(self, *, scale: float | None = None, tile: tuple[int, int, int] | None = None) -> KlCodec:
        """The same network with another scale, another tile or (None) the ones it has."""
        s = self.settings
        return KlCodec(self.network, replace(s, scale=scale or s.scale, tile=tile or s.tile))

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean times the scale.

        Args:
            image: (b, 1, z, y, x) HU; any size.

        Returns:
            (b, channels, ceil(z / f), ceil(y / f), ceil(x / f)) float32, on the image's device.
        """
        s, factor = self.settings, self.settings.network.factor
        cells = self.latent_shape((image.shape[2], image.shape[3], image.shape[4]))
        unit = whole_cells(s.to_unit(image.float()), factor)
        mean = self._apply(
            (unit,), lambda x: self.network.moments(x)[0], cells, reach=self.network.encoder_reach, encode=True
        )
        return mean * s.scale

    @torch.no_grad()
    def decode(self, latent: Tensor, shape: tuple[int, int, int] | None = None, beside: Tensor | None = None) -> Tensor:
        """The image of scaled latents.

        Args:
            latent: (b, channels, z, y, x).
            shape: (z, y, x) voxels to return, those that were encoded or are asked for; all of them if None.
            beside: (b, 1, *shape) HU, the thick slices interpolated to the image's slices. Codecs with side information need
                it, others do not look at it.

        Returns:
            (b, 1, *shape) HU, float32, on the latent's device, clipped to the codec's range.

        Raises:
            LamellaError: the latents are not those of an image of this shape, or side information is missing or of another
                shape.
        """
        s, factor = self.settings, self.settings.network.factor
        cells = (latent.shape[2], latent.shape[3], latent.shape[4])
        wanted = (cells[0] * factor, cells[1] * factor, cells[2] * factor) if shape is None else shape
        if self.latent_shape(wanted) != cells:
            raise LamellaError(
                f"The latents do not belong to an image of {wanted} voxels. Found {cells} latent cells, expected "
                f"{self.latent_shape(wanted)}."
            )
        given = [latent.float() / s.scale]
        if self.shown:
            if beside is None or tuple(beside.shape) != (len(latent), 1, *wanted):
                raise LamellaError(
                    "This codec's decoder is shown the interpolated thick slices (side_information interpolated_thick). "
                    f"Found {'none' if beside is None else tuple(beside.shape)}, expected {(len(latent), 1, *wanted)}."
                )
            given.append(whole_cells(s.to_unit(beside.float()), factor))
        unit = self._apply(given, self.network.decode, cells, reach=self.network.decoder_reach, encode=False)
        return s.from_unit(unit[:, :, : wanted[0], : wanted[1], : wanted[2]])

    def _apply(
        self,
        blocks: Sequence[Tensor],
        half: Callable[..., Tensor],
        cells: tuple[int, int, int],
        *,
        reach: int,
        encode: bool,
    ) -> Tensor:
        """One half of the network on blocks of whole cells, tiled if the settings say so and it is worth it."""
        s, factor = self.settings, self.settings.network.factor
        weight = next(self.network.parameters())

        def network(*parts: Tensor) -> Tensor:
            given = (s.to_network(part.to(weight.device, weight.dtype)) for part in parts)
            return s.from_network(half(*given)).to(blocks[0].device, torch.float32)

        tile = cells if s.tile is None else tuple(n // factor for n in s.tile)
        if all(n <= t for n, t in zip(cells, tile, strict=True)):
            return network(*blocks)
        blends = [0 if self.exact_tiles else min(t // 4, WIDEST_BLEND) for t in tile]
        axes = tuple(spans(n, t, reach, blend) for n, t, blend in zip(cells, tile, blends, strict=True))
        if encode:
            return run_tiled(blocks[0], network, axes, channels=self.channels, scale_in=factor, scale_out=1)
        beside = blocks[1] if self.shown else None
        return run_tiled(blocks[0], network, axes, channels=1, scale_in=1, scale_out=factor, beside=beside)


def whole_cells(block: Tensor, factor: int) -> Tensor:
    """(b, c, z, y, x) padded at its end to whole latent cells, by repetition."""
    short = [-n % factor for n in block.shape[2:]]
    return F.pad(block, (0, short[2], 0, short[1], 0, short[0]), mode="replicate") if any(short) else block


def measure_scale(codec: KlCodec, blocks: Iterable[Tensor]) -> float:
    """1 / standard deviation of the unscaled latents over all blocks and channels, as MAISI defines its scale.

    Args:
        codec: its own scale does not matter.
        blocks: (b, 1, z, y, x) HU of the training set.

    Raises:
        LamellaError: there are no blocks, or the latents are all the same.
        NonFiniteError: a latent is not finite.
    """
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        latent = codec.encode(block).double() / codec.settings.scale
        count += latent.numel()
        total += float(latent.sum())
        squares += float(latent.square().sum())
    if not math.isfinite(squares):
        raise NonFiniteError("The codec's latents are not finite. Check its weights with `lamella models verify`.")
    variance = squares / count - (total / count) ** 2 if count else 0.0
    if variance <= 0:
        raise LamellaError(
            f"The latent scale cannot be measured. Found {count} latent values of variance {variance:g}, expected "
            "blocks that differ."
        )
    return 1.0 / math.sqrt(variance)
