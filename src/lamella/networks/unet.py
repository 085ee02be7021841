"""A small 3-D U-Net without normalisation, so that a voxel's answer does not depend on the size of the tile around it.

Shapes: b batch, c channels, (z, y, x) voxels. Down-sampling is in-plane only: z is the axis being restored.
Residual blocks without normalisation follow EDSR (Lim et al., arXiv 1707.02921); modulation by a condition vector follows
FiLM (Perez et al., arXiv 1709.07871).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamella.machine.processor import Conv3d
from lamella.networks.feed import Feed


@dataclass(frozen=True)
class UNetSettings:
    """Shape of a `UNet3d`.

    Attributes:
        in_channels, out_channels: of input and output.
        channels: width of each level; level i is down-sampled 2^i times in y and x.
        blocks: residual blocks on the way down of each level; the last level's are the bottom of the U.
        z_kernels: size along z (1 or 3) of each block's first convolution, in order of execution; repeated as needed. Fewer
            threes make slab tiles cheaper.
        condition: length of the condition vector.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...] = (64, 128)
    blocks: tuple[int, ...] = (2, 3)
    z_kernels: tuple[int, ...] = (3, 1)
    condition: int = 64


class ResidualBlock(nn.Module):
    """x + conv2(silu(modulate(conv1(silu(x))))): (b, c, z, y, x) -> the same shape."""

    def __init__(self, channels: int, z_kernel: int, condition: int) -> None:
        super().__init__()
        self.conv1 = Conv3d(channels, channels, (z_kernel, 3, 3), padding=(z_kernel // 2, 1, 1))
        self.modulate = nn.Linear(condition, 2 * channels)
        self.conv2 = Conv3d(channels, channels, (1, 3, 3), padding=(0, 1, 1))
        # A residual net without normalisation starts near the identity, or it does not start at all.
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, condition: Tensor, feed: Feed | None = None) -> Tensor:
        """(b, c, z, y, x) and (b, n) -> (b, c, z, y, x); one slice late where it is fed and reads three."""
        gain, shift = self.modulate(condition)[:, :, None, None, None].chunk(2, dim=1)
        if feed is None or self.conv1.kernel_size[0] == 1:
            h = self.conv1(F.silu(x))
        else:
            x = feed.around(self, x)
            h, x = self.conv1.inside(F.silu(x)), x[:, :, 1:-1]
        if torch.is_grad_enabled():
            h = torch.addcmul(h + shift, h, gain)
            return torch.as_tensor(x + self.conv2(F.silu(h)))
        h = F.silu(h.mul_(1.0 + gain).add_(shift), inplace=True)  # the same in place: half the memory of a block
        return torch.as_tensor(self.conv2(h).add_(x))


class Up(nn.Module):
    """Twice the in-plane size: one 1 x 1 x 1 convolution to four times the channels, laid out as 2 x 2 pixels."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = Conv3d(channels_in, 4 * channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, z, y, x) -> (b, c', z, 2 y, 2 x)."""
        b, _, z, y, w = x.shape
        h = self.conv(x).view(b, 2, 2, -1, z, y, w)
        # Pixel by pixel, as the convolutions read it.
        out: Tensor = h.permute(0, 4, 5, 1, 6, 2, 3).reshape(b, z, 2 * y, 2 * w, -1)
        return out.permute(0, 4, 1, 2, 3)


class UNet3d(nn.Module):
    """(b, in, z, y, x) and a condition (b, n) -> (b, out, z, y, x); y and x must be divisible by `factor`."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = s = settings
        depth = len(s.channels)
        names = [f"down{level}" for level in range(depth)] + [f"up{level}" for level in reversed(range(depth - 1))]
        count = sum(s.blocks) + sum(s.blocks[:-1])
        reach = [s.z_kernels[i % len(s.z_kernels)] for i in range(count)]
        self.stem = Conv3d(s.in_channels, s.channels[0], (1, 3, 3), padding=(0, 1, 1))
        self.stages = nn.ModuleDict()
        for name in names:
            level = int(name[-1])
            kernels, reach = reach[: s.blocks[level]], reach[s.blocks[level] :]
            self.stages[name] = nn.ModuleList(ResidualBlock(s.channels[level], k, s.condition) for k in kernels)
        pairs = list(zip(s.channels[:-1], s.channels[1:], strict=True))
        self.downs = nn.ModuleList(Conv3d(a, b, (1, 2, 2), stride=(1, 2, 2)) for a, b in pairs)
        self.ups = nn.ModuleList(Up(b, a) for a, b in pairs)
        self.out = Conv3d(s.channels[0], s.out_channels, 1)

    @property
    def factor(self) -> int:
        """In-plane sizes must be divisible by this."""
        return 1 << (len(self.settings.channels) - 1)

    @property
    def reach(self) -> tuple[int, int]:
        """(z, in-plane) distance in voxels beyond which the input cannot change an output voxel."""
        z, plane = 0, 1
        for name, blocks in self.stages.items():
            step = 2 ** int(name[-1])
            for block in cast(nn.ModuleList, blocks):
                z += cast(ResidualBlock, block).conv1.kernel_size[0] // 2
                plane += 2 * step
        # A strided cell adds up to (step - 1) on each way down and up.
        return z, plane + 2 * (self.factor - 1)

    def _through(self, stage: str, h: Tensor, condition: Tensor, feed: Feed | None) -> Tensor:
        for block in cast(nn.ModuleList, self.stages[stage]):
            h = block(h, condition, feed)
        return h

    def forward(self, x: Tensor, condition: Tensor, feed: Feed | None = None) -> Tensor:
        """Skips are added, not concatenated: half the work, and enough at this size. The answer to a feed is `reach` late."""
        depth = len(self.downs)
        h = self.stem(x)
        skips: list[Tensor] = []
        for level in range(depth + 1):
            h = self._through(f"down{level}", h, condition, feed)
            if level < depth:
                skips.append(h)
                h = self.downs[level](h)
        for level in reversed(range(depth)):
            up = self.ups[level](h)
            skip = skips[level] if feed is None else feed.late(level, skips[level], up.shape[2])
            h = self._through(f"up{level}", skip + up, condition, feed)
        out: Tensor = self.out(F.silu(h))
        return out
