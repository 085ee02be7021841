"""The training objective, written on x0 alone and scaled to what each head aims at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lamella.diffusion.denoiser import Condition, Denoiser, Head, coefficients
from lamella.errors import LamellaError, NonFiniteError


@dataclass(frozen=True)
class LossSettings:
    """How errors are counted.

    Attributes:
        min_snr_gamma: gamma of Min-SNR weighting (5 in its paper); None: weight 1 on the head's own target.
        pseudo_huber_delta: errors of the head's target well above this count linearly instead of squared; None:
            squared. In units of the target, whose standard deviation is about 1.
    """

    min_snr_gamma: float | None = None
    pseudo_huber_delta: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_snr_gamma", "pseudo_huber_delta"):
            value: float | None = getattr(self, name)
            if value is not None and not value > 0:
                raise LamellaError(f"Diffusion loss: found {name} = {value:g}, expected a number above 0, or none.")


def min_snr_weight(head: Head, alpha: Tensor, sigma: Tensor, gamma: float) -> Tensor:
    """Min-SNR weight on the squared error of a head's target (Hang et al. 2023, arXiv 2303.09556, section 3.4).

    It is min(SNR, gamma) on the squared error of x0, hence times c_out^2 on the target's: noise min(SNR, gamma) / SNR,
    x0 min(SNR, gamma), v min(SNR, gamma) / (SNR + 1); velocity and preconditioned by the same rule.

    At SNR = 0 the noise head's is 0 / 0 and is 1, its limit (it is 1 at every SNR below gamma). The other heads' limit
    is 0, which would leave untrained the very step that every sample of a zero-terminal-SNR schedule starts from, so
    there it is 1 as well.

    Args:
        head: which head.
        alpha: signal scale, float64, any shape.
        sigma: noise scale, as alpha.
        gamma: cap on the SNR.

    Returns:
        Weights shaped as alpha.
    """
    snr = (alpha / sigma).square()
    weight = snr.clamp(max=gamma) * coefficients(head, alpha, sigma).c_out.square()
    return torch.where(snr == 0, torch.ones_like(snr), weight)


def latent_mask(mask: Tensor, factor: int) -> Tensor:
    """Take a mask of slices to a codec's latent depth by nearest neighbour; it stays binary.

    A latent slice takes the mask of the first of its `factor` slices. Padding comes last in a batch, so a latent slice
    counts if it holds at least one real slice.

    Args:
        mask: (b, 1, z), 1 real, 0 padding.
        factor: slices a latent slice, at least 1.

    Returns:
        (b, 1, ceil(z / factor)), same dtype.

    Raises:
        LamellaError: factor below 1.
    """
    if factor < 1:
        raise LamellaError(f"Latent mask: found {factor} slices a latent slice, expected at least 1.")
    return mask[..., ::factor]


def sample_losses(
    denoiser: Denoiser[Condition],
    x0: Tensor,
    condition: Condition,
    t: Tensor,
    noise: Tensor,
    *,
    mask: Tensor | None = None,
    settings: LossSettings | None = None,
    project: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Noise x0 to times t, denoise it, and count each sample's error over its own valid elements.

    The error of x0 divided by the head's c_out is the error of the head's own target, so with default settings this is
    the mean squared error of the noise for a noise head, of v for a v head, and so on.

    Args:
        denoiser: the model.
        x0: clean data (b, c, z, y, x), or any (b, ...).
        condition: handed to the network.
        t: times (b,), where sigma > 0.
        noise: standard normal, shaped as x0.
        mask: 1 real, 0 padding, for x0's leading axes: (b, 1, z) for slices. None: all real.
        settings: see `LossSettings`.
        project: applied to the x0 estimate before it is compared, as in the samplers.

    Returns:
        (b,), float32 (float64 if x0 is), each weighted by its own weight and divided by its own valid elements.

    Raises:
        NonFiniteError: naming the sample in the batch and its time.
        LamellaError: a time at which there is nothing to learn (c_out = 0); a sample without a valid element; a noise
            head at SNR 0.
    """
    settings = settings or LossSettings()
    x0 = x0.to(torch.promote_types(x0.dtype, torch.float32))
    c_out = denoiser.coefficients(t).c_out
    if bool((c_out == 0).any()):
        raise LamellaError(
            "Diffusion loss: a time without noise (sigma = 0) was drawn; expected sigma > 0. Draw again."
        )
    estimate = denoiser(denoiser.schedule.mix(x0, noise, t), t, condition)
    if project is not None:
        estimate = project(estimate)
    error = (estimate - x0) / c_out.to(x0.dtype).view((-1,) + (1,) * (x0.ndim - 1))
    losses = _masked_mean(_penalty(error, settings.pseudo_huber_delta), mask)
    if settings.min_snr_gamma is not None:
        alpha, sigma = denoiser.schedule.alpha(t), denoiser.schedule.sigma(t)
        losses = losses * min_snr_weight(denoiser.head, alpha, sigma, settings.min_snr_gamma).to(losses.dtype)
    _check(losses, t)
    return losses


def _penalty(error: Tensor, delta: float | None) -> Tensor:
    """Squared error, or pseudo-Huber scaled to equal it for small errors (Charbonnier et al. 1997)."""
    if delta is None:
        return error.square()
    return 2 * delta**2 * (torch.sqrt(1 + (error / delta).square()) - 1)


def _masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of each sample's valid elements, (b,)."""
    if mask is None:
        return values.flatten(1).mean(1)
    valid = (mask > 0).view(mask.shape + (1,) * (values.ndim - mask.ndim)).expand(values.shape)
    count = valid.flatten(1).sum(1)
    if bool((count == 0).any()):
        raise LamellaError(
            f"Diffusion loss: sample {int((count == 0).nonzero()[0])} of the batch has no valid element; expected at "
            "least one slice that is not padding. Check its mask."
        )
    return torch.where(valid, values, torch.zeros_like(values)).flatten(1).sum(1) / count


def _check(losses: Tensor, t: Tensor) -> None:
    """Stop training at the first loss that is not finite."""
    finite = losses.isfinite()
    if not bool(finite.all()):
        first = int((~finite).nonzero()[0])
        raise NonFiniteError(
            f"Diffusion loss: sample {first} of the batch of {len(losses)} at t = {float(t[first]):g} has loss "
            f"{float(losses[first]):g}, expected a finite number. Check that batch's values and the learning rate."
        )
