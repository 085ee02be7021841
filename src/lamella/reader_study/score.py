"""What the answers of a study say, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lamella.errors import RefusedInput
from lamella.reader_study.agreement import krippendorff_alpha
from lamella.reader_study.answers import Answers, Given
from lamella.reader_study.key import Key
from lamella.reader_study.preferences import PairScore, Votes, score_pairs, sides
from lamella.reader_study.ratings import QuestionScore, score_ratings

SCORE_KIND = "lamella reader-study score"


@dataclass(frozen=True)
class Again:
    """How items shown twice were answered.

    Attributes:
        choices: repeated comparisons answered both times.
        choices_same: of them, answered alike.
        choices_alpha: Krippendorff's alpha of the two times, nominal; None where it does not exist.
        marks: repeated marks given both times.
        marks_same: of them, identical.
        marks_near: of them, at most 1 apart.
        marks_alpha: as for choices, ordinal.
    """

    choices: int
    choices_same: int
    choices_alpha: float | None
    marks: int
    marks_same: int
    marks_near: int
    marks_alpha: float | None


@dataclass(frozen=True)
class ReaderScore:
    """One reader.

    Attributes:
        reader: who.
        asked: answers asked for.
        missing: answers not given.
        seconds: median time of an answered item.
        sides: how often left (first) and right (second) were preferred; None without comparisons.
        again: the repeated items.
    """

    reader: str
    asked: int
    missing: int
    seconds: float | None
    sides: Votes | None
    again: Again


@dataclass(frozen=True)
class StudyScore:
    """The whole study.

    Attributes:
        study: its name.
        lamella: version that made it.
        cases: how many.
        methods: which.
        absent: readers of the key whose answers were not given.
        preference: the question asked of pairs.
        pairs: the comparisons.
        questions: the ratings.
        readers: each reader.
        again: repeated items of all readers.
    """

    study: str
    lamella: str
    cases: int
    methods: tuple[str, ...]
    absent: tuple[str, ...]
    preference: str
    pairs: tuple[PairScore, ...]
    questions: tuple[QuestionScore, ...]
    readers: tuple[ReaderScore, ...]
    again: Again

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return {"kind": SCORE_KIND, **asdict(self)}


def score(key: Key, answers: Sequence[Answers]) -> StudyScore:
    """Score all readers' answers.

    Raises:
        RefusedInput: nobody answered anything.
    """
    if not any(one.given for one in answers):
        raise RefusedInput("There is nothing to score: no file holds an answer. Expected at least one answered item.")
    there = {one.reader for one in answers}
    return StudyScore(
        study=key.study,
        lamella=key.lamella,
        cases=len(key.design.cases),
        methods=key.design.methods,
        absent=tuple(one.reader for one in key.sessions if one.reader not in there),
        preference=key.design.preference,
        pairs=score_pairs(key.design, answers),
        questions=score_ratings(key.design, answers),
        readers=tuple(_reader(one) for one in answers),
        again=_again([twice for one in answers for twice in _twice(one)]),
    )


def _reader(answers: Answers) -> ReaderScore:
    seconds = [one.seconds for one in answers.given]
    compared = any(one.side is not None for one in answers.given)
    return ReaderScore(
        answers.reader,
        answers.asked,
        answers.missing,
        float(np.median(seconds)) if seconds else None,
        sides(answers) if compared else None,
        _again(_twice(answers)),
    )


def _twice(answers: Answers) -> list[tuple[Given, Given]]:
    """(first time, second time) of the repeated items that have both."""
    given = {one.item.id: one for one in answers.given}
    again = [one for one in answers.given if one.item.repeats is not None]
    return [(given[one.item.repeats], one) for one in again if one.item.repeats in given]


def _again(twice: Sequence[tuple[Given, Given]]) -> Again:
    choices = [(_code(a), _code(b)) for a, b in twice if a.choice is not None and b.choice is not None]
    marks = [
        (first, second)
        for a, b in twice
        for first, second in zip(a.marks, b.marks, strict=True)
        if first is not None and second is not None
    ]
    apart = np.array([abs(first - second) for first, second in marks])
    return Again(
        choices=len(choices),
        choices_same=sum(a == b for a, b in choices),
        choices_alpha=krippendorff_alpha(np.array(choices, dtype=float).reshape(-1, 2).T, "nominal"),
        marks=len(marks),
        marks_same=int((apart == 0).sum()),
        marks_near=int((apart <= 1).sum()),
        marks_alpha=krippendorff_alpha(np.array(marks, dtype=float).reshape(-1, 2).T, "ordinal"),
    )


def _code(given: Given) -> int:
    """0 or 1 for a pair's methods by name, 2 for the same; by name of the method, all pairs together would look reliable."""
    return [*sorted(given.item.methods), ""].index(given.choice or "")
