"""How an error of the network enters the next state, and where samplers of a noise head begin."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from lamella.diffusion import Denoiser, FlowSchedule, Head, NoiseSchedule, ScheduleSettings, ddim, error_gains
from lamella.diffusion import make_schedule as made
from lamella.diffusion.schedule import cosine, zero_terminal_snr
from lamella.errors import LamellaError

ROOT = Path(__file__).parents[2]
EARLY = made(ScheduleSettings("cosine", least_alpha=0.1))
MANY: list[tuple[Head, NoiseSchedule]] = [
    (head, schedule)
    for head in get_args(Head)
    for schedule in (cosine(), EARLY, zero_terminal_snr(cosine()), FlowSchedule())
    if head != "noise" or float(schedule.alpha(torch.tensor(schedule.times(4)[0]))) > 0
]


@pytest.mark.parametrize(("head", "schedule"), MANY)
def test_a_gain_is_what_an_error_of_the_output_does_to_the_next_state(head: Head, schedule: NoiseSchedule) -> None:
    # SPEC B6: states after each step, with and without an error of 1e-3 in that step's output alone
    noise = torch.randn(1, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = schedule.times(4)
    for k, gain in enumerate(error_gains(Denoiser(lambda x, t, _: x, schedule, head), 4)):
        ends: list[Tensor] = []
        for error in (0.0, 1e-3):
            states: list[Tensor] = []

            def network(
                x: Tensor, t: Tensor, _: None, wrong: float = error, k: int = k, to: list[Tensor] = states
            ) -> Tensor:
                to.append(x)
                return torch.zeros_like(x) + wrong * (len(to) == k + 1)

            last = ddim(Denoiser(network, schedule, head), noise, None, 4)
            ends.append([*states, last][k + 1])
        c_in = 1.0
        if head == "preconditioned" and k + 1 < 4:
            here = torch.tensor([times[k + 1]], dtype=torch.float64)
            c_in = float(Denoiser(network, schedule, head).coefficients(here).c_in)
        assert float((ends[1] - ends[0]).abs().max()) == pytest.approx(1e-3 * gain * c_in, rel=1e-6, abs=1e-12)


def test_gains_are_sines_of_the_step_in_the_angle() -> None:
    # SPEC B6: sin(a - a') for v, the same over alpha for noise
    schedule, times = cosine(), [*cosine().times(20)]
    angles = [float(torch.atan2(schedule.sigma(t), schedule.alpha(t))) for t in map(torch.tensor, times)] + [0.0]
    turns = [math.sin(a - b) for a, b in pairwise(angles)]
    alphas = [float(schedule.alpha(torch.tensor(t))) for t in times]
    v, noise = (error_gains(Denoiser(lambda x, t, _: x, schedule, head), 20) for head in ("v", "noise"))  # type: ignore[arg-type]
    assert v == pytest.approx(turns, rel=1e-9)
    assert noise == pytest.approx([turn / alpha for turn, alpha in zip(turns, alphas, strict=True)], rel=1e-9)
    assert noise[0] > 1500
    assert max(v) < 0.1


def test_samplers_begin_where_the_signal_is_strong_enough() -> None:
    # SPEC B7: trailing steps of the table's first 935 steps
    times = EARLY.times(20)
    assert (times[0], times[-1], len(times)) == (934, 46, 20)
    alphas = [float(EARLY.alpha(torch.tensor(t))) for t in (934, 935)]
    assert alphas[0] >= 0.1 > alphas[1]
    assert EARLY.times(935)[-1] == 0
    drawn = EARLY.draw_times(20_000, torch.Generator().manual_seed(0))
    assert int(drawn.max()) == 999  # training keeps the whole table (SPEC A12)
    for steps, message in ((936, "expected 1 to 935"), (0, "expected 1 to 935")):
        with pytest.raises(LamellaError, match=message):
            EARLY.times(steps)
    for least, found in ((1.0, "least_alpha 1"), (-0.1, "least_alpha -0.1")):
        with pytest.raises(LamellaError, match=f"found {found}, expected 0 to 0.99"):
            made(ScheduleSettings("cosine", least_alpha=least))
    with pytest.raises(LamellaError, match="are of a table"):
        made(ScheduleSettings("flow", least_alpha=0.1))


def test_the_page_has_the_figures_that_the_command_prints() -> None:
    from tests.test_benchmark_scripts import script

    page = (ROOT / "docs" / "explanation" / "noise-head.md").read_text(encoding="utf-8")
    rows = script("error_gain").rows()
    assert len(rows) == 9
    assert all(row in page for row in rows)
