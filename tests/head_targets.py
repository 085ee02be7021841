"""What each head aims at, written apart from the heads themselves."""

from __future__ import annotations

from torch import Tensor

from lamella.diffusion import Head


def target(head: Head, x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The raw output for which a head's x0 is exact: the second column of the table in `lamella.diffusion.denoiser`."""
    power = alpha.square() + sigma.square()
    return {
        "noise": noise,
        "v": alpha * noise - sigma * x0,
        "x0": x0,
        "velocity": noise - x0,
        "preconditioned": (sigma * x0 - alpha * noise) * power.rsqrt(),
    }[head]
