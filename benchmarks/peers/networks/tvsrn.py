"""TVSRN: a transformer that fills masked slices.

Yu, Zhang, Wen, Hu, Wang, Zhang, Zhong, Xiao, Jing: RPLHR-CT Dataset and Transformer Baseline for Volumetric Super-Resolution
from CT Scans, MICCAI 2022 (arXiv 2206.06253). Written from the paper, smaller, and with three changes: a masked slice has one
learned vector instead of one a pixel, where no thin slice lies at the centre of a slab its token is left out of the answer,
and the answer is added to straight lines between the slices, which helps a short training.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from slabs import SCALE_HU, linear, offsets
from torch import Tensor, nn
from torch.nn import functional

SLABS = 4
CHANNELS = 8
PATCH = 8
TOKENS = 5
"""Of a slab: ratios 4 and 5."""


class WindowBlock(nn.Module):
    """(n, H, W, C): attention within windows, every other block shifted by half a window; then a perceptron (Swin)."""

    def __init__(self, channels: int, heads: int, window: int, *, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2 if shifted else 0
        self.norm, self.norm_out = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.bias = nn.Parameter(0.02 * torch.randn((2 * window - 1) ** 2, heads))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attended(self.norm(x))
        mixed: Tensor = self.perceptron(self.norm_out(x))
        return x + mixed

    def _attended(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        size, tokens = self.window, self.window**2
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        x = x.view(n, height // size, size, width // size, size, channels).transpose(2, 3)
        qkv = self.qkv(x.reshape(-1, tokens, channels))
        q, k, v = qkv.view(-1, tokens, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        allowed = self.bias[_places(size)].permute(2, 0, 1)
        if self.shift:
            apart = _apart(height, width, size, self.shift)  # (windows, T, T)
            allowed = (allowed + apart[:, None]).repeat(n, 1, 1, 1)
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        found = self.project(found.transpose(1, 2).reshape(-1, tokens, channels))
        found = found.view(n, height // size, width // size, size, size, channels).transpose(2, 3)
        found = found.reshape(n, height, width, channels)
        return found.roll((self.shift, self.shift), (1, 2)) if self.shift else found


@lru_cache
def _places(size: int) -> Tensor:
    """(T, T): number of the relative place of two tokens of a window."""
    at = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    apart = at[:, None] - at[None] + size - 1
    return apart[..., 0] * (2 * size - 1) + apart[..., 1]


@lru_cache
def _apart(height: int, width: int, size: int, shift: int) -> Tensor:
    """(windows, T, T): -inf between tokens that only the shift brought together."""
    part = torch.zeros(height, width)
    for row, rows in enumerate((slice(0, -size), slice(-size, -shift), slice(-shift, None))):
        for column, columns in enumerate((slice(0, -size), slice(-size, -shift), slice(-shift, None))):
            part[rows, columns] = 3 * row + column
    part = part.view(height // size, size, width // size, size).transpose(1, 2).reshape(-1, size**2)
    return torch.where(part[:, :, None] == part[:, None], 0.0, -math.inf)


def _blocks(channels: int, heads: int, window: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(WindowBlock(channels, heads, window, shifted=n % 2 == 1) for n in range(depth)))


class Tvsrn(nn.Module):
    """(b, 4, y, x) thick HU -> (b, 4 * ratio, y, x) thin HU; y and x are multiples of 8, ratio is 4 or 5.

    Args:
        depths: blocks of the encoder, between slices, and within them.
    """

    slabs = SLABS
    ratios = (4, 5)

    def __init__(self, depths: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        encoder, between, within = depths
        wide, tokens = CHANNELS * SLABS, SLABS * TOKENS
        self.embed = nn.Conv2d(SLABS * PATCH**2, wide * PATCH**2, 1)
        self.encoder = _blocks(wide, 8, 8, encoder)
        self.masked = nn.Parameter(0.02 * torch.randn(tokens, CHANNELS))
        self.between = _blocks(CHANNELS * PATCH, 8, 4, between)
        self.within = _blocks(CHANNELS * tokens, 8, 8, within)
        self.out = nn.Sequential(nn.Conv3d(CHANNELS, 16, 1), nn.LeakyReLU(), nn.Conv3d(16, 1, 1))
        nn.init.zeros_(self.out[-1].weight)
        nn.init.zeros_(self.out[-1].bias)

    def forward(self, thick: Tensor, ratio: int) -> Tensor:
        b, _, y, x = thick.shape
        patches = functional.pixel_unshuffle(thick / SCALE_HU, PATCH)
        shallow = functional.pixel_shuffle(self.embed(patches), PATCH)
        seen = shallow + self.encoder(shallow.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        tokens = self.masked.view(1, SLABS, TOKENS, CHANNELS, 1, 1).expand(b, -1, -1, -1, y, x).clone()
        tokens[:, :, TOKENS // 2] = seen.view(b, SLABS, CHANNELS, y, x)
        tokens = tokens.flatten(1, 2) + _positions(ratio)[:, :, None, None]
        found = tokens + self._between(tokens)
        flat = found.flatten(1, 2).permute(0, 2, 3, 1)
        found = found + self.within(flat).permute(0, 3, 1, 2).reshape(found.shape)
        residual = self.out((found + tokens).transpose(1, 2))[:, 0].unflatten(1, (SLABS, TOKENS))
        residual = residual[:, :, _answered(ratio)].flatten(1, 2)
        return linear(thick, ratio) + SCALE_HU * residual

    def _between(self, tokens: Tensor) -> Tensor:
        """Both views across the slices, by the same blocks."""
        b, d, c, y, x = tokens.shape
        views = tokens.view(b, d, c, y, x // PATCH, PATCH).permute(0, 4, 1, 3, 2, 5).reshape(-1, d, y, c * PATCH)
        sagittal = self.between(views).view(b, x // PATCH, d, y, c, PATCH).permute(0, 2, 4, 3, 1, 5)
        views = tokens.view(b, d, c, y // PATCH, PATCH, x).permute(0, 3, 1, 5, 2, 4).reshape(-1, d, x, c * PATCH)
        coronal = self.between(views).view(b, y // PATCH, d, x, c, PATCH).permute(0, 2, 4, 1, 5, 3)
        return sagittal.reshape(tokens.shape) + coronal.reshape(tokens.shape)


def _answered(ratio: int) -> list[int]:
    """Tokens of a slab that are thin slices."""
    return [n for n in range(TOKENS) if ratio % 2 or n != TOKENS // 2]


@lru_cache
def _positions(ratio: int) -> Tensor:
    """(tokens, channels): sines and cosines of where the tokens are."""
    within = torch.zeros(TOKENS)
    within[_answered(ratio)] = torch.tensor(offsets(ratio))
    at = TOKENS * (torch.arange(SLABS)[:, None] + within).flatten()
    turns = at[:, None] * torch.exp(torch.arange(0, CHANNELS, 2) * (-math.log(10000.0) / CHANNELS))
    return torch.stack((turns.sin(), turns.cos()), 2).flatten(1)
