"""The reference system's own network, awake, under every sampler: a thousand seeds at once, from the last time step.

`test_samplers.py` does the same with a toy network and says how a value that is not finite is reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

from lamella.diffusion import Denoiser, FlowSchedule, Head, NoiseSchedule, ddim, ddpm, trigflow
from lamella.diffusion.schedule import cosine, linear, scaled_linear, zero_terminal_snr
from lamella.networks.diffusion_unet import DiffusionUNet, DiffusionUNetSettings

SEEDS, STEPS = 1000, 3
SCHEDULES: dict[str, NoiseSchedule] = {
    "cosine": cosine(),
    "linear": linear(),
    "scaled linear": scaled_linear(),
    "cosine, zero terminal": zero_terminal_snr(cosine()),
    "linear, zero terminal": zero_terminal_snr(linear()),
    "flow": FlowSchedule(),
}
CASES: list[tuple[str, Head]] = [
    (name, head)
    for name in SCHEDULES
    for head in (("v", "velocity", "x0") if name == "flow" else ("noise", "v", "x0"))
    if not (head == "noise" and "zero" in name)  # refused: test_denoiser_heads.py
]
SHAPE = (SEEDS, 4, 2, 2, 1)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Blocks this small are slower on several threads, much so where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network() -> DiffusionUNet:
    """No weight is zero, so that the answer depends on the state, the condition and the time."""
    made = DiffusionUNet(
        DiffusionUNetSettings(width=8, multipliers=(1, 1), blocks=1, attention_levels=(1,), heads=2, time_embedding=16)
    )
    generator = torch.Generator().manual_seed(0)
    for p in made.parameters():
        p.data.copy_(torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def seeds() -> Tensor:
    """One seed a sample."""
    return torch.stack([torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(s)) for s in range(SEEDS)])


@pytest.mark.parametrize(
    "bf16", [pytest.param(False, id="fp32"), pytest.param(True, id="bf16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("name", "head"), CASES)
def test_thousand_seeds_of_the_real_network_stay_finite(
    name: str, head: Head, bf16: bool, network: DiffusionUNet, seeds: Tensor
) -> None:
    # SPEC A14, A20, B6, B7
    schedule, asked = SCHEDULES[name], []

    def answer(x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        asked.append(float(t[0]))
        context: AbstractContextManager[object] = torch.autocast("cpu", torch.bfloat16, enabled=bf16)
        with context:
            out: Tensor = network(torch.cat([x, condition], dim=1), t)
        assert out.dtype == (torch.bfloat16 if bf16 else torch.float32)
        return out

    denoiser = Denoiser(answer, schedule, head)
    condition = seeds.flip(0)

    generator = torch.Generator().manual_seed(7)
    answers = [
        ddpm(denoiser, seeds, condition, STEPS, lambda step: torch.randn(seeds.shape, generator=generator)),
        ddim(denoiser, seeds, condition, STEPS),
        trigflow(denoiser, seeds.clone(), condition, STEPS),
    ]
    assert max(asked) == asked[0] == (1.0 if isinstance(schedule, FlowSchedule) else 999.0)
    for found in answers:
        assert found.dtype == torch.float32
        assert math.isfinite(float(found.abs().max()))
        assert float(found.std(dim=0).min()) > 0  # seeds differ
