"""Memory of a latent diffusion model's answer, and into what tiles its two networks cut the volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

from lamella.codecs.kl import KlCodec
from lamella.errors import RefusedInput
from lamella.latent_diffusion.weights import LatentWeights
from lamella.machine.runtime import BASE_BYTES, GIB, free_bytes, runtime, usable_bytes
from lamella.networks.diffusion_unet import DiffusionUNetSettings
from lamella.physics.slice_operator import covering_grid
from lamella.thinning.settings import ThinSettings
from lamella.volume import Geometry

Tile = TypeVar("Tile")

_CODEC_TILES = ((32, 64, 64), (16, 32, 32), (8, 16, 16), (4, 8, 8))
"""(z, y, x) latent cells of a codec tile's core, from fast to frugal; the whole volume, or the codec's own, comes first."""

_UNET_TILES = (128, 96, 64, 48, 32)
"""Latent cells a side of a tile of the denoising network; the whole plane comes first."""

HALO_CELLS = 8
"""Latent cells that a tile of the denoising network reads beyond what is kept of it."""

_VOLUMES = 6.5
"""Thin volumes in float32 that are alive at the worst moment, while the answer is finished."""

_CODEC_LIVE = 4.5
"""Feature volumes at full size, as wide as the second level, that the codec keeps alive; 2.6 to 4.0 were measured."""

_UNET_LIVE = 17
"""Feature volumes of the first level that are alive at the worst moment, skips apart; 20 to 23 with them were measured."""


@dataclass(frozen=True)
class LatentPlan:
    """Tiles and the memory they need.

    Attributes:
        codec_tile: (z, y, x) voxels of a codec tile's core; None for the whole volume at once.
        unet_tile: latent cells a side of a tile of the denoising network; None for the whole plane. z is never cut.
        peak_bytes: expected peak of the process in main memory.
        available_bytes: what of it may be used.
        device_bytes: expected peak on the accelerator; 0 without one.
    """

    codec_tile: tuple[int, int, int] | None
    unet_tile: int | None
    peak_bytes: int
    available_bytes: int
    device_bytes: int = 0

    def describe(self) -> str:
        """One line for people."""
        plane = "whole planes" if self.unet_tile is None else f"tiles of {self.unet_tile} x {self.unet_tile}"
        block = "at once" if self.codec_tile is None else f"in blocks of {' x '.join(map(str, self.codec_tile))} voxels"
        device = f" and {self.device_bytes / GIB:.1f} GiB on the accelerator" if self.device_bytes else ""
        return (
            f"about {self.peak_bytes / GIB:.1f} GiB of {self.available_bytes / GIB:.1f} GiB usable{device}; denoising in "
            f"{plane} of latents, codec {block}"
        )


def latent_plan(thick: Geometry, grid: Geometry, model: LatentWeights, settings: ThinSettings) -> LatentPlan:
    """Choose the largest tiles that fit.

    Raises:
        RefusedInput: not even the smallest tiles fit; the message holds the plan.
    """
    where, main = runtime(settings.device, settings.precision), usable_bytes(settings.memory_gb)
    longer, _ = covering_grid(grid, thick)
    fixed = BASE_BYTES + _volumes(thick, longer, settings)
    weights = _weights(model, bf16=where.bf16)
    on_card = where.device.type == "cuda"
    room = (free_bytes(where.device) if on_card else main - fixed) - weights
    codec_tile, codec_bytes = _first_that_fits(_codec_choices(model.codec, longer.shape), room)
    unet_tile, unet_bytes = _first_that_fits(_unet_choices(model, longer.shape), room)
    working = weights + max(codec_bytes, unet_bytes)
    found = LatentPlan(codec_tile, unet_tile, fixed + (0 if on_card else working), int(main), working if on_card else 0)
    if max(codec_bytes, unet_bytes) > room or found.peak_bytes > main:
        raise RefusedInput(
            f"The volume is too large for the memory. {thick.shape[0]} x {thick.shape[1]} x {thick.shape[2]} to "
            f"{grid.shape[0]} slices needs {found.describe()}. Networks and their largest tile need "
            f"{working / GIB:.1f} GiB, {(room + weights) / GIB:.1f} GiB are there for them. Ask for fewer slices or a "
            "coarser spacing, or use a smaller model or a machine with more memory."
        )
    return found


def _first_that_fits(choices: list[tuple[Tile, int]], room: float) -> tuple[Tile, int]:
    """The first choice within the room, or the most frugal one."""
    return next((one for one in choices if one[1] <= room), min(choices, key=lambda one: one[1]))


def _volumes(thick: Geometry, longer: Geometry, settings: ThinSettings) -> int:
    """Bytes of whole volumes in main memory."""
    plane = math.prod(thick.shape[1:])
    thin, kept = longer.shape[0] * plane * 4, settings.sample_count if settings.mode == "sample" else 1
    sums = 2 if settings.sample_count > 1 else 0
    copies = 2 if kept > 1 else 1  # draws stand in memory once more while NIfTI of four axes is written
    return int(3 * thick.shape[0] * plane * 4 + (_VOLUMES + sums + copies * kept / 2) * thin)


def _weights(model: LatentWeights, *, bf16: bool) -> int:
    unet, codec = (sum(p.numel() for p in n.parameters()) for n in (model.unet, model.codec.network))
    return 4 * codec + (6 if bf16 else 4) * unet  # autocast keeps a bfloat16 copy of the weights during a step


def _codec_choices(codec: KlCodec, shape: tuple[int, int, int]) -> list[tuple[tuple[int, int, int] | None, int]]:
    """(tile in voxels, bytes it takes), from fast to frugal."""
    network = codec.settings.network
    width = max(network.channels[:2])
    reach = max(codec.network.encoder_reach, codec.network.decoder_reach)
    own = codec.settings.tile
    f = network.factor
    tiles = [own, *(t for t in ((z * f, y * f, x * f) for z, y, x in _CODEC_TILES) if own is None or t < own)]
    choices = []
    for tile in tiles:
        sides = [
            n if tile is None else min(n, tile[i] // f + 2 * (reach + max(1, tile[i] // f // 8)))
            for i, n in enumerate(codec.latent_shape(shape))
        ]
        choices.append((tile, int(math.prod(sides) * f**3 * width * 4 * _CODEC_LIVE)))
    return choices


def _unet_choices(model: LatentWeights, shape: tuple[int, int, int]) -> list[tuple[int | None, int]]:
    """(tile in latent cells, bytes it takes), from fast to frugal."""
    depth, rows, columns = model.codec.latent_shape(shape)
    choices: list[tuple[int | None, int]] = []
    for tile in (None, *(t for t in _UNET_TILES if t < max(rows, columns))):
        reach = 0 if tile is None else 2 * (HALO_CELLS + tile // 8)
        sides = [n if tile is None else min(n, tile + reach) for n in (rows, columns)]
        choices.append((tile, unet_bytes(model.settings.unet, depth * math.prod(sides))))
    return choices


def unet_bytes(settings: DiffusionUNetSettings, cells: int) -> int:
    """Working memory of one evaluation of the denoising network on so many latent cells, weights apart."""
    skips = sum((settings.blocks + 1) * m / 4**level for level, m in enumerate(settings.multipliers))
    return int(4 * settings.width * cells * (skips + _UNET_LIVE * max(1, settings.multipliers[0])))
