"""How far readers agree: Fleiss' kappa and Krippendorff's alpha, with answers missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamella.errors import LamellaError

Level = Literal["nominal", "ordinal"]


def fleiss_kappa(counts: ArrayLike) -> float | None:
    """Agreement of several raters on categories beyond chance (Fleiss, Psychological Bulletin 76, 1971).

    Where every subject has the same number of answers this is Fleiss' own formula. Otherwise each subject's agreement
    is taken among the answers it has, subjects with fewer than two are left out, and all others weigh alike.

    Args:
        counts: (subjects, categories) how many raters put each subject into each category.

    Returns:
        1 for perfect agreement, 0 for chance; None where it does not exist: no subject with two answers, or one
        category holding every answer, so that chance alone agrees always.

    Raises:
        LamellaError: not a table of whole numbers from 0.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or (table < 0).any() or (table != np.rint(table)).any():
        raise LamellaError(
            f"Agreement needs a table of counts, (subjects, categories), each a whole number from 0. Found {counts!r}."
        )
    table = table[table.sum(axis=1) >= 2]
    if not len(table):
        return None
    answers = table.sum(axis=1)
    observed = float(np.mean((table * (table - 1)).sum(axis=1) / (answers * (answers - 1))))
    shares = table.sum(axis=0) / table.sum()
    by_chance = float((shares**2).sum())
    return None if by_chance > 1 - 1e-12 else (observed - by_chance) / (1 - by_chance)


def krippendorff_alpha(ratings: ArrayLike, level: Level) -> float | None:
    """Reliability of ratings with any number of raters and missing answers (Krippendorff, Content Analysis, ch. 12).

    Args:
        ratings: (raters, units), NaN where a rater gave no answer.
        level: "nominal" (categories) or "ordinal" (ranks; distances between ranks grow with how many answers lie
            between them).

    Returns:
        1 for perfect reliability, 0 for chance; None where it does not exist: no unit with two answers, or all answers
        that can be compared are the same.

    Raises:
        LamellaError: not two axes.
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2:
        raise LamellaError(f"Reliability needs ratings as (raters, units). Found {table.ndim} axes.")
    table = table[:, np.isfinite(table).sum(axis=0) >= 2]
    values = np.unique(table[np.isfinite(table)])
    if len(values) < 2:
        return None
    found = (table[:, :, None] == values).sum(axis=0).astype(np.float64)  # (units, values)
    # Each unit's ordered pairs of answers, weighted so that a unit counts as often as it has answers.
    weights = 1.0 / (found.sum(axis=1) - 1)
    coincidences = (found * weights[:, None]).T @ found - np.diag(weights @ found)
    margins = coincidences.sum(axis=1)
    distance = _squared_distances(margins, level)
    expected = np.outer(margins, margins) - np.diag(margins)
    return float(1.0 - (margins.sum() - 1) * (coincidences * distance).sum() / (expected * distance).sum())


def _squared_distances(margins: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """(values, values): 1 between different categories; for ranks the square of the answers from one to the other."""
    if level == "nominal":
        return 1.0 - np.eye(len(margins))
    below = np.cumsum(margins) - margins / 2  # the middle of each rank, in answers from the lowest
    return np.asarray((below[:, None] - below[None, :]) ** 2)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for having been tried together (Holm, Scandinavian Journal of Statistics 6, 1979); None stays."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted
