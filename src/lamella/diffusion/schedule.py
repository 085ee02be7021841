"""How much signal and how much noise there is at a time t: x_t = alpha(t) x0 + sigma(t) noise.

Two families share one interface. `VpSchedule` is a table over training steps 0 ... T - 1 with alpha^2 + sigma^2 = 1
(Ho et al. 2020, arXiv 2006.11239); its t is the step's number. `FlowSchedule` is the straight line alpha = 1 - t,
sigma = t of rectified flow (Liu et al. 2022, arXiv 2209.03003); its t runs from 0 (data) to 1 (noise).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor

from lamella.errors import LamellaError

Spacing = Literal["trailing", "linspace", "leading", "leading_from_last"]


@dataclass(frozen=True)
class NoiseSchedule(ABC):
    """What every schedule offers; frozen, in float64 whatever the dtype it is asked in."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale at times `t` (any shape, any dtype): float64, same shape and device."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise standard deviation at times `t` (any shape, any dtype): float64, same shape and device."""

    @abstractmethod
    def times(self, steps: int, spacing: Spacing = "trailing") -> tuple[float, ...]:
        """Give the falling times at which a sampler asks the network; after the last it goes to clean data.

        Args:
            steps: number of network evaluations, at least 1.
            spacing: how a table's steps are picked (see `VpSchedule.times`); a flow knows "trailing" only.

        Raises:
            LamellaError: `steps` or `spacing` cannot be had from this schedule.
        """

    @abstractmethod
    def draw_times(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `count` training times, shape (count,), on the generator's device."""

    def mix(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Noise `x0` (b, ...) with `noise` of the same shape to times `t` (b,): alpha x0 + sigma noise, >= float32."""
        dtype = torch.promote_types(x0.dtype, torch.float32)
        shape = (-1,) + (1,) * (x0.ndim - 1)
        alpha, sigma = self.alpha(t).to(dtype).view(shape), self.sigma(t).to(dtype).view(shape)
        return alpha * x0.to(dtype) + sigma * noise.to(dtype)


@final
@dataclass(frozen=True)
class VpSchedule(NoiseSchedule):
    """Variance-preserving table: alpha^2 = alphas_cumprod[t], sigma^2 = 1 - alphas_cumprod[t], t = 0 ... T - 1.

    Attributes:
        alphas_cumprod: abar_t for each training step, strictly falling, in [0, 1).
        least_alpha: samplers begin at the last step whose alpha is at least this; 0 for T - 1. Training keeps all steps.

    Raises:
        LamellaError: the table is empty, leaves [0, 1) or does not fall; or no step has the least alpha.
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)
    least_alpha: float = 0.0

    def __post_init__(self) -> None:
        table = self.alphas_cumprod
        if not table or not table[0] < 1 or not table[-1] >= 0 or any(b >= a for a, b in pairwise(table)):
            raise LamellaError(
                f"Noise schedule: the {len(table)} values of alphas_cumprod must fall strictly within [0, 1), "
                "and do not. Check the betas: each must lie in (0, 1]."
            )
        if not 0 <= self.least_alpha <= math.sqrt(table[0]):
            raise LamellaError(
                f"Noise schedule: found least_alpha {self.least_alpha:g}, expected 0 to {math.sqrt(table[0]):g}, the "
                "signal of its first step."
            )

    @classmethod
    def from_betas(cls, betas: Sequence[float]) -> VpSchedule:
        """Table from the per-step noise variances beta_t: abar_t = product of (1 - beta) up to t."""
        return cls(tuple((1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0).tolist()))

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of training steps."""
        return len(self.alphas_cumprod)

    @cached_property
    def noisiest(self) -> int:
        """The training step that samplers begin at."""
        return int((self._table.sqrt() >= self.least_alpha).sum()) - 1

    @cached_property
    def _table(self) -> Tensor:
        return torch.tensor(self.alphas_cumprod, dtype=torch.float64)

    def _lookup(self, t: Tensor) -> Tensor:
        """Table values at `t`; a time that is no training step is refused, never rounded or wrapped."""
        index = t.long()
        if bool(((index != t) | (index < 0) | (index >= len(self.alphas_cumprod))).any()):
            raise LamellaError(
                f"Noise schedule: a time is not a training step. Found values in [{t.min():g}, {t.max():g}] of "
                f"{t.dtype}, expected whole numbers from 0 to {self.num_train_timesteps - 1}. Times of a flow "
                "(0 to 1) do not fit this schedule, and bfloat16 cannot hold every step's number."
            )
        return self._table.to(index.device)[index]

    def alpha(self, t: Tensor) -> Tensor:
        """Return sqrt(abar_t); see `NoiseSchedule.alpha`."""
        return self._lookup(t).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Return sqrt(1 - abar_t); see `NoiseSchedule.sigma`."""
        return (1 - self._lookup(t)).sqrt()

    def times(self, steps: int, spacing: Spacing = "trailing") -> tuple[float, ...]:
        """Pick training steps for sampling, from noisy to clean (Lin et al. 2023, arXiv 2305.08891, Table 2).

        Args:
            steps: N, 1 to T, or to one above the step that `least_alpha` begins at: T is then that number below.
            spacing: for T = 1000 and N = 20, "trailing" is 999, 949, ..., 49; "linspace" 999, 946, ..., 0; "leading"
                950, 900, ..., 0, which never sees T - 1 and is here for models made for it; "leading_from_last" is
                "leading" with T - 1 put before it (one step more than asked, unless it was there).

        Raises:
            LamellaError: `steps` outside 1 to T, or an unknown spacing.
        """
        last = self.noisiest
        if not 1 <= steps <= last + 1:
            raise LamellaError(f"Sampling steps: found {steps}, expected 1 to {last + 1} for this noise schedule.")
        leading = [i * ((last + 1) // steps) for i in reversed(range(steps))]
        if spacing == "trailing":
            picked = [round((last + 1) * (steps - i) / steps) - 1 for i in range(steps)]
        elif spacing == "linspace":
            # one step must start at the noise, where NumPy's linspace(0, T - 1, 1) would give 0
            picked = [last, *(round(last * i / (steps - 1)) for i in reversed(range(steps - 1)))]
        elif spacing == "leading":
            picked = leading
        elif spacing == "leading_from_last":
            picked = leading if leading[0] == last else [last, *leading]
        else:
            raise LamellaError(
                f"Spacing of sampling steps: found {spacing!r}, expected trailing, linspace, leading or "
                "leading_from_last."
            )
        return tuple(float(t) for t in picked)

    def draw_times(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Uniform over the training steps, int64 (count,)."""
        device = generator.device if generator is not None else "cpu"
        return torch.randint(0, self.num_train_timesteps, (count,), generator=generator, device=device)


@final
@dataclass(frozen=True)
class FlowSchedule(NoiseSchedule):
    """Rectified flow: alpha = 1 - t, sigma = t, t in [0, 1].

    Attributes:
        shift: bends the sampling grid, t -> shift t / (1 + (shift - 1) t); above 1 more steps lie near the noise
            (Esser et al. 2024, arXiv 2403.03206, eq. 23). 1 leaves it uniform.
        logit_mean: training times are sigmoid(logit_mean + logit_std n), n normal (same paper, section 3.1).
        logit_std: see `logit_mean`.
    """

    shift: float = 1.0
    logit_mean: float = 0.0
    logit_std: float = 1.0

    def __post_init__(self) -> None:
        if not self.shift > 0 or not self.logit_std > 0:
            raise LamellaError(
                f"Flow schedule: found shift {self.shift:g} and logit_std {self.logit_std:g}, expected both above 0."
            )

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 - t; see `NoiseSchedule.alpha`."""
        return 1 - self.sigma(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return t; see `NoiseSchedule.sigma`."""
        if bool(((t < 0) | (t > 1) | t.isnan()).any()):
            raise LamellaError(
                f"Flow schedule: found times in [{t.min():g}, {t.max():g}], expected 0 (data) to 1 (noise)."
            )
        return t.double()

    def times(self, steps: int, spacing: Spacing = "trailing") -> tuple[float, ...]:
        """Uniform grid 1, ..., 1 / steps, bent by `shift`; the sampler goes from the last of these to 0."""
        if steps < 1:
            raise LamellaError(f"Sampling steps: found {steps}, expected at least 1.")
        if spacing != "trailing":
            raise LamellaError(f"Spacing of sampling steps: found {spacing!r}, expected 'trailing' for a flow.")
        uniform = [(steps - i) / steps for i in range(steps)]
        return tuple(self.shift * t / (1 + (self.shift - 1) * t) for t in uniform)

    def draw_times(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Logit-normal times, float64 (count,), strictly between 0 and 1."""
        device = generator.device if generator is not None else "cpu"
        normal = torch.randn(count, generator=generator, device=device, dtype=torch.float64)
        return torch.sigmoid(self.logit_mean + self.logit_std * normal)


@dataclass(frozen=True)
class ScheduleSettings:
    """What a run's configuration says about the schedule.

    Attributes:
        kind: "cosine", "linear", "scaled_linear" (tables) or "flow".
        num_train_timesteps: T of a table.
        beta_start: first beta of linear and scaled_linear; None: 1e-4 and 0.00085.
        beta_end: last beta of linear and scaled_linear; None: 0.02 and 0.012.
        max_beta: cap on the cosine table's betas.
        zero_terminal_snr: rescale a table so that its last step is pure noise; needs a v, x0 or velocity head.
        least_alpha: samplers begin at the last step of a table whose signal scale is at least this; what a noise head needs
            on a cosine table.
        shift: see `FlowSchedule`.
        logit_mean: see `FlowSchedule`.
        logit_std: see `FlowSchedule`.
    """

    kind: Literal["cosine", "linear", "scaled_linear", "flow"] = "cosine"
    num_train_timesteps: int = 1000
    beta_start: float | None = None
    beta_end: float | None = None
    max_beta: float = 0.999
    zero_terminal_snr: bool = False
    least_alpha: float = 0.0
    shift: float = 1.0
    logit_mean: float = 0.0
    logit_std: float = 1.0


def cosine(num_train_timesteps: int = 1000, max_beta: float = 0.999) -> VpSchedule:
    """Cosine table, offset s = 0.008, betas capped at `max_beta` (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17).

    Since abar is a running product of the capped betas, sqrt(abar) at the last step is 4.9e-5, not 0.
    """
    angle = [math.cos((i / num_train_timesteps + 0.008) / 1.008 * math.pi / 2) for i in range(num_train_timesteps + 1)]
    return VpSchedule.from_betas([min(1 - (b / a) ** 2, max_beta) for a, b in pairwise(angle)])


def linear(num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> VpSchedule:
    """Betas equally spaced (Ho et al. 2020, section 4)."""
    return VpSchedule.from_betas(
        torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64).tolist()
    )


def scaled_linear(num_train_timesteps: int = 1000, beta_start: float = 8.5e-4, beta_end: float = 0.012) -> VpSchedule:
    """Square roots of the betas equally spaced (Rombach et al. 2022, arXiv 2112.10752; its defaults)."""
    roots = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float64)
    return VpSchedule.from_betas(roots.square().tolist())


def zero_terminal_snr(schedule: VpSchedule) -> VpSchedule:
    """Make the last step pure noise and leave the first as it is (Lin et al. 2023, arXiv 2305.08891, Algorithm 1)."""
    root = torch.tensor(schedule.alphas_cumprod, dtype=torch.float64).sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return VpSchedule(tuple(root.square().tolist()))


def make_schedule(settings: ScheduleSettings) -> NoiseSchedule:
    """Build the schedule a configuration asks for.

    Raises:
        LamellaError: an unknown kind, or a table that does not fall.
    """
    count, start, end = settings.num_train_timesteps, settings.beta_start, settings.beta_end
    if settings.kind == "flow":
        if settings.least_alpha or settings.zero_terminal_snr:
            raise LamellaError(
                "Flow schedule: least_alpha and zero_terminal_snr are of a table. Found one of them, expected none."
            )
        return FlowSchedule(settings.shift, settings.logit_mean, settings.logit_std)
    if settings.kind == "cosine":
        table = cosine(count, settings.max_beta)
    elif settings.kind == "linear":
        table = linear(count, 1e-4 if start is None else start, 0.02 if end is None else end)
    elif settings.kind == "scaled_linear":
        table = scaled_linear(count, 8.5e-4 if start is None else start, 0.012 if end is None else end)
    else:
        raise LamellaError(f"Noise schedule: found {settings.kind!r}, expected cosine, linear, scaled_linear or flow.")
    if settings.zero_terminal_snr:
        table = zero_terminal_snr(table)
    return replace(table, least_alpha=settings.least_alpha)
