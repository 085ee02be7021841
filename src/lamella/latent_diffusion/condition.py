"""Latent diffusion of the reference system: what it is conditioned on, and how its U-Net becomes a denoiser.

The condition is a latent block on the thin latents' grid, concatenated on channels. It comes from the thick slices in one
of two ways. "thick_latents" (the reference) encodes the thick stack as it is and moves the latents along z to where the
thin latents are. "thin_grid" interpolates the thick slices onto the thin grid first and encodes that, so the codec sees
slices as far apart as those it was trained on. Both go by position in millimetres, never by array length: 50 slices are 13
latents (the codec pads), not 12.5 or 12, and the i-th latent of one stack is not the i-th of the other.

Shapes: b batch, K thick slices, D thin slices, fz slices in one latent cell; c latent channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.codecs.codec import LatentCodec
from lamella.diffusion import Denoiser, Head, LossSettings, ScheduleSettings, error_gains, make_schedule
from lamella.errors import LamellaError, UsageError
from lamella.networks.diffusion_unet import DiffusionUNetSettings
from lamella.physics.slice_operator import along_z, cubic_matrix, linear_matrix

Conditioning = Literal["thick_latents", "thin_grid"]

LARGEST_GAIN = 4.0
"""A sampler's first step may multiply an error of the network by this much (`error_gains`); a v head's is below 1."""

_FLOW_TIME = 1000.0
"""A flow's time from 0 to 1 is given to the network as training steps of a table, which its embedding is made for."""


@dataclass(frozen=True)
class LatentDiffusionSettings:
    """What a latent diffusion model is, the codec apart.

    Attributes:
        unet: shape of the denoising network; its input is the noisy latent and the condition, channel after channel.
        schedule: noise levels.
        head: what the network's output means.
        condition: how the thick slices enter (see the module).
        loss: how errors are counted in training.

    Raises:
        LamellaError: the network's input is not twice its output, the condition is unknown, or the head predicts noise
            where the schedule ends in nothing else.
    """

    unet: DiffusionUNetSettings = field(default_factory=DiffusionUNetSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    head: Head = "v"
    condition: Conditioning = "thick_latents"
    loss: LossSettings = field(default_factory=LossSettings)

    def __post_init__(self) -> None:
        if self.unet.in_channels != 2 * self.unet.out_channels:
            raise LamellaError(
                "The denoising network reads the noisy latent and a condition of as many channels. Found "
                f"{self.unet.in_channels} channels in and {self.unet.out_channels} out, expected "
                f"{2 * self.unet.out_channels} in."
            )
        if self.head == "noise" and self.schedule.zero_terminal_snr:
            raise LamellaError(
                "With zero_terminal_snr the last step holds no image, of which predicted noise says nothing. Found head "
                "noise, expected v or x0 (or zero_terminal_snr false)."
            )
        if self.condition not in get_args(Conditioning):
            raise LamellaError(
                f"Unknown condition {self.condition!r}. Expected one of {', '.join(get_args(Conditioning))}."
            )

    def require_samplable(self, steps: int) -> None:
        """Refuse a head whose errors the first step of a sampler would enlarge beyond use.

        Raises:
            UsageError: saying by how much, and which head to take.
        """
        predict = denoiser(lambda block, t: block, self)
        first, gain = predict.schedule.times(steps)[0], error_gains(predict, steps)[0]
        if gain > LARGEST_GAIN:
            alpha = float(predict.schedule.alpha(torch.tensor(first)))
            raise UsageError(
                f"Head {self.head} cannot be sampled in {steps} step{'s' * (steps != 1)} of this schedule. The first step, at "
                f"t = {first:g} where the signal's scale is {alpha:.2g}, enlarges an error of the network {gain:.3g} times; "
                f"expected at most {LARGEST_GAIN:g}. Take head v, more steps, or schedule.least_alpha of 0.1 or more "
                "(docs/explanation/noise-head.md)."
            )


def first_state(predict: Denoiser[Tensor], condition: Tensor, noise: Tensor, steps: int) -> Tensor:
    """What a sampler begins with: noise, and as much of the condition as the first time holds of the data.

    A table that ends in noise alone, and a flow, hold nothing. Where `least_alpha` begins earlier, noise alone would lack
    alpha x0; with the condition alpha (x0 - condition) is lacking.

    Args:
        predict: what will be sampled.
        condition: (b, c, z, y, x), the best guess of the data before there is a network.
        noise: standard normal, of the same shape.
        steps: of the sampler.
    """
    first = torch.full((len(noise),), predict.schedule.times(steps)[0], dtype=torch.float64, device=noise.device)
    return predict.schedule.mix(condition, noise, first)


def denoiser(network: Callable[[Tensor, Tensor], Tensor], settings: LatentDiffusionSettings) -> Denoiser[Tensor]:
    """Read a network as "what was the clean latent?".

    Args:
        network: a `DiffusionUNet`, or its answer put together from tiles: (b, 2 c, z, y, x), (b,) -> (b, c, z, y, x).
        settings: schedule and head it was, or will be, trained with.

    Returns:
        A denoiser whose condition is (b, c, z, y, x).
    """

    unit = _FLOW_TIME if settings.schedule.kind == "flow" else 1.0

    def concatenated(scaled: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return network(torch.cat([scaled, condition.to(scaled.dtype)], dim=1), unit * t)

    return Denoiser(concatenated, make_schedule(settings.schedule), settings.head)


def latent_centres_mm(centres_mm: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Where latent cells lie: the mean position of each cell's slices; the codec's padding continues the grid.

    Args:
        centres_mm: (n,) slice centres, rising.
        factor: slices in one latent cell.

    Returns:
        (ceil(n / factor),) positions in the same unit.

    Raises:
        LamellaError: there are no slices.
    """
    count = len(centres_mm)
    if count == 0:
        raise LamellaError("A stack without slices has no latents. Found 0 slice positions, expected at least 1.")
    step = float(centres_mm[-1] - centres_mm[-2]) if count > 1 else 0.0
    beyond = centres_mm[-1] + step * np.arange(1, -count % factor + 1)
    return np.asarray(np.concatenate([centres_mm, beyond]).reshape(-1, factor).mean(axis=1))


def condition_latents(
    codec: LatentCodec, thick_hu: Tensor, thick_mm: Tensor, thin_mm: Tensor, how: Conditioning = "thick_latents"
) -> Tensor:
    """The condition: thick slices as latents on the thin latents' grid.

    Args:
        codec: pads to its factor at the end, as `KlCodec` does.
        thick_hu: (b, 1, K, y, x) HU.
        thick_mm: (b, K) their centres along the slice axis, rising; those of padding continue the grid.
        thin_mm: (b, D) centres of the thin slices.
        how: see the module.

    Returns:
        (b, c, ceil(D / fz), y / fy, x / fx) scaled latents, on `thick_hu`'s device; y and x rounded up as the codec does.

    Raises:
        LamellaError: shapes do not belong together, or positions do not rise.
    """
    if how == "thin_grid":
        return codec.encode(interpolated(thick_hu, thick_mm, thin_mm))
    if how != "thick_latents":
        raise LamellaError(f"Unknown condition {how!r}. Expected one of {', '.join(get_args(Conditioning))}.")
    thick_at, thin_at = _grids(thick_hu, thick_mm, thin_mm)
    fz = codec.factor[0]
    pairs = zip(codec.encode(thick_hu.float()), thick_at, thin_at, strict=True)
    return torch.stack(
        [along_z(linear_matrix(latent_centres_mm(a, fz), latent_centres_mm(b, fz)), z) for z, a, b in pairs]
    )


def interpolated(thick_hu: Tensor, thick_mm: Tensor, thin_mm: Tensor) -> Tensor:
    """(b, 1, D, y, x) HU: the thick slices, by cubic interpolation at the thin slices' positions; see `condition_latents`."""
    thick_at, thin_at = _grids(thick_hu, thick_mm, thin_mm)
    stacks = zip(thick_hu.float(), thick_at, thin_at, strict=True)
    return torch.stack([along_z(cubic_matrix(a, b), stack) for stack, a, b in stacks])


def _grids(thick_hu: Tensor, thick_mm: Tensor, thin_mm: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of thick and thin slices; refused unless they fit the stacks."""
    thick_at, thin_at = _positions("thick", thick_mm, len(thick_hu)), _positions("thin", thin_mm, len(thick_hu))
    if thick_hu.ndim != 5 or thick_hu.shape[2] != thick_at.shape[1]:
        raise LamellaError(
            f"Condition: found thick slices of shape {tuple(thick_hu.shape)} and {thick_at.shape[1]} positions, expected "
            "(b, 1, K, y, x) and (b, K)."
        )
    return thick_at, thin_at


def _positions(name: str, centres_mm: Tensor, count: int) -> NDArray[np.float64]:
    """(b, n) float64 positions; anything that is no rising grid a sample is refused."""
    at = centres_mm.detach().cpu().double().numpy()
    if at.ndim != 2 or at.shape[0] != count or at.shape[1] < 1 or not bool((np.diff(at, axis=1) > 0).all()):
        raise LamellaError(
            f"Condition: the {name} slices' positions must be ({count}, slices) and rise along each row. Found shape "
            f"{at.shape}. Sort the slices by position, and let padding continue the grid."
        )
    return at
