"""How sure a figure is: intervals over patients, intervals within one scan, and a test on pairs.

Voxels, slices and series of one patient resemble each other. An interval that takes them for independent is far too
narrow, so patients are resampled, or, where there is one scan only, blocks of neighbouring slices.

Every interval takes `level`, the share of the resamples within it; `resamples`, how many; and their `seed`: the same figures
give the same interval. `block` is the number of slices of a block. NonFiniteError is raised where a figure is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from lamella.errors import LamellaError, NonFiniteError

RESAMPLES = 2000

FEWEST_PAIRS = 6
"""With five pairs the smallest two-sided p of the signed-rank test is 2 / 2^5 = 0.0625: it can never reach 0.05."""

Interval = tuple[float, float]
"""(low, high)"""


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    statistic: Callable[[NDArray[np.float64]], float] = np.mean,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap interval of a statistic over cases, patients first.

    Each resample takes as many patients as there are, with replacement, and from each of them as many of its cases as it
    has, with replacement. With few patients the interval is too narrow: on normal figures, where 95 % are asked for, 5
    patients gave 84 %, 10 gave 90 %, 20 gave 95 % (400 simulations each).

    Args:
        values: (cases,) one figure a case.
        groups: (cases,) patient of each; None: every case is a patient.
        statistic: of (cases,) values.

    Returns:
        (low, high); None where there are fewer than two patients.

    Raises:
        LamellaError: `groups` does not fit, or the level is not between 0 and 1.
    """
    figures = _figures(values)
    names = list(range(len(figures))) if groups is None else list(groups)
    if len(names) != len(figures):
        raise LamellaError(f"Every value needs its group. Found {len(figures)} values and {len(names)} groups.")
    members: dict[Hashable, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    if len(members) < 2:
        return None
    order = np.array([index for cases in members.values() for index in cases])
    sizes = np.array([len(cases) for cases in members.values()])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, len(sizes), (resamples, len(sizes)))
    which = np.floor(rng.random((resamples, len(sizes), sizes.max())) * sizes[patients][..., None]).astype(np.intp)
    resampled = figures[order[np.minimum(first[patients][..., None] + which, len(order) - 1)]]
    kept = np.arange(sizes.max()) < sizes[patients][..., None]
    return _percentiles(np.array([statistic(one[keep]) for one, keep in zip(resampled, kept, strict=True)]), level)


def slab_bootstrap_rmse(
    squares: ArrayLike,
    counts: ArrayLike,
    block: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Interval of the RMSE within one scan, by resampling blocks of neighbouring slices.

    Circular block bootstrap (Politis and Romano, in Exploring the Limits of Bootstrap, 1992): blocks begin at any
    slice and go on at the other end, so that every slice is taken equally often (plain moving blocks neglect the
    outermost, which are the hardest); so many are taken that they make up the scan's length, the last one is cut. It
    says how far the figure depends on which slices were scanned, not how another patient would fare. It is still too
    narrow where errors are alike over long stretches: with 100 slices, a correlation of 0.8 between neighbours and
    blocks of 10, 77 % where 95 % are asked for (single slices instead of blocks: 42 %).

    Args:
        squares: (z,) sum of squared errors of each slice, HU^2.
        counts: (z,) voxels that it sums over.
        block: slices a block, at least as long as errors are alike: one thick slice or more.

    Returns:
        (low, high) in HU; None where fewer than two whole blocks fit or a resample holds no voxel.

    Raises:
        LamellaError: lengths differ, a sum or count is negative, or block or level are out of range.
    """
    resampled = _resampled([squares, counts], block, resamples, seed)
    if resampled is None or (resampled[1] <= 0).any():
        return None
    return _percentiles(np.sqrt(resampled[0] / resampled[1]), level)


def slab_bootstrap_gain_db(
    squares: ArrayLike,
    baseline_squares: ArrayLike,
    counts: ArrayLike,
    block: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Interval of the gain over a baseline within one scan: both scored on the same resampled blocks.

    Most of what differs between blocks is how hard their slices are, for both alike, and cancels: the interval of the
    difference is much narrower than the two intervals suggest.

    Args:
        squares: (z,) sum of squared errors of each slice, HU^2.
        baseline_squares: (z,) the baseline's, over the same voxels.
        counts: (z,) those voxels.

    Returns:
        (low, high) in dB, 20 log10 of the baseline's RMSE over the method's: above 0 where the method is better. None
        where fewer than two whole blocks fit, or a resample holds no voxel or no error.

    Raises:
        LamellaError: lengths differ, a sum is negative, or block or level are out of range.
    """
    resampled = _resampled([squares, baseline_squares, counts], block, resamples, seed)
    if resampled is None or any((sums <= 0).any() for sums in resampled):
        return None
    return _percentiles(10.0 * np.log10(resampled[1] / resampled[0]), level)


def paired_test(a: ArrayLike, b: ArrayLike) -> float | None:
    """Two-sided p of the Wilcoxon signed-rank test on pairs, one a patient.

    Pairs without a difference are left out, as Wilcoxon did. The p is exact for up to 50 pairs whose differences are
    all of different size (scipy.stats.wilcoxon).

    Args:
        a: (pairs,) figures of one method.
        b: (pairs,) of the other.

    Returns:
        p; None where fewer than `FEWEST_PAIRS` pairs differ: no outcome could then reach 0.05.

    Raises:
        LamellaError: lengths differ.
    """
    first, second = _figures(a), _figures(b)
    if len(first) != len(second):
        raise LamellaError(f"A paired test needs pairs. Found {len(first)} and {len(second)} figures.")
    difference = first - second
    difference = difference[difference != 0]
    if len(difference) < FEWEST_PAIRS:
        return None
    return float(scipy.stats.wilcoxon(difference).pvalue)


def _figures(values: ArrayLike) -> NDArray[np.float64]:
    figures = np.asarray(values, dtype=np.float64)
    if figures.ndim != 1:
        raise LamellaError(f"Figures must be a list of numbers. Found an array of shape {figures.shape}.")
    bad = int(np.count_nonzero(~np.isfinite(figures)))
    if bad:
        raise NonFiniteError(
            f"Figures are not finite numbers. Found {bad} of {len(figures)}. Leave out no case: mend it."
        )
    return figures


def _resampled(
    per_slice: Sequence[ArrayLike], block: int, resamples: int, seed: int
) -> list[NDArray[np.float64]] | None:
    """(resamples,) sums of each list over the same blocks; None where fewer than two whole blocks fit."""
    lists = [_figures(values) for values in per_slice]
    slices = len(lists[0])
    if any(len(one) != slices or (one < 0).any() for one in lists):
        raise LamellaError(
            f"Sums must be at least 0, one a slice. Found lists of {', '.join(str(len(one)) for one in lists)} slices, "
            f"{sum(int(np.count_nonzero(one < 0)) for one in lists)} negative sums."
        )
    if block < 1:
        raise LamellaError(f"A block needs at least one slice. Found {block}.")
    if slices < 2 * block:
        return None
    starts = np.random.default_rng(seed).integers(0, slices, (resamples, -(-slices // block)))
    ends = starts + block
    ends[:, -1] -= starts.shape[1] * block - slices
    totals = [np.concatenate([[0.0], np.cumsum(np.concatenate([one, one[: block - 1]]))]) for one in lists]
    return [(total[ends] - total[starts]).sum(axis=1) for total in totals]


def _percentiles(resampled: NDArray[np.float64], level: float) -> Interval:
    if not 0.0 < level < 1.0:
        raise LamellaError(f"The level of an interval must lie between 0 and 1. Found {level:g}.")
    low, high = np.quantile(resampled, [(1.0 - level) / 2, (1.0 + level) / 2])
    return float(low), float(high)
