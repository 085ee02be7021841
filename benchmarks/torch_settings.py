"""What torch settings are really faster on this CPU: a training step and an answer of the embedded model's mean.

    python benchmarks/torch_settings.py [--steps 6]

Number format, memory layout, threads and compilation, each against the first row (bfloat16 products, channels last, all
threads), on patches of a drawn chest of the size that configs/embedded.yaml trains with. Seconds are medians after one
step that is not counted. Settings take turns, so that a slow minute of the machine hits all. Close other programs first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lamella.config import load
from lamella.data.patches import Pairs, PatchBatches
from lamella.data.phantom import PhantomSettings, thorax_phantom
from lamella.data.views import ThinView
from lamella.embedded import MeanScaleNet
from lamella.embedded_loss import mean_scale_loss
from lamella.train.settings import EmbeddedRun


@dataclass(frozen=True)
class Settings:
    """One row: number format, memory layout, threads, and whether the network is compiled."""

    bf16: bool = True
    channels_last: bool = True
    threads: int = torch.get_num_threads()
    compiled: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        words = ["bfloat16" if self.bf16 else "float32", "channels last" if self.channels_last else "contiguous"]
        words += [f"{self.threads} threads" if self.threads > 1 else "1 thread", *["compiled"] * self.compiled]
        return ", ".join(words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    asked = parser.parse_args()
    run = load(EmbeddedRun, Path("configs/embedded.yaml"))
    chest = thorax_phantom(PhantomSettings((80, 192, 192), 1.0, 1.8))
    view = ThinView("drawn chest", chest.hu.astype("int16"), 1.0, 1.0, True)
    batches = PatchBatches([view], replace(run.patches, factors=(5.0, 5.0)), 0, 1)[0]
    first = Settings()
    rows = [first, replace(first, bf16=False), replace(first, channels_last=False), replace(first, threads=1)]
    rows += [replace(first, bf16=False, channels_last=False), replace(first, compiled=True)]
    nets = [network_of(run, row) for row in rows]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in rows]
    for _ in range(asked.steps + 1):
        for row, net, (train_s, answer_s) in zip(rows, nets, times, strict=True):
            torch.set_num_threads(row.threads)
            train_s.append(timed_step(run, net, row, batches, training=True))
            answer_s.append(timed_step(run, net, row, batches, training=False))
    print(f"{len(batches.names)} patches of {' x '.join(map(str, batches.thin_hu.shape[2:]))} voxels\n")
    print("| settings | training step, s | over the first | answer, s | over the first |\n|---|---|---|---|---|")
    medians = [[statistics.median(one[1:]) for one in pair] for pair in times]
    for row, (train_s, answer_s) in zip(rows, medians, strict=True):
        ratios = (train_s / medians[0][0], answer_s / medians[0][1])
        print(f"| {row.label} | {train_s:.2f} | {ratios[0]:.2f} | {answer_s:.2f} | {ratios[1]:.2f} |")
    return 0


def network_of(run: EmbeddedRun, row: Settings) -> MeanScaleNet:
    """The network in the row's layout, its convolution blocks compiled if asked for."""
    net = MeanScaleNet(run.model)
    if row.channels_last:
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack this overload
    if row.compiled:
        net.trunk.compile()
    return net


def timed_step(run: EmbeddedRun, net: MeanScaleNet, row: Settings, pairs: Pairs, *, training: bool) -> float:
    """Seconds of one forward pass, with the backward pass where training."""
    start = time.perf_counter()
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=row.bf16):
        loss, _ = mean_scale_loss(net, pairs, pairs.condition, run.mean_loss)
    if training:
        loss.backward()
        net.zero_grad()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
