"""One training run of step-indexed batches: optimiser, average, curves, checkpoints, exact resume.

A data set says what batch belongs to a micro-step, and a module draws its noise from a generator seeded by that number, so a
run is a pure function of its settings. It goes on from its last checkpoint, in the middle of a pass over the data as well,
with the very losses that an uninterrupted run would have had.
"""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import Dataset

from lamella.errors import NonFiniteError, UsageError
from lamella.train.checkpoints import WholeCheckpoints, parts_in_all, steps_done
from lamella.train.fit_settings import FitSettings
from lamella.train.muon import MuonAdamW
from lamella.train.parts import Parts
from lamella.train.precision import precision_on
from lamella.train.strategy import strategy_of

LAST, BEST = "last", "best"

Batch = TypeVar("Batch")


class FitModule(pl.LightningModule, Generic[Batch]):
    """What every trained network shares; a child says its loss and what it shows."""

    def __init__(self, settings: FitSettings) -> None:
        super().__init__()
        self.fit_settings = settings
        self._part_begins = 0
        self._losses: list[Tensor] = []
        self._since_s: float | None = None
        self._samples = 0
        self._shown: dict[str, NDArray[np.float32]] = {}

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and figures to log; everything random comes from the generator."""

    def names(self, batch: Any) -> Sequence[str]:
        """What a batch was cut from, for messages; `collate` says it."""
        names: list[str] = batch["name"]
        return names

    def pictures(self, batch: Batch) -> dict[str, NDArray[np.float32]]:
        """(rows, columns) pictures in [0, 1] of the first fixed batch, to log after a validation; none by default."""
        return {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, with the noise that belongs to its place in the run."""
        s = self.fit_settings
        item = (self._part_begins * s.accumulate + batch_idx) * self.trainer.world_size + self.global_rank
        loss, figures = self._checked(batch, _generator(s.seed, item))
        self._losses.append(loss.detach())
        self._samples += len(self.names(batch)) * self.trainer.world_size
        if (batch_idx + 1) % s.accumulate == 0:
            self.log("train/loss", torch.stack(self._losses).mean(), prog_bar=True, sync_dist=True, batch_size=1)
            self._losses.clear()
            now_s = time.perf_counter()
            if self._since_s is not None:
                self.log("train/samples_per_s", self._samples / (now_s - self._since_s), batch_size=1)
            self.log("train/learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"], batch_size=1)
            self._since_s, self._samples = now_s, 0
        self.log_dict({f"train/{k}": v for k, v in figures.items()}, sync_dist=True, batch_size=1)
        return loss

    def on_train_epoch_start(self) -> None:
        """Time spent on validation and checkpoints is not counted as training."""
        self._since_s, self._samples = None, 0
        self._part_begins = self.global_step

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same loss with noise that is the same at every validation; and pictures, while the average is in place."""
        if batch_idx == 0:
            self._shown = self.pictures(batch)
        item = batch_idx * self.trainer.world_size + self.global_rank
        loss, figures = self._checked(batch, _generator(self.fit_settings.seed + 1, item))
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=1)
        self.log_dict({f"val/{k}": v for k, v in figures.items()}, sync_dist=True, batch_size=1)

    def _checked(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and figures; one that is not finite stops the run, whoever notices it first."""
        found: Exception | None = None
        try:
            loss, figures = self.loss(batch, generator)
            if torch.isfinite(loss):
                return loss, figures
            what = f"{float(loss):g}."
        except NonFiniteError as error:
            found, what = error, str(error)
        raise NonFiniteError(
            f"The loss is not finite at step {self.global_step}, for the batch {', '.join(self.names(batch))}. Found: "
            f"{what} Lower the learning rate, or look for damaged values in these cases."
        ) from found

    def on_validation_epoch_end(self) -> None:
        """Log the pictures."""
        board = next((one for one in self.loggers if isinstance(one, TensorBoardLogger)), None)
        if board is not None and self.trainer.is_global_zero:
            for name, picture in self._shown.items():
                board.experiment.add_image(name, picture, self.global_step, dataformats="HW")

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by norm; sharded weights know their whole gradient's norm only together."""
        root = self.trainer.strategy.model
        if gradient_clip_val and isinstance(root, FullyShardedDataParallel):
            root.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """AdamW at the rates of the settings, with Muon for matrices where they ask for it."""
        s = self.fit_settings
        parameters = [p for p in self.parameters() if p.requires_grad]
        adamw: dict[str, Any] = {"lr": s.learning_rate, "weight_decay": s.weight_decay, "betas": (0.9, s.beta2)}
        optimizer = MuonAdamW(parameters, ratio=s.muon, **adamw) if s.muon else torch.optim.AdamW(parameters, **adamw)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, s.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A run goes on at the rates of its settings; Lightning would go on at those stored with the optimiser."""
        s = self.fit_settings
        groups = [group for optimizer in checkpoint["optimizer_states"] for group in optimizer["param_groups"]]
        if any("muon" in group for group in groups) != bool(s.muon):
            raise UsageError(
                f"A run goes on with the optimiser it was begun with. Found muon {s.muon:g}, expected "
                f"{'0' if s.muon else 'more than 0'}. Set it, or give run=FOLDER for a run of its own."
            )
        peaks = [s.learning_rate * (s.muon if group.get("muon") else 1.0) for group in groups]
        for group, peak in zip(groups, peaks, strict=True):
            rate = peak * s.rate_factor(checkpoint["global_step"])
            group.update(initial_lr=peak, lr=rate, weight_decay=s.weight_decay, betas=(0.9, s.beta2))
        for schedule in checkpoint["lr_schedulers"]:
            schedule["base_lrs"] = peaks


def _generator(seed: int, item: int) -> torch.Generator:
    mixed = np.random.SeedSequence([seed, item]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))


def fit(
    folder: Path, module: FitModule[Any], train_data: Dataset[Any], validation_data: Dataset[Any], settings: FitSettings
) -> int:
    """Train, or go on training; the module ends with the averaged weights.

    Args:
        folder: checkpoints (`last.ckpt`, `best.ckpt`) and curves.
        module: what is trained.
        train_data: item i is the batch of micro-step i; with several processes they take turns.
        validation_data: fixed batches.
        settings: everything else.

    Returns:
        Optimiser steps that the weights have learnt in.

    Raises:
        NonFiniteError: the loss left the finite numbers; the message names the batch.
        UsageError: a strategy that cannot be had here.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    last = folder / f"{LAST}.ckpt"
    done = steps_done(last)
    if done < settings.steps:
        trainer = _trainer(folder, settings, done)
        data = Parts(train_data, validation_data, settings)
        # Twice as fast on CPUs.
        module.to(memory_format=torch.channels_last_3d)
        # fsdp replaces a module's parts by sharded ones: the caller's stays whole
        trained = copy.deepcopy(module) if settings.strategy == "fsdp" else module
        trainer.fit(trained, datamodule=data, ckpt_path=last if done else None, weights_only=True)
    # Lightning stores the average as the checkpoint's weights and the last step's beside them.
    module.load_state_dict(torch.load(last, map_location="cpu", weights_only=True, mmap=True)["state_dict"])
    module.cpu()
    return steps_done(last)


def _trainer(folder: Path, s: FitSettings, done: int) -> pl.Trainer:
    """A trainer whose epochs are the parts between checkpoints; each start has curves of its own."""
    checkpoints: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_weights_only": False}
    return pl.Trainer(
        default_root_dir=folder,
        max_epochs=parts_in_all(folder / f"{LAST}.ckpt", s.steps, s.part),
        accelerator=s.device,
        devices=s.devices,
        num_nodes=s.nodes,
        strategy=strategy_of(s.strategy, s.device, s.world),
        precision=precision_on(s.precision, s.device),
        accumulate_grad_batches=s.accumulate,
        gradient_clip_val=s.clip or None,
        check_val_every_n_epoch=s.validate_every // s.part,
        callbacks=[
            *([EMAWeightAveraging(decay=s.ema)] if s.ema else []),
            ModelCheckpoint(filename=BEST, monitor="val/loss", mode="min", save_top_k=1, **checkpoints),
            ModelCheckpoint(filename=LAST, save_top_k=1, every_n_epochs=1, save_on_train_epoch_end=True, **checkpoints),
        ],
        logger=[
            CSVLogger(folder, name="", version=f"curves-from-{done:06d}"),
            TensorBoardLogger(folder, name="", version="tensorboard"),
        ],
        plugins=[WholeCheckpoints()],
        use_distributed_sampler=False,  # it would shuffle; `Parts` shares out by place in the run
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=min(25, s.part),
        enable_model_summary=False,
    )
