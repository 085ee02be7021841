"""The embedded model's two networks, in HU.

`MeanScaleNet` predicts from the thick slices, for every thin voxel, the least-error answer and its expected error. `FlowNet` is
the denoiser of the residual, (thin - mean) / scale, sampled from noise by a rectified flow. This is CorrDiff's split (Mardani
et al., arXiv 2309.15214) with a local scale. Both change only the null space of the slice operator, never what was measured.

Shapes: b batch, K thick slices, D thin slices; (y, x) pixels, (y', x') = (y, x) / side packed pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamella.codecs.packed import PackedCodec
from lamella.machine.processor import Conv3d
from lamella.networks.feed import Feed
from lamella.networks.thin_head import ThinHead, ThinHeadSettings
from lamella.networks.unet import UNet3d, UNetSettings
from lamella.physics.grid_pair import GridPair

NOISE_WINDOWS = (4, 12, 36)
"""The local noise level is averaged over squares of about this many pixels: an odd number of packed ones."""

RESIDUAL_HU = 50.0
"""Unit of the mean's correction."""

SCALE_HU = 15.0
"""Unit of the predicted scale; its logarithm is clamped to `LOG_SCALE_RANGE` around this."""

LOG_SCALE_RANGE = (-3.0, 4.0)
"""Predicted scale lies within 0.7 to 820 HU."""

CONDITION = 64


@dataclass(frozen=True)
class EmbeddedSettings:
    """Shape of the embedded model.

    Attributes:
        side: in-plane packing of `PackedCodec`.
        trunk_channels, trunk_blocks: levels of the U-Net on the thick grid.
        head_hidden, head_basis: width of the thin head and its sets of features per thick slice.
        flow_hidden: channels of the summary of the thin head's features that the flow reads; 0: the features themselves.
        flow_channels, flow_blocks: levels of the flow's U-Net on the thin grid.
        compand_hu: HU enter as asinh(HU / compand_hu): linear in soft tissue, logarithmic in bone and air.
    """

    side: int = 2
    trunk_channels: tuple[int, ...] = (40, 80)
    trunk_blocks: tuple[int, ...] = (2, 3)
    head_hidden: int = 32
    head_basis: int = 4
    flow_hidden: int = 0
    flow_channels: tuple[int, ...] = (16, 64)
    flow_blocks: tuple[int, ...] = (1, 2)
    compand_hu: float = 150.0


@dataclass(frozen=True)
class HeadOutput:
    """What the thin head predicts; packed, on the thin grid.

    Attributes:
        correction: (b, n, D, y', x') HU to add to the starting image, before the null-space projection.
        log_scale: (b, n, D, y', x') natural logarithm of the expected error in HU.
        hidden: (b, h, D, y', x') features the flow is conditioned on.
    """

    correction: Tensor
    log_scale: Tensor
    hidden: Tensor


def noise_level(thick_hu: Tensor, side: int) -> Tensor:
    """Local in-plane noise of the thick slices: (b, 1, K, y, x) HU -> (b, len(NOISE_WINDOWS), K, y', x').

    It is the logarithm of mean |HU - 3 x 3 mean|, in units of 20 HU, offset by 1 HU; `side` is the packing.
    """
    b, _, k, y, x = thick_hu.shape
    planes = thick_hu.reshape(b * k, 1, y, x)
    smooth = F.avg_pool2d(F.pad(planes, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    level = F.avg_pool2d((planes - smooth).abs(), side)
    levels = [mean_around(level, pixels // side // 2 * 2 + 1) for pixels in NOISE_WINDOWS]
    stack = torch.cat(levels, dim=1).view(b, k, len(NOISE_WINDOWS), y // side, x // side)
    return torch.log((stack.transpose(1, 2) + 1.0) / 20.0)


def mean_around(planes: Tensor, n: int) -> Tensor:
    """(b, c, y, x): mean over n x n, fewer at the borders; along one axis after the other, which is the same and quicker."""
    for kernel in ((n, 1), (1, n)):
        planes = F.avg_pool2d(planes, kernel, 1, tuple(k // 2 for k in kernel), count_include_pad=False)
    return planes


def residual_noise(white: Tensor, scale: Tensor, grids: GridPair) -> Tensor:
    """White noise (..., D, y, x) projected onto the null space at the local scale in HU, in units of that scale.

    It is null(scale * gain * white) / scale: of unit variance where the scale varies slowly along z.
    """
    return grids.operator.null(scale * grids.null_gain.to(white.device) * white) / scale


class MeanScaleNet(nn.Module):
    """Thick slices -> `HeadOutput`. The three steps are separate so that a volume can be treated slab by slab."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        super().__init__()
        self.codec = PackedCodec(settings.side)
        self.compand_hu = settings.compand_hu
        n = self.codec.channels
        self.trunk = UNet3d(
            UNetSettings(
                in_channels=n + len(NOISE_WINDOWS),
                out_channels=settings.trunk_channels[0],
                channels=settings.trunk_channels,
                blocks=settings.trunk_blocks,
                condition=CONDITION,
            )
        )
        self.head = ThinHead(
            ThinHeadSettings(
                trunk_channels=settings.trunk_channels[0],
                image_channels=n,
                out_channels=2 * n,
                hidden=settings.head_hidden,
                basis=settings.head_basis,
            )
        )
        self.embed = nn.Sequential(nn.Linear(3, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION), nn.SiLU())

    def features(self, thick_hu: Tensor) -> Tensor:
        """(b, 1, K, y, x) HU -> (b, n + 3, K, y', x')."""
        image = self.codec.encode(torch.asinh(thick_hu / self.compand_hu))
        return torch.cat([image, noise_level(thick_hu, self.codec.side)], dim=1)

    def slice_features(self, features: Tensor, condition: Tensor, feed: Feed | None = None) -> Tensor:
        """Features and geometry (b, 3) -> what the head reads of each thick slice, (b, basis, hidden, K, y', x')."""
        return self.head.slice_features(self.trunk(features, self.embed(condition), feed))

    def read(
        self, slice_features: Tensor, start_hu: Tensor, offsets: Tensor, ratios: Tensor, feed: Feed | None = None
    ) -> HeadOutput:
        """Slice features and the packed starting image (b, n, D, y', x') in HU -> the prediction at those D thin slices.

        For `feed` see `ThinHead.forward`.
        """
        answer, hidden = self.head(slice_features, torch.asinh(start_hu / self.compand_hu), offsets, ratios, feed)
        correction, log_scale = answer.float().chunk(2, dim=1)
        log_scale = log_scale.clamp(*LOG_SCALE_RANGE) + torch.log(torch.tensor(SCALE_HU))
        return HeadOutput(RESIDUAL_HU * correction, log_scale, hidden)

    def forward(self, thick_hu: Tensor, grids: GridPair, condition: Tensor) -> tuple[Tensor, HeadOutput]:
        """(b, 1, K, y, x) HU -> mean (b, n, D, y', x') HU, packed and consistent; and the head's output."""
        packed = self.codec.encode(thick_hu)
        start = grids.start(packed)
        slice_features = self.slice_features(self.features(thick_hu), condition)
        offsets = torch.as_tensor(grids.offsets, dtype=torch.float32, device=thick_hu.device)
        head_output = self.read(slice_features, start, offsets, grids.ratios.to(thick_hu.device))
        return start + grids.operator.null(head_output.correction), head_output


class FlowNet(nn.Module):
    """The raw network under the flow's denoiser: standardised noisy residual -> its raw prediction, on the thin grid.

    A full-rank linear path, modulated by t, runs beside the U-Net: a trunk narrower than its input cannot copy noise, and at
    small t most of the output is a copy. The U-Net's input of the noisy residual is gated by (1 - t): at t = 1 it holds
    nothing, and the output there is the mean alone.
    """

    def __init__(self, settings: EmbeddedSettings) -> None:
        super().__init__()
        self.side, n = settings.side, settings.side**2
        h, own = settings.head_hidden, settings.flow_hidden
        self.summary = Conv3d(h, own, 1) if own else None
        self.read_channels = own or h
        self.unet = UNet3d(
            UNetSettings(
                in_channels=2 * n + self.read_channels,
                out_channels=n,
                channels=settings.flow_channels,
                blocks=settings.flow_blocks,
                z_kernels=(3,),
                condition=CONDITION,
            )
        )
        self.embed = nn.Sequential(nn.Linear(7, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION), nn.SiLU())
        self.linear = Conv3d(n, n, 3, padding=1, bias=False)
        self.linear_gain = nn.Linear(CONDITION, n)
        nn.init.zeros_(self.unet.out.weight)
        nn.init.zeros_(self.linear.weight)

    def summarise(self, hidden: Tensor) -> Tensor:
        """The part of the head's features that the flow reads: (b, h, D, y', x') -> (b, read_channels, D, y', x')."""
        return hidden if self.summary is None else torch.as_tensor(self.summary(hidden))

    def forward(
        self,
        z_t: Tensor,
        t: Tensor,
        log_scale: Tensor,
        summary: Tensor,
        geometry: Tensor,
        feed: Feed | None = None,
    ) -> Tensor:
        """One evaluation.

        Args:
            z_t: (b, n, D, y', x') noisy residual, scaled to unit variance.
            t: (b,) noise level in [0, 1].
            log_scale: (b, n, D, y', x') natural logarithm of the scale in HU.
            summary: (b, read_channels, D, y', x') of `summarise`.
            geometry: (b, 3) `GridPair.condition`.
            feed: where the volume comes some slices at a time; the answer is late by the reach of the U-Net.

        Returns:
            (b, n, D, y', x') raw prediction.
        """
        waves = torch.stack([t, torch.cos(torch.pi * t), torch.cos(2 * torch.pi * t), torch.log(t + 0.02) / 4], dim=1)
        condition = self.embed(torch.cat([waves, geometry], dim=1))
        level = (log_scale - torch.log(torch.tensor(SCALE_HU))).to(summary.dtype)
        gate = (1.0 - t)[:, None, None, None, None]
        inputs = torch.cat([(z_t * gate).to(summary.dtype), level, summary], dim=1)
        gain = self.linear_gain(condition)[:, :, None, None, None]
        raw, z = self.unet(inputs, condition, feed), z_t.to(summary.dtype)
        linear = self.linear(z) if feed is None else feed.late(self, feed.conv(self.linear, z), raw.shape[2])
        return torch.as_tensor(raw + (1.0 + gain) * linear)
