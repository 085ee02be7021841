"""How much the first step of a sampler enlarges an error of the network, by head and schedule: the table of
docs/explanation/noise-head.md.

    python benchmarks/error_gain.py

Nothing is trained: the figures follow from the noise levels alone.
"""

from __future__ import annotations

import torch

from lamella.diffusion import Denoiser, ScheduleSettings, error_gains, make_schedule

STEPS = (5, 10, 20, 50)
CASES = (
    ("noise", ScheduleSettings("cosine")),
    ("noise", ScheduleSettings("cosine", least_alpha=0.02)),
    ("noise", ScheduleSettings("cosine", least_alpha=0.05)),
    ("noise", ScheduleSettings("cosine", least_alpha=0.1)),
    ("noise", ScheduleSettings("cosine", least_alpha=0.2)),
    ("noise", ScheduleSettings("linear")),
    ("noise", ScheduleSettings("scaled_linear")),
    ("v", ScheduleSettings("cosine", zero_terminal_snr=True)),
    ("velocity", ScheduleSettings("flow")),
)


def rows() -> list[str]:
    """Markdown: head, schedule, where it begins, the signal there, SNR in dB, and the first step's gain by steps in all."""
    found = []
    for head, settings in CASES:
        schedule = make_schedule(settings)
        denoiser = Denoiser(lambda x, t, _: x, schedule, head)  # type: ignore[arg-type]  # names of heads
        first = schedule.times(20)[0]
        alpha, sigma = (float(level(torch.tensor(first))) for level in (schedule.alpha, schedule.sigma))
        named = settings.kind.replace("_", " ") + ", zero terminal SNR" * settings.zero_terminal_snr
        named += f", least alpha {settings.least_alpha:g}" if settings.least_alpha else ""
        ratio = f"{20 * torch.log10(torch.tensor(alpha / sigma)):.0f}" if alpha else "none"
        gains = [f"{error_gains(denoiser, steps)[0]:.3g}" for steps in STEPS]
        found.append(f"| {head} | {named} | {first:g} | {alpha:.2g} | {ratio} | {' | '.join(gains)} |")
    return found


def main() -> int:
    print(f"| head | schedule | first t | signal | SNR, dB | {' | '.join(f'{n} steps' for n in STEPS)} |")
    print("|---" * (5 + len(STEPS)) + "|")
    print("\n".join(rows()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
