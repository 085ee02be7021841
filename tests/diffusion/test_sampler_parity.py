"""Samplers against diffusers' schedulers: same network, same noise, same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from lamella.diffusion import Denoiser, FlowSchedule, Head, VpSchedule, ddim, ddpm
from lamella.diffusion.schedule import Spacing, cosine, linear, scaled_linear, zero_terminal_snr

HEADS: dict[Head, str] = {"noise": "epsilon", "v": "v_prediction", "x0": "sample"}
TABLES = {"squaredcos_cap_v2": cosine(), "linear": linear(), "scaled_linear": scaled_linear()}
SHAPE = (3, 2, 2, 2, 2)
WEIGHT = torch.randn(2, 2, generator=torch.Generator().manual_seed(5)) * 0.5


def _network(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
    """A fixed nonlinear network that depends on time and condition, with gains near 1."""
    mixed = torch.einsum("dc,bczyx->bdzyx", WEIGHT, x)
    return torch.tanh(mixed + condition) + 0.3 * torch.sin(t / 300).view(-1, 1, 1, 1, 1) * x


def _noise(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _with_table(scheduler: Any, table: VpSchedule) -> Any:
    """Give diffusers our table: its own is a float32 product, from whose neighbours it takes 1 - abar_t / abar_s.

    That costs it up to 1e-3 of a step's beta. The tables themselves are compared in test_noise_schedule.py.
    """
    scheduler.alphas_cumprod = torch.tensor(table.alphas_cumprod, dtype=torch.float64)
    return scheduler


def _options(kind: str, head: Head, spacing: Spacing, rescaled: bool) -> dict[str, Any]:
    betas = {"beta_start": 0.00085, "beta_end": 0.012} if kind == "scaled_linear" else {}
    return {
        "beta_schedule": kind,
        "prediction_type": HEADS[head],
        "timestep_spacing": spacing,
        "rescale_betas_zero_snr": rescaled,
        "clip_sample": False,
        **betas,
    }


def _reference(scheduler: Any, steps: int, condition: Tensor, **options: Any) -> Tensor:
    """The usual loop of a diffusers pipeline."""
    scheduler.set_timesteps(steps)
    x = _noise(0)
    for step, t in enumerate(scheduler.timesteps, start=1):
        extra = {name: value(step) if callable(value) else value for name, value in options.items()}
        x = scheduler.step(_network(x, t.float().expand(3), condition), t, x, **extra).prev_sample
    return x


def _close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-5


CASES = [
    (kind, head, spacing, rescaled, steps)
    for kind in TABLES
    for head in HEADS
    for spacing in ("trailing", "leading")
    for rescaled in (False, True)
    for steps in (20, 1000)
    if not (rescaled and head == "noise")  # x0 from noise at SNR 0 is refused here and infinite there
    if steps == 20 or (spacing == "trailing" and kind == "scaled_linear" and head != "x0")
]


@pytest.mark.parametrize(("kind", "head", "spacing", "rescaled", "steps"), CASES)
def test_ddpm_and_ddim_equal_diffusers(kind: str, head: Head, spacing: Spacing, rescaled: bool, steps: int) -> None:
    # SPEC A12, A14
    table: VpSchedule = zero_terminal_snr(TABLES[kind]) if rescaled else TABLES[kind]
    condition, denoiser = _noise(1), Denoiser(_network, table, head)
    options = _options(kind, head, spacing, rescaled)

    expected = _reference(_with_table(DDIMScheduler(**options), table), steps, condition)
    _close(ddim(denoiser, _noise(0), condition, steps, spacing=spacing), expected)

    scheduler = _with_table(DDPMScheduler(**options), table)
    expected = _reference(scheduler, steps, condition, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    found = ddpm(
        denoiser,
        _noise(0),
        condition,
        steps,
        lambda step: torch.randn(_noise(0).shape, generator=generator),
        spacing=spacing,
    )
    _close(found, expected)


@pytest.mark.parametrize("kind", TABLES)
def test_ddim_equals_diffusers_untouched(kind: str) -> None:
    scheduler = DDIMScheduler(**_options(kind, "v", "trailing", False))
    denoiser = Denoiser(_network, TABLES[kind], "v")
    _close(ddim(denoiser, _noise(0), _noise(1), 20), _reference(scheduler, 20, _noise(1)))


@pytest.mark.parametrize("steps", [1, 8, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_ddim_on_a_flow_equals_diffusers_euler(steps: int, shift: float) -> None:
    condition = _noise(1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    expected = _noise(0)
    for t in scheduler.timesteps:
        raw = _network(expected, t.float().expand(3), condition)
        expected = scheduler.step(raw, t, expected).prev_sample
    # diffusers tells the network 1000 t
    denoiser = Denoiser(lambda x, t, c: _network(x, 1000 * t, c), FlowSchedule(shift=shift), "velocity")
    _close(ddim(denoiser, _noise(0), condition, steps), expected)
