"""A network of ten weights with everything a training run has; as a program it trains, to be killed or shared out.

python -m tests.tiny_fit FOLDER SETTINGS [STEP TO DIE AT]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lamella.train.fit import FitModule, fit
from lamella.train.fit_settings import FitSettings

PLAIN: dict[str, Any] = {
    "steps": 12,
    "validate_every": 4,
    "checkpoint_every": 4,
    "learning_rate": 1e-2,
    "final_rate": 1e-3,
    "warm_up": 3,
    "ema": 0.5,
    "precision": "32-true",
    "threads": 1,
    "device": "cpu",
}


class Numbers(Dataset[dict[str, Any]]):
    """item -> three samples of four numbers, drawn from the item's number; one item may be spoilt."""

    def __init__(self, count: int, spoilt: int = -1, first: int = 0) -> None:
        self.count, self.spoilt, self.first = count, spoilt, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> dict[str, Any]:
        x = torch.randn(3, 4, generator=torch.Generator().manual_seed(self.first + item))
        return {"x": x * float("nan") if item == self.spoilt else x, "item": item, "names": [f"case {item}"]}


class Tiny(FitModule):
    """Predicts the sum from noisy numbers; notes every training loss, exactly."""

    def __init__(self, settings: FitSettings, notes: Path | None = None, dies_at: int = -1) -> None:
        super().__init__(settings)
        self.network = nn.Linear(4, 2)
        self.notes, self.dies_at = notes, dies_at
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.1)

    def names(self, batch: dict[str, Any]) -> Sequence[str]:
        return [str(name) for name in batch["names"]]

    def loss(self, batch: dict[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["x"]
        noise = torch.randn(x.shape, generator=generator)
        loss = (self.network(x + noise).sum(1) - x.sum(1)).square().mean()
        if self.training and int(batch["item"]) == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.training and self.notes is not None:
            with self.notes.open("a") as file:
                file.write(f"{int(batch['item'])} {float(loss.detach()).hex()}\n")
        return loss, {"noise": noise.square().mean()}


def train(folder: Path, settings: FitSettings, dies_at: int = -1, notes: str = "notes", spoilt: int = -1) -> Tiny:
    folder.mkdir(parents=True, exist_ok=True)
    module = Tiny(settings, folder / notes, dies_at)
    fit(folder, module, Numbers(settings.items, spoilt), Numbers(2, first=1000), settings)
    return module


def noted(path: Path) -> dict[int, str]:
    """item -> loss; the later one where a resumed run did an item again."""
    return {int(item): loss for item, loss in (line.split() for line in path.read_text().splitlines())}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    changes = json.loads(sys.argv[2])
    rank = os.environ.get("LOCAL_RANK", "0")
    train(Path(sys.argv[1]), FitSettings(**{**PLAIN, **changes}), int((sys.argv[3:] or ["-1"])[0]), f"notes-{rank}")
