"""Sessions: complete, random, balanced, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reader_study.studies import METHODS, small_key

from lamella.errors import UsageError
from lamella.reader_study.plan import Design, Session, choose_pairs, plan_session

CASES = tuple(f"case-{number:02d}" for number in range(1, 8))
PAIRS = choose_pairs(METHODS, ())


def design(**changes: object) -> Design:
    return Design(**{"cases": CASES, "methods": METHODS, "pairs": PAIRS, **changes})  # type: ignore[arg-type]


designs = st.builds(
    lambda cases, repeat, seed, rated: design(
        cases=CASES[:cases], repeat=repeat, seed=seed, ratings=("Quality",) if rated else ()
    ),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.1, 0.3, 0.5]),
    st.integers(0, 99),
    st.booleans(),
)


@given(designs, st.integers(1, 4))
def test_everything_is_asked_once_and_repeats_again(asked: Design, number: int) -> None:
    items = plan_session(asked, number).items
    originals = [item for item in items if item.repeats is None]
    seen = Counter((item.kind, item.case, frozenset(item.methods)) for item in originals)
    expected = {("preference", case, frozenset(pair)) for case in asked.cases for pair in PAIRS}
    if asked.ratings:
        expected |= {("likert", case, frozenset([one])) for case in asked.cases for one in METHODS}
    assert set(seen) == expected
    assert set(seen.values()) == {1}
    for kind in ("likert", "preference"):
        block = [item for item in items if item.kind == kind]
        n = sum(item.repeats is None for item in block)
        assert len(block) - n == (max(1, round(asked.repeat * n)) if asked.repeat and n else 0)


@given(designs, st.integers(1, 4))
def test_repeats_come_late_with_sides_changed(asked: Design, number: int) -> None:
    items = plan_session(asked, number).items
    place = {item.id: at for at, item in enumerate(items)}
    assert len(place) == len(items)
    for item in items:
        if item.repeats is not None:
            original = items[place[item.repeats]]
            assert original.repeats is None
            assert (item.kind, item.case, item.methods) == (original.kind, original.case, original.methods[::-1])
            block = sum(other.kind == item.kind and other.repeats is None for other in items)
            assert place[item.id] - place[item.repeats] > block // 4


@given(designs, st.integers(1, 4))
def test_ratings_first_and_neighbours_of_different_cases(asked: Design, number: int) -> None:
    items = plan_session(asked, number).items
    kinds = [item.kind for item in items]
    assert kinds == sorted(kinds)  # "likert" before "preference"
    originals = [item for item in items if item.repeats is None]
    if len(asked.cases) > 1:
        alike = [a for a, b in pairwise(originals) if a.case == b.case and a.kind == b.kind]
        assert alike == []


@given(designs, st.integers(1, 4))
def test_each_method_of_a_pair_is_left_as_often_as_right(asked: Design, number: int) -> None:
    originals = [item for item in plan_session(asked, number).items if item.repeats is None]
    for first, second in PAIRS:
        left = Counter(item.methods[0] for item in originals if set(item.methods) == {first, second})
        assert abs(left[first] - left[second]) <= 1


@given(designs, st.integers(1, 4))
def test_names_are_random_and_unique(asked: Design, number: int) -> None:
    session = plan_session(asked, number)
    names = [*session.volumes.values(), *(item.id for item in session.items)]
    assert len(set(names)) == len(names)
    assert all(len(name) == 8 and name[0] == "v" and int(name[1:], 16) >= 0 for name in names)


def test_the_seed_decides_and_readers_differ() -> None:
    assert plan_session(design(), 1) == plan_session(design(), 1)
    sessions = [plan_session(design(seed=seed), number) for seed in (0, 1) for number in (1, 2, 3)]

    def asked(session: Session) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((item.case, item.methods) for item in session.items)

    assert len({asked(one) for one in sessions}) == 6


def test_only_what_is_asked_is_shown() -> None:
    session = plan_session(design(pairs=(("mean", "cubic"),), ratings=()), 1)
    assert {method for _, method in session.volumes} == {"mean", "cubic"}
    assert len(session.volumes) == 2 * len(CASES)


def test_a_position_or_a_name_tells_nothing() -> None:
    """Over many readers every method is first, and has the lowest name, about as often as any other."""
    first, lowest = Counter[str](), Counter[str]()
    for number in range(1, 601):
        session = plan_session(design(repeat=0.0), number)
        first[session.items[0].methods[0]] += 1
        lowest[min(session.volumes.items(), key=lambda entry: entry[1])[0][1]] += 1
    for counts in (first, lowest):  # 200 of 600 expected; 50 is over four standard deviations
        assert all(abs(counts[method] - 200) < 50 for method in METHODS)


def test_pairs_are_all_or_those_named() -> None:
    assert PAIRS == (("cubic", "mean"), ("cubic", "real-thin"), ("mean", "real-thin"))
    assert choose_pairs(METHODS, ["mean:cubic"]) == (("mean", "cubic"),)
    assert choose_pairs(("a:b", "c"), ["a:b:c"]) == (("a:b", "c"),)


@pytest.mark.parametrize(
    ("methods", "wanted", "message"),
    [
        (("one",), (), r"needs two methods\. Found one alone"),
        (METHODS, ("cubic:best",), r"No such pair: 'cubic:best'"),
        (METHODS, ("cubic:cubic",), r"No such pair"),
        (METHODS, ("cubic",), r"Expected A:B with two of the methods cubic, mean, real-thin"),
        (METHODS, ("cubic:mean", "mean:cubic"), r"'mean:cubic' is asked for twice"),
    ],
)
def test_pairs_refused(methods: tuple[str, ...], wanted: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_pairs(methods, wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repeat": 0.6}, r"--repeat is a share\. Found 0\.6"),
        ({"seed": -1}, r"--seed counts from 0"),
        ({"pairs": (), "ratings": ()}, r"asks nothing"),
        ({"cases": ()}, r"asks nothing"),
        ({"ratings": ("Noise", "Noise")}, r"Every --question must be there once"),
    ],
)
def test_designs_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        design(**changes)


def test_a_key_names_its_study() -> None:
    keys = [small_key(design(seed=seed), readers) for seed, readers in ((0, 2), (0, 2), (1, 2), (0, 3))]
    assert keys[0].study == keys[1].study
    assert len({key.study for key in keys}) == 3
