"""Samplers: plain functions from noise to data that know a denoiser's x0 and its schedule, and nothing else.

All keep the state in float32 or wider, never clamp it, apply `project` to every x0 estimate, and stop with the step's
number at the first value that is not finite. All but `flow` with `heun` and `trigflow` take the state from level (alpha, sigma)
to (alpha', sigma') by x' = alpha' x0 + (what is left of the noise), so the last step, to (1, 0), gives x0 itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lamella.diffusion.denoiser import Condition, Denoiser
from lamella.diffusion.schedule import FlowSchedule, NoiseSchedule, Spacing
from lamella.errors import LamellaError, NonFiniteError

Draw = Callable[[int], Tensor]
Project = Callable[[Tensor], Tensor]
OnStep = Callable[[int, Tensor], None]


class _Step(NamedTuple):
    """One step: its number from 1, how many there are, its time, and the levels it leaves and reaches."""

    number: int
    total: int
    t: float
    alpha: float
    sigma: float
    next_t: float | None
    next_alpha: float
    next_sigma: float


def draws(generator: torch.Generator, like: Tensor) -> Draw:
    """Noise for the stochastic samplers: each step draws a standard normal of `like`'s shape, on its device.

    Tiles that must agree pass a function of their own instead, which maps the step's number (from 1) to noise that
    depends on the voxel's position.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    return lambda step: torch.randn(like.shape, generator=generator, device=like.device, dtype=dtype)


@torch.no_grad()
def ddpm(
    denoiser: Denoiser[Condition],
    noise: Tensor,
    condition: Condition,
    steps: int,
    draw: Draw,
    *,
    spacing: Spacing = "trailing",
    project: Project | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Ancestral sampling: each state is drawn from q(x_s | x_t, x0) (Ho et al. 2020, arXiv 2006.11239, eq. 6 and 7).

    With fewer steps than the schedule's, the same posterior between the steps kept. Works on any schedule.

    Args:
        denoiser: the model.
        noise: standard normal, (b, ...): the state at the first time.
        condition: handed to the network.
        steps: network evaluations.
        draw: noise of a step, shaped as `noise`, for the step's number from 1 (see `draws`); the last step has none.
        spacing: see `VpSchedule.times`.
        project: applied to every x0 estimate, for instance measurement consistency.
        on_step: called after each step with its number from 1 and the x0 estimate.

    Returns:
        The sample, shaped as `noise`, float32 (float64 if `noise` is).

    Raises:
        NonFiniteError: naming the sampler, the step and its time.
        LamellaError: `steps` or `spacing` not to be had; a noise head at SNR 0.
    """
    x = _start("ddpm", noise)
    for step in _steps(denoiser.schedule, steps, spacing):
        x0 = _estimate("ddpm", denoiser, x, condition, step, project)
        ratio = step.alpha / step.next_alpha
        added = step.sigma**2 - (ratio * step.next_sigma) ** 2  # variance of x_t given x_s
        x = step.next_alpha * added / step.sigma**2 * x0 + ratio * (step.next_sigma / step.sigma) ** 2 * x
        if step.next_sigma > 0:
            x = x + math.sqrt(added) * step.next_sigma / step.sigma * _fresh("ddpm", draw, x, step)
        _finish("ddpm", x, x0, step, on_step)
    return x


@torch.no_grad()
def ddim(
    denoiser: Denoiser[Condition],
    noise: Tensor,
    condition: Condition,
    steps: int,
    *,
    eta: float = 0.0,
    draw: Draw | None = None,
    spacing: Spacing = "trailing",
    project: Project | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDIM (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16): deterministic for eta = 0, `ddpm` in law for eta = 1.

    The noise direction is taken from the state and the projected x0, so that a projection is not undone by it. On a
    `FlowSchedule` with eta = 0 it is `flow`'s Euler method.

    Args:
        denoiser: the model.
        noise: standard normal, (b, ...): the state at the first time.
        condition: handed to the network.
        steps: network evaluations.
        eta: share of fresh noise, 0 to 1.
        draw: noise of a step (see `ddpm`); needed, and used, only for eta > 0.
        spacing: see `VpSchedule.times`.
        project: see `ddpm`.
        on_step: see `ddpm`.

    Returns:
        The sample, shaped as `noise`, float32 (float64 if `noise` is).

    Raises:
        NonFiniteError: naming the sampler, the step and its time.
        LamellaError: eta outside 0 to 1, or above 0 without `draw`; as `ddpm`.
    """
    if not 0 <= eta <= 1 or (eta > 0 and draw is None):
        raise LamellaError(f"ddim: found eta {eta:g}, expected 0 to 1, and a `draw` of noise where it is above 0.")
    x = _start("ddim", noise)
    for step in _steps(denoiser.schedule, steps, spacing):
        x0 = _estimate("ddim", denoiser, x, condition, step, project)
        added = step.sigma**2 - (step.alpha / step.next_alpha * step.next_sigma) ** 2
        fresh = eta * math.sqrt(added) * step.next_sigma / step.sigma  # sigma_t(eta), eq. 16
        kept = math.sqrt(max(step.next_sigma**2 - fresh**2, 0.0))
        x = step.next_alpha * x0 + kept * ((x - step.alpha * x0) / step.sigma)
        if draw is not None and fresh > 0:
            x = x + fresh * _fresh("ddim", draw, x, step)
        _finish("ddim", x, x0, step, on_step)
    return x


@torch.no_grad()
def flow(
    denoiser: Denoiser[Condition],
    noise: Tensor,
    condition: Condition,
    steps: int,
    *,
    heun: bool = False,
    project: Project | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Follow dx/dt = noise - x0 = (x - x0) / t from t = 1 to 0 (rectified flow, Liu et al. 2022, arXiv 2209.03003).

    Args:
        denoiser: the model, on a `FlowSchedule`.
        noise: standard normal, (b, ...): the state at t = 1.
        condition: handed to the network.
        steps: Euler steps; the number of network evaluations, or with `heun` 2 steps - 1.
        heun: correct each step but the last by the slope at its end (Karras et al. 2022, arXiv 2206.00364, Alg. 1).
        project: applied to every x0 estimate; the result is the last of these, so it is projected too.
        on_step: called after each step with its number from 1 and its first x0 estimate.

    Returns:
        The sample, shaped as `noise`, float32 (float64 if `noise` is).

    Raises:
        NonFiniteError: naming the sampler, the step and its time.
        LamellaError: the denoiser's schedule is no flow; steps below 1; a noise head (no signal at t = 1).
    """
    if not isinstance(denoiser.schedule, FlowSchedule):
        raise LamellaError("flow: found a denoiser with a table of steps, expected a FlowSchedule. Use ddim or ddpm.")
    x = _start("flow", noise)
    del noise  # as large as the state, and not needed beside it
    for step in _steps(denoiser.schedule, steps, "trailing"):
        x0 = _estimate("flow", denoiser, x, condition, step, project)
        shrink = step.next_sigma / step.sigma
        reached = torch.lerp(x0, x, shrink)  # x + (t' - t) (x - x0) / t, exact for t' = 0
        if heun and step.next_t is not None:
            ahead = step._replace(t=step.next_t)
            again = _estimate("flow", denoiser, reached, condition, ahead, project)
            slope = (x - x0) / step.sigma + (reached - again) / step.next_sigma
            reached = x + (step.next_sigma - step.sigma) / 2 * slope
        x = reached
        _finish("flow", x, x0, step, on_step)
    return x


@torch.no_grad()
def trigflow(
    denoiser: Denoiser[Condition],
    noise: Tensor,
    condition: Condition,
    steps: int,
    *,
    project: Project | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Follow the path of `flow` in the angle between signal and noise (TrigFlow; Lu and Song 2024, arXiv 2410.11081, eq. 3).

    With u = x / sqrt(alpha^2 + sigma^2) = cos(a) x0 + sin(a) noise the path is du/da = cos(a) noise - sin(a) x0. For data of
    unit variance of which nothing is known that is 0 on average, so a step of any length keeps their variance, where `flow`
    keeps 72 % of the standard deviation in 4 steps and 85 % in 8: scan noise comes out as loud as it should. In return the
    last step goes past the last x0, by 5 % in 4 steps and 1 % in 8 where x0 is certain.

    Args:
        denoiser: the model, on any schedule.
        noise: standard normal, (b, ...): the state at the first time. Overwritten if it is float32 or float64: a volume takes
            0.3 GB.
        condition: handed to the network.
        steps: network evaluations.
        project: applied to every x0 estimate. The result is a sum of these and of the noise, so what is to hold of it must
            hold of the noise too.
        on_step: called after each step with its number from 1 and the x0 estimate.

    Returns:
        The sample, shaped as `noise`, float32 (float64 if `noise` is).

    Raises:
        NonFiniteError: naming the sampler, the step and its time.
        LamellaError: `steps` not to be had; a noise head at SNR 0.
    """
    x = _start("trigflow", noise)
    for step in _steps(denoiser.schedule, steps, "trailing"):
        x0 = _estimate("trigflow", denoiser, x, condition, step, project)
        angle, reached = math.atan2(step.sigma, step.alpha), math.atan2(step.next_sigma, step.next_alpha)
        length, reached_length = math.hypot(step.sigma, step.alpha), math.hypot(step.next_sigma, step.next_alpha)
        kept = reached_length / length * (1 - (angle - reached) / math.tan(angle))
        x.mul_(kept).add_(x0, alpha=reached_length * (angle - reached) / math.sin(angle))
        _finish("trigflow", x, x0, step, on_step)
        del x0  # not to be kept while the next is made
    return x


def _steps(schedule: NoiseSchedule, steps: int, spacing: Spacing) -> Iterator[_Step]:
    """Walk the sampling times, each with the levels it leaves and reaches; the last reaches clean data, (1, 0)."""
    times = schedule.times(steps, spacing)
    grid = torch.tensor(times, dtype=torch.float64)
    alphas, sigmas = [*schedule.alpha(grid).tolist(), 1.0], [*schedule.sigma(grid).tolist(), 0.0]
    for i, (t, following) in enumerate(zip(times, [*times[1:], None], strict=True)):
        yield _Step(i + 1, len(times), t, alphas[i], sigmas[i], following, alphas[i + 1], sigmas[i + 1])


def _start(sampler: str, noise: Tensor) -> Tensor:
    """Take the noise as the first state, in float32 or wider."""
    if not all(math.isfinite(end) for end in torch.aminmax(noise)):
        raise NonFiniteError(f"{sampler}: the starting noise holds NaN or infinity, before step 1. Check its source.")
    return noise.to(torch.promote_types(noise.dtype, torch.float32))


def _estimate(
    sampler: str, denoiser: Denoiser[Condition], x: Tensor, condition: Condition, step: _Step, project: Project | None
) -> Tensor:
    """Ask for x0 at the step's time and project it; both must be finite."""
    x0 = denoiser(x, step.t, condition)
    _check(sampler, "the network's x0", x0, step)
    if project is not None:
        x0 = project(x0)
        _check(sampler, "the projected x0", x0, step)
    return x0


def _fresh(sampler: str, draw: Draw, x: Tensor, step: _Step) -> Tensor:
    """Draw a step's noise; a shape that would broadcast is refused, as it would repeat noise."""
    noise = draw(step.number)
    if noise.shape != x.shape:
        raise LamellaError(
            f"{sampler}: the noise drawn for step {step.number} has shape {tuple(noise.shape)}, expected "
            f"{tuple(x.shape)}."
        )
    return noise


def _finish(sampler: str, x: Tensor, x0: Tensor, step: _Step, on_step: OnStep | None) -> None:
    """Check the state a step reached and tell the caller."""
    _check(sampler, "the state after the step", x, step)
    if on_step is not None:
        on_step(step.number, x0)


def _check(sampler: str, what: str, value: Tensor, step: _Step) -> None:
    """Stop at the first NaN or infinity."""
    low, high = torch.aminmax(value)  # NaN spreads to both; a mask would take as much memory as the state
    if not math.isfinite(low) or not math.isfinite(high):
        finite = value.isfinite()
        raise NonFiniteError(
            f"{sampler}: {what} holds NaN or infinity at step {step.number} of {step.total} (t = {step.t:g}). Found "
            f"{int((~finite).sum())} of {value.numel()} values, expected none. Check the condition's range, and the "
            "network's weights and number format."
        )
