"""A study's scores as plain text."""

from __future__ import annotations

from collections.abc import Iterator

from lamella.reader_study.plan import LIKERT_ANCHORS
from lamella.reader_study.preferences import PairScore, Votes
from lamella.reader_study.ratings import QuestionScore
from lamella.reader_study.score import Again, ReaderScore, StudyScore

_NONE = "-"


def summary(score: StudyScore) -> str:
    """All of it, for a terminal."""
    names = ", ".join(one.reader for one in score.readers)
    lines = [
        f"Reader study {score.study}: {_count(score.cases, 'case')}, {len(score.methods)} methods, "
        f"{_count(len(score.readers), 'reader')} ({names})"
    ]
    incomplete = [f"{one.reader} misses {one.missing} of {one.asked}" for one in score.readers if one.missing]
    if incomplete:
        lines.append(f"INCOMPLETE: {'; '.join(incomplete)} answers. What is there was scored.")
    if score.absent:
        lines.append(f"INCOMPLETE: no answers from {', '.join(score.absent)}.")
    if score.pairs:
        lines += ["", f"Comparisons: {score.preference}", "  " + "Same counts for neither method."]
        for pair in score.pairs:
            lines += _pair(pair)
    if score.questions:
        lines += [
            "",
            f"Ratings, {LIKERT_ANCHORS[0]} to {LIKERT_ANCHORS[1]}: mean over cases [95 %, bootstrap over cases]",
        ]
        lines += _questions(score.questions)
    return "\n".join([*lines, "", *_readers(score)])


def _pair(pair: PairScore) -> Iterator[str]:
    yield ""
    yield f"  {pair.first} : {pair.second}"
    width = max(len("all answers"), *map(len, pair.readers))
    yield f"    {'by case':<{width}}  {_votes(pair, pair.cases)}{_holm(pair.p_holm, pair.cases.p)}"
    yield f"    {'all answers':<{width}}  {_votes(pair, pair.answers)}"
    for reader, votes in pair.readers.items():
        yield f"    {reader:<{width}}  {_votes(pair, votes)}"
    yield f"    between readers: {_percent(pair.agreement)} of answers alike, Fleiss' kappa {_number(pair.kappa)}"


def _votes(pair: PairScore, votes: Votes) -> str:
    counts = f"{votes.first:>3} : {votes.second:<3} same {votes.same:<3}"
    if votes.rate is None or votes.interval is None or votes.p is None:
        return f"{counts} nobody decided"
    low, high = votes.interval
    share = (votes.rate, low, high, pair.first)
    if votes.rate < 0.5:
        share = (1 - votes.rate, 1 - high, 1 - low, pair.second)
    return (
        f"{counts} {share[3]} in {100 * share[0]:.0f} % [{100 * share[1]:.0f}, {100 * share[2]:.0f}], p {_p(votes.p)}"
    )


def _questions(questions: tuple[QuestionScore, ...]) -> Iterator[str]:
    rows = [["", *(one.method for one in questions[0].methods), "between readers"]]
    for question in questions:
        marks = [f"{_number(one.mean)}{_interval(one.interval)}" for one in question.methods]
        rows.append([question.question, *marks, f"alpha {_number(question.alpha)}"])
    yield from _columns(rows)
    differences = [(question.question, one) for question in questions for one in question.differences]
    if not differences:
        return
    yield ""
    yield f"  Differences (Wilcoxon over cases; Holm for all {len(differences)} of them)"
    yield from _columns(
        [
            [
                question,
                f"{one.first} - {one.second}",
                f"{_number(one.mean, '+')}{_interval(one.interval, '+')}",
                f"p {_p(one.p)}{_holm(one.p_holm, one.p)}",
                _count(one.cases, "case"),
            ]
            for question, one in differences
        ]
    )


def _columns(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _readers(score: StudyScore) -> Iterator[str]:
    rows = [["Reader", "answers", "s an item", "left : right", "shown twice"], *map(_reader, score.readers)]
    rows.append(["all", "", "", "", _again(score.again, with_alpha=True)])
    return (line[2:] for line in _columns(rows))


def _reader(one: ReaderScore) -> list[str]:
    sides = _NONE
    if one.sides is not None:
        sides = f"{one.sides.first} : {one.sides.second}" + ("" if one.sides.p is None else f" (p {_p(one.sides.p)})")
    seconds = _NONE if one.seconds is None else f"{one.seconds:.1f}"
    return [one.reader, f"{one.asked - one.missing} of {one.asked}", seconds, sides, _again(one.again)]


def _again(again: Again, with_alpha: bool = False) -> str:
    """Alpha is for all readers together: one reader's few repeats have none worth the name."""
    choices, marks = (
        f" (alpha {alpha:.2f})" if with_alpha and alpha is not None else ""
        for alpha in (again.choices_alpha, again.marks_alpha)
    )
    facts = []
    if again.choices:
        facts.append(f"comparisons {again.choices_same} of {again.choices} alike{choices}")
    if again.marks:
        facts.append(f"marks {again.marks_same} of {again.marks} alike{marks}, {again.marks_near} within 1")
    return "; ".join(facts) or _NONE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.0f} %"


def _number(value: float | None, sign: str = "") -> str:
    return _NONE if value is None else f"{value:{sign}.2f}"


def _interval(interval: tuple[float, float] | None, sign: str = "") -> str:
    return "" if interval is None else f" [{interval[0]:{sign}.2f}, {interval[1]:{sign}.2f}]"


def _p(p: float | None) -> str:
    if p is None:
        return _NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _holm(adjusted: float | None, p: float | None) -> str:
    return "" if adjusted is None or adjusted == p else f" (Holm {_p(adjusted)})"
