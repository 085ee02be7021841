"""Items of the latent models (SPEC A5): one scan's thick and thin slices, each with its position in millimetres.

Every item has a geometry of its own. Its thick slices are real where a case has them (and `real_pairs` says so).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lamella.data.collate import Batch, Item, collate
from lamella.data.samples import Sample, SampleBatches, SampleSettings, made_sample, real_sample, spacing_of
from lamella.data.slabs import MARGIN, Slab, draw_slab
from lamella.data.sources import TrainingSource, choose
from lamella.errors import UsageError
from lamella.window import HuWindow, named_window

_TRIES = 50
"""Geometries drawn before a shallow volume gets the closest abutting slabs of the range, which always fit."""

_FEWEST = 2
"""A volume must hold this many of the closest slabs to be used."""


@dataclass(frozen=True)
class BlockSettings(SampleSettings):
    """How items are drawn for the latent models.

    Attributes:
        depth: at most this many thin slices an item (one thick slice's worth at least).
        max_thick: at most this many thick slices above which thin ones are asked for.
        factors: smallest and largest thick spacing in thin slices; narrows `spacing_mm`.
        context: thick slices kept beyond those on either side, where the volume has them, as at inference.
        spacing_mm: smallest and largest distance between made thick slices.
        thickness_mm: smallest and largest width of a made slab.
        real_pairs: chance that a case's real thick slices are used, where it has them.
        window: name of the HU window (`lamella.window.WINDOWS`) that is [-1, 1]; "full" clips nothing.
        augment: False for validation: cases in turn, abutting boxes, blocks as the scan has them.
    """

    context: int = 2
    spacing_mm: tuple[float, float] = (2.0, 6.0)
    thickness_mm: tuple[float, float] = (1.0, 8.0)
    real_pairs: float = 0.5
    window: str = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        named_window(self.window)
        for name in ("spacing_mm", "thickness_mm", "factors"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(f"{name} of the training blocks must rise and be above 0. Found {low:g} to {high:g}.")

    @property
    def hu_window(self) -> HuWindow:
        """The window by its name."""
        return named_window(self.window)


class ItemBatches(SampleBatches[Batch]):
    """item -> batch of the items that `collate` makes one of."""

    settings: BlockSettings

    def needed(self, source: TrainingSource) -> int:
        """A few of the closest slabs; 0 where no spacing is in both ranges."""
        low, high = _factors(source, self.settings)
        return Slab(low, low).depth(_FEWEST) if low <= high * (1 + 1e-9) else 0

    def batch(self, item: int) -> Batch:
        """The batch of a number: of each item in it, the source, its geometry and its place."""
        return collate([self._item(item, i) for i in range(self.settings.batch)])

    def _item(self, item: int, i: int) -> Item:
        s = self.settings
        rng = np.random.default_rng([s.seed, item, i])
        source = choose(rng, self.sources)
        if not s.augment:
            source = self.sources[(item * s.batch + i) % len(self.sources)]
        real = bool(rng.random() < s.real_pairs) and source.thick is not None
        sample = (_real if real else _made)(rng, source, s)
        unit = [torch.from_numpy(s.hu_window.to_unit(hu))[None] for hu in (sample.thick, sample.thin)]
        return Item(
            input=unit[0],
            target=unit[1],
            category=source.category,
            patient_id=source.patient_id,
            num_thick_slices=len(sample.thick),
            num_thin_slices=len(sample.thin),
            thick_mm=torch.from_numpy(sample.thick_mm.copy()),
            thin_mm=torch.from_numpy(sample.thin_mm.copy()),
            name=source.name,
        )


def _factors(source: TrainingSource, settings: BlockSettings) -> tuple[float, float]:
    """The thick spacings that both ranges allow, in thin slices; the first above the second where there are none."""
    low, high = (mm / source.spacing_mm for mm in settings.spacing_mm)
    return max(low, settings.factors[0]), min(high, settings.factors[1])


def _slab(rng: np.random.Generator, source: TrainingSource, settings: BlockSettings) -> Slab:
    """Spacing, thickness and profile that the volume has room for."""
    low, high = _factors(source, settings)
    high = max(low, high)
    narrowest, widest = (mm / source.spacing_mm for mm in settings.thickness_mm)
    for _ in range(_TRIES):
        if settings.augment:
            slab = draw_slab(rng, (low, high), settings.other_profile, (narrowest, widest))
        else:
            factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            slab = Slab(factor, factor)
        if source.thin.shape[0] >= slab.depth(_FEWEST):
            return slab
    return Slab(low, low)


def _counts(rng: np.random.Generator, wanted: int, most: int, context: int) -> tuple[int, slice]:
    """Thick slices in all, context included, and which of them are answered for."""
    count = max(1, min(wanted, most))
    extra = min(2 * context, most - count)
    before = int(rng.integers(max(0, extra - context), min(extra, context) + 1))
    return count + extra, slice(before, before + count)


def _made(rng: np.random.Generator, source: TrainingSource, settings: BlockSettings) -> Sample:
    """A sample whose thick slices are the measurement of its thin ones."""
    slab = _slab(rng, source, settings)
    wanted = min(int(settings.depth / slab.factor), settings.max_thick)
    total, answered = _counts(rng, wanted, slab.count(source.thin.shape[0] - MARGIN), settings.context)
    slabs = slab.placed(rng, total)
    sample = made_sample(rng, source, slabs, settings)
    at = slabs.centres[answered]
    kept = (slabs.grid >= at[0] - slab.factor / 2) & (slabs.grid < at[-1] + slab.factor / 2)
    return Sample(sample.thin[kept], sample.thick, sample.thin_mm[kept], sample.thick_mm)


def _real(rng: np.random.Generator, source: TrainingSource, settings: BlockSettings) -> Sample:
    """A sample of real thick slices, and the thin ones that lie within them."""
    assert source.thick_mm is not None, "only sources with a thick series come here"
    wanted = min(int(settings.depth * source.spacing_mm / spacing_of(source)), settings.max_thick)
    total, answered = _counts(rng, wanted, len(source.thick_mm), settings.context)
    return real_sample(rng, source, total, answered, settings)
