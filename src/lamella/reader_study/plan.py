"""Who is shown what, when and on which side: one random session a reader, the same again for the same seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from lamella.errors import UsageError

Kind = Literal["preference", "likert"]

PREFERENCE_QUESTION = "Which one would you rather read for a diagnosis?"
LIKERT_QUESTIONS = ("Overall diagnostic quality", "Sharpness across slices", "Noise texture", "Artefacts")
LIKERT_ANCHORS = ("1 very poor", "5 excellent")
MOST_REPEATED = 0.5
"""Repeats are of the first half of a session and shown in its last quarter, so that they are not remembered."""


@dataclass(frozen=True)
class Design:
    """What a study asks about what.

    Attributes:
        cases: their names.
        methods: names of the methods, the same in every case.
        pairs: which methods are compared; empty: no comparison.
        preference: the question asked of a pair.
        ratings: the questions, each answered from 1 to 5, asked of a single volume; empty: no rating.
        repeat: share of the items that is shown twice, 0 to MOST_REPEATED.
        seed: of everything random.

    Raises:
        UsageError: nothing is asked, or a share out of range.
    """

    cases: tuple[str, ...]
    methods: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    preference: str = PREFERENCE_QUESTION
    ratings: tuple[str, ...] = LIKERT_QUESTIONS
    repeat: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.repeat <= MOST_REPEATED:
            raise UsageError(f"--repeat is a share. Found {self.repeat:g}, expected 0 to {MOST_REPEATED:g}.")
        if self.seed < 0:
            raise UsageError(f"--seed counts from 0. Found {self.seed}.")
        if not (self.cases and (self.pairs or self.ratings)):
            raise UsageError("The study asks nothing. Expected a case, and a pair of methods or a question to rate.")
        if len(set(self.ratings)) < len(self.ratings) or not all(self.ratings):
            raise UsageError(f"Every --question must be there once and say something. Found {list(self.ratings)}.")


@dataclass(frozen=True)
class Item:
    """One thing a reader answers.

    Attributes:
        id: random; all that the page knows of it.
        kind: "preference" (two volumes) or "likert" (one).
        case: which case.
        methods: what is shown: (left, right), or one.
        repeats: id of the item this one repeats; None for an original.
    """

    id: str
    kind: Kind
    case: str
    methods: tuple[str, ...]
    repeats: str | None = None


@dataclass(frozen=True)
class Session:
    """What one reader is shown.

    Attributes:
        reader: "R1", "R2", ...
        items: in order.
        volumes: (case, method) -> the volume's random id in this reader's page.
    """

    reader: str
    items: tuple[Item, ...]
    volumes: dict[tuple[str, str], str]


def choose_pairs(methods: Sequence[str], wanted: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The pairs to compare: those wanted, each as "A:B", or all.

    Raises:
        UsageError: fewer than two methods, or a pair that does not exist, or the same pair twice.
    """
    if len(methods) < 2:
        raise UsageError(
            f"A comparison needs two methods. Found {', '.join(methods)} alone. Add another source to every case, or "
            "ask for --kind likert."
        )
    if not wanted:
        return tuple(combinations(methods, 2))
    pairs: list[tuple[str, str]] = []
    for text in wanted:
        splits = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == ":"]
        found = [pair for pair in splits if pair[0] in methods and pair[1] in methods and pair[0] != pair[1]]
        if not found:
            raise UsageError(f"No such pair: {text!r}. Expected A:B with two of the methods {', '.join(methods)}.")
        if set(found[0]) in map(set, pairs):
            raise UsageError(f"The pair {text!r} is asked for twice. Name each pair once.")
        pairs.append(found[0])
    return tuple(pairs)


def plan_session(design: Design, number: int) -> Session:
    """The session of reader `number`, counted from 1.

    Ratings come before comparisons, because who has seen two methods side by side rates differently.
    """
    rng = np.random.default_rng([design.seed, number])
    ratings = [Item("", "likert", case, (one,)) for case in design.cases for one in design.methods if design.ratings]
    blocks = [_with_repeats(block, design.repeat, rng) for block in (ratings, _comparisons(design, rng)) if block]
    items = [item for block in blocks for item in block]
    shown = [(case, method) for case in design.cases for method in design.methods]
    shown = [one for one in shown if any(one[0] == item.case and one[1] in item.methods for item in items)]
    names = _random_ids(len(items) + len(shown), rng)
    renamed = {item.id: name for item, name in zip(items, names, strict=False)}
    items = [replace(item, id=renamed[item.id], repeats=renamed.get(item.repeats or "")) for item in items]
    return Session(f"R{number}", tuple(items), dict(zip(shown, names[len(items) :], strict=True)))


def _comparisons(design: Design, rng: np.random.Generator) -> list[Item]:
    """Every pair of every case; over the cases each method of a pair is as often left as right, to within one."""
    items: list[Item] = []
    for pair in design.pairs:
        turned = (np.arange(len(design.cases)) + rng.integers(2)) % 2
        for case, turn in zip(design.cases, rng.permutation(turned), strict=True):
            items.append(Item("", "preference", case, pair[::-1] if turn else pair))
    return items


def _with_repeats(items: Sequence[Item], share: float, rng: np.random.Generator) -> list[Item]:
    """A random order, with some items of its first half shown again in its last quarter, sides changed."""
    order = _apart(items, rng)
    order = [replace(item, id=f"{item.kind} {place}") for place, item in enumerate(order)]
    count = max(1, round(share * len(order))) if share > 0 else 0
    early = order[: -(-len(order) // 2)]
    again = [early[int(place)] for place in rng.permutation(len(early))[:count]]
    originals = len(order)
    for item in again:
        repeat = replace(item, id=f"{item.id} again", methods=item.methods[::-1], repeats=item.id)
        gaps = range(3 * originals // 4 + 1, len(order) + 1)
        free = [gap for gap in gaps if item.case not in {near.case for near in order[gap - 1 : gap + 1]}]
        order.insert(int(rng.choice(free or list(gaps))), repeat)
    return order


def _apart(items: Sequence[Item], rng: np.random.Generator) -> list[Item]:
    """A random order in which neighbours are of different cases, wherever that is possible."""
    left: dict[str, list[Item]] = defaultdict(list)
    for place in rng.permutation(len(items)):
        left[items[place].case].append(items[place])
    order: list[Item] = []
    while left:
        cases = [case for case in left if not order or case != order[-1].case] or list(left)
        counts = np.array([len(left[case]) for case in cases])
        # A case with more than half of what remains must come now, or its items meet at the end.
        crowded = 2 * counts > sum(map(len, left.values()))
        place = int(crowded.argmax()) if crowded.any() else int(rng.choice(len(cases), p=counts / counts.sum()))
        case = cases[place]
        order.append(left[case].pop())
        if not left[case]:
            del left[case]
    return order


def _random_ids(count: int, rng: np.random.Generator) -> list[str]:
    """Different names of one letter and seven hexadecimal digits, in random order."""
    numbers: set[int] = set()
    while len(numbers) < count:
        numbers.add(int(rng.integers(16**7)))
    return [f"v{number:07x}" for number in rng.permutation(sorted(numbers))]
