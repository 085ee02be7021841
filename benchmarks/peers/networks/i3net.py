"""I3Net: thick slices as channels of an axial image, from which the thin ones are synthesised.

Song, Mao, Yu, Li, Wang: I3Net, Inter-Intra-slice Interpolation Network for Medical Slice Synthesis, IEEE TMI 2024
(arXiv 2405.02857). Written from the paper, smaller, and with three changes: one tail for each ratio, no slice is copied from
the input (an average over a slab is no thin slice), and the answer is added to straight lines between the slices, which helps
a short training.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dct
from slabs import SCALE_HU, linear
from torch import Tensor, nn
from torch.nn import functional

SLABS = 4
WINDOW = 8


class InterSlice(nn.Module):
    """Detail within slices traded for channels, mixed, and traded back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, 2 * channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * channels, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x)
        return mixed


class IntraSlice(nn.Module):
    """Windows of 8 x 8 pixels as cosine frequencies, each of equal say: mixed over frequencies, then over channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        one = dct(np.eye(WINDOW), axis=0, norm="ortho")
        self.register_buffer("cosines", torch.tensor(np.kron(one, one), dtype=torch.float32), persistent=False)
        self.norm, self.norm_out = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.frequencies = nn.Sequential(nn.Linear(WINDOW**2, WINDOW**2), nn.GELU(), nn.Linear(WINDOW**2, WINDOW**2))
        self.channels = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        b, c, y, width = x.shape
        windows = x.view(b, c, y // WINDOW, WINDOW, width // WINDOW, WINDOW).permute(0, 2, 4, 3, 5, 1)
        found = self.cosines @ windows.flatten(3, 4)  # (b, rows, columns, 64, c)
        found = found + self.frequencies(self.norm(found).transpose(-1, -2)).transpose(-1, -2)
        found = found + self.channels(self.norm_out(found))
        found = (self.cosines.T @ found).unflatten(3, (WINDOW, WINDOW))
        return found.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class TwoBranches(nn.Module):
    """Between and within slices, both added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inter, self.intra = InterSlice(channels), IntraSlice(channels)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fuse(torch.cat((self.inter(x), self.intra(x)), 1))
        return x + fused


class CrossView(nn.Module):
    """Channels taken for the slice axis: convolutions in axial, coronal and sagittal planes, fused."""

    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        shapes = ((1, 3, 3), (3, 1, 3), (3, 3, 1))
        self.views = nn.ModuleList(
            nn.Conv3d(1, hidden, shape, padding=tuple(size // 2 for size in shape)) for shape in shapes
        )
        self.fuse = nn.Conv3d(len(shapes) * hidden, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        volume = x[:, None]
        seen = torch.cat([view(volume) for view in self.views], 1)
        fused: Tensor = self.fuse(functional.gelu(seen))
        return x + fused[:, 0]


class I3Net(nn.Module):
    """(b, 4, y, x) thick HU -> (b, 4 * ratio, y, x) thin HU; y and x are multiples of 8, ratio is 4 or 5."""

    slabs = SLABS
    ratios = (4, 5)

    def __init__(self, channels: int = 64, groups: int = 2, blocks: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(SLABS, channels, 3, padding=1)
        body: list[nn.Module] = []
        for _ in range(groups):
            body += [*(TwoBranches(channels) for _ in range(blocks)), CrossView()]
        self.body = nn.Sequential(*body)
        self.tails = nn.ModuleDict({str(r): nn.Conv2d(channels, SLABS * r, 3, padding=1) for r in self.ratios})
        for tail in self.tails.values():
            nn.init.zeros_(tail.weight)
            nn.init.zeros_(tail.bias)

    def forward(self, thick: Tensor, ratio: int) -> Tensor:
        shallow = self.head(thick / SCALE_HU)
        residual: Tensor = self.tails[str(ratio)](shallow + self.body(shallow))
        return linear(thick, ratio) + SCALE_HU * residual
