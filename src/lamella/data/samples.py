"""One training sample: a block of thin CT beside its thick slices, aligned by position in millimetres.

The thick slices are real, or made from the thin ones by `lamella.physics`. What is drawn comes from a generator that belongs
to a place in the run: a batch is a pure function of (what is read, settings, item), and a resumed run repeats none.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lamella.data.augmentation import Orientation, augment, magnified, random_orientation
from lamella.data.slabs import Slabs
from lamella.data.sources import Stack, TrainingSource
from lamella.errors import LamellaError, UsageError

Batch = TypeVar("Batch", covariant=True)
Settings = TypeVar("Settings", bound="SampleSettings")


@dataclass(frozen=True)
class SampleSettings:
    """How samples are drawn, whatever is learnt from them.

    Attributes:
        batch: samples a step.
        size_px: rows and columns of a sample.
        depth: about this many thin slices a sample.
        max_thick: at most this many thick slices.
        factors: smallest and largest thick spacing, in thin slices.
        other_profile: chance that a slab is not a box although the model will take it for one.
        kernel: chance that the plane is smoothed or sharpened, as another reconstruction kernel would.
        noise: chance of added noise, correlated in the plane and white along z.
        noise_hu: range of the added noise.
        magnify: chance that a sample is a smaller block magnified in the plane, as in a scan of a smaller field of view.
        magnified: smallest and largest magnification, at least 1.
        thick_noise: chance that made thick slices carry up to 3 HU of noise of their own.
        augment: False for validation: blocks as the scan has them, thick slices without noise of their own.
        seed: of everything drawn.

    Raises:
        UsageError: a number out of its range.
    """

    batch: int = 4
    size_px: int = 96
    depth: int = 48
    max_thick: int = 16
    factors: tuple[float, float] = (2.0, 10.0)
    other_profile: float = 0.2
    kernel: float = 0.0
    noise: float = 0.0
    noise_hu: tuple[float, float] = (5.0, 35.0)
    magnify: float = 0.0
    magnified: tuple[float, float] = (1.2, 2.2)
    thick_noise: float = 0.2
    augment: bool = True
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("batch", "size_px", "depth", "max_thick"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} of the training samples must be at least 1. Found {getattr(self, name)}.")
        if min(self.magnified) < 1:
            raise UsageError(f"magnified must be at least 1. Found {self.magnified}.")


def for_validation(settings: Settings) -> Settings:
    """The same without augmentation, with boxes only, and drawn from another seed."""
    return replace(settings, augment=False, other_profile=0.0, seed=settings.seed + 1)


@dataclass(frozen=True, eq=False)
class Sample:
    """Thin (D, y, x) and thick (K, y, x) float32 HU, the thick ones whole numbers; (D,) and (K,) centres in mm, rising."""

    thin: NDArray[np.float32]
    thick: NDArray[np.float32]
    thin_mm: NDArray[np.float64]
    thick_mm: NDArray[np.float64]


class SampleBatches(Dataset[Batch], Generic[Batch]):
    """item -> batch.

    Args:
        sources: what to cut from.
        settings: how.
        items: length.
        key: setting that lists the sources, for messages.

    Raises:
        UsageError: no source is large enough for the settings.
    """

    def __init__(self, sources: Sequence[TrainingSource], settings: Any, items: int, key: str = "data.series") -> None:
        self.settings, self._items = settings, items
        size = settings.size_px
        self.sources = [s for s in sources if _is_deep(s, self.needed(s)) and min(s.thin.shape[1:]) >= size]
        self.left_out = tuple(one.name for one in sources if one not in self.sources)
        if not self.sources:
            found = "; ".join(
                f"{one.name} {' x '.join(map(str, one.thin.shape))}, expected {self.needed(one) or 'closer'} slices"
                for one in sources[:4]
            )
            raise UsageError(
                f"{key}: no volume is large enough for samples of {size} x {size} pixels. Found {found} at least. Choose "
                "larger series, a smaller size_px or depth, or other spacings."
            )

    def __len__(self) -> int:
        return self._items

    def __getitem__(self, item: int) -> Batch:
        if not 0 <= item < self._items:
            raise IndexError(item)
        return self.batch(item)

    @abstractmethod
    def batch(self, item: int) -> Batch:
        """The batch of an item."""

    @abstractmethod
    def needed(self, source: TrainingSource) -> int:
        """Thin slices that a source must have; 0 where the settings hold no geometry for its spacing."""


def _is_deep(source: TrainingSource, needed: int) -> bool:
    return needed > 0 and source.thin.shape[0] >= max(2, needed)


def made_sample(
    rng: np.random.Generator, source: TrainingSource, slabs: Slabs, settings: SampleSettings, averaged: int = 1
) -> Sample:
    """A block of thin slices, and what the slabs measure of it.

    Args:
        rng: where everything drawn comes from.
        source: what to cut from.
        slabs: over the thin slices of the sample.
        settings: how.
        averaged: neighbouring thin slices of the source that make one of the sample.
    """
    size, depth = settings.size_px, averaged * slabs.depth
    if settings.augment and settings.magnify and rng.random() < settings.magnify:
        magnification = float(np.exp(rng.uniform(*np.log(settings.magnified))))
        (first, _, _), hu = _place(rng, source.thin, depth, min(size, math.ceil(size / magnification) + 1))
        block = magnified(hu, magnification, size)
    else:
        (first, _, _), hu = _place(rng, source.thin, depth, size)
        block = hu.astype(np.float32)
    if settings.augment:
        block = random_orientation(rng).apply(block)
        block = augment(rng, block, settings.kernel, settings.noise, settings.noise_hu)
    if averaged > 1:
        block = block.reshape(slabs.depth, averaged, size, size).mean(axis=1)
    thick = slabs.operator.blur(torch.from_numpy(block)).numpy()
    if settings.augment and rng.random() < settings.thick_noise:
        thick = thick + rng.uniform(0, 3) * rng.standard_normal(thick.shape, dtype=np.float32)
    spacing_mm = averaged * source.spacing_mm
    first_mm = source.thin_mm[first] + (averaged - 1) / 2 * source.spacing_mm
    thin_mm, thick_mm = (first_mm + spacing_mm * at for at in (slabs.grid, slabs.centres))
    return Sample(block, thick.round().astype(np.float32), thin_mm, thick_mm)


def real_sample(
    rng: np.random.Generator, source: TrainingSource, total: int, answered: slice, settings: SampleSettings
) -> Sample:
    """A block of real thick slices, and the thin ones that lie within some of them.

    Args:
        rng: where everything drawn comes from.
        source: one with thick slices.
        total: thick slices of the block.
        answered: those of them within which the thin slices lie.
        settings: how.

    Raises:
        LamellaError: no thin slice lies there.
    """
    thin_mm, thick_mm = source.thin_mm, source.thick_mm
    assert thick_mm is not None, "only sources with a thick series come here"
    assert source.thick is not None, "positions come with their slices"
    (k, y, x), thick = _place(rng, source.thick, total, settings.size_px)
    thick_mm = thick_mm[k : k + total]
    half_mm = spacing_of(source) / 2
    low_mm, high_mm = thick_mm[answered][0] - half_mm, thick_mm[answered][-1] + half_mm
    inside = np.flatnonzero((thin_mm >= low_mm) & (thin_mm < high_mm))
    if not len(inside):
        raise LamellaError(
            f"No thin slice of {source.name} lies between {low_mm:.2f} and {high_mm:.2f} mm, where its thick slices are. "
            "Prepare the case again."
        )
    orientation = random_orientation(rng) if settings.augment else Orientation()
    rows, columns = slice(y, y + settings.size_px), slice(x, x + settings.size_px)
    thin, thin_mm = source.thin[inside[0] : inside[-1] + 1, rows, columns], thin_mm[inside]
    if orientation.mirrored[0]:
        # one mirror for both stacks: about the middle of the thick ones, which stay where they are
        thin_mm = thick_mm[0] + thick_mm[-1] - thin_mm[::-1]
    thin_hu, thick_hu = (orientation.apply(stack.astype(np.float32)) for stack in (thin, thick))
    return Sample(thin_hu, thick_hu, thin_mm, thick_mm)


def spacing_of(source: TrainingSource) -> float:
    """Distance between the real thick centres in mm; that of the thin ones where there is only one."""
    at = source.thick_mm
    return float(at[1] - at[0]) if at is not None and len(at) > 1 else source.spacing_mm


def _place(rng: np.random.Generator, stack: Stack, depth: int, size: int) -> tuple[tuple[int, ...], NDArray[np.int16]]:
    """A random block with some body in it: where it begins (z, y, x), and its (depth, size, size) HU."""
    free = np.array(stack.shape) - (depth, size, size)
    for _ in range(20):
        z, y, x = (int(rng.integers(0, n + 1)) for n in free)
        block = stack[z : z + depth, y : y + size, x : x + size]
        if np.mean(block[:: max(1, depth // 4), ::8, ::8] > -900) > 0.15:
            break
    return (z, y, x), block
