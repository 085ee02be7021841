"""What settings are really faster on this CPU: a training step and an answer of the embedded model's mean.

    python benchmarks/torch_settings.py [--steps 5]

Number format, memory layout, threads, compilation and OpenVINO, each against the first row: what Lamella takes by itself.
bfloat16 has rows only where the processor multiplies it itself. A training step is one of configs/embedded.yaml; an answer is
that of the shipped weights to 10 thick slices of 256 x 256 pixels, of which 50 thin ones are made. Seconds are medians after
one step that is not counted. Settings take turns, so that a slow minute of the machine hits all. Close other programs first.
OpenVINO only answers, and has a row where it is installed (`pip install openvino`). Beside the time of every answer stands
its largest difference from the first row's, and above the table the rate of a large product of float32 matrices.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lamella.data.patches import Pairs, PatchBatches
from lamella.data.sources import TrainingSource
from lamella.embedded.loss import mean_scale_loss
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import MeanScaleNet
from lamella.files.config import load
from lamella.machine.processor import native_bf16
from lamella.models.shipped import find_model
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.grid_pair import GridPair
from lamella.train.settings import EmbeddedRun

THICK, THIN, SIDE_PX = 10, 50, 256
"""The answer: slices of 5 mm every 5 mm, to slices of 1 mm."""
REST_S = 1.0
"""Before a row's turn: threads of another library wait busily for a while, and would take its cores."""


@dataclass(frozen=True)
class Settings:
    """One row: number format, memory layout, threads, and who computes."""

    bf16: bool
    channels_last: bool = True
    threads: int = torch.get_num_threads()
    engine: str = ""

    @property
    def label(self) -> str:
        """For the table."""
        words = ["bfloat16" if self.bf16 else "float32", "channels last" if self.channels_last else "contiguous"]
        words += [
            f"{self.threads} threads" if self.threads > 1 else "1 thread",
            *([self.engine] if self.engine else []),
        ]
        return ", ".join(words)


@dataclass(frozen=True)
class Answer:
    """What an answer is asked from."""

    thick_hu: Tensor
    grids: GridPair
    condition: Tensor

    def of(self, net: MeanScaleNet) -> Tensor:
        """The mean in HU, packed."""
        mean, _ = net(self.thick_hu, self.grids, self.condition)
        return torch.as_tensor(mean)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5)
    asked = parser.parse_args()
    run = load(EmbeddedRun, Path("configs/embedded.yaml"))
    pairs, answer = questions(run)
    first = Settings(native_bf16("cpu"))
    rows = [first, *([replace(first, bf16=False)] if first.bf16 else [])]
    rows += [replace(first, channels_last=False), replace(first, threads=1), replace(first, engine="compiled")]
    rows += [replace(first, engine="OpenVINO")] if find_spec("openvino") else []
    nets = [network_of(row) for row in rows]
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in rows]
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for _ in range(asked.steps + 1):
        for i, (row, net, (train_s, answer_s)) in enumerate(zip(rows, nets, times, strict=True)):
            torch.set_num_threads(row.threads)
            time.sleep(REST_S)
            if row.engine != "OpenVINO":
                train_s.append(seconds(partial(train, net, row, pairs, run)))
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=row.bf16):
                start = time.perf_counter()
                found[i] = answer.of(net)
                answer_s.append(time.perf_counter() - start)
    torch.set_num_threads(first.threads)
    medians = [[statistics.median(one[1:]) if one else None for one in pair] for pair in times]
    print(f"{len(pairs.names)} patches of {' x '.join(map(str, pairs.thin_hu.shape[2:]))} voxels a step")
    print(speeds(nets[0], answer, float(medians[0][1] or 0)), end="\n\n")
    print("| settings | training step, s | over the first | answer, s | over the first | largest difference, HU |")
    print("|---|---|---|---|---|---|")
    for row, (train_m, answer_m), mean in zip(rows, medians, found, strict=True):
        cells = [
            text for value, base in zip((train_m, answer_m), medians[0], strict=True) for text in pair_of(value, base)
        ]
        print(f"| {row.label} | {' | '.join(cells)} | {float((mean.float() - found[0].float()).abs().max()):.3f} |")
    return 0


def questions(run: EmbeddedRun) -> tuple[Pairs, Answer]:
    """A training step's patches and an answer's thick slices, of one phantom chest."""
    chest = paint_phantom(PhantomSettings((80, SIDE_PX, SIDE_PX), 1.0, 1.4))
    view = TrainingSource.of_array("phantom chest", chest.hu.astype("int16"), 1.0)
    pairs = PatchBatches([view], replace(run.patches, factors=(5.0, 5.0)), 1)[0]
    thin = torch.from_numpy(chest.hu[:THIN].astype("float32"))
    grids = GridPair.along(np.arange(THIN) - 2.0, 1.0, np.arange(THICK) * 5.0, 5.0, 5.0)
    thick = grids.operator.blur(thin)
    return pairs, Answer(thick[None, None], grids, torch.tensor([grids.condition]))


def network_of(row: Settings) -> MeanScaleNet:
    """The shipped weights in the row's layout, computed as the row says."""
    net = EmbeddedModel.read(find_model("embedded")).mean.requires_grad_(row.engine != "OpenVINO")
    if row.channels_last:
        net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack this overload
    if row.engine == "compiled":
        net.trunk.compile()
        net.head.compile()
    if row.engine == "OpenVINO":
        net.trunk = OpenVino(net.trunk, row)  # type: ignore[assignment]  # called alike
        net.head.forward = OpenVino(net.head, row)  # type: ignore[method-assign]  # its `slice_features` stays torch's
    return net


class OpenVino(nn.Module):
    """A network that OpenVINO computes, for the shapes of its first call."""

    def __init__(self, network: nn.Module, row: Settings) -> None:
        super().__init__()
        self._network, self._row = network, row
        self._compiled: Any = None

    def forward(self, *inputs: Tensor | None) -> Any:
        """As the network; one tensor, or several. There is no feed: the volume is whole."""
        given = [tensor.float() for tensor in inputs if tensor is not None]
        arrays = [tensor.numpy() for tensor in given]
        if self._compiled is None:
            self._compiled = self._build(tuple(tensor.clone() for tensor in given))
        answers = [torch.from_numpy(array) for array in self._compiled(arrays).values()]
        return answers[0] if len(answers) == 1 else tuple(answers)

    def _build(self, inputs: tuple[Tensor, ...]) -> Any:
        import openvino

        traced = _Traced(self._network)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            graph = openvino.convert_model(traced, example_input=inputs, input=[list(one.shape) for one in inputs])
        hints = {"INFERENCE_PRECISION_HINT": "bf16" if self._row.bf16 else "f32", "PERFORMANCE_HINT": "LATENCY"}
        return openvino.Core().compile_model(graph, "CPU", {**hints, "INFERENCE_NUM_THREADS": self._row.threads})


class _Traced(nn.Module):
    """A network's own forward, whatever has been put in its place since."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return type(self.network).forward(self.network, *inputs)  # type: ignore[operator]  # a module's is a method


def train(net: MeanScaleNet, row: Settings, pairs: Pairs, run: EmbeddedRun) -> None:
    """Forward and backward."""
    with torch.autocast("cpu", torch.bfloat16, enabled=row.bf16):
        loss, _ = mean_scale_loss(net, pairs, pairs.condition, run.mean_loss)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
    net.zero_grad()


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def speeds(net: MeanScaleNet, answer: Answer, answer_s: float) -> str:
    """Operations a second of the first row's answer, and of a product of matrices, which is as fast as float32 gets."""
    with FlopCounterMode(display=False) as counter:  # with gradients: it does not know the convolutions without
        answer.of(net)
    a = torch.randn(2048, 2048)
    product_s = min(seconds(lambda: torch.mm(a, a)) for _ in range(5))
    return (
        f"answer: {counter.get_total_flops() / answer_s / 1e9:.0f} GFLOP/s; product of float32 matrices: "
        f"{2 * 2048**3 / product_s / 1e9:.0f} GFLOP/s"
    )


def pair_of(value: float | None, base: float | None) -> tuple[str, str]:
    """Seconds, and over the first row's; dashes where there are none."""
    return ("-", "-") if value is None or not base else (f"{value:.2f}", f"{value / base:.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
