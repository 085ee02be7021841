"""Training pairs: thin patches, thickened by the physics of `slices.py`, one geometry a batch.

A batch is a pure function of (views, settings, step): a resumed run sees exactly the batches an uninterrupted one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lamella.data.augmentation import draw_turn, magnified, vary
from lamella.data.views import ThinView
from lamella.errors import UsageError
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import Profile, SliceOperator, along_z, profile_matrix

_COARSE_MM = 1.7
"""Views with planes further apart than this are thickened by smaller factors, in batches of their own."""

_GAUSSIAN_REACH = 1.3
"""Half of a Gaussian slab, in units of its full width at half maximum: beyond, its weights are negligible."""

MARGIN = 2
"""Thin slices kept beyond the outermost slab, so that smooth profiles fit."""


@dataclass(frozen=True)
class PatchSettings:
    """How pairs are drawn.

    Attributes:
        batch: patches a step.
        size_px: rows and columns of a patch; a multiple of 8.
        depth: about this many thin slices a patch.
        max_thick: at most this many thick slices a patch.
        factors: smallest and largest thick spacing, in thin slices.
        thicknesses: smallest and largest slice thickness, in thin slices.
        coarse_factors: `factors` for views with planes more than 1.7 mm apart.
        pair_average: chance that neighbouring thin slices are averaged in pairs first (coarser targets).
        other_profile: chance that the slab is not a box although the model will take it for one.
        noise: chance of added noise, and its range in HU, correlated in the plane and white along z.
        noise_hu: range of the added noise.
        kernel: chance that the plane is smoothed or sharpened, as another reconstruction kernel would.
        magnify: chance that a patch is a smaller block magnified in the plane, as in a scan of a smaller field of view.
        magnified: smallest and largest magnification, at least 1.
        thick_noise: chance that the thick slices carry up to 3 HU of noise of their own.
        seed: of everything drawn.

    Raises:
        UsageError: a magnification below 1.
    """

    batch: int = 8
    size_px: int = 96
    depth: int = 44
    max_thick: int = 14
    factors: tuple[float, float] = (2.0, 8.0)
    thicknesses: tuple[float, float] = (1.2, 8.0)
    coarse_factors: tuple[float, float] = (1.5, 3.5)
    pair_average: float = 0.15
    other_profile: float = 0.2
    noise: float = 0.33
    noise_hu: tuple[float, float] = (5.0, 35.0)
    kernel: float = 0.2
    magnify: float = 0.0
    magnified: tuple[float, float] = (1.2, 2.2)
    thick_noise: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.magnified) < 1:
            raise UsageError(f"patches.magnified must be at least 1. Found {self.magnified}.")


@dataclass(frozen=True, eq=False)
class Pairs:
    """One batch.

    Attributes:
        thin_hu: (b, 1, D, y, x) truth.
        thick_hu: (b, 1, K, y, x), whole numbers, as stored CT.
        grids: the geometry as the model is told it.
        condition: (b, 3) `GridPair.condition` of each patch, whose spacing in mm may differ.
        counted: (D,) 1 for the thin slices an answer would have, 0 for those beyond.
        names: the views the patches come from.
    """

    thin_hu: Tensor
    thick_hu: Tensor
    grids: GridPair
    condition: Tensor
    counted: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Slab:
    """How thick slices lie and average, in units of the thin spacing.

    Attributes:
        factor: distance between their centres.
        thickness: full width at half maximum of the profile.
        profile: its shape.
        reach: thin slices a slab and its share of the spacing take up.
    """

    factor: float
    thickness: float
    profile: Profile
    reach: float


class Stack(Protocol):
    """What blocks are cut from: a (z, y, x) array, or a volume that reads only the block asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(slices, rows, columns)."""

    def __getitem__(self, block: tuple[slice, slice, slice], /) -> NDArray[np.int16]:
        """The HU of a block."""


@dataclass(frozen=True, eq=False)
class _Cut:
    """Where the slices of a batch lie, in units of the thin spacing."""

    depth: int
    thick: NDArray[np.float64]
    slab: Slab


def draw_slab(
    rng: np.random.Generator,
    factors: tuple[float, float],
    other_profile: float,
    thicknesses: tuple[float, float],
) -> Slab:
    """Spacing log-uniform; half the slabs abut, a fifth leave gaps, the rest overlap up to twofold.

    Args:
        rng: where the chances come from.
        factors: smallest and largest spacing, in thin slices; three in ten are rounded to a whole number.
        other_profile: chance of a profile other than a box.
        thicknesses: smallest and largest thickness, in thin slices.
    """
    factor = float(np.exp(rng.uniform(*np.log(factors))))
    if rng.random() < 0.3:
        factor = float(max(2, round(factor)))
    kind = rng.random()
    stretch = 1.0 if kind < 0.5 else rng.uniform(0.6, 1.0) if kind < 0.7 else rng.uniform(1.0, 2.0)
    thickness = float(np.clip(factor * stretch, *thicknesses))
    profile: Profile = "box"
    if rng.random() < other_profile:
        profile = "gaussian" if rng.random() < 0.5 else "trapezoid"
    reach = max(
        factor, thickness * (_GAUSSIAN_REACH if profile == "gaussian" else 0.75 if profile == "trapezoid" else 0.5) * 2
    )
    return Slab(factor, thickness, profile, reach)


def _draw_cut(rng: np.random.Generator, settings: PatchSettings, factors: tuple[float, float]) -> _Cut:
    slab = draw_slab(rng, factors, settings.other_profile, settings.thicknesses)
    count = int(np.clip(np.floor((settings.depth - slab.reach) / slab.factor) + 1, 3, settings.max_thick))
    depth, thick = place_slabs(rng, slab, count)
    return _Cut(depth, thick, slab)


def place_slabs(rng: np.random.Generator, slab: Slab, count: int) -> tuple[int, NDArray[np.float64]]:
    """Thin slices needed for `count` slabs, and the slabs' centres among them at a random phase."""
    reach, factor = slab.reach, slab.factor
    depth = int(np.ceil((count - 1) * factor + reach)) + MARGIN
    slack = depth - ((count - 1) * factor + reach)
    first = -0.5 + reach / 2 + rng.uniform(0, slack)
    return depth, np.asarray(first + factor * np.arange(count), np.float64)


def place_block(
    rng: np.random.Generator, stack: Stack, depth: int, size: int
) -> tuple[tuple[int, ...], NDArray[np.int16]]:
    """A random block with some body in it: where it begins (z, y, x), and its (depth, size, size) HU."""
    free = np.array(stack.shape) - (depth, size, size)
    for _ in range(20):
        z, y, x = (int(rng.integers(0, n + 1)) for n in free)
        block = stack[z : z + depth, y : y + size, x : x + size]
        if np.mean(block[:: max(1, depth // 4), ::8, ::8] > -900) > 0.15:
            break
    return (z, y, x), block


def _draw_patch(rng: np.random.Generator, stack: Stack, depth: int, settings: PatchSettings) -> NDArray[np.float32]:
    """(depth, size_px, size_px) HU as the scan has them, or magnified."""
    size = settings.size_px
    if not settings.magnify or rng.random() >= settings.magnify:
        return place_block(rng, stack, depth, size)[1].astype(np.float32)
    magnification = float(np.exp(rng.uniform(*np.log(settings.magnified))))
    _, block = place_block(rng, stack, depth, min(size, int(np.ceil(size / magnification)) + 1))
    return magnified(block, magnification, size)


def require_room(views: Sequence[ThinView], settings: PatchSettings, key: str) -> None:
    """Refuse views of which none is large enough for any patch that may be drawn.

    Raises:
        UsageError: naming the setting that lists them.
    """
    if any(_has_room(v, settings) for v in views):
        return
    largest = "; ".join(f"{v.name} {' x '.join(map(str, v.hu.shape))}, expected {_deepest(v, settings)}" for v in views)
    raise UsageError(
        f"{key}: no view is large enough for patches of {settings.size_px} x {settings.size_px} pixels. Found {largest} "
        "slices at least. Choose larger series, or smaller size_px, depth, factors or thicknesses."
    )


def _has_room(view: ThinView, settings: PatchSettings) -> bool:
    return bool(view.hu.shape[0] >= _deepest(view, settings) and min(view.hu.shape[1:]) >= settings.size_px)


def _deepest(view: ThinView, settings: PatchSettings) -> int:
    """Most thin slices that a patch of a view may need: three of the widest slabs, or `depth`."""
    largest = (settings.coarse_factors if view.spacing_mm > _COARSE_MM else settings.factors)[1]
    factor = max(2, int(np.ceil(largest)))  # three in ten are rounded
    thickness = min(2 * factor, settings.thicknesses[1])
    reach = max(factor, thickness * (2 * _GAUSSIAN_REACH if settings.other_profile else 1.0))
    return max(settings.depth, int(np.ceil(2 * factor + reach))) + MARGIN


class PatchBatches(Dataset[Pairs]):
    """step -> `Pairs`."""

    def __init__(self, views: Sequence[ThinView], settings: PatchSettings, first_step: int, last_step: int) -> None:
        self._views = [v for v in views if _has_room(v, settings)]
        self._settings = settings
        self._first, self._last = first_step, last_step

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> Pairs:
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng([self._settings.seed, self._first + index])
        return draw_pairs(rng, self._views, self._settings)


def draw_pairs(rng: np.random.Generator, views: Sequence[ThinView], settings: PatchSettings) -> Pairs:
    """Draw one batch: a geometry, then a view and a place for each patch."""
    weights = np.array([v.weight for v in views])
    coarse = views[rng.choice(len(views), p=weights / weights.sum())].spacing_mm > _COARSE_MM
    members = [v for v in views if (v.spacing_mm > _COARSE_MM) == coarse]
    weights = np.array([v.weight for v in members])
    halve = not coarse and rng.random() < settings.pair_average
    low, high = settings.coarse_factors if coarse else settings.factors
    cut = _draw_cut(rng, settings, (low, max(low, high / 2)) if halve else (low, high))
    slab = cut.slab
    deep = [v for v in members if v.hu.shape[0] >= 2 * cut.depth]
    members, per = (deep, 2) if halve and deep else (members, 1)
    weights = np.array([v.weight for v in members])
    patches, condition, names = [], [], []
    for _ in range(settings.batch):
        view = members[rng.choice(len(members), p=weights / weights.sum())]
        patch = draw_turn(rng).apply(_draw_patch(rng, view.hu, per * cut.depth, settings))
        patch = vary(rng, patch, settings.kernel, settings.noise, settings.noise_hu)
        patches.append(patch.reshape(cut.depth, per, *patch.shape[1:]).mean(axis=1))
        spacing_mm = view.spacing_mm * per
        thick_mm = slab.factor * spacing_mm
        condition.append((np.log(thick_mm / 5.0), np.log(slab.thickness / slab.factor), np.log(spacing_mm)))
        names.append(view.name)
    thin = torch.from_numpy(np.stack(patches)[:, None])
    grid = np.arange(cut.depth, dtype=np.float64)
    thick = SliceOperator.from_matrix(profile_matrix(grid, 1.0, cut.thick, slab.thickness, slab.profile)).blur(thin)
    if rng.random() < settings.thick_noise:
        thick = thick + rng.uniform(0, 3) * torch.from_numpy(rng.standard_normal(thick.shape, dtype=np.float32))
    counted = (grid > cut.thick[0] - slab.factor / 2 - 0.5) & (grid < cut.thick[-1] + slab.factor / 2 + 0.5)
    return Pairs(
        thin_hu=thin,
        thick_hu=thick.round(),
        grids=GridPair.along(grid, 1.0, cut.thick, slab.factor, slab.thickness),
        condition=torch.tensor(condition, dtype=torch.float32),
        counted=torch.from_numpy(counted).float(),
        names=tuple(names),
    )


def cubic_error(pairs: Pairs, matrix: NDArray[np.float64]) -> Tensor:
    """Mean squared error in HU^2 of a plain (D, K) interpolation on a batch: the yardstick beside a training curve."""
    error = along_z(matrix, pairs.thick_hu) - pairs.thin_hu
    return (error.square().mean(dim=(0, 1, 3, 4)) * pairs.counted).sum() / pairs.counted.sum()
