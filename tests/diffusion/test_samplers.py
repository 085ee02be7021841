from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from lamella.diffusion import Denoiser, FlowSchedule, Head, NoiseSchedule, ddim, ddpm, trigflow
from lamella.diffusion.schedule import VpSchedule, cosine, linear, scaled_linear, zero_terminal_snr
from lamella.errors import LamellaError, NonFiniteError

Sampler = Callable[..., Tensor]
HEADS: tuple[Head, ...] = get_args(Head)
MEAN, SD = 2.0, 0.5  # of the Gaussian data below


def _seeded(seed: int, like: Tensor) -> Callable[[int], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda step: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def _ddpm(denoiser: Denoiser[Any], noise: Tensor, condition: Any, steps: int, **options: Any) -> Tensor:
    return ddpm(denoiser, noise, condition, steps, _seeded(7, noise), **options)


SAMPLERS: dict[str, Sampler] = {"ddpm": _ddpm, "ddim": ddim}
CASES: list[tuple[Sampler, NoiseSchedule]] = [
    (sampler, schedule) for sampler in SAMPLERS.values() for schedule in (zero_terminal_snr(cosine()), FlowSchedule())
]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _gaussian(schedule: NoiseSchedule) -> Denoiser[None]:
    """Exact posterior mean of N(MEAN, SD^2) data: m + a s^2 / (a^2 s^2 + sigma^2) (x_t - a m)."""

    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        alpha, sigma = (level(t.double()).to(x.dtype).view(-1, 1) for level in (schedule.alpha, schedule.sigma))
        return MEAN + alpha * SD**2 / (alpha**2 * SD**2 + sigma**2) * (x - alpha * MEAN)

    return Denoiser(network, schedule, "x0")


@pytest.mark.parametrize(("sampler", "schedule"), CASES)
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_constant_x0_is_returned_exactly(sampler: Sampler, schedule: NoiseSchedule, steps: int) -> None:
    constant = _normal(2, 1, 2, 2, 2, seed=1)
    denoiser = Denoiser(lambda x, t, condition: condition, schedule, "x0")
    assert torch.equal(sampler(denoiser, _normal(2, 1, 2, 2, 2), constant, steps), constant)


@pytest.mark.parametrize("schedule", [zero_terminal_snr(cosine()), zero_terminal_snr(linear()), FlowSchedule()])
def test_deterministic_paths_of_gaussian_data_are_the_known_line(schedule: NoiseSchedule) -> None:
    # the probability-flow map from N(0, 1) to N(m, s^2) is m + s noise
    noise = torch.linspace(-3, 3, 25).view(-1, 1)
    exact = MEAN + SD * noise

    def worst(sampler: Sampler, steps: int) -> float:
        return float((sampler(_gaussian(schedule), noise.double(), None, steps) - exact).abs().max())

    assert worst(ddim, 1000) < 0.01
    assert worst(trigflow, 1000) < 0.01
    for sampler in (ddim, trigflow):
        assert worst(sampler, 100) / worst(sampler, 200) == pytest.approx(2, abs=0.15)  # first order


@pytest.mark.parametrize("schedule", [cosine(), scaled_linear(), FlowSchedule()])
@pytest.mark.parametrize("sampler", [_ddpm, ddim])
def test_samples_of_gaussian_data_have_its_mean_and_spread(sampler: Sampler, schedule: NoiseSchedule) -> None:
    noise = _normal(10_000, 1)
    if schedule == scaled_linear():  # its last step still holds 6.8 % of the signal, so the state starts there
        noise = noise * (0.0683**2 * SD**2 + 1 - 0.0683**2) ** 0.5 + 0.0683 * MEAN
    sample = sampler(_gaussian(schedule), noise, None, 1000)
    assert float(sample.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(sample.std()) == pytest.approx(SD, rel=0.03)


@pytest.mark.parametrize(("sampler", "schedule"), CASES)
def test_result_follows_the_projection_and_the_seed(sampler: Sampler, schedule: NoiseSchedule) -> None:  # SPEC A14, C1
    denoiser = Denoiser(lambda x, t, condition: torch.sin(3 * x), schedule, "v")
    noise = _normal(2, 1, 4, 2, 2)

    def project(x: Tensor) -> Tensor:  # every pair of slices averages 10
        pairs = x.view(2, 1, 2, 2, 2, 2)
        return (pairs + 10 - pairs.mean(3, keepdim=True)).view_as(x)

    result = sampler(denoiser, noise, None, 8, project=project)
    torch.testing.assert_close(project(result), result)
    assert torch.equal(result, sampler(denoiser, noise, None, 8, project=project))
    assert not torch.equal(result, sampler(denoiser, noise + 0.1, None, 8, project=project))
    assert not torch.allclose(project(sampler(denoiser, noise, None, 8)), sampler(denoiser, noise, None, 8))


@pytest.mark.parametrize("schedule", [zero_terminal_snr(cosine()), FlowSchedule(), FlowSchedule(shift=3)])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_in_the_angle_noise_keeps_its_strength_in_any_number_of_steps(schedule: NoiseSchedule, steps: int) -> None:
    # SPEC C3, C4: unit noise about which the network knows nothing; on a straight path it fades
    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        alpha, sigma = (level(t.double()).view(-1, 1) for level in (schedule.alpha, schedule.sigma))
        return alpha / (alpha**2 + sigma**2) * x

    unknown = Denoiser(network, schedule, "x0")
    noise = _normal(4, 5).double()
    torch.testing.assert_close(trigflow(unknown, noise.clone(), None, steps), noise)
    kept = float((ddim(unknown, noise, None, steps) / noise).mean())
    assert kept < {1: 0.01, 4: 0.75, 8: 0.87}[steps]


@pytest.mark.parametrize(("steps", "past"), [(4, 0.054), (8, 0.010), (16, 0.002)])
def test_in_the_angle_what_is_certain_is_passed_by_a_little(steps: int, past: float) -> None:
    certain = Denoiser(lambda x, t, condition: torch.ones_like(x), FlowSchedule(), "x0")
    ends = trigflow(certain, torch.tensor([[0.0], [1.0]]), None, steps)
    assert float(ends[0]) == pytest.approx(1 + past, abs=1e-3)
    assert abs(float(ends[1] - ends[0])) < 0.02  # of the noise next to nothing is left


def test_in_the_angle_a_sum_of_projected_parts_is_projected() -> None:
    # SPEC C1: the draw lies in the null space of the measurement when noise and estimates do
    def null(x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)

    denoiser = Denoiser(lambda x, t, condition: torch.sin(3 * x) + 0.5, FlowSchedule(), "preconditioned")
    result = trigflow(denoiser, null(_normal(4, 6)), None, 5, project=null)
    torch.testing.assert_close(result.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
    assert not torch.allclose(trigflow(denoiser, null(_normal(4, 6)), None, 5).mean(1), torch.zeros(4), atol=1e-3)


@pytest.mark.parametrize(("sampler", "schedule"), CASES)
def test_latents_are_never_clamped(sampler: Sampler, schedule: NoiseSchedule) -> None:  # SPEC A14
    denoiser = Denoiser(lambda x, t, condition: torch.full_like(x, 1e6), schedule, "x0")
    assert torch.equal(sampler(denoiser, _normal(1, 4), None, 4), torch.full((1, 4), 1e6))


@pytest.mark.parametrize("network_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["cosine", "zero terminal", "scaled_linear", "flow"])
def test_thousand_seeds_stay_finite(name: str, head: Head, network_dtype: torch.dtype) -> None:  # SPEC A20
    tables = {"cosine": cosine(), "zero terminal": zero_terminal_snr(cosine()), "scaled_linear": scaled_linear()}
    schedule: NoiseSchedule = tables.get(name, FlowSchedule())
    if head == "noise" and float(schedule.alpha(torch.tensor(schedule.times(1)[0]))) == 0:
        with pytest.raises(LamellaError, match="SNR 0"):  # refused, not patched
            ddim(Denoiser(lambda x, t, c: x, schedule, head), _normal(1, 1), None, 4)
        return
    weight = (_normal(8, 8, seed=3) / 8**0.5).to(network_dtype)

    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        return torch.tanh(x.to(network_dtype) @ weight)

    seeds = torch.stack([_normal(8, seed=seed) for seed in range(1000)])
    for sampler in (*SAMPLERS.values(), trigflow):
        result = sampler(Denoiser(network, schedule, head), seeds, None, 8)
        assert result.dtype == torch.float32
        assert bool(result.isfinite().all())


NAMED = [(_ddpm, "ddpm", 599), (ddim, "ddim", 599), (trigflow, "trigflow", 0.6)]


@pytest.mark.parametrize(("sampler", "name", "t"), NAMED)
def test_non_finite_value_names_sampler_step_and_time(sampler: Sampler, name: str, t: float) -> None:  # SPEC A20
    schedule: NoiseSchedule = FlowSchedule() if name.endswith("flow") else cosine()
    calls = []

    def third_fails(x: Tensor) -> Tensor:
        calls.append(len(calls))
        return torch.where(torch.arange(x.numel()).view_as(x) < (2 if len(calls) == 3 else 0), float("inf"), x)

    where = rf"step 3 of 5 \(t = {t}\). Found 2 of 8 values"
    broken = Denoiser(lambda x, t, condition: third_fails(x), schedule, "x0")
    with pytest.raises(NonFiniteError, match=rf"^{name}: the network's x0 holds NaN or infinity at {where}"):
        sampler(broken, _normal(2, 4), None, 5)
    calls.clear()
    sound = Denoiser(lambda x, t, condition: x, schedule, "x0")
    with pytest.raises(NonFiniteError, match=rf"^{name}: the projected x0 .*{where}"):
        sampler(sound, _normal(2, 4), None, 5, project=third_fails)
    with pytest.raises(NonFiniteError, match=f"^{name}: the starting noise .* before step 1"):
        sampler(sound, torch.tensor([[float("nan")]]), None, 5)


def test_non_finite_draw_names_the_step() -> None:
    denoiser = Denoiser(lambda x, t, condition: x, cosine(), "x0")

    def draw(step: int) -> Tensor:
        return torch.full((1, 2), float("nan") if step == 2 else 0.0)

    with pytest.raises(NonFiniteError, match=r"^ddpm: the state after the step .* step 2 of 4 \(t = 749\)"):
        ddpm(denoiser, _normal(1, 2), None, 4, draw)


def test_noise_by_position_makes_tiles_agree() -> None:
    # a denoiser without neighbourhood: a tile must be the same cut from the whole, given noise by position
    whole, denoiser = _normal(1, 6), Denoiser(lambda x, t, condition: torch.cos(x), cosine(), "v")
    fresh = {step: _normal(1, 6, seed=100 + step) for step in range(1, 6)}
    expected = ddpm(denoiser, whole, None, 5, fresh.__getitem__)
    tile = ddpm(denoiser, whole[:, 2:5], None, 5, lambda step: fresh[step][:, 2:5])
    torch.testing.assert_close(tile, expected[:, 2:5])


def test_steps_are_counted_and_reported() -> None:
    asked: list[float] = []

    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        asked.append(float(t[0]))
        return torch.full_like(x, len(asked))

    seen: list[tuple[int, float]] = []

    def on_step(step: int, x0: Tensor) -> None:
        seen.append((step, float(x0.mean())))

    ddim(Denoiser(network, cosine(), "x0"), _normal(1, 2), None, 3, spacing="linspace", on_step=on_step)
    assert asked == list(cosine().times(3, "linspace"))
    assert seen == [(1, 1), (2, 2), (3, 3)]
    asked.clear()
    ddim(Denoiser(network, FlowSchedule(), "x0"), _normal(1, 2), None, 4)
    assert asked == [1, 0.75, 0.5, 0.25]


def test_sampling_leaves_no_graph_and_its_input_alone() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    noise = _normal(1, 3)
    before = noise.clone()
    result = ddim(Denoiser(lambda x, t, condition: weight * x, FlowSchedule(), "velocity"), noise, None, 3)
    assert not result.requires_grad
    assert torch.equal(noise, before)
    low = ddim(Denoiser(lambda x, t, condition: x, FlowSchedule(), "velocity"), noise.bfloat16(), None, 3)
    assert low.dtype == torch.float32  # SPEC A20


def test_refusals() -> None:
    table = Denoiser(lambda x, t, condition: x, VpSchedule((0.9, 0.5)), "v")
    with pytest.raises(LamellaError, match="found 3, expected 1 to 2"):
        ddim(table, _normal(1, 2), None, 3)
    with pytest.raises(LamellaError, match=r"step 1 has shape \(1, 1\), expected \(1, 2\)"):
        ddpm(table, _normal(1, 2), None, 2, lambda step: torch.zeros(1, 1))
