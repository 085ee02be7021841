"""Training batches of the latent models: blocks of thin CT beside their thick slices, aligned by position in millimetres.

The thick slices are real where a case has them (and `real_pairs` says so), else made from the thin ones by `slices.py`.
Every sample has a geometry of its own. A batch is a pure function of (what is read, settings, step), so resume is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lamella.data.augmentation import Turn, draw_turn, vary
from lamella.data.collate import mask_of, padded
from lamella.data.patches import MARGIN, Slab, draw_slab, place_block, place_slabs
from lamella.data.sources import BlockSource
from lamella.errors import LamellaError, UsageError
from lamella.physics.slice_operator import SliceOperator, profile_matrix
from lamella.volume import AIR_HU

_TRIES = 50
"""Geometries drawn before a shallow volume gets the closest abutting slabs of the range, which always fit."""

_SHALLOWEST = 2
"""A volume must hold this many of the closest slabs (beside their margin) to be used."""


@dataclass(frozen=True)
class BlockSettings:
    """How blocks are drawn.

    Attributes:
        batch: samples a step.
        size_px: rows and columns of a block.
        depth: at most this many thin slices a sample (one thick slice's worth at least).
        max_thick: at most this many thick slices above which thin ones are asked for.
        context: thick slices kept beyond those on either side, where the volume has them, as at inference.
        spacing_mm: smallest and largest distance between made thick slices.
        thickness_mm: smallest and largest width of a made slab.
        factors: smallest and largest thick spacing in thin slices; narrows `spacing_mm`.
        other_profile: chance that a made slab is not a box.
        real_pairs: chance that a case's real thick slices are used, where it has them.
        kernel: chance that the plane is smoothed or sharpened before thickening.
        noise: chance of added noise before thickening.
        noise_hu: range of the added noise.
        thick_noise: chance that made thick slices carry up to 3 HU of noise of their own.
        augment: False for validation: cases in turn, no mirroring, no variation, abutting boxes.
        seed: of everything drawn.
    """

    batch: int = 4
    size_px: int = 96
    depth: int = 48
    max_thick: int = 16
    context: int = 2
    spacing_mm: tuple[float, float] = (2.0, 6.0)
    thickness_mm: tuple[float, float] = (1.0, 8.0)
    factors: tuple[float, float] = (2.0, 10.0)
    other_profile: float = 0.2
    real_pairs: float = 0.5
    kernel: float = 0.0
    noise: float = 0.0
    noise_hu: tuple[float, float] = (5.0, 35.0)
    thick_noise: float = 0.2
    augment: bool = True
    seed: int = 42

    def __post_init__(self) -> None:
        for name in ("batch", "size_px", "depth", "max_thick"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} of the training blocks must be at least 1. Found {getattr(self, name)}.")
        for name in ("spacing_mm", "thickness_mm", "factors"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(f"{name} of the training blocks must rise and be above 0. Found {low:g} to {high:g}.")


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """One batch; samples shorter than the longest are padded at the end.

    Attributes:
        thin_hu: (b, 1, D, y, x) truth; padding is air, -1024 HU.
        thick_hu: (b, 1, K, y, x), whole numbers; padding repeats the last slice, as a codec does up to its factor.
        thin_mm: (b, D) centres along the slice axis, rising; those of padding continue the grid.
        thick_mm: (b, K) the same of the thick slices.
        thin_mask: (b, 1, D) 1 real, 0 padding.
        thick_mask: (b, 1, K) the same of the thick slices.
        names: what each sample was cut from.
    """

    thin_hu: Tensor
    thick_hu: Tensor
    thin_mm: Tensor
    thick_mm: Tensor
    thin_mask: Tensor
    thick_mask: Tensor
    names: tuple[str, ...]

    @property
    def unpadded_hu(self) -> Tensor:
        """(b, 1, D', y, x) the thin slices that are real in every sample."""
        return self.thin_hu[:, :, : int(self.thin_mask.sum(dim=-1).min())]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LatentBatch:
        """On another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return replace(self, **{k: v.to(device, non_blocking=non_blocking) for k, v in tensors.items()})


@dataclass(frozen=True, eq=False)
class _Sample:
    """One sample: (D, y, x) and (K, y, x) HU, (D,) and (K,) mm, and the spacings that padding goes on with."""

    thin: NDArray[np.float32]
    thick: NDArray[np.float32]
    thin_mm: NDArray[np.float64]
    thick_mm: NDArray[np.float64]
    steps_mm: tuple[float, float]


class LatentBlocks(Dataset[LatentBatch]):
    """step -> `LatentBatch`.

    Args:
        sources: what to cut from (`case_sources`, `view_sources`).
        settings: how.
        steps: length; item i is the batch of step i.

    Raises:
        LamellaError: no source is large enough for the settings.
    """

    def __init__(self, sources: Sequence[BlockSource], settings: BlockSettings, steps: int) -> None:
        self._sources = [s for s in sources if _fits(s, settings)]
        self.left_out = tuple(s.name for s in sources if not _fits(s, settings))
        if not self._sources:
            raise LamellaError(
                f"None of {len(sources)} training volumes is large enough. Expected planes of at least "
                f"{settings.size_px} x {settings.size_px} pixels and slices for {_SHALLOWEST} slabs within "
                f"{settings.spacing_mm[0]:g} to {settings.spacing_mm[1]:g} mm and {settings.factors[0]:g} to "
                f"{settings.factors[1]:g} thin slices. Choose smaller blocks or other spacings."
            )
        weights = np.array([s.weight for s in self._sources])
        self._chances = weights / weights.sum()
        self._settings, self._steps = settings, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> LatentBatch:
        if not 0 <= step < self._steps:
            raise IndexError(step)
        samples, names = [], []
        for i in range(self._settings.batch):
            rng = np.random.default_rng([self._settings.seed, step, i])
            chosen = int(rng.choice(len(self._sources), p=self._chances))
            if not self._settings.augment:
                chosen = (step * self._settings.batch + i) % len(self._sources)
            source = self._sources[chosen]
            real = bool(rng.random() < self._settings.real_pairs) and source.thick is not None
            samples.append((_real if real else _made)(rng, source, self._settings))
            names.append(source.name)
        return _pad(samples, tuple(names))


def validation_blocks(held_out: Sequence[BlockSource], settings: BlockSettings, steps: int) -> LatentBlocks:
    """Fixed blocks of what is held out, one volume after the other, without augmentation."""
    return LatentBlocks(held_out, replace(settings, augment=False, seed=settings.seed + 1), steps)


def _factors(source: BlockSource, settings: BlockSettings) -> tuple[float, float]:
    """The thick spacings that both ranges allow, in thin slices; the first above the second where there are none."""
    low, high = (mm / source.spacing_mm for mm in settings.spacing_mm)
    return max(low, settings.factors[0]), min(high, settings.factors[1])


def _fits(source: BlockSource, settings: BlockSettings) -> bool:
    depth, rows, columns = source.thin.shape
    if min(rows, columns) < settings.size_px or depth < 2:
        return False
    low, high = _factors(source, settings)
    return low <= high * (1 + 1e-9) and depth >= _needed(_abutting(low), _SHALLOWEST)


def _abutting(factor: float) -> Slab:
    return Slab(factor, factor, "box", factor)


def _needed(slab: Slab, count: int) -> int:
    """Thin slices that `place_slabs` takes."""
    return int(np.ceil((count - 1) * slab.factor + slab.reach)) + MARGIN


def _geometry(rng: np.random.Generator, source: BlockSource, settings: BlockSettings) -> Slab:
    """Spacing, thickness and profile that the volume has room for."""
    low, high = _factors(source, settings)
    high = max(low, high)
    widths = (settings.thickness_mm[0] / source.spacing_mm, settings.thickness_mm[1] / source.spacing_mm)
    for _ in range(_TRIES):
        if settings.augment:
            slab = draw_slab(rng, (low, high), settings.other_profile, widths)
        else:
            slab = _abutting(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        if source.thin.shape[0] >= _needed(slab, _SHALLOWEST):
            return slab
    return _abutting(low)


def _counts(rng: np.random.Generator, wanted: int, most: int, context: int) -> tuple[int, int, int]:
    """Thick slices in all, how many of them are context before, and how many are answered for."""
    count = max(1, min(wanted, most))
    extra = min(2 * context, most - count)
    before = int(rng.integers(max(0, extra - context), min(extra, context) + 1))
    return count + extra, before, count


def _made(rng: np.random.Generator, source: BlockSource, settings: BlockSettings) -> _Sample:
    """A sample whose thick slices are the measurement of its thin ones."""
    slab, spacing_mm = _geometry(rng, source, settings), source.spacing_mm
    most = int((source.thin.shape[0] - MARGIN - slab.reach) / slab.factor) + 1
    wanted = min(int(settings.depth / slab.factor), settings.max_thick)
    total, before, count = _counts(rng, wanted, most, settings.context)
    depth, centres = place_slabs(rng, slab, total)
    (z, _, _), hu = place_block(rng, source.thin, depth, settings.size_px)
    block = hu.astype(np.float32)
    if settings.augment:
        block = vary(rng, draw_turn(rng).apply(block), settings.kernel, settings.noise, settings.noise_hu)
    grid = np.arange(depth, dtype=np.float64)
    matrix = profile_matrix(grid, 1.0, centres, slab.thickness, slab.profile)
    thick = SliceOperator.from_matrix(matrix, ridge=0.0).blur(torch.from_numpy(block)).numpy()
    if settings.augment and rng.random() < settings.thick_noise:
        thick = thick + rng.uniform(0, 3) * rng.standard_normal(thick.shape, dtype=np.float32)
    begin = centres[before] - slab.factor / 2
    kept = (grid >= begin) & (grid < begin + count * slab.factor)
    first_mm = source.thin_mm[z]
    return _Sample(
        block[kept],
        thick.round().astype(np.float32),
        first_mm + spacing_mm * grid[kept],
        first_mm + spacing_mm * centres,
        (spacing_mm, spacing_mm * slab.factor),
    )


def _real(rng: np.random.Generator, source: BlockSource, settings: BlockSettings) -> _Sample:
    """A sample of real thick slices, and the thin ones that lie within them."""
    thin_mm, thick_mm = source.thin_mm, source.thick_mm
    assert thick_mm is not None, "only sources with a thick series come here"
    assert source.thick is not None, "positions come with their slices"
    spacing_mm = source.spacing_mm
    apart_mm = float(thick_mm[1] - thick_mm[0]) if len(thick_mm) > 1 else spacing_mm
    wanted = min(int(settings.depth * spacing_mm / apart_mm), settings.max_thick)
    total, before, count = _counts(rng, wanted, len(thick_mm), settings.context)
    (k, y, x), thick = place_block(rng, source.thick, total, settings.size_px)
    begin_mm = thick_mm[k + before] - apart_mm / 2
    inside = np.flatnonzero((thin_mm >= begin_mm) & (thin_mm < begin_mm + count * apart_mm))
    if not len(inside):
        raise LamellaError(
            f"No thin slice of {source.name} lies between {begin_mm:.2f} and {begin_mm + count * apart_mm:.2f} mm, "
            "where its thick slices are. Prepare the case again."
        )
    turn = draw_turn(rng) if settings.augment else Turn()
    rows, columns = slice(y, y + settings.size_px), slice(x, x + settings.size_px)
    thin = source.thin[inside[0] : inside[-1] + 1, rows, columns]
    thin_at, thick_at = thin_mm[inside], thick_mm[k : k + total]
    if turn.mirrored[0]:
        # one mirror for both stacks: about the middle of the thick ones, which stay where they are
        thin_at = thick_at[0] + thick_at[-1] - thin_at[::-1]
    thin_hu, thick_hu = turn.apply(thin.astype(np.float32)), turn.apply(thick.astype(np.float32))
    return _Sample(thin_hu, thick_hu, thin_at, thick_at, (spacing_mm, apart_mm))


def _pad(samples: Sequence[_Sample], names: tuple[str, ...]) -> LatentBatch:
    """Stack samples, each padded at its end to the longest."""
    depths, counts = [len(s.thin) for s in samples], [len(s.thick) for s in samples]

    def positions(at: list[NDArray[np.float64]], steps_mm: list[float]) -> Tensor:
        length = max(len(mm) for mm in at)
        gone_on = [
            np.concatenate([mm, mm[-1] + step * np.arange(1, length - len(mm) + 1)])
            for mm, step in zip(at, steps_mm, strict=True)
        ]
        return torch.from_numpy(np.stack(gone_on)).float()

    return LatentBatch(
        thin_hu=padded([torch.from_numpy(s.thin)[None] for s in samples], AIR_HU),
        thick_hu=padded([torch.from_numpy(s.thick)[None] for s in samples], None),
        thin_mm=positions([s.thin_mm for s in samples], [s.steps_mm[0] for s in samples]),
        thick_mm=positions([s.thick_mm for s in samples], [s.steps_mm[1] for s in samples]),
        thin_mask=mask_of(depths),
        thick_mask=mask_of(counts),
        names=names,
    )
