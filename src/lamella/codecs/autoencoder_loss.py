"""What an autoencoder is trained for: absolute error of what it gives back, and a latent near a standard normal.

Blur can be punished by the differences of neighbours, or by the strength of local spectra at several window sizes. Both work
offline, unlike a perceptual network. There is no discriminator: at the batches of a few small blocks that two cores can train
on, what it rewards is texture of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamella.errors import LamellaError

_CUBES = (4, 8, 16)
"""Sides of the cubes whose spectra are compared, in voxels."""

_LEAST_SQUARE = 1e-10
"""Added to the mean square, whose root has no derivative at 0 (1e-5 of the range, 0.02 HU)."""


@dataclass(frozen=True)
class AutoencoderLossSettings:
    """Weights of the parts.

    Attributes:
        l1: of the absolute error.
        rms: of the root mean squared error of each stack, in which few large errors count for more; 0 leaves it out.
        kl: of the Kullback-Leibler divergence, a latent value. Small: it only keeps latents bounded.
        gradient: of the absolute error of differences between neighbours along z, y and x, which punishes blur where an
            absolute error alone would accept it; 0 leaves it out.
        spectral: of the absolute error of the magnitudes of local spectra (`spectral_l1`); 0 leaves it out.
    """

    l1: float = 1.0
    rms: float = 0.0
    kl: float = 1e-5
    gradient: float = 0.0
    spectral: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.l1, self.rms, self.kl, self.gradient, self.spectral)
        if min(weights) < 0 or max(self.l1, self.rms) == 0:
            raise LamellaError(
                "Loss weights cannot be negative, and l1 or rms must be above 0. Found l1 {:g}, rms {:g}, kl {:g}, gradient "
                "{:g}, spectral {:g}.".format(*weights)
            )


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Of N(mean, exp(log_var)) from N(0, 1), each value by itself, then their mean (Kingma and Welling, 1312.6114, B)."""
    mean, log_var = mean.float(), log_var.float()
    return 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var).mean()


def masked_l1(answer: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the slices that are real.

    Args:
        answer, truth: (b, 1, z, y, x).
        mask: (b, 1, z) 1 real, 0 padding; 0 where none is real.
    """
    weight = mask[..., None, None].to(truth.dtype)
    area = truth.shape[-1] * truth.shape[-2]
    # a stack of one slice has no neighbours along z: no difference, no error
    return ((answer.float() - truth).abs() * weight).sum() / (weight.sum().clamp(min=1) * area)


def masked_rms(answer: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Root mean squared error of each stack over the slices that are real, the mean of the stacks; as `masked_l1`."""
    weight = mask[..., None, None].to(truth.dtype)
    count = weight.sum((1, 2, 3, 4)).clamp(min=1) * (truth.shape[-1] * truth.shape[-2])
    squares = ((answer.float() - truth).square() * weight).sum((1, 2, 3, 4)) / count
    return (squares + _LEAST_SQUARE).sqrt().mean()


def gradient_l1(answer: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, the mean of the three axes.

    Args:
        answer, truth: (b, 1, z, y, x).
        mask: (b, 1, z); a difference along z counts where both slices are real.
    """
    error = answer.float() - truth
    along_z = masked_l1(error[:, :, 1:], error[:, :, :-1], mask[..., 1:] * mask[..., :-1])
    along_y = masked_l1(error[..., 1:, :], error[..., :-1, :], mask)
    along_x = masked_l1(error[..., 1:], error[..., :-1], mask)
    return (along_z + along_y + along_x) / 3


def spectral_l1(answer: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the magnitudes of local spectra, averaged over cubes of 4, 8 and 16 voxels.

    The multi-resolution loss of Yamamoto et al. (arXiv 1910.11480, section 2.2) in three dimensions: magnitudes say how much
    detail there is, and not where, so blur costs although a misplaced edge costs no more than a blurred one. Transforms are
    orthonormal; cubes lie side by side, and what is left over at an end is in no cube. Padding counts as zero in both.

    Args:
        answer, truth: (b, 1, z, y, x).
        mask: (b, 1, z) 1 real, 0 padding.
    """
    weight = mask[..., None, None].to(truth.dtype)
    both = [one.float() * weight for one in (answer, truth)]
    errors = []
    for side in _CUBES:
        if min(truth.shape[2:]) >= side:
            mine, true = (torch.fft.rfftn(_cubes(one, side), dim=(-3, -2, -1), norm="ortho").abs() for one in both)
            errors.append((mine - true).abs().mean())
    return torch.stack(errors).mean() if errors else answer.new_zeros(())


def _cubes(stack: Tensor, side: int) -> Tensor:
    """(b, 1, z, y, x) -> (b, n, side, side, side) side by side."""
    z, y, x = (n // side for n in stack.shape[2:])
    parts = stack[:, 0, : z * side, : y * side, : x * side].reshape(-1, z, side, y, side, x, side)
    return parts.permute(0, 1, 3, 5, 2, 4, 6).flatten(1, 3)


def autoencoder_loss(
    answer: Tensor, truth: Tensor, mean: Tensor, log_var: Tensor, mask: Tensor, settings: AutoencoderLossSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and what to log: its parts, and `detail`, how steep the answer is over the truth (below 1 where it blurs).

    Args:
        answer, truth: (b, 1, z, y, x) in the network's own range.
        mean, log_var: of the latent.
        mask: (b, 1, z) 1 real, 0 padding.
        settings: weights.
    """
    l1, kl = masked_l1(answer, truth, mask), kl_divergence(mean, log_var)
    loss = settings.l1 * l1 + settings.kl * kl
    if settings.rms:
        loss = loss + settings.rms * masked_rms(answer, truth, mask)
    if settings.gradient:
        loss = loss + settings.gradient * gradient_l1(answer, truth, mask)
    if settings.spectral:
        loss = loss + settings.spectral * spectral_l1(answer, truth, mask)
    nothing = torch.zeros_like(truth)
    detail = gradient_l1(answer.detach(), nothing, mask) / gradient_l1(truth, nothing, mask).clamp(min=1e-12)
    figures = {"l1": l1.detach(), "kl": kl.detach(), "latent_std": torch.std(mean.detach().float()), "detail": detail}
    return loss, figures
