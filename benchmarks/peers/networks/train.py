"""Train a network of a paper on the scans that Lamella learns from (not its phantoms), for so many minutes of processor time.

    python benchmarks/peers/networks/train.py tvsrn FOLDER --minutes 15

Goes on where it was stopped; with more minutes it goes on from where the shorter run ended. The learning rate follows half a
cosine over the minutes. The loss is the mean absolute error, as in the papers.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from batches import SlabBatches
from kinds import KINDS, LAST, answer, of_package
from torch.nn import functional

from lamella.data.load import DataSettings
from lamella.data.patches import PatchSettings
from lamella.data.views import load_views
from lamella.files.config import fill

KEEP_EVERY_S = 60.0
WARM_UP = 0.02
"""Share of the time in which the learning rate rises."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("folder", type=Path, help="where the run is kept")
    parser.add_argument("--minutes", type=float, default=15.0, help="processor time, over all cores")
    parser.add_argument("--config", type=Path, default=Path("configs/embedded.yaml"), help="whose data is used")
    parser.add_argument("--package", action="store_true", help="begin with the tensors of py-SAINT")
    asked = parser.parse_args()
    kind = KINDS[asked.kind]
    config = yaml.safe_load(asked.config.read_text(encoding="utf-8"))
    data = fill(DataSettings, {key: config["data"][key] for key in ("folder", "series")})
    patches = fill(PatchSettings, config["patches"])
    torch.manual_seed(0)
    network = of_package() if asked.package else kind.make()
    learner = torch.optim.AdamW(network.parameters(), lr=kind.rate, weight_decay=1e-4)
    done = _resume(asked.folder / LAST, asked.kind, network, learner)
    if done["cpu_seconds"] >= 60 * asked.minutes:
        print(f"{asked.kind}: {done['steps']} steps in {done['cpu_seconds']:.0f} s are done already")
        return 0
    settings = replace(patches, batch=kind.batch, size_px=kind.size_px)
    real = [one for one in data.series if one.path]
    sources = load_views(Path(data.folder), real)
    batches = SlabBatches(sources, settings, 10**9, network.slabs, network.ratios)
    began, spent, kept, losses = time.process_time(), done["cpu_seconds"], time.monotonic(), []
    while True:
        now = spent + time.process_time() - began
        over = now >= 60 * asked.minutes
        if over or time.monotonic() - kept > KEEP_EVERY_S:
            done["cpu_seconds"] = now
            done["curve"].append([round(now, 1), done["steps"], round(sum(losses) / max(1, len(losses)), 2)])
            _keep(asked.folder / LAST, {"kind": asked.kind, "network": network, "learner": learner, **done})
            kept, losses = time.monotonic(), []
        if over:
            break
        share = now / (60 * asked.minutes)
        for group in learner.param_groups:
            group["lr"] = kind.rate * min(1.0, share / WARM_UP + 0.01) * (1 + math.cos(math.pi * share)) / 2
        batch = batches[done["steps"]]
        spacing_mm = batch.spacings_mm[0]
        made = answer(network, batch.thick, batch.ratio, batch.ratio * spacing_mm, (0.75, 0.75))
        loss = functional.l1_loss(made, batch.thin)
        learner.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1e4 if asked.kind == "saint" else 1e3)
        learner.step()
        losses.append(loss.item())
        done["steps"] += 1
    print(f"{asked.kind}: {done['steps']} steps in {done['cpu_seconds']:.0f} s, loss {done['curve'][-1][2]} HU")
    return 0


def _resume(path: Path, kind: str, network: torch.nn.Module, learner: torch.optim.Optimizer) -> dict[str, Any]:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        return {"steps": 0, "cpu_seconds": 0.0, "curve": []}
    found = torch.load(path, map_location="cpu", weights_only=True)
    if found["kind"] != kind:
        raise SystemExit(f"{path} is a run of {found['kind']}. Expected one of {kind}: choose another folder.")
    network.load_state_dict(found["network"])
    learner.load_state_dict(found["learner"])
    return {key: found[key] for key in ("steps", "cpu_seconds", "curve")}


def _keep(path: Path, state: dict[str, Any]) -> None:
    staged = path.with_suffix(".new")
    torch.save(
        {key: value.state_dict() if key in ("network", "learner") else value for key, value in state.items()}, staged
    )
    os.replace(staged, path)


if __name__ == "__main__":
    raise SystemExit(main())
