"""The reference system's denoising U-Net: three-dimensional, halved in the plane only, attention along z.

Residual blocks and the U are those of Dhariwal and Nichol (arXiv 2105.05233) in three dimensions: group normalisation, the
time added as a shift between the two convolutions, skips concatenated, two blocks a level on the way down and three on the
way up. z keeps its length: it is the axis being restored, and the latent of 300 slices has only 75.

Attention over all of 75 x 64 x 64 places is not possible (307,200 tokens). Along z it is: each (y, x) column is one sequence.
Places along z enter as rotations of queries and keys (Su et al., arXiv 2104.09864), so any length works and only distances
matter.

Shapes: b batch, c channels, (z, y, x) latent cells, h heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lamella.errors import LamellaError, UsageError


@dataclass(frozen=True)
class DiffusionUNetSettings:
    """Shape of a `DiffusionUNet`.

    Attributes:
        in_channels: noisy latent and condition.
        out_channels: as the noisy latent.
        width: channels of the first level.
        multipliers: channels of each level over `width`; level i is halved i times in y and x.
        blocks: residual blocks a level on the way down; one more on the way up.
        attention_levels: levels whose blocks are followed by attention along z.
        heads: of the attention.
        time_embedding: length of the embedded time.
        checkpoint: compute each block's activations anew in the backward pass: less memory, the same numbers.

    Raises:
        LamellaError: channels cannot be shared out among heads or normalisation groups, or a level is not there.
    """

    in_channels: int = 8
    out_channels: int = 4
    width: int = 192
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    attention_levels: tuple[int, ...] = (1, 2)
    heads: int = 8
    time_embedding: int = 1024
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if min(self.in_channels, self.out_channels, self.width, self.blocks, self.heads, *self.multipliers) < 1:
            raise LamellaError("Channels, width, blocks, heads and multipliers of a U-Net must be at least 1.")
        beyond = [level for level in self.attention_levels if not 0 <= level < len(self.multipliers)]
        if beyond:
            raise LamellaError(f"Attention at level {beyond[0]}: there are levels 0 to {len(self.multipliers) - 1}.")
        if self.width % 8 or self.time_embedding % 4:
            raise LamellaError(
                f"A U-Net's width must be divisible by 8 and its time embedding by 4. Found {self.width} and "
                f"{self.time_embedding}."
            )
        for level in self.attention_levels:
            channels = self.width * self.multipliers[level]
            if channels % (2 * self.heads):
                raise LamellaError(
                    f"{channels} channels at level {level} cannot be shared out among {self.heads} heads of even width."
                )

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level."""
        return tuple(self.width * m for m in self.multipliers)

    @property
    def factor(self) -> int:
        """In-plane cells of the first level in one of the last."""
        return 1 << (len(self.multipliers) - 1)


PRESETS = {
    "medium": DiffusionUNetSettings(width=192),
    "base": DiffusionUNetSettings(width=128),
    "small": DiffusionUNetSettings(width=32, multipliers=(1, 2, 4), attention_levels=(1, 2), time_embedding=256),
    "smoke": DiffusionUNetSettings(
        width=16, multipliers=(1, 2), blocks=1, attention_levels=(1,), heads=2, time_embedding=64
    ),
}
"""By name; `medium` is the reference's 599 M parameters, `base` its 270 M (SPEC A10, B2)."""


def preset(name: str) -> DiffusionUNetSettings:
    """A preset's shape.

    Raises:
        UsageError: no such preset.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise UsageError(f"There is no U-Net preset {name!r}. Expected one of {', '.join(PRESETS)}; nearest: {near}.")
    return PRESETS[name]


def time_features(t: Tensor, length: int) -> Tensor:
    """(b,) times -> (b, length) sines and cosines of falling frequency (Ho et al., arXiv 2006.11239, appendix B)."""
    half = length // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimedBlock(nn.Module):
    """skip(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time))): (b, c, z, y, x) -> (b, c', z, y, x)."""

    def __init__(self, inside: int, outside: int, time: int) -> None:
        super().__init__()
        self.norm1 = _norm(inside)
        self.conv1 = nn.Conv3d(inside, outside, 3, padding=1)
        self.time = nn.Linear(time, outside)
        self.norm2 = _norm(outside)
        self.conv2 = _zeroed(nn.Conv3d(outside, outside, 3, padding=1))
        self.skip = nn.Conv3d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(b, c, z, y, x) and the embedded time (b, n)."""
        h = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None, None]
        out: Tensor = self.skip(x) + self.conv2(F.silu(self.norm2(h)))
        return out


class AttentionAlongZ(nn.Module):
    """x + out(attention(norm(x))), each (y, x) column on its own: (b, c, z, y, x) -> the same shape."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = _zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """`time` is not used: every block is called alike."""
        b, c, z, y, w = x.shape
        columns = self.norm(x).permute(0, 3, 4, 2, 1).reshape(b * y * w, z, c)
        q, k, v = (
            self.qkv(columns).view(-1, z, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        )  # (b y x, h, z, n)
        h = F.scaled_dot_product_attention(_turned(q), _turned(k), v)
        h = cast(Tensor, self.out(h.transpose(1, 2).reshape(b * y * w, z, c)))
        return x + h.view(b, y, w, z, c).permute(0, 4, 3, 1, 2)


def _turned(x: Tensor) -> Tensor:
    """(..., z, n): each pair of features turned by an angle that grows with its place along z."""
    z, n = x.shape[-2:]
    frequencies = torch.exp(-math.log(1000.0) * torch.arange(n // 2, device=x.device, dtype=torch.float32) / (n // 2))
    angles = torch.arange(z, device=x.device, dtype=torch.float32)[:, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Level(nn.Module):
    """Residual blocks of one level, down or up, each followed by attention if the level has it."""

    def __init__(self, widths: list[tuple[int, int]], heads: int, time: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TimedBlock(a, b, time) for a, b in widths)
        self.attentions = nn.ModuleList(AttentionAlongZ(b, heads) for _, b in widths) if heads else None

    def steps(self) -> list[list[nn.Module]]:
        """Modules of each block, in order."""
        if self.attentions is None:
            return [[block] for block in self.blocks]
        return [[block, attention] for block, attention in zip(self.blocks, self.attentions, strict=True)]


class DiffusionUNet(nn.Module):
    """(b, in, z, y, x) and times (b,) -> (b, out, z, y, x), for any z, y and x."""

    def __init__(self, settings: DiffusionUNetSettings) -> None:
        super().__init__()
        self.settings = s = settings
        time = s.time_embedding
        self.embed = nn.Sequential(nn.Linear(s.width, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = nn.Conv3d(s.in_channels, s.width, 3, padding=1)
        width, skips = s.width, [s.width]
        self.down, self.coarser = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(s.channels):
            pairs = [(width if i == 0 else channels, channels) for i in range(s.blocks)]
            self.down.append(Level(pairs, s.heads if level in s.attention_levels else 0, time))
            width = channels
            skips += [width] * s.blocks
            if level < len(s.channels) - 1:
                self.coarser.append(nn.Conv3d(width, width, 3, stride=(1, 2, 2), padding=1))
                skips.append(width)
        self.middle = Level([(width, width)] * 2, 0, time)
        self.middle_attention = AttentionAlongZ(width, s.heads) if s.attention_levels else None
        self.up, self.finer = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(s.channels))):
            pairs = []
            for _ in range(s.blocks + 1):
                pairs.append((width + skips.pop(), s.channels[level]))
                width = s.channels[level]
            self.up.append(Level(pairs, s.heads if level in s.attention_levels else 0, time))
            if level:
                self.finer.append(nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1)))
        self.norm = _norm(width)
        self.head = _zeroed(nn.Conv3d(width, s.out_channels, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Pad y and x to the in-plane factor by repetition, go down and up the U, and crop."""
        y, w = x.shape[3:]
        factor = self.settings.factor
        x = F.pad(x, (0, -w % factor, 0, -y % factor, 0, 0), mode="replicate")
        time = self.embed(time_features(t, self.settings.width).to(x.dtype))
        h = self.stem(x)
        skips = [h]
        for number, level in enumerate(self.down):
            for step in cast(Level, level).steps():
                h = self._run(step, h, time)
                skips.append(h)
            if number < len(self.coarser):
                h = self.coarser[number](h)
                skips.append(h)
        h = self._middle(h, time)
        for number, level in enumerate(self.up):
            for step in cast(Level, level).steps():
                h = self._run(step, h, time, skips.pop())
            if number < len(self.finer):
                h = self.finer[number](F.interpolate(h, scale_factor=(1.0, 2.0, 2.0), mode="nearest"))
        out: Tensor = self.head(F.silu(self.norm(h)))
        return out[..., :y, :w]

    def _middle(self, h: Tensor, time: Tensor) -> Tensor:
        first, second = self.middle.blocks
        h = self._run([first] if self.middle_attention is None else [first, self.middle_attention], h, time)
        return self._run([second], h, time)

    def _run(self, modules: list[nn.Module], h: Tensor, time: Tensor, skip: Tensor | None = None) -> Tensor:
        """Through a block; with checkpointing the skip is joined inside, so that the joined copy is not kept."""
        if self.settings.checkpoint and torch.is_grad_enabled():
            kept = cast(Callable[..., Tensor], checkpoint)
            return kept(_through, modules, h, time, skip, use_reentrant=False)
        if skip is not None:
            h = torch.cat([h, skip], dim=1)
            skip = None  # the last reference: the memory is free during the block
        return _through(modules, h, time)


def _through(modules: list[nn.Module], h: Tensor, time: Tensor, skip: Tensor | None = None) -> Tensor:
    if skip is not None:
        h = torch.cat([h, skip], dim=1)
    for module in modules:
        h = module(h, time)
    return h


BLOCKS = (TimedBlock, AttentionAlongZ)
"""Modules that are sharded, or computed anew in the backward pass, as one piece."""


def _norm(channels: int) -> nn.GroupNorm:
    """Over 32 groups, or as many of at least four channels as there are."""
    groups = math.gcd(32, channels)
    while groups > 1 and channels // groups < 4:
        groups //= 2
    return nn.GroupNorm(groups, channels, eps=1e-6)


def _zeroed(layer: nn.Conv3d | nn.Linear) -> nn.Module:
    """A layer that starts at zero: each residual branch begins as the identity."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None, "every layer here has a bias"
    nn.init.zeros_(layer.bias)
    return layer
