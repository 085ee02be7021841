"""SAINT: slices interpolated in the coronal and the sagittal plane, then fused in the axial one.

Peng, Lin, Liao, Chellappa, Zhou: SAINT, Spatially Aware Interpolation Network for Medical Slice Synthesis, CVPR 2020
(arXiv 2001.00704). Written from the paper. Names and sizes of the layers are those of the tensors in the package py-SAINT, so
that they can be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from slabs import offsets
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 64
OFFSET_HU = 1024.0
"""Added to HU: the networks learnt on 0 to 4000."""

AT_ONCE = 16
"""Axial slices, and half the number of planes across them, that are held in memory at once."""


class DenseLayer(nn.Module):
    """A convolution whose result joins its input."""

    def __init__(self, inputs: int, growth: int, *, volume: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(inputs, growth, volume=volume), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(x)), 1)


class DenseBlock(nn.Module):
    """Dense layers, fused, and added to the input (residual dense block)."""

    def __init__(self, growth: int, layers: int, *, volume: bool) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(CHANNELS + n * growth, growth, volume=volume) for n in range(layers)))
        self.LFF = _conv(CHANNELS + layers * growth, CHANNELS, volume=volume, size=1)

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.LFF(self.convs(x))
        return fused + x


class DenseTrunk(nn.Module):
    """Shallow features, dense blocks, and all of their results fused."""

    def __init__(self, inputs: int, blocks: int, layers: int, growth: int, *, volume: bool) -> None:
        super().__init__()
        self.SFENet1 = _conv(inputs, CHANNELS, volume=volume)
        self.SFENet2 = _conv(CHANNELS, CHANNELS, volume=volume)
        self.RDBs = nn.ModuleList(DenseBlock(growth, layers, volume=volume) for _ in range(blocks))
        self.GFF = nn.Sequential(
            _conv(blocks * CHANNELS, CHANNELS, volume=volume, size=1), _conv(CHANNELS, CHANNELS, volume=volume)
        )

    def features(self, x: Tensor) -> Tensor:
        shallow = self.SFENet1(x)
        x, found = self.SFENet2(shallow), []
        for block in self.RDBs:
            x = block(x)
            found.append(x)
        fused: Tensor = self.GFF(torch.cat(found, 1))
        return fused + shallow


class FilterMaker(nn.Module):
    """(n, 1, 3, 3) distances in mm -> (n, 64, 3, 3) filters, one for each position that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 64, 64, 64, 64)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        self.meta_block = nn.Sequential(*layers[:-1])

    def forward(self, distances: Tensor) -> Tensor:
        made: Tensor = self.meta_block(distances)
        return made


class MarginalNet(DenseTrunk):
    """(b, 3, y, K) coronal or sagittal planes, each between its neighbours -> (b, n, y, K) at n positions after each slice."""

    def __init__(self) -> None:
        super().__init__(3, blocks=6, layers=8, growth=32, volume=False)
        self.GW = FilterMaker()

    def forward(self, planes: Tensor, distances: Tensor) -> Tensor:
        x = self.features(planes)
        filters = self.GW(distances)
        n = len(filters)
        # the same filter everywhere: a convolution without bias
        return functional.conv2d(x, filters.view(n, CHANNELS, 3, 3), padding=1)


class FusionNet(DenseTrunk):
    """(b, 2, y, x, D) of both views -> (b, 1, y, x, D): their mean and a residual made within axial slices."""

    def __init__(self) -> None:
        super().__init__(2, blocks=4, layers=6, growth=12, volume=True)
        self.UPNet = nn.Sequential(_conv(CHANNELS, 1, volume=True))

    def forward(self, views: Tensor) -> Tensor:
        residual: Tensor = self.UPNet(self.features(views))
        return residual + views.mean(1, keepdim=True)


def _conv(inputs: int, outputs: int, *, volume: bool, size: int = 3) -> nn.Module:
    if volume:
        flat = (size, size, 1)
        return nn.Conv3d(inputs, outputs, flat, padding=(size // 2, size // 2, 0))
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


def distances_mm(ahead: Sequence[float], spacing_mm: float, pixel_mm: float) -> Tensor:
    """(n, 1, 3, 3): how far the slices before, at and after a place are, straight and one pixel aside.

    Args:
        ahead: places, as shares of the thick spacing after a slice, in [0, 1).
        spacing_mm: between thick slices.
        pixel_mm: within them.
    """
    along = torch.tensor([[1 + at, at, 1 - at] for at in ahead]) * spacing_mm
    aside = torch.hypot(along, torch.tensor(pixel_mm))
    return torch.stack((aside, along, aside), 2)[:, None]


class Saint(nn.Module):
    """(b, K, y, x) thick HU -> (b, K * ratio, y, x) thin HU, with spacings in mm, which its filters are made from.

    A thin slice lies after one thick slice and before the next, as the networks learnt it; beyond the ends the last slice is
    repeated.
    """

    slabs = 4
    ratios = (4, 5)

    def __init__(self) -> None:
        super().__init__()
        self.marginal, self.fusion = MarginalNet(), FusionNet()

    def forward(self, thick: Tensor, ratio: int, spacing_mm: float, pixel_mm: tuple[float, float]) -> Tensor:
        raw = functional.pad(thick + OFFSET_HU, (0, 0, 0, 0, 1, 1), "replicate")  # (b, K + 2, y, x)
        rows = self._planes(raw.permute(0, 2, 3, 1), ratio, spacing_mm, pixel_mm[1]).permute(0, 3, 1, 2)
        columns = self._planes(raw.permute(0, 3, 2, 1), ratio, spacing_mm, pixel_mm[0]).permute(0, 3, 2, 1)
        views = torch.stack((rows, columns), 1).permute(0, 1, 3, 4, 2)
        fused = torch.cat([self.fusion(some) for some in views.split(AT_ONCE, 4)], 4)
        return fused[:, 0].permute(0, 3, 1, 2) - OFFSET_HU

    def _planes(self, volume: Tensor, ratio: int, spacing_mm: float, pixel_mm: float) -> Tensor:
        """(b, planes, along, K + 2) -> (b, planes, along, K * ratio), plane by plane with both neighbours."""
        b, planes, along, count = volume.shape
        before, after = functional.pad(volume, (0, 0, 0, 0, 1, 1)).unfold(1, planes, 2).unbind(1)
        between = torch.stack((before.movedim(-1, 1), volume, after.movedim(-1, 1)), 2)
        at = offsets(ratio)
        filters = distances_mm([one % 1.0 for one in at], spacing_mm, pixel_mm)
        parts = [self.marginal(some, filters) for some in between.flatten(0, 1).split(2 * AT_ONCE)]
        found = torch.cat(parts).view(b, planes, ratio, along, count)
        # a negative offset lies after the slice before
        moved = [found[:, :, n, :, : count - 2] if one < 0 else found[:, :, n, :, 1:-1] for n, one in enumerate(at)]
        return torch.stack(moved, -1).flatten(3)
