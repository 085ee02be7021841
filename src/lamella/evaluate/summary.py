"""From figures of cases to statements about methods: intervals, pooled figures, paired gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.metrics.catalogue import FIGURES
from lamella.results.compared import Gain, Interval, Pooled
from lamella.results.schema import GAIN_FIGURE, POOLED, CaseRecord, MethodKind

_BLOCK_MM = 20.0
"""Neighbouring slices resemble each other: the bootstrap of one case resamples whole blocks of this length."""


def block_of(spacing_mm: float, slices: int) -> int:
    """Slices of a bootstrap block: 20 mm, but at least four blocks in the scan."""
    return max(1, min(round(_BLOCK_MM / spacing_mm), slices // 4))


def intervals_of_case(
    squares: Mapping[str, NDArray[np.float64]], counts: Mapping[str, NDArray[np.float64]], block: int, seed: int
) -> dict[str, Interval]:
    """95 % intervals of one method's RMSE in one case, over all voxels and in the body.

    Args:
        squares: "" and "_body" -> (z,) sums of squared errors.
        counts: the same keys -> (z,) voxels.
        block: slices of a block.
        seed: of the bootstrap.
    """
    found = {}
    for suffix, name in {"": "rmse_hu", "_body": "rmse_body_hu"}.items():
        interval = metrics.slab_bootstrap_rmse(squares[suffix], counts[suffix], block, seed=seed)
        if interval is not None:
            found[name] = interval
    return found


def gains_of_case(case: CaseRecord, kinds: Mapping[str, MethodKind], seed: int) -> list[Gain]:
    """Gain in dB of every model and outside result over every baseline, with an interval over slabs of the case.

    `difference_at_best_shift` lets the baseline be moved along z to where it fits best first, and the method not: what is
    left when the baseline's placement cannot be blamed. The method is never moved.
    """
    curves, block = case.slices, block_of(case.thin.spacing_mm, case.scored_slices)
    sums = {
        "psnr_4095_db": (curves.squares, np.asarray(curves.voxels)),
        "psnr_body_db": (curves.squares_body, np.asarray(curves.voxels_body)),
    }
    gains = []
    for method in (name for name in case.figures if kinds[name] in ("model", "outside")):
        for against in (name for name in case.figures if kinds[name] in ("baseline", "projected")):
            for figure, (squares, voxels) in sums.items():
                ours, theirs = np.asarray(squares[method]), np.asarray(squares[against])
                if ours.sum() == 0 or theirs.sum() == 0:
                    continue
                interval = metrics.slab_bootstrap_gain_db(ours, theirs, voxels, block, seed=seed)
                difference = 10 * math.log10(theirs.sum() / ours.sum())
                moved = _at_best_shift(case, method, against) if figure == GAIN_FIGURE else None
                gains.append(Gain(case.id, method, against, figure, difference, interval, None, 1, moved))
    return gains


def _at_best_shift(case: CaseRecord, method: str, against: str) -> float | None:
    """The gain over a baseline that may be moved, in dB on the slices no shift takes past the ends."""
    rmse = {name: np.array(case.shifts.rmse_hu.get(name, ()), dtype=np.float64) for name in (method, against)}
    if not all(map(len, rmse.values())):
        return None
    unmoved, best = float(rmse[method][case.shifts.shift_mm.index(0.0)]), float(rmse[against].min())
    return 20 * math.log10(best / unmoved) if unmoved > 0 and best > 0 else None


def pooled_figures(cases: Sequence[CaseRecord], methods: Sequence[str], seed: int) -> dict[str, dict[str, Pooled]]:
    """Mean of every figure over the cases that have it, with a bootstrap interval over scans."""
    pooled: dict[str, dict[str, Pooled]] = {method: {} for method in methods}
    for method in methods:
        for figure in FIGURES:
            having = [(value, case.group) for case in cases if (value := case.figure(method, figure)) is not None]
            if having:
                values = np.array([value for value, _ in having])
                interval = _over_scans(values, [group for _, group in having], seed)
                pooled[method][figure] = Pooled(float(values.mean()), interval, len(having))
    return pooled


def pooled_gains(gains: Sequence[Gain], cases: Sequence[CaseRecord], seed: int) -> list[Gain]:
    """Mean gain over the cases, with a bootstrap interval over scans and a paired test."""
    groups = {case.id: case.group for case in cases}
    by_key: dict[tuple[str, str, str], list[Gain]] = {}
    for gain in gains:
        by_key.setdefault((gain.method, gain.against, gain.figure), []).append(gain)
    pooled = []
    for key, these in by_key.items():
        values, scans = np.array([gain.difference for gain in these]), [groups[gain.case] for gain in these]
        moved = [one.difference_at_best_shift for one in these if one.difference_at_best_shift is not None]
        interval = _over_scans(values, scans, seed)
        mean = float(values.mean())
        p, best = _p_of_scans(values, scans), float(np.mean(moved)) if moved else None
        pooled.append(Gain(POOLED, *key, mean, interval, p, len(these), best))
    return pooled


def _over_scans(values: NDArray[np.float64], scans: Sequence[str], seed: int) -> Interval | None:
    """Bootstrap interval over scans and their cases; None with fewer than `FEWEST_PAIRS` scans."""
    return metrics.bootstrap_interval(values, scans, seed=seed) if len(set(scans)) >= metrics.FEWEST_PAIRS else None


def _p_of_scans(values: NDArray[np.float64], scans: Sequence[str]) -> float | None:
    """Wilcoxon's p of the gains, one a scan: several thickenings of one scan are no several patients."""
    means = np.array([values[[one == scan for one in scans]].mean() for scan in dict.fromkeys(scans)])
    return metrics.paired_test(means, np.zeros(len(means)))
