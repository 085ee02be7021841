"""Batches for the networks of papers: abutting slabs of a whole number of thin slices, from Lamella's training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lamella.data.patches import PatchSettings
from lamella.data.samples import SampleBatches, made_sample
from lamella.data.slabs import Slab, Slabs
from lamella.data.sources import TrainingSource, choose
from lamella.physics.slice_operator import Profile

COARSEST_MM = 1.7
"""Views whose planes lie farther apart are left out: their slabs would be wider than a chest scan's."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Thin (b, K * ratio, y, x) and thick (b, K, y, x) HU."""

    thin: Tensor
    thick: Tensor
    ratio: int
    spacings_mm: tuple[float, ...]


class SlabBatches(SampleBatches[Batch]):
    """item -> `Batch`: a ratio, then a view and a place for each sample."""

    settings: PatchSettings

    def __init__(
        self,
        sources: Sequence[TrainingSource],
        settings: PatchSettings,
        items: int,
        slabs: int,
        ratios: tuple[int, ...],
    ):
        self._slabs, self._ratios = slabs, ratios
        super().__init__(sources, settings, items)

    def needed(self, source: TrainingSource) -> int:
        """Thin slices of the longest block, with a slab more at either end for profiles that are no box."""
        return (self._slabs + 2) * max(self._ratios) if source.spacing_mm <= COARSEST_MM else 0

    def batch(self, item: int) -> Batch:
        """The batch of an item."""
        s = self.settings
        rng = np.random.default_rng([s.seed, item])
        ratio = int(rng.choice(self._ratios))
        profile: Profile = "gaussian" if rng.random() < s.other_profile else "box"
        centres = (ratio - 1) / 2 + ratio * np.arange(1, self._slabs + 1, dtype=np.float64)
        slabs = Slabs(Slab(ratio, ratio, profile), (self._slabs + 2) * ratio, centres)
        samples = [made_sample(rng, choose(rng, self.sources), slabs, s) for _ in range(s.batch)]
        thin, thick = (torch.from_numpy(np.stack([getattr(one, key) for one in samples])) for key in ("thin", "thick"))
        return Batch(
            thin[:, ratio:-ratio], thick, ratio, tuple(float(one.thin_mm[1] - one.thin_mm[0]) for one in samples)
        )
