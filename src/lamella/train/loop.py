"""Run a stage: checkpoints, curves, resume. Resuming is running the same command again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from lamella.data.patches import PatchBatches, PatchSettings
from lamella.data.views import ThinView
from lamella.train.checkpoints import WholeCheckpoints, parts_in_all, steps_done
from lamella.train.precision import precision_on
from lamella.train.settings import EmbeddedRun, StageSettings
from lamella.train.stages import Stage

LAST = "last.ckpt"
_VALIDATION_BATCHES = 12


class _Batches(pl.LightningDataModule):
    """An epoch is the stretch between two checkpoints; its batches depend on the step alone, so a resume repeats none."""

    def __init__(
        self,
        views: Sequence[ThinView],
        held_out: Sequence[ThinView],
        patches: PatchSettings,
        stage: StageSettings,
        run: EmbeddedRun,
    ) -> None:
        super().__init__()
        self._views, self._held_out, self._patches, self._stage = views, held_out, patches, stage
        self._every, self._workers = run.validate_every, run.workers

    def train_dataloader(self) -> Any:
        assert self.trainer is not None, "Lightning attaches the trainer before it asks for data"
        done = self.trainer.global_step
        end = min((done // self._every + 1) * self._every, self._stage.steps)
        return self._loader(PatchBatches(self._views, self._patches, done, end))

    def val_dataloader(self) -> Any:
        seed = self._patches.seed + 1
        plain = dataclasses.replace(
            self._patches, seed=seed, noise=0.0, kernel=0.0, magnify=0.0, other_profile=0.0, thick_noise=0.0
        )
        return self._loader(PatchBatches(self._held_out, plain, 0, _VALIDATION_BATCHES))

    def _loader(self, batches: PatchBatches) -> Any:
        return DataLoader(batches, batch_size=None, num_workers=self._workers)


def run_stage(
    name: str,
    module: Stage,
    run: EmbeddedRun,
    stage: StageSettings,
    patches: PatchSettings,
    views: Sequence[ThinView],
    held_out: Sequence[ThinView],
) -> int:
    """Train one stage to its last step, from its last checkpoint if there is one; `module` ends with averaged weights.

    Returns:
        Optimiser steps that the weights have learnt in.
    """
    if stage.steps == 0:
        return 0
    folder = Path(run.run) / name
    last = folder / LAST
    done = steps_done(last)
    if done < stage.steps:
        _fit(folder, module, run, stage, _Batches(views, held_out, patches, stage, run), done)
    # Lightning stores the average as the checkpoint's weights and the last step's beside them.
    module.load_state_dict(torch.load(last, map_location="cpu", weights_only=True)["state_dict"])
    module.cpu()
    return steps_done(last)


def _fit(folder: Path, module: Stage, run: EmbeddedRun, stage: StageSettings, data: _Batches, done: int) -> None:
    """Train from step `done` on; each start has curves of its own, so that a resume deletes none."""
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=parts_in_all(folder / LAST, stage.steps, run.validate_every),
        accelerator=run.device,
        devices=1,
        precision=precision_on(run.precision, run.device),
        gradient_clip_val=stage.clip,
        callbacks=[
            EMAWeightAveraging(decay=stage.ema),
            ModelCheckpoint(folder, filename="last", save_top_k=1, enable_version_counter=False, every_n_epochs=1),
        ],
        logger=[
            CSVLogger(folder, name="", version=f"curves-from-{done:06d}"),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ],
        plugins=[WholeCheckpoints()],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=25,
        enable_model_summary=False,
    )
    module.to(memory_format=torch.channels_last_3d)
    resume = folder / LAST if done else None
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
