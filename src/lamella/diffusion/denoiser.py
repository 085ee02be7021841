"""From what a network puts out to the clean estimate x0; nothing else in the project knows a network's head.

Every head is affine in the network's raw output F: x0 = c_skip x_t + c_out F(c_in x_t, t, condition), with
x_t = alpha x0 + sigma noise (the form of Karras et al. 2022, arXiv 2206.00364, eq. 7).

| head | F aims at | c_in | c_skip | c_out |
|---|---|---|---|---|
| noise | noise | 1 | 1 / alpha | -sigma / alpha |
| v | alpha noise - sigma x0 | 1 | alpha / q | -sigma / q |
| x0 | x0 | 1 | 0 | 1 |
| velocity | noise - x0 | 1 | 1 / (alpha + sigma) | -sigma / (alpha + sigma) |
| preconditioned | (sigma x0 - alpha noise) / sqrt(q) | 1 / sqrt(q) | alpha / q | sigma / sqrt(q) |

q = alpha^2 + sigma^2. v: Salimans and Ho 2022, arXiv 2202.00512. preconditioned: Karras et al. 2022, Table 1, with
general alpha and sigma and data of unit variance: F's input and target then have unit variance at every t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar, final

import torch
from torch import Tensor

from lamella.diffusion.schedule import NoiseSchedule
from lamella.errors import LamellaError

Head = Literal["noise", "v", "x0", "velocity", "preconditioned"]
Condition = TypeVar("Condition")


class Coefficients(NamedTuple):
    """c_in, c_skip and c_out of the table above, shaped as the alpha they came from."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def coefficients(head: Head, alpha: Tensor, sigma: Tensor) -> Coefficients:
    """Give a head's three scales at signal and noise levels `alpha` and `sigma` (same shape, float64).

    The noise head's are infinite where alpha = 0.

    Raises:
        LamellaError: an unknown head.
    """
    one = torch.ones_like(alpha)
    power = alpha.square() + sigma.square()
    if head == "noise":
        return Coefficients(one, 1 / alpha, -sigma / alpha)
    if head == "v":
        return Coefficients(one, alpha / power, -sigma / power)
    if head == "x0":
        return Coefficients(one, torch.zeros_like(alpha), one)
    if head == "velocity":
        return Coefficients(one, 1 / (alpha + sigma), -sigma / (alpha + sigma))
    if head == "preconditioned":
        return Coefficients(power.rsqrt(), alpha / power, sigma * power.rsqrt())
    raise LamellaError(f"Network head: found {head!r}, expected noise, v, x0, velocity or preconditioned.")


@final
@dataclass(frozen=True)
class Denoiser(Generic[Condition]):
    """A network read as "what was the clean data?"; samplers and losses see this only.

    Attributes:
        network: `network(scaled x_t, t, condition) -> raw output of x_t's shape`; t is float32 (b,), in the schedule's
            own unit (training step, or 0 to 1 for a flow). It may compute in any dtype inside (autocast).
        schedule: the noise levels the network was, or will be, trained on.
        head: what the network's output means.
        scaled: whether the network is handed c_in x_t. Otherwise it is handed x_t, and multiplies by c_in itself: one that
            works piece by piece needs no scaled copy of a volume.
    """

    network: Callable[[Tensor, Tensor, Condition], Tensor]
    schedule: NoiseSchedule
    head: Head
    scaled: bool = True

    def __call__(self, x_t: Tensor, t: Tensor | float, condition: Condition) -> Tensor:
        """Estimate the clean data.

        Args:
            x_t: noisy data (b, ...). Arithmetic outside the network is in float32 (float64 if x_t is).
            t: time, one for all or (b,).
            condition: handed to the network untouched.

        Returns:
            x0, shaped as x_t, float32 (float64 if x_t is).

        Raises:
            LamellaError: a noise head where there is no signal; a time outside the schedule; an output whose shape is
                not x_t's.
        """
        x_t = x_t.to(torch.promote_types(x_t.dtype, torch.float32))
        times = torch.as_tensor(t, dtype=torch.float64, device=x_t.device).expand(x_t.shape[0])
        c_in, c_skip, c_out = (c.to(x_t.dtype).view((-1,) + (1,) * (x_t.ndim - 1)) for c in self.coefficients(times))
        raw = self.network(c_in * x_t if self.scaled else x_t, times.float(), condition)
        if raw.shape != x_t.shape:
            raise LamellaError(
                f"Network output: found shape {tuple(raw.shape)}, expected that of its input {tuple(x_t.shape)}."
            )
        # A copy and then in place: a volume takes 0.3 GB, and the sum of two dtypes would make two more.
        return raw.to(x_t.dtype, copy=True).mul_(c_out).addcmul_(c_skip, x_t)

    def coefficients(self, t: Tensor) -> Coefficients:
        """Give the head's scales at times `t`, float64, same shape.

        Raises:
            LamellaError: a noise head where there is no signal; a time outside the schedule.
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        if self.head == "noise" and bool((alpha == 0).any()):
            # an epsilon here would only hide that x_t holds nothing of x0
            raise LamellaError(
                f"Noise head: the signal is zero at t = {t[alpha == 0].flatten()[0]:g} (SNR 0), so x0 cannot be "
                "computed from predicted noise. Use a v, x0, velocity or preconditioned head, or a schedule without "
                "zero terminal SNR."
            )
        return coefficients(self.head, alpha, sigma)
