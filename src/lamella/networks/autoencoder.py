"""A convolutional autoencoder with a Gaussian latent: (b, 1, z, y, x) <-> (b, channels, z / f, y / f, x / f).

The family of networks is that of Rombach et al. (arXiv 2112.10752) in three dimensions, as MAISI uses it (Guo et al.,
arXiv 2409.11169): convolutions, residual blocks, a strided convolution between two levels on the way down, trilinear
interpolation and a convolution on the way up, no attention. With `maisi.maisi_settings()` names, shapes and arithmetic
are those of MONAI's `AutoencoderKlMaisi`, so that its published weights load completely (130 tensors, 20,944,897
parameters). Nested names such as `conv.conv.weight` exist for that reason alone.

`groups=0` is the same family without normalisation. Its output then depends on nothing beyond its reach, so tiles are exact;
residual blocks start near the identity, as in EDSR (Lim et al., arXiv 1707.02921).

`side_information="interpolated_thick"` puts a `SideAdapter` behind the decoder, which is shown the thick slices interpolated to
the thin grid and corrects them: the latent need only carry what interpolation lacks. Other tensors keep their names.

Layers at the latent are trained in float32 whatever the rest is: they cost nothing, and PyTorch 2.13 on CPUs now and then
computes bfloat16 gradients of such small convolutions (4 channels, 2 slices) that are not finite.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamella.errors import LamellaError
from lamella.networks.autoencoder_settings import AutoencoderSettings

LOG_VAR_RANGE = (-30.0, 20.0)
"""The encoder's log variance is clipped to this, so that neither its exponential nor the KL term overflows."""

FIRST_LOG_VAR = -6.0
"""Without normalisation training starts from latents of this log variance (deviation 0.05). From 0 the decoder's input
is mostly noise, and the first steps diverge (at a learning rate of 2e-3; 3e-4 with a warm-up is stable)."""


class ExactConv3d(nn.Conv3d):
    """A convolution in the number format of its weights, also where the rest is computed in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, z, y, x) -> (b, c', z', y', x')."""
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class ResidualBlock(nn.Module):
    """x + conv2(silu(norm2(conv1(silu(norm1(x)))))): (b, c, z, y, x) -> (b, c', z, y, x)."""

    def __init__(self, inside: int, outside: int, settings: AutoencoderSettings) -> None:
        super().__init__()
        self.norm1 = _norm(inside, settings)
        self.conv1 = _conv(inside, outside)
        self.norm2 = _norm(outside, settings)
        self.conv2 = _conv(outside, outside)
        self.nin_shortcut = _conv(inside, outside, kernel=1) if inside != outside else nn.Identity()
        if not settings.groups:  # a residual net without normalisation starts near the identity, or not at all
            with torch.no_grad():
                for parameter in self.conv2.parameters():
                    parameter.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, z, y, x) -> (b, c', z, y, x)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.nin_shortcut(x) + h
        return out


class Down(nn.Module):
    """Half the size: a strided convolution after one layer of zeros at the END of each axis, as MAISI was trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, z, y, x) -> (b, c, z / 2, y / 2, x / 2)."""
        out: Tensor = self.conv(F.pad(x, (0, 1) * 3))
        return out


class Up(nn.Module):
    """Twice the size: trilinear interpolation, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, z, y, x) -> (b, c, 2 z, 2 y, 2 x)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="trilinear"))
        return out


class SideAdapter(nn.Module):
    """Interpolated slices, corrected by what was decoded: a U-Net without normalisation that starts as the interpolation.

    Level i is 2^i times coarser. Each joins 2 x 2 x 2 voxels of the finer one, and the coarsest is no coarser than the
    latent, so tiles of whole latent cells are exact.
    """

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        widths, plain = settings.side_channels, AutoencoderSettings(groups=0)
        self.enter = nn.Conv3d(settings.channels[0] + 2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width, width, plain) for _ in range(count)))
            for width, count in zip(widths, settings.side_blocks, strict=True)
        )
        self.correction = nn.Conv3d(widths[0], 1, 3, padding=1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, features: Tensor, decoded: Tensor, beside: Tensor) -> Tensor:
        """The decoder's features (b, c, z, y, x), its image and the interpolation (b, 1, z, y, x) -> (b, 1, z, y, x)."""
        grids = [self.enter(torch.cat([features, decoded - beside, beside], dim=1))]
        for down in self.down:
            grids.append(down(grids[-1]))
        h = self.levels[-1](grids[-1])
        for up, level, grid in reversed([*zip(self.up, self.levels, grids, strict=False)]):  # all but the coarsest
            h = level(grid + up(h))
        correction: Tensor = self.correction(F.silu(h))
        return beside + correction

    def read(self, low: int, high: int) -> tuple[int, int]:
        """The first and last voxel that voxels `low` to `high` read, along an axis."""
        low, high = low - 1, high + 1
        lows, highs = [low], [high]
        for i, level in enumerate(self.levels):
            reach = sum(_reach(block) for block in level.children())
            low, high = low - reach, high + reach
            lows.append(low << i)
            highs.append(((high + 1) << i) - 1)
            low, high = low >> 1, high >> 1
        return min(lows) - 1, max(highs) + 1


class Autoencoder(nn.Module):
    """Image block (b, 1, z, y, x) in the network's own range <-> latent block; knows nothing of HU."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        self.settings = s = settings
        self.encoder, self.decoder = _encoder(s), _decoder(s)
        self.quant_conv_mu = _conv(s.latent_channels, s.latent_channels, kernel=1, nests=1, exact=True)
        self.quant_conv_log_sigma = _conv(s.latent_channels, s.latent_channels, kernel=1, nests=1, exact=True)
        self.post_quant_conv = _conv(s.latent_channels, s.latent_channels, kernel=1, nests=1, exact=True)
        if not s.groups:
            weight, bias = self.quant_conv_log_sigma.parameters()
            with torch.no_grad():
                weight.mul_(0.1)
                bias.fill_(FIRST_LOG_VAR)
        self.adapter = SideAdapter(s) if s.side_information != "none" else None

    @property
    def factor(self) -> int:
        """Voxels along each axis in one latent cell."""
        return self.settings.factor

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent, each (b, channels, z / f, y / f, x / f).

        Raises:
            LamellaError: an axis is not divisible by the factor (`KlCodec` pads).
        """
        if any(n % self.factor for n in x.shape[2:]):
            raise LamellaError(
                f"The autoencoder needs every axis divisible by {self.factor}. Found {tuple(x.shape[2:])}. Pad the "
                "block, or use KlCodec, which does."
            )
        h = self.encoder(x)
        return self.quant_conv_mu(h), self.quant_conv_log_sigma(h).clamp(*LOG_VAR_RANGE)

    def decode(self, z: Tensor, beside: Tensor | None = None) -> Tensor:
        """(b, channels, z, y, x) and, with side information, the interpolation (b, 1, f z, f y, f x) -> the latter's shape.

        Raises:
            LamellaError: side information is missing.
        """
        *blocks, last = _blocks_of(self.decoder)
        out: Tensor = last(h := nn.Sequential(*blocks)(self.post_quant_conv(z)))
        if self.adapter is None:
            return out
        if beside is None:
            raise LamellaError(f"Side information is missing: found none, expected an image of {tuple(out.shape)}.")
        corrected: Tensor = self.adapter(h, out, beside)
        return corrected

    def forward(self, x: Tensor, noise: Tensor | None = None, beside: Tensor | None = None) -> tuple[Tensor, ...]:
        """What training needs: (decoded, mean, log variance).

        `noise` is standard normal, of the latent's shape, for a sample of the latent; without it the mean is decoded. `beside`:
        see `decode`.
        """
        mean, log_var = self.moments(x)
        z = mean if noise is None else mean + torch.exp(0.5 * log_var) * noise
        return self.decode(z, beside), mean, log_var

    @property
    def encoder_reach(self) -> int:
        """Latent cells beyond which the image cannot change a latent cell, normalisation apart."""
        low, high = 0, 0  # what one latent cell reads, traced back to the image
        for block in reversed(_blocks_of(self.encoder)):
            low, high = low - _reach(block), high + _reach(block)
            if isinstance(block, Down):
                low, high = 2 * low, 2 * high + 2
        return -(-max(-low, high - (self.factor - 1)) // self.factor)

    @property
    def decoder_reach(self) -> int:
        """Latent cells beyond which the latent cannot change the image block of a latent cell, normalisation apart."""
        low, high = 0, self.factor - 1  # the image voxels of one latent cell, traced back to latents
        if self.adapter is not None:
            low, high = self.adapter.read(low, high)
        for block in reversed(_blocks_of(self.decoder)):
            low, high = low - _reach(block), high + _reach(block)
            if isinstance(block, Up):  # voxel 2 m reads m - 1 and m, voxel 2 m + 1 reads m and m + 1
                low, high = (low - 1) // 2, (high + 1) // 2
        return max(-low, high)


def _encoder(s: AutoencoderSettings) -> nn.Sequential:
    width = s.channels[0]
    blocks: list[nn.Module] = [_conv(1, width)]
    for level, channels in enumerate(s.channels):
        blocks += _residual_blocks(width, channels, s.blocks[level], s)
        width = channels
        if level < len(s.channels) - 1:
            blocks.append(Down(width))
    return _named([*blocks, _norm(width, s), _conv(width, s.latent_channels, exact=True)])


def _decoder(s: AutoencoderSettings) -> nn.Sequential:
    width = s.channels[-1]
    blocks: list[nn.Module] = [_conv(s.latent_channels, width, exact=True)]
    for level in reversed(range(len(s.channels))):
        blocks += _residual_blocks(width, s.channels[level], s.blocks[level], s)
        width = s.channels[level]
        if level:
            blocks.append(Up(width))
    # As MAISI: no activation between the last normalisation and the last convolution.
    return _named([*blocks, _norm(width, s), _conv(width, 1)])


def _residual_blocks(inside: int, outside: int, count: int, s: AutoencoderSettings) -> list[nn.Module]:
    return [ResidualBlock(inside if i == 0 else outside, outside, s) for i in range(count)]


def _named(blocks: list[nn.Module]) -> nn.Sequential:
    """Blocks one after the other, with parameters called `blocks.0.…`."""
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))


def _blocks_of(half: nn.Sequential) -> list[nn.Module]:
    return list(half[0].children())


def _reach(block: nn.Module) -> int:
    """Voxels that a block reads to either side on its own grid: the coarser of `Down`, the finer of `Up`."""
    if isinstance(block, ResidualBlock):
        return 2
    return 0 if isinstance(block, nn.GroupNorm | nn.Identity | Down) else 1


def _norm(channels: int, s: AutoencoderSettings) -> nn.Module:
    return nn.GroupNorm(s.groups, channels, eps=s.epsilon) if s.groups else nn.Identity()


def _conv(
    inside: int,
    outside: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: int | None = None,
    nests: int = 2,
    exact: bool = False,
) -> nn.Sequential:
    """A convolution whose parameters are called `conv.conv.weight` (two nests) or `conv.weight` (one)."""
    around = kernel // 2 if padding is None else padding
    kind = ExactConv3d if exact else nn.Conv3d
    module: nn.Module = kind(inside, outside, kernel, stride=stride, padding=around)
    for _ in range(nests):
        module = nn.Sequential(OrderedDict(conv=module))
    assert isinstance(module, nn.Sequential), "a convolution has at least one nest"
    return module
