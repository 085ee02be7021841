"""What ratings say: each method's mean mark, differences between methods, and how far readers agree.

The unit is the case: readers' marks of one volume are averaged first, because they are of the same image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from lamella.metrics.statistics import bootstrap_interval
from lamella.reader_study.agreement import holm, krippendorff_alpha
from lamella.reader_study.answers import Answers
from lamella.reader_study.plan import Design

_RESAMPLES = 5000
_LEAST_CASES = 3
"""Fewer cases have no interval: a bootstrap of two is a coin."""


@dataclass(frozen=True)
class MeanMark:
    """One method on one question.

    Attributes:
        method: which.
        mean: of the cases' means, 1 to 5; None without answers.
        interval: 95 %, bootstrap over cases.
        cases: with at least one answer.
        answers: marks in all.
        readers: reader -> that reader's own mean.
    """

    method: str
    mean: float | None
    interval: tuple[float, float] | None
    cases: int
    answers: int
    readers: dict[str, float | None]


@dataclass(frozen=True)
class Difference:
    """Two methods on one question, over the cases in which a reader marked both.

    Attributes:
        first: a method.
        second: the other.
        mean: first minus second, each reader with themselves, then over readers, then over cases.
        interval: 95 %, bootstrap over cases.
        p: Wilcoxon's signed ranks over cases (differences of 0 left out), two-sided.
        p_holm: p adjusted for every difference of the study.
        cases: how many.
    """

    first: str
    second: str
    mean: float | None
    interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None
    cases: int


@dataclass(frozen=True)
class QuestionScore:
    """One question.

    Attributes:
        question: its words.
        methods: the means.
        differences: all pairs of methods.
        alpha: Krippendorff's alpha between readers, ordinal; None where it does not exist.
    """

    question: str
    methods: tuple[MeanMark, ...]
    differences: tuple[Difference, ...]
    alpha: float | None


def score_ratings(design: Design, answers: Sequence[Answers]) -> tuple[QuestionScore, ...]:
    """Every question that was rated; repeated items are left out."""
    marks = _marks(design, answers)
    readers = [one.reader for one in answers]
    scores = []
    for question, text in enumerate(design.ratings):
        table = marks[..., question]
        means = tuple(_mean(method, table[..., m], readers) for m, method in enumerate(design.methods))
        pairs = combinations(range(len(design.methods)), 2)
        differences = tuple(_difference(design.methods, table, first, second) for first, second in pairs)
        alpha = krippendorff_alpha(table.reshape(len(readers), -1), "ordinal")
        scores.append(QuestionScore(text, means, differences, alpha))
    adjusted = iter(holm([one.p for score in scores for one in score.differences]))
    return tuple(
        replace(score, differences=tuple(replace(one, p_holm=next(adjusted)) for one in score.differences))
        for score in scores
    )


def _marks(design: Design, answers: Sequence[Answers]) -> NDArray[np.float64]:
    """(readers, cases, methods, questions), NaN where there is no answer."""
    shape = (len(answers), len(design.cases), len(design.methods), len(design.ratings))
    marks = np.full(shape, np.nan)
    for reader, one in enumerate(answers):
        for given in one.given:
            if given.marks and given.item.repeats is None:
                case, method = design.cases.index(given.item.case), design.methods.index(given.item.methods[0])
                marks[reader, case, method] = [np.nan if mark is None else mark for mark in given.marks]
    return marks


def _mean(method: str, table: NDArray[np.float64], readers: Sequence[str]) -> MeanMark:
    """`table` is (readers, cases)."""
    by_case = _known_means(table)
    own = {reader: _mean_of(row[np.isfinite(row)]) for reader, row in zip(readers, table, strict=True)}
    return MeanMark(method, _mean_of(by_case), _interval(by_case), len(by_case), int(np.isfinite(table).sum()), own)


def _difference(methods: Sequence[str], table: NDArray[np.float64], first: int, second: int) -> Difference:
    """`table` is (readers, cases, methods)."""
    by_case = _known_means(table[..., first] - table[..., second])
    return Difference(
        methods[first],
        methods[second],
        _mean_of(by_case),
        _interval(by_case),
        _signed_ranks(by_case),
        None,
        len(by_case),
    )


def _known_means(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over readers of every case that has an answer."""
    known = np.isfinite(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.asarray(sums[counts > 0] / counts[counts > 0])


def _mean_of(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _interval(by_case: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % bootstrap interval of the mean over cases."""
    if len(by_case) < _LEAST_CASES:
        return None
    return bootstrap_interval(by_case, resamples=_RESAMPLES)


def _signed_ranks(by_case: NDArray[np.float64]) -> float | None:
    # Means of thirds and sixths must tie where they are equal on paper.
    differences = np.round(by_case, 9)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0 if len(by_case) else None
    return float(wilcoxon(differences).pvalue)
