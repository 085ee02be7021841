"""From figures of cases to statements about methods: intervals, pooled figures, paired gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.metrics.catalogue import FIGURES

Record = Mapping[str, Any]
"""One case as it stands in results.json."""

GAIN_FIGURES = {"psnr_4095_db": "", "psnr_body_db": "_body"}
"""Figure of a gain -> suffix of the per-slice sums it is computed from."""

_BLOCK_MM = 20.0
"""Neighbouring slices resemble each other: the bootstrap of one case draws whole blocks of this length."""


def block_of(spacing_mm: float, slices: int) -> int:
    """Slices of a bootstrap block: 20 mm, but at least four blocks in the scan."""
    return max(1, min(round(_BLOCK_MM / spacing_mm), slices // 4))


def intervals_of_case(
    squares: Mapping[str, NDArray[np.float64]], counts: Mapping[str, NDArray[np.float64]], block: int, seed: int
) -> dict[str, list[float]]:
    """95 % intervals of one method's RMSE in one case, over all voxels and in the body.

    Args:
        squares: "" and "_body" -> (z,) sums of squared errors.
        counts: the same keys -> (z,) voxels.
        block: slices of a block.
        seed: of the bootstrap.
    """
    names = {"": "rmse_hu", "_body": "rmse_body_hu"}
    found = {}
    for suffix, name in names.items():
        interval = metrics.slab_bootstrap_rmse(squares[suffix], counts[suffix], block, seed=seed)
        if interval is not None:
            found[name] = list(interval)
    return found


def gains_of_case(case: Record, kinds: Mapping[str, str], seed: int) -> list[dict[str, Any]]:
    """Gain in dB of every model and outside result over every baseline, with an interval over slabs of the case.

    `difference_at_best_shift` lets the baseline be moved along z to where it fits best first, and the method not: what is
    left when the baseline's placement cannot be blamed. The method is never moved.
    """
    sums = case["slices"]["squares"]
    block = block_of(case["thin"]["spacing_mm"], case["scored_slices"])
    gains = []
    for method in (name for name in case["figures"] if kinds[name] in ("model", "outside")):
        for against in (name for name in case["figures"] if kinds[name] in ("baseline", "projected")):
            for figure, suffix in GAIN_FIGURES.items():
                ours, theirs = (np.asarray(sums[f"squares{suffix}"][name]) for name in (method, against))
                if ours.sum() == 0 or theirs.sum() == 0:
                    continue
                voxels = np.asarray(case["slices"]["counts"][f"voxels{suffix}"], dtype=np.float64)
                interval = metrics.slab_bootstrap_gain_db(ours, theirs, voxels, block, seed=seed)
                gains.append(
                    {
                        "case": case["id"],
                        "method": method,
                        "against": against,
                        "figure": figure,
                        "difference": 10 * math.log10(theirs.sum() / ours.sum()),
                        "interval": None if interval is None else list(interval),
                        "p": None,
                        "cases": 1,
                        "difference_at_best_shift": _at_best_shift(case, method, against) if not suffix else None,
                    }
                )
    return gains


def _at_best_shift(case: Record, method: str, against: str) -> float | None:
    """The gain over a baseline that may be moved, in dB on the slices no shift takes past the ends."""
    rmse, shifts = case["shifts"]["rmse_hu"], case["shifts"]["shift_mm"]
    if method not in rmse or against not in rmse:
        return None
    unmoved = rmse[method][shifts.index(0.0)]
    best = min(rmse[against])
    return 20 * math.log10(best / unmoved) if unmoved > 0 and best > 0 else None


def pooled_figures(cases: Sequence[Record], methods: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """Mean of every figure over the cases that have it, with a bootstrap interval over scans."""
    pooled: dict[str, dict[str, Any]] = {}
    for method in methods:
        pooled[method] = {}
        for figure in FIGURES:
            having = [case for case in cases if case["figures"].get(method, {}).get(figure) is not None]
            if having:
                values = np.array([case["figures"][method][figure] for case in having])
                pooled[method][figure] = {
                    "value": float(values.mean()),
                    "interval": _interval(values, [case["group"] for case in having], seed),
                    "cases": len(having),
                }
    return pooled


def pooled_gains(gains: Sequence[Mapping[str, Any]], cases: Sequence[Record], seed: int) -> list[dict[str, Any]]:
    """Mean gain over the cases, with a bootstrap interval over scans and a paired test."""
    groups = {case["id"]: case["group"] for case in cases}
    keys = list(dict.fromkeys((gain["method"], gain["against"], gain["figure"]) for gain in gains))
    pooled = []
    for method, against, figure in keys:
        these = [g for g in gains if (g["method"], g["against"], g["figure"]) == (method, against, figure)]
        values = np.array([gain["difference"] for gain in these])
        moved = [g["difference_at_best_shift"] for g in these if g["difference_at_best_shift"] is not None]
        pooled.append(
            {
                "case": "pooled",
                "method": method,
                "against": against,
                "figure": figure,
                "difference": float(values.mean()),
                "interval": _interval(values, [groups[gain["case"]] for gain in these], seed),
                "p": _p_of_scans(values, [groups[gain["case"]] for gain in these]),
                "cases": len(these),
                "difference_at_best_shift": float(np.mean(moved)) if moved else None,
            }
        )
    return pooled


def _p_of_scans(values: NDArray[np.float64], scans: Sequence[str]) -> float | None:
    """Wilcoxon's p of the gains, one a scan: several thickenings of one scan are no several patients."""
    means = np.array([values[[one == scan for one in scans]].mean() for scan in dict.fromkeys(scans)])
    return metrics.paired_test(means, np.zeros(len(means)))


def _interval(values: NDArray[np.float64], groups: list[str], seed: int) -> list[float] | None:
    found = metrics.bootstrap_interval(values, groups, seed=seed)
    return None if found is None else list(found)
