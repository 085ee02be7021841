"""What an autoencoder is trained for: absolute error of what it gives back, and a latent near a standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lamella.errors import LamellaError


@dataclass(frozen=True)
class AutoencoderLossSettings:
    """Weights of the parts.

    Attributes:
        kl: of the Kullback-Leibler divergence, a latent value. Small: it only keeps latents bounded.
        gradient: of the absolute error of differences between neighbours along z, y and x, which punishes blur where an
            absolute error alone would accept it; 0 leaves it out. Works offline, unlike a perceptual network.
    """

    kl: float = 1e-5
    gradient: float = 0.0

    def __post_init__(self) -> None:
        if self.kl < 0 or self.gradient < 0:
            raise LamellaError(f"Loss weights cannot be negative. Found kl {self.kl:g}, gradient {self.gradient:g}.")


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


def autoencoder_loss(
    answer: Tensor, truth: Tensor, mean: Tensor, log_var: Tensor, mask: Tensor, settings: AutoencoderLossSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and its parts to log.

    Args:
        answer, truth: (b, 1, z, y, x) in the network's own range.
        mean, log_var: of the latent.
        mask: (b, 1, z) 1 real, 0 padding.
        settings: weights.
    """
    l1, kl = masked_l1(answer, truth, mask), kl_divergence(mean, log_var)
    loss = l1 + settings.kl * kl
    if settings.gradient:
        loss = loss + settings.gradient * gradient_l1(answer, truth, mask)
    return loss, {"l1": l1.detach(), "kl": kl.detach(), "latent_std": torch.std(mean.detach().float())}
