"""What the embedded model's networks are trained for.

The mean: a Charbonnier penalty on the projected answer (squared for small errors, absolute for large ones, so that bone edges
do not drown everything else). The scale: the Laplace likelihood |e| / b + log b of that same error, which is held
fixed there; the scale handed on is sqrt(pi / 2) b, the standard deviation where the error is locally Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.data.patches import Pairs
from lamella.diffusion.denoiser import Denoiser
from lamella.diffusion.loss import LossSettings, sample_losses
from lamella.embedded.networks import FlowNet, HeadOutput, MeanScaleNet, residual_noise
from lamella.errors import LamellaError

MEAN_HU = 30.0
"""Unit of the mean's penalty: about the error of interpolation, so that both terms are near 1."""

HUBER = 5.0
"""Standardised error at which the flow's penalty turns from squared to absolute: far out, so that a rare large error does not
upset the training. Squared errors find the conditional mean, which a flow is; absolute ones find the median, and where most
errors are small and some are large, as in a lung, samples would lack the large ones."""

FlowCondition = tuple[HeadOutput, Tensor]
"""What the flow is conditioned on: the head's output for the thick slices, and the geometry (b, 3)."""

_LAPLACE_TO_SD = 0.5 * math.log(math.pi / 2)


@dataclass(frozen=True)
class MeanLossSettings:
    """How errors of mean and scale are counted.

    Attributes:
        charbonnier_hu: error at which the mean's penalty turns from squared to absolute.
        scale_weight: of the scale's likelihood beside the mean's penalty.
        projected: whether the penalty sees the answer after its projection, as it is used, or before.
        balance: the mean's penalty is divided by this power of the predicted scale, which is held fixed there. 0: every
            squared HU counts the same, and steep edges outweigh soft tissue. With squared errors the best answer is the same
            for any power (the mean of what is possible); what changes is where a small network is good (Seitzer et al., arXiv
            2203.09168).
        gradient: weight of the same penalty on what the error changes by from one thin slice to the next: bands in flat
            material and ringing at edges change there, a level that is off does not.

    Raises:
        LamellaError: a number that is not positive, a balance outside [0, 2], or a gradient below 0.
    """

    charbonnier_hu: float = 60.0
    scale_weight: float = 0.1
    projected: bool = True
    balance: float = 0.0
    gradient: float = 0.0

    def __post_init__(self) -> None:
        if not (self.charbonnier_hu > 0 and self.scale_weight > 0):
            raise LamellaError(
                f"charbonnier_hu and scale_weight must be above 0. Found {self.charbonnier_hu:g} and {self.scale_weight:g}."
            )
        if not 0 <= self.balance <= 2:
            raise LamellaError(f"balance must lie in [0, 2]. Found {self.balance:g}.")
        if not self.gradient >= 0:
            raise LamellaError(f"gradient must be 0 or more. Found {self.gradient:g}.")


def counted_mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over the thin slices that count: values (b, n, D, y, x), counted (D,)."""
    return (values.mean(dim=(0, 1, 3, 4)) * counted).sum() / counted.sum()


def _charbonnier(error: Tensor, turn_hu: float) -> Tensor:
    """2 turn^2 (sqrt(1 + (e / turn)^2) - 1) in units of `MEAN_HU`, without its cancellation."""
    return 2 * (error / MEAN_HU) ** 2 / (torch.sqrt(1 + (error / turn_hu) ** 2) + 1)


def mean_scale_loss(
    network: MeanScaleNet, pairs: Pairs, condition: Tensor, settings: MeanLossSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Joint loss of mean and scale on one batch, and the figures to log (errors in HU, of the projected answer)."""
    mean, head_output = network(pairs.thick_hu, pairs.grids, condition)
    truth = network.codec.encode(pairs.thin_hu)
    error, turn = truth - mean, settings.charbonnier_hu
    counts = error
    if not settings.projected:
        counts = truth - pairs.grids.start(network.codec.encode(pairs.thick_hu)) - head_output.correction
    charbonnier = _charbonnier(counts, turn)
    if settings.balance:
        charbonnier = charbonnier * torch.exp(-settings.balance * (head_output.log_scale.detach() - math.log(MEAN_HU)))
    log_b = head_output.log_scale - _LAPLACE_TO_SD
    laplace = error.detach().abs() * torch.exp(-log_b) + log_b
    if settings.gradient:
        steps = _charbonnier(counts.diff(dim=2), turn)
        charbonnier = charbonnier + settings.gradient * F.pad(steps, (0, 0, 0, 0, 0, 1))
    mean_loss, scale_loss = counted_mean(charbonnier, pairs.counted), counted_mean(laplace, pairs.counted)
    with torch.no_grad():
        inside = (error.abs() <= torch.exp(head_output.log_scale)).float()
        figures = {
            "mean_loss": mean_loss.detach(),
            "scale_loss": scale_loss.detach(),
            "mse_hu2": counted_mean(error.square(), pairs.counted),
            "coverage": counted_mean(inside, pairs.counted),
        }
    return mean_loss + settings.scale_weight * scale_loss, figures


@torch.no_grad()
def flow_target(network: MeanScaleNet, pairs: Pairs, condition: Tensor) -> tuple[Tensor, HeadOutput]:
    """The standardised residual (thin - mean) / scale in the null space, (b, n, D, y', x'), and the head's output under it."""
    mean, head_output = network(pairs.thick_hu, pairs.grids, condition)
    error = network.codec.encode(pairs.thin_hu) - mean
    return pairs.grids.operator.null(error) / torch.exp(head_output.log_scale), head_output


def flow_loss(
    denoiser: Denoiser[FlowCondition],
    z: Tensor,
    head_output: HeadOutput,
    pairs: Pairs,
    condition: Tensor,
    t: Tensor,
    white: Tensor,
) -> Tensor:
    """Pseudo-Huber loss of the projected prediction of the standardised residual.

    The prediction is projected here as it is when sampling: training and use must not differ.

    Args:
        denoiser: the flow; its network is a `FlowNet` seen through `flow_network`.
        z: (b, n, D, y', x') standardised residual (`flow_target`).
        head_output: what it rests on.
        pairs: the batch.
        condition: (b, 3) geometry.
        t: (b,) noise levels.
        white: as z, standard normal.
    """
    scale = torch.exp(head_output.log_scale)
    return sample_losses(
        denoiser,
        z,
        (head_output, condition),
        t,
        residual_noise(white, scale, pairs.grids),
        mask=pairs.counted.expand(len(z), 1, -1),
        settings=LossSettings(pseudo_huber_delta=HUBER),
        project=lambda guess: pairs.grids.operator.null(scale * guess) / scale,
    ).mean()


def flow_network(flow: FlowNet) -> Callable[[Tensor, Tensor, FlowCondition], Tensor]:
    """A `FlowNet` as the raw network of a `Denoiser`, conditioned on the head's output and the geometry."""

    def evaluate(z_t: Tensor, t: Tensor, condition: FlowCondition) -> Tensor:
        head_output, geometry = condition
        return torch.as_tensor(flow(z_t, t, head_output.log_scale, flow.summarise(head_output.hidden), geometry))

    return evaluate
