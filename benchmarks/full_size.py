"""The reference's full size, really stepped: time and memory of its U-Net on this machine, beside what is computed.

    python benchmarks/full_size.py train OUT [--preset medium] [--cells 8 64 64]
    python benchmarks/full_size.py sample [--preset medium] [--cells 75 64 64]

`train` takes three steps on one fixed latent (random numbers, fixed noise and time) through the program's own loop: AdamW,
average of the weights, gradient checkpointing, bfloat16 where the processor has it. The process is killed when its third step
is done; a second one goes on from the checkpoint of the second, and its third loss and the weights after it must be the first
one's, bit for bit. OUT needs three times 16 bytes for each parameter (29 GB for medium). The same command goes on where it was
stopped. `sample` takes one DDIM step.

Memory is the process's resident set beyond what it held before the networks were made, the largest of twenty looks a second.
Each part is printed as JSON and kept in docs/full-size.json with --keep. Exit code 1 where something is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from full_codec import KEPT, Peak, report, watched
from torch import Tensor
from torch.utils.data import Dataset

from lamella.codecs.maisi import maisi_settings
from lamella.diffusion import ScheduleSettings, ddim, sample_losses
from lamella.latent_diffusion.condition import LatentDiffusionSettings, denoiser
from lamella.latent_diffusion.cost import cost
from lamella.machine.processor import native_bf16
from lamella.networks.diffusion_unet import DiffusionUNet, preset
from lamella.train.fit import FitModule, fit
from lamella.train.fit_settings import FitSettings

STEPS, SAVED = 3, 2
PRECISION = "bf16-mixed" if native_bf16("cpu") else "32-true"
WITHIN = 0.15
"""Share by which measured memory may differ from the computed one."""


class Fixed(Dataset[dict[str, Any]]):
    """The same latent, condition and noise for every step."""

    def __init__(self, cells: tuple[int, int, int], count: int) -> None:
        self.cells, self.count = cells, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> dict[str, Any]:
        draw = torch.Generator().manual_seed(0)
        x0, condition, noise = (torch.randn(1, 4, *self.cells, generator=draw) for _ in range(3))
        return {"x0": x0, "condition": 0.9 * x0 + 0.4 * condition, "noise": noise, "item": item, "name": ["fixed"]}


class Steps(FitModule[dict[str, Any]]):
    """A U-Net with a v head on the fixed latent; notes each step, and dies after the last one if told to."""

    def __init__(self, name: str, settings: FitSettings, notes: Path, dies: bool, peak: Peak) -> None:
        super().__init__(settings)
        self.settings = LatentDiffusionSettings(
            replace(preset(name), checkpoint=True), ScheduleSettings("cosine", zero_terminal_snr=True)
        )
        self.network = DiffusionUNet(self.settings.unet)
        self._notes, self._dies, self._peak = notes, dies, peak

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """With the batch's own noise, at one time."""
        predict = denoiser(self.network, self.settings)
        t = torch.tensor([500])
        loss = sample_losses(predict, batch["x0"], batch["condition"], t, batch["noise"]).mean()
        if self.training:
            self._step = {"step": int(batch["item"]), "loss": float(loss.detach())}
        return loss, {}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begin to count time."""
        self._since = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Note loss, time, memory and weights."""
        seconds, spent = (
            now - since for now, since in zip((time.perf_counter(), time.process_time()), self._since, strict=True)
        )
        bits = [int(p.detach().view(torch.int32).sum(dtype=torch.int64)) for p in self.network.parameters()]
        noted = {
            **self._step,
            "seconds": seconds,
            "processor_seconds": spent,
            "peak_bytes": self._peak.bytes,
            "bits": bits,
        }
        with self._notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(noted) + "\n")
        if self._dies and noted["step"] == STEPS - 1:
            os.kill(os.getpid(), signal.SIGKILL)


def run_steps(out: Path, name: str, cells: tuple[int, int, int], notes: Path, dies: bool) -> None:
    """In a process of its own: train, or go on."""
    warnings.simplefilter("ignore")
    settings = FitSettings(
        STEPS, validate_every=SAVED, learning_rate=1e-4, warm_up=1, precision=PRECISION, device="cpu"
    )
    with watched() as peak:
        torch.manual_seed(0)
        module = Steps(name, settings, notes, dies, peak)
        fit(out, module, Fixed(cells, STEPS), Fixed(cells, 1), settings)


def train(out: Path, name: str, cells: tuple[int, int, int]) -> tuple[dict[str, Any], list[str]]:
    """Killed and resumed; what was found, and what is wrong."""
    (out / "run").mkdir(parents=True, exist_ok=True)
    rows = []
    for part, code in (("first", -signal.SIGKILL), ("second", 0)):
        notes = out / f"{part}.jsonl"
        if not noted(notes) or noted(notes)[-1]["step"] < STEPS - 1:
            notes.unlink(missing_ok=True)
            words = ["_steps", str(out / "run"), name, *map(str, cells), str(notes), part]
            done = subprocess.run([sys.executable, __file__, *words], check=False)
            if done.returncode != code:
                raise SystemExit(f"the {part} process ended with {done.returncode}")
        rows.append(noted(notes))
    first, second = rows
    found = cost(preset(name), maisi_settings().network, cells, PRECISION)  # type: ignore[arg-type]
    expected, peak = found.training_bytes[1], first[-1]["peak_bytes"]
    seconds, spent = (min(row[key] for row in first) for key in ("seconds", "processor_seconds"))
    flop = 4 * found.step_flop  # forward, again for the checkpoints, and twice backward
    same = all(first[-1][key] == second[-1][key] for key in ("step", "loss", "bits"))
    told = {
        "preset": name,
        "parameters": found.unet_parameters,
        "cells": cells,
        "precision": PRECISION,
        "losses": [row["loss"] for row in first],
        "seconds_a_step": seconds,
        "processor_seconds_a_step": spent,
        "gflop_a_processor_second": flop / spent / 1e9,
        "peak_bytes": peak,
        "computed_bytes": expected,
        "checkpoint_bytes": (out / "run" / "last.ckpt").stat().st_size,
        "resumed_peak_bytes": second[-1]["peak_bytes"],
        "resumed_bit_for_bit": same,
    }
    wrong = [] if same and len(second) == STEPS - SAVED else ["the resumed step differs from the first process's"]
    if not all(b < a for a, b in zip(told["losses"], told["losses"][1:], strict=False)):
        wrong.append(f"the loss does not fall: {told['losses']}")
    if abs(peak / expected - 1) > WITHIN:
        wrong.append(f"memory {peak / 1e9:.2f} GB, computed {expected / 1e9:.2f} GB")
    return told, wrong


def noted(notes: Path) -> list[dict[str, Any]]:
    """What a process wrote, step by step."""
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.is_file() else []


def sample(name: str, cells: tuple[int, int, int]) -> tuple[dict[str, Any], list[str]]:
    """One DDIM step from noise; what was found, and what is wrong."""
    settings = LatentDiffusionSettings(preset(name), ScheduleSettings("cosine", zero_terminal_snr=True))
    data = Fixed(cells, 1)[0]
    with watched() as peak:
        unet = DiffusionUNet(settings.unet).eval()

        def network(block: Tensor, t: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16-mixed"):
                raw: Tensor = unet(block, t)
            return raw.float()

        start, spent = time.perf_counter(), time.process_time()
        latent = ddim(denoiser(network, settings), data["noise"], data["condition"], 1)
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
    found = cost(settings.unet, maisi_settings().network, cells, PRECISION)  # type: ignore[arg-type]
    told = {
        "preset": name,
        "cells": cells,
        "precision": PRECISION,
        "seconds_a_step": seconds,
        "processor_seconds_a_step": spent,
        "gflop_a_processor_second": found.step_flop / spent / 1e9,
        "peak_bytes": peak.bytes,
        "computed_bytes": found.inference_bytes,
    }
    wrong = [] if latent.shape == (1, 4, *cells) and bool(latent.isfinite().all()) else ["the latent is wrong"]
    return told, wrong


def main() -> int:
    if sys.argv[1:2] == ["_steps"]:
        out, name, z, y, x, notes, part = sys.argv[2:]
        run_steps(Path(out), name, (int(z), int(y), int(x)), Path(notes), part == "first")
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help=f"keep what is found in {KEPT}")
    parts = parser.add_subparsers(dest="part", required=True)
    for part, cells in (("train", (8, 64, 64)), ("sample", (75, 64, 64))):
        own = parts.add_parser(part)
        if part == "train":
            own.add_argument("out", type=Path)
        own.add_argument("--preset", default="medium")
        own.add_argument("--cells", type=int, nargs=3, default=cells)
    asked = parser.parse_args()
    runs: dict[str, Callable[[], tuple[dict[str, Any], list[str]]]] = {
        "train": lambda: train(asked.out, asked.preset, tuple(asked.cells)),
        "sample": lambda: sample(asked.preset, tuple(asked.cells)),
    }
    told, wrong = runs[asked.part]()
    return report(asked.part, told, wrong, keep=asked.keep)


if __name__ == "__main__":
    raise SystemExit(main())
