"""What each process reads, and when: the run's items in order, from the part that a checkpoint ended with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Dataset, Subset

from lamella.train.fit_settings import FitSettings


class Parts(pl.LightningDataModule):
    """The run in parts between two checkpoints; a resumed run begins with the part it was stopped in."""

    def __init__(self, train: Dataset[Any], validation: Dataset[Any], settings: FitSettings) -> None:
        super().__init__()
        self._train, self._validation, self._settings = train, validation, settings

    def train_dataloader(self) -> Any:
        """The part that the trainer has come to."""
        s = self._settings
        assert self.trainer is not None, "Lightning gives the trainer before it asks for data"
        # by steps, not by parts: a run that ended within a part, or had parts of another length, goes on where it was
        done, rank = self.trainer.global_step, self.trainer.global_rank
        end = min((done // s.part + 1) * s.part, s.steps)
        a_step = s.accumulate * s.world
        return self._loader(self._train, range(done * a_step + rank, end * a_step, s.world))

    def val_dataloader(self) -> Any:
        """The fixed batches."""
        s, count = self._settings, len(self._validation)  # type: ignore[arg-type]  # map-style, so it has a length
        assert self.trainer is not None, "Lightning gives the trainer before it asks for data"
        # as many batches for every process, the first ones again where they do not share out evenly
        own = [i % count for i in range(self.trainer.global_rank, -(-count // s.world) * s.world, s.world)]
        return self._loader(self._validation, own)

    def _loader(self, data: Dataset[Any], items: Sequence[int]) -> Any:
        return DataLoader(Subset(data, items), batch_size=None, num_workers=self._settings.workers)
