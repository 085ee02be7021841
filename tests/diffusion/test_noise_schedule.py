from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from lamella.diffusion import FlowSchedule, NoiseSchedule, ScheduleSettings, VpSchedule, make_schedule
from lamella.diffusion.schedule import Spacing, cosine, linear, scaled_linear, zero_terminal_snr
from lamella.errors import LamellaError

TABLES: dict[str, Callable[[], VpSchedule]] = {
    "squaredcos_cap_v2": cosine,
    "linear": linear,
    "scaled_linear": scaled_linear,
}
SCHEDULES: list[NoiseSchedule] = [
    *(make() for make in TABLES.values()),
    *(zero_terminal_snr(make()) for make in TABLES.values()),
    FlowSchedule(),
]


def _all_times(schedule: NoiseSchedule) -> torch.Tensor:
    if isinstance(schedule, VpSchedule):
        return torch.arange(schedule.num_train_timesteps)
    return torch.linspace(0, 1, 101, dtype=torch.float64)


def _reference(kind: str, **settings: object) -> DDIMScheduler:
    betas = {"beta_start": 0.00085, "beta_end": 0.012} if kind == "scaled_linear" else {}
    return DDIMScheduler(beta_schedule=kind, **betas, **settings)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("rescaled", [False, True])
def test_table_equals_diffusers(kind: str, rescaled: bool) -> None:  # SPEC A12, B6
    table = zero_terminal_snr(TABLES[kind]()) if rescaled else TABLES[kind]()
    expected = _reference(kind, rescale_betas_zero_snr=rescaled).alphas_cumprod.double()
    # theirs is a float32 running product; the capped cosine ends in 1 - 0.999, which float32 knows to 6e-5 only
    torch.testing.assert_close(torch.tensor(table.alphas_cumprod).double(), expected, rtol=5e-5, atol=1e-8)
    assert (table.alphas_cumprod[-1] == 0) == rescaled


def test_cosine_ends_where_the_specification_says() -> None:  # SPEC B6
    last = torch.tensor(999)
    assert float(cosine().alpha(last)) == pytest.approx(4.93e-5, rel=1e-3)
    assert float(cosine(max_beta=0.9999).alpha(last)) == pytest.approx(1.56e-5, rel=2e-3)
    assert float(linear().alpha(last)) == pytest.approx(0.00635, rel=1e-3)
    assert float(scaled_linear().alpha(last)) == pytest.approx(0.0683, rel=1e-3)


def test_rescaling_keeps_the_first_step_and_by_hand() -> None:
    # sqrt(abar) .9, .5, .1 -> minus .1, times .9 / .8 -> .9, .45, 0
    table = zero_terminal_snr(VpSchedule((0.81, 0.25, 0.01)))
    assert table.alphas_cumprod == pytest.approx((0.81, 0.2025, 0.0))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_snr_falls(schedule: NoiseSchedule) -> None:
    times = _all_times(schedule)
    snr = (schedule.alpha(times) / schedule.sigma(times)).square()
    assert bool((snr[1:] < snr[:-1]).all())


@pytest.mark.parametrize("schedule", SCHEDULES[:-1])
def test_tables_preserve_variance(schedule: NoiseSchedule) -> None:
    times = _all_times(schedule)
    torch.testing.assert_close(schedule.alpha(times) ** 2 + schedule.sigma(times) ** 2, torch.ones(1000).double())


def test_flow_is_the_straight_line() -> None:
    t = torch.tensor([0.0, 0.25, 1.0])
    assert FlowSchedule().alpha(t).tolist() == [1, 0.75, 0]
    assert FlowSchedule().sigma(t).tolist() == [0, 0.25, 1]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_low_precision_calls_neither_lower_nor_change_a_schedule(schedule: NoiseSchedule, dtype: torch.dtype) -> None:
    times = _all_times(schedule)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    asked = torch.tensor([[0.0, 1.0]], dtype=dtype)
    for call in (schedule.alpha, schedule.sigma):
        assert call(asked).dtype == torch.float64
        assert call(asked).shape == (1, 2)
    schedule.mix(torch.ones(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype), torch.tensor([0.0, 1.0], dtype=dtype))
    schedule.alpha(asked).zero_()  # writing into an answer must not reach the table
    assert torch.equal(schedule.alpha(times), alpha)
    assert torch.equal(schedule.sigma(times), sigma)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.shift = 2.0  # type: ignore[attr-defined]


def test_mix_by_hand_and_in_float32() -> None:
    x0, noise = torch.full((2, 1, 1, 1, 1), 4.0), torch.full((2, 1, 1, 1, 1), -2.0)
    mixed = FlowSchedule().mix(x0.bfloat16(), noise.bfloat16(), torch.tensor([0.25, 0.5]))
    assert mixed.flatten().tolist() == [0.75 * 4 - 0.25 * 2, 1.0]
    assert mixed.dtype == torch.float32


def test_times_of_the_specification() -> None:  # SPEC B7
    table = cosine()
    assert table.times(20) == tuple(range(999, 0, -50))
    assert table.times(20, "leading_from_last") == (999, *range(950, -1, -50))
    assert table.times(20, "leading") == tuple(range(950, -1, -50))
    assert table.times(20, "linspace")[:3] == (999, 946, 894)
    assert table.times(20, "linspace")[-1] == 0


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 25, 1000])
def test_first_time_is_the_last_training_step(steps: int) -> None:  # SPEC B7
    table = linear()
    for spacing in ("trailing", "linspace", "leading_from_last"):
        assert table.times(steps, spacing)[0] == 999
    assert table.times(steps)[-1] == 1000 // steps - 1
    assert len(table.times(steps)) == steps
    flow = FlowSchedule().times(steps)
    assert flow[0] == 1
    assert flow[-1] == pytest.approx(1 / steps)
    assert len(flow) == steps


@pytest.mark.parametrize("steps", [2, 4, 8, 20, 25, 50, 100, 1000])
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_times_equal_diffusers(steps: int, spacing: Spacing) -> None:
    reference = _reference("linear", timestep_spacing=spacing)
    reference.set_timesteps(steps)
    assert reference.timesteps.tolist() == list(linear().times(steps, spacing))


@given(st.integers(1, 1000))
def test_times_fall_within_the_table_for_every_count(steps: int) -> None:
    table = VpSchedule(tuple(1 - (i + 1) / 1001 for i in range(1000)))
    spacings: list[Spacing] = ["trailing", "linspace", "leading"]
    for spacing in spacings:
        times = table.times(steps, spacing)
        assert len(times) == steps
        assert all(a > b for a, b in pairwise(times))
        assert 0 <= times[-1] <= times[0] <= 999


def test_flow_shift_by_hand() -> None:
    # 3 t / (1 + 2 t) at 1 and 1/2
    assert FlowSchedule(shift=3).times(2) == pytest.approx((1.0, 0.75))


def test_training_times_are_seeded_and_spread() -> None:
    for schedule, middle in ((cosine(), 499.5), (FlowSchedule(), 0.5)):
        first = schedule.draw_times(4000, torch.Generator().manual_seed(1))
        assert torch.equal(first, schedule.draw_times(4000, torch.Generator().manual_seed(1)))
        assert float(first.double().mean()) == pytest.approx(middle, rel=0.05)
        assert bool((schedule.sigma(first) > 0).all())
    narrow = FlowSchedule(logit_mean=1.0, logit_std=0.01).draw_times(100, torch.Generator().manual_seed(1))
    assert float(narrow.mean()) == pytest.approx(0.731, abs=0.002)  # sigmoid(1)


def test_settings_make_each_schedule() -> None:
    assert make_schedule(ScheduleSettings()) == cosine()
    assert make_schedule(ScheduleSettings("linear")) == linear()
    assert make_schedule(ScheduleSettings("scaled_linear")) == scaled_linear()
    assert make_schedule(ScheduleSettings("scaled_linear", beta_start=0.0015, beta_end=0.0195)) == scaled_linear(
        1000, 0.0015, 0.0195
    )
    assert make_schedule(ScheduleSettings("cosine", 100, zero_terminal_snr=True)) == zero_terminal_snr(cosine(100))
    assert make_schedule(ScheduleSettings("flow", shift=2.0)) == FlowSchedule(2.0)


def test_refusals() -> None:
    table, flow = linear(), FlowSchedule()
    with pytest.raises(LamellaError, match="found 'sine', expected cosine, linear"):
        make_schedule(ScheduleSettings("sine"))  # type: ignore[arg-type]
    for steps in (0, 1001):
        with pytest.raises(LamellaError, match=f"found {steps}, expected 1 to 1000"):
            table.times(steps)
    with pytest.raises(LamellaError, match="found 0, expected at least 1"):
        flow.times(0)
    with pytest.raises(LamellaError, match="found 'karras'"):
        table.times(4, "karras")  # type: ignore[arg-type]
    with pytest.raises(LamellaError, match="expected 'trailing' for a flow"):
        flow.times(4, "leading")
    for bad in (0.5, -1.0, 1000.0, float("nan")):
        with pytest.raises(LamellaError, match="not a training step"):
            table.alpha(torch.tensor(bad))
    with pytest.raises(LamellaError, match=r"not a training step.*bfloat16"):
        table.alpha(torch.tensor(999, dtype=torch.bfloat16))  # which is 1000
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(LamellaError, match=r"expected 0 \(data\) to 1 \(noise\)"):
            flow.sigma(torch.tensor(bad))
    for values in ((), (1.0, 0.5), (0.5, 0.5), (0.5, -0.1)):
        with pytest.raises(LamellaError, match="must fall strictly within"):
            VpSchedule(values)
    with pytest.raises(LamellaError, match="found shift 0"):
        FlowSchedule(shift=0)
