"""What comparisons say: which method of a pair is preferred, how surely, and how far readers agree.

"Same" counts for neither method and is shown apart. A share with an exact interval needs whole, independent trials, and
half a vote for each side would turn indifference into evidence of equality; this is the sign test's own rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from lamella.reader_study.agreement import fleiss_kappa, holm
from lamella.reader_study.answers import Answers, Given
from lamella.reader_study.plan import Design


@dataclass(frozen=True)
class Votes:
    """How often each method of a pair was chosen.

    Attributes:
        first: answers, or cases, for the pair's first method.
        second: for its second.
        same: for neither.
        rate: first / (first + second); None where nobody decided.
        interval: 95 % Wilson interval of the rate, as if the votes were independent.
        p: exact two-sided binomial test of rate 1/2.
    """

    first: int
    second: int
    same: int
    rate: float | None
    interval: tuple[float, float] | None
    p: float | None

    @classmethod
    def counted(cls, first: int, second: int, same: int) -> Votes:
        """The shares and tests of three counts."""
        decided = first + second
        test = binomtest(first, decided) if decided else None
        interval = None if test is None else test.proportion_ci(0.95, method="wilson")
        return cls(
            first,
            second,
            same,
            first / decided if decided else None,
            None if interval is None else (float(interval.low), float(interval.high)),
            None if test is None else float(test.pvalue),
        )


@dataclass(frozen=True)
class PairScore:
    """One pair of methods.

    Attributes:
        first: a method.
        second: the other.
        answers: every reader's every answer as one vote. Readers of one case see the same images, so these are not
            independent: the interval is too narrow and p too small.
        cases: each case as one vote, for the method that more of its readers chose than the other, and than "same".
        p_holm: p of `cases`, adjusted for the number of pairs.
        readers: reader -> that reader's answers.
        kappa: Fleiss' kappa of first, second, same between readers; None where it does not exist.
        agreement: share of the pairs of answers to one case that are the same; None with a single reader.
    """

    first: str
    second: str
    answers: Votes
    cases: Votes
    p_holm: float | None
    readers: dict[str, Votes]
    kappa: float | None
    agreement: float | None


def score_pairs(design: Design, answers: Sequence[Answers]) -> tuple[PairScore, ...]:
    """Every pair that was compared; repeated items are left out."""
    scores = [_pair(pair, design, answers) for pair in design.pairs]
    adjusted = holm([one.cases.p for one in scores])
    return tuple(PairScore(**{**vars(one), "p_holm": p_holm}) for one, p_holm in zip(scores, adjusted, strict=True))


def sides(answers: Answers) -> Votes:
    """How often a reader chose left (first) and right (second): far from a half, something but the image decided."""
    chosen = Counter(one.side for one in answers.given if one.side is not None)
    return Votes.counted(chosen["left"], chosen["right"], chosen["same"])


def _chosen(first: int, second: int, same: int) -> int:
    """1 or -1 for the method with most of a case's votes; 0 where neither has more than the other and than "same"."""
    return (first > max(second, same)) - (second > max(first, same))


def _pair(pair: tuple[str, str], design: Design, answers: Sequence[Answers]) -> PairScore:
    by_case: dict[str, Counter[str]] = {case: Counter() for case in design.cases}
    readers: dict[str, Votes] = {}
    for one in answers:
        mine: Counter[str] = Counter()
        for given in one.given:
            if given.choice is not None and given.item.repeats is None and _is_about(given, pair):
                mine[given.choice] += 1
                by_case[given.item.case][given.choice] += 1
        readers[one.reader] = _votes(mine, pair)
    table = [[votes[pair[0]], votes[pair[1]], votes[""]] for votes in by_case.values()]
    decided = Counter(_chosen(*votes) for votes in table if any(votes))
    return PairScore(
        *pair,
        answers=_votes(sum(by_case.values(), Counter()), pair),
        cases=Votes.counted(decided[1], decided[-1], decided[0]),
        p_holm=None,
        readers=readers,
        kappa=fleiss_kappa(table),
        agreement=_agreement(table),
    )


def _is_about(given: Given, pair: tuple[str, str]) -> bool:
    return set(given.item.methods) == set(pair)


def _votes(chosen: Counter[str], pair: tuple[str, str]) -> Votes:
    return Votes.counted(chosen[pair[0]], chosen[pair[1]], chosen[""])


def _agreement(table: Sequence[Sequence[int]]) -> float | None:
    alike = sum(count * (count - 1) for row in table for count in row)
    pairs = sum(sum(row) * (sum(row) - 1) for row in table)
    return alike / pairs if pairs else None
