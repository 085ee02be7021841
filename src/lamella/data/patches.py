"""Batches of the embedded model: samples of one geometry, counted in thin slices, since its networks know no millimetre.

Views whose planes lie far apart are thickened by smaller factors, in batches of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.data.samples import Sample, SampleBatches, SampleSettings, made_sample
from lamella.data.slabs import MARGIN, Slab, Slabs, draw_slab
from lamella.data.sources import TrainingSource, choose
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z

_COARSE_MM = 1.7
"""Planes further apart than this are coarse."""

_FEWEST = 3
"""Thick slices of a sample."""


@dataclass(frozen=True)
class PatchSettings(SampleSettings):
    """How samples are drawn for the embedded model.

    Attributes:
        thicknesses: smallest and largest slice thickness, in thin slices.
        coarse_factors: `factors` for views with planes more than 1.7 mm apart.
        pair_average: chance that neighbouring thin slices are averaged in pairs first (coarser targets).
    """

    batch: int = 8
    depth: int = 44
    max_thick: int = 14
    factors: tuple[float, float] = (2.0, 8.0)
    thicknesses: tuple[float, float] = (1.2, 8.0)
    coarse_factors: tuple[float, float] = (1.5, 3.5)
    pair_average: float = 0.15
    noise: float = 0.33
    kernel: float = 0.2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Pairs:
    """One batch.

    Attributes:
        thin_hu: (b, 1, D, y, x) truth.
        thick_hu: (b, 1, K, y, x), whole numbers, as stored CT.
        grids: the geometry as the model is told it; on the CPU, in float64.
        condition: (b, 3) `GridPair.condition` of each sample, whose spacing in mm may differ.
        counted: (D,) 1 for the thin slices an answer would have, 0 for those beyond.
        names: the views the samples come from.
    """

    thin_hu: Tensor
    thick_hu: Tensor
    grids: GridPair
    condition: Tensor
    counted: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device | str) -> Pairs:
        """On another device."""
        moved: dict[str, Any] = {
            key: getattr(self, key).to(device) for key in ("thin_hu", "thick_hu", "condition", "counted")
        }
        return replace(self, **moved)


class PatchBatches(SampleBatches[Pairs]):
    """item -> `Pairs`: a geometry, then a view and a place for each sample."""

    settings: PatchSettings

    def needed(self, source: TrainingSource) -> int:
        """Most thin slices that a sample may need: three of the widest slabs, or `depth`."""
        factor = max(2, math.ceil(self._factors(source)[1]))  # three in ten are rounded
        widest = min(2 * factor, self.settings.thicknesses[1])
        slab = Slab(factor, widest, "gaussian" if self.settings.other_profile else "box")
        return max(self.settings.depth + MARGIN, slab.depth(_FEWEST))

    def batch(self, item: int) -> Pairs:
        """The batch of an item."""
        s = self.settings
        rng = np.random.default_rng([s.seed, item])
        first = choose(rng, self.sources)
        members = [one for one in self.sources if _is_coarse(one) == _is_coarse(first)]
        halved = not _is_coarse(first) and rng.random() < s.pair_average
        low, high = self._factors(first)
        slab = draw_slab(rng, (low, max(low, high / 2) if halved else high), s.other_profile, s.thicknesses)
        slabs = slab.placed(rng, int(np.clip(slab.count(s.depth), _FEWEST, s.max_thick)))
        deep = [one for one in members if one.thin.shape[0] >= 2 * slabs.depth] if halved else []
        chosen = [choose(rng, deep or members) for _ in range(s.batch)]
        samples = [made_sample(rng, one, slabs, s, averaged=2 if deep else 1) for one in chosen]
        return _collated(samples, slabs, tuple(one.name for one in chosen))

    def _factors(self, source: TrainingSource) -> tuple[float, float]:
        return self.settings.coarse_factors if _is_coarse(source) else self.settings.factors


def _is_coarse(source: TrainingSource) -> bool:
    return source.spacing_mm > _COARSE_MM


def _collated(samples: list[Sample], slabs: Slabs, names: tuple[str, ...]) -> Pairs:
    grid, centres, slab = slabs.grid, slabs.centres, slabs.slab
    grids = GridPair.along(grid, 1.0, centres, slab.factor, slab.thickness)
    _, overlap, _ = grids.condition
    spacings_mm = [float(one.thin_mm[1] - one.thin_mm[0]) for one in samples]
    condition = [(math.log(slab.factor * mm / 5.0), overlap, math.log(mm)) for mm in spacings_mm]
    reach = slab.factor / 2 + 0.5
    counted = (grid > centres[0] - reach) & (grid < centres[-1] + reach)
    return Pairs(
        thin_hu=torch.from_numpy(np.stack([one.thin for one in samples])[:, None]),
        thick_hu=torch.from_numpy(np.stack([one.thick for one in samples])[:, None]),
        grids=grids,
        condition=torch.tensor(condition, dtype=torch.float32),
        counted=torch.from_numpy(counted).float(),
        names=names,
    )


def cubic_error(pairs: Pairs, matrix: NDArray[np.float64]) -> Tensor:
    """Mean squared error in HU^2 of a plain (D, K) interpolation on a batch: the yardstick beside a training curve."""
    error = along_z(matrix, pairs.thick_hu) - pairs.thin_hu
    return (error.square().mean(dim=(0, 1, 3, 4)) * pairs.counted).sum() / pairs.counted.sum()
