from __future__ import annotations

from typing import get_args

import pytest
import torch
from tests.head_targets import target
from torch import Tensor

from lamella.diffusion import Denoiser, FlowSchedule, Head, NoiseSchedule, VpSchedule
from lamella.diffusion.denoiser import coefficients
from lamella.diffusion.schedule import cosine, zero_terminal_snr
from lamella.errors import LamellaError

HEADS: tuple[Head, ...] = get_args(Head)
SHAPE = (4, 2, 3, 2, 2)


def _times(schedule: NoiseSchedule) -> Tensor:
    return (
        torch.tensor([0, 300, 700, 950]) if isinstance(schedule, VpSchedule) else torch.tensor([0.02, 0.3, 0.7, 0.98])
    )


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("schedule", [cosine(), FlowSchedule()])
def test_a_head_that_hits_its_target_gives_x0(head: Head, schedule: NoiseSchedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    t = _times(schedule)
    alpha, sigma = (level(t).view(-1, 1, 1, 1, 1) for level in (schedule.alpha, schedule.sigma))
    aim = target(head, x0, noise, alpha, sigma)
    denoiser = Denoiser(lambda x, t, condition: condition, schedule, head)
    torch.testing.assert_close(denoiser(schedule.mix(x0, noise, t), t, aim), x0)


@pytest.mark.parametrize("head", HEADS)
def test_coefficients_by_hand(head: Head) -> None:
    # alpha .8, sigma .6 (q = 1) and a flow's alpha .75, sigma .25 (q = .625)
    c_in, c_skip, c_out = coefficients(head, torch.tensor([0.8, 0.75]).double(), torch.tensor([0.6, 0.25]).double())
    expected = {
        "noise": ([1, 1], [1.25, 4 / 3], [-0.75, -1 / 3]),
        "v": ([1, 1], [0.8, 1.2], [-0.6, -0.4]),
        "x0": ([1, 1], [0, 0], [1, 1]),
        "velocity": ([1, 1], [1 / 1.4, 1], [-0.6 / 1.4, -0.25]),
        "preconditioned": ([1, 0.625**-0.5], [0.8, 1.2], [0.6, 0.25 * 0.625**-0.5]),
    }[head]
    for found, wanted in zip((c_in, c_skip, c_out), expected, strict=True):
        torch.testing.assert_close(found, torch.tensor(wanted).double(), rtol=1e-6, atol=1e-6)


def test_preconditioning_keeps_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(200_000, generator=generator) for _ in range(2))
    for t in (0.01, 0.3, 0.5, 0.9, 1.0):
        alpha, sigma = torch.tensor(1 - t), torch.tensor(t)
        c_in = coefficients("preconditioned", alpha, sigma).c_in
        assert float((c_in * (alpha * x0 + sigma * noise)).std()) == pytest.approx(1, abs=0.01)
        assert float(target("preconditioned", x0, noise, alpha, sigma).std()) == pytest.approx(1, abs=0.01)


def test_network_sees_scaled_input_float32_times_and_condition() -> None:
    seen: list[tuple[Tensor, Tensor, str]] = []

    def network(x: Tensor, t: Tensor, condition: str) -> Tensor:
        seen.append((x, t, condition))
        return torch.zeros_like(x)

    denoiser = Denoiser(network, FlowSchedule(), "preconditioned")
    x0 = denoiser(torch.full((2, 1, 1, 1, 1), 5.0), torch.tensor([0.0, 0.25]), "lung")
    torch.testing.assert_close(x0.flatten(), torch.tensor([5.0, 6.0]))  # c_skip 1 and .75 / .625
    x, t, condition = seen[0]
    torch.testing.assert_close(x.flatten(), torch.tensor([5.0, 5 * 0.625**-0.5]))
    assert (t.dtype, t.tolist(), condition) == (torch.float32, [0, 0.25], "lung")
    denoiser(torch.ones(3, 1), 0.5, "")
    assert seen[1][1].tolist() == [0.5, 0.5, 0.5]


def test_preconditioned_flow_ends_at_its_input_and_begins_at_the_network() -> None:
    denoiser = Denoiser(lambda x, t, condition: condition, FlowSchedule(), "preconditioned")
    x, raw = torch.tensor([[3.0]]), torch.tensor([[7.0]])
    assert denoiser(x, 0.0, raw).item() == 3  # no noise: x_t is the answer
    assert denoiser(x, 1.0, raw).item() == 7  # all noise: the network alone


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_is_float32_round_a_low_precision_network(dtype: torch.dtype) -> None:  # SPEC A20
    # raw 0 leaves x0 = x / alpha, 71.298 at t = 990; bfloat16 knows only 71.5
    denoiser = Denoiser(lambda x, t, condition: torch.zeros_like(x).to(dtype), cosine(), "noise")
    t = torch.tensor([990])
    x0 = denoiser(torch.ones(1, 1, dtype=dtype), t, None)
    assert x0.dtype == torch.float32
    assert x0.item() == pytest.approx(1 / float(cosine().alpha(t)), rel=1e-6)


def test_a_network_that_scales_its_input_itself_is_handed_the_state() -> None:
    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    x_t = torch.full((1, 1), 71.298)
    for scaled in (True, False):
        Denoiser(network, FlowSchedule(), "preconditioned", scaled)(x_t, 0.5, None)
    c_in = 1 / (0.5**2 + 0.5**2) ** 0.5
    assert [float(x) for x in seen] == pytest.approx([71.298 * c_in, 71.298])


def test_gradients_reach_the_network() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    denoiser = Denoiser(lambda x, t, condition: weight * x, FlowSchedule(), "velocity")
    denoiser(torch.ones(1, 1), 0.5, None).sum().backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(-0.5)  # d(x - t w x) / dw


@pytest.mark.parametrize(("schedule", "t"), [(zero_terminal_snr(cosine()), 999), (FlowSchedule(), 1)])
def test_noise_head_without_signal_is_refused(schedule: NoiseSchedule, t: float) -> None:  # SPEC B6
    denoiser = Denoiser(lambda x, t, condition: x, schedule, "noise")
    with pytest.raises(LamellaError, match=f"signal is zero at t = {t} .SNR 0.*Use a v, x0, velocity"):
        denoiser(torch.ones(1, 1), t, None)
    for head in HEADS[1:]:
        assert bool(Denoiser(lambda x, t, condition: x, schedule, head)(torch.ones(1, 1), t, None).isfinite().all())


def test_refusals() -> None:
    with pytest.raises(LamellaError, match="found 'score', expected noise, v, x0"):
        Denoiser(lambda x, t, condition: x, cosine(), "score")(torch.ones(1, 1), 0, None)  # type: ignore[arg-type]
    with pytest.raises(LamellaError, match=r"found shape \(2, 1\), expected that of its input \(2, 3\)"):
        Denoiser(lambda x, t, condition: x[:, :1], cosine(), "v")(torch.ones(2, 3), 0, None)
