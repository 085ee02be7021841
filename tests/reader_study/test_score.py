"""Scores of answers whose result is known beforehand."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.reader_study.studies import METHODS, answers_of, choose, saved, small_key

from lamella.errors import RefusedInput
from lamella.reader_study.answers import read_answers
from lamella.reader_study.key import Key
from lamella.reader_study.plan import Design, Item, choose_pairs
from lamella.reader_study.score import StudyScore, score
from lamella.reader_study.text import summary

CASES = tuple(f"case-{number:02d}" for number in range(1, 7))
PREFERENCES = Design(CASES, ("a", "b"), (("a", "b"),), ratings=())
RATINGS = Design(CASES, ("a", "b"), (), ratings=("Sharpness", "Noise"))


def scored(key: Key, folder: Path, *answers: dict[str, object]) -> StudyScore:
    return score(key, read_answers([saved(folder, one) for one in answers], key))


def by_table(table: dict[tuple[str, str], str], reader: str):  # type: ignore[no-untyped-def]
    """Answers by (reader, case) -> method or "same"."""

    def answer(item: Item) -> object:
        chosen = table[reader, item.case]
        return "same" if chosen == "same" else ("left", "right")[item.methods.index(chosen)]

    return answer


def test_preferences_by_hand(tmp_path: Path) -> None:
    """Six cases, two readers: R1 says b, b, b, b, a, same; R2 says b, b, b, a, a, same."""
    key = small_key(PREFERENCES, 2)
    said = {"R1": ("b", "b", "b", "b", "a", "same"), "R2": ("b", "b", "b", "a", "a", "same")}
    table = {(reader, case): one for reader, row in said.items() for case, one in zip(CASES, row, strict=True)}
    found = scored(key, tmp_path, *(answers_of(key, one, by_table(table, one)) for one in said))
    (pair,) = found.pairs
    assert (pair.answers.first, pair.answers.second, pair.answers.same) == (3, 7, 2)
    assert pair.answers.rate == pytest.approx(0.3)
    assert pair.answers.p == pytest.approx(0.34375)  # 2 * (1 + 10 + 45 + 120) / 1024
    assert pair.answers.interval == pytest.approx((0.1078, 0.6032), abs=1e-4)  # Wilson's formula, worked by hand
    assert (pair.cases.first, pair.cases.second, pair.cases.same) == (1, 3, 2)  # case 4 is a draw
    assert pair.cases.p == pytest.approx(0.625)  # 2 * (1 + 4) / 16
    assert (pair.readers["R1"].first, pair.readers["R1"].second, pair.readers["R1"].same) == (1, 4, 1)
    assert pair.agreement == pytest.approx(5 / 6)
    # Shares 3, 7, 2 of 12: chance (9 + 49 + 4) / 144; kappa = (5/6 - 62/144) / (1 - 62/144).
    assert pair.kappa == pytest.approx((5 / 6 - 62 / 144) / (82 / 144))
    assert all(one.again.choices == one.again.choices_same == 1 for one in found.readers)


def test_a_case_that_most_readers_call_the_same_is_for_neither(tmp_path: Path) -> None:
    readers = [f"R{number}" for number in range(1, 6)]
    key = small_key(PREFERENCES, 5)
    table = {(reader, case): "b" if reader == "R1" else "same" for reader in readers for case in CASES}
    found = scored(key, tmp_path, *(answers_of(key, one, by_table(table, one)) for one in readers))
    (pair,) = found.pairs
    assert (pair.cases.first, pair.cases.second, pair.cases.same) == (0, 0, 6)
    assert pair.cases.p is None


def test_ratings_by_hand(tmp_path: Path) -> None:
    """Method b is one better on sharpness in every case, and the same on noise."""
    key = small_key(RATINGS, 2)

    def mark(item: Item) -> object:
        base = 2 + CASES.index(item.case) % 2
        return [base + (item.methods[0] == "b"), 4]

    found = scored(key, tmp_path, *(answers_of(key, one, mark) for one in ("R1", "R2")))
    sharpness, noise = found.questions
    assert [one.mean for one in sharpness.methods] == [2.5, 3.5]
    assert [(one.cases, one.answers) for one in sharpness.methods] == [(6, 12)] * 2
    low, high = sharpness.methods[0].interval or (0, 0)
    assert 2.0 <= low < 2.5 < high <= 3.0
    (difference,) = sharpness.differences
    assert difference.mean == -1.0
    assert difference.interval == (-1.0, -1.0)
    assert difference.p == pytest.approx(2 / 2**6)  # six signs alike
    assert difference.p_holm == pytest.approx(2 * 2 / 2**6)
    assert sharpness.alpha == pytest.approx(1.0)
    assert noise.differences[0].p == 1.0
    assert noise.alpha is None  # everybody always said 4: nothing to agree about
    assert found.again.marks == found.again.marks_same == found.again.marks_near == 4


def test_signed_ranks_are_exact_with_ties(tmp_path: Path) -> None:
    """Against all 2^6 signs: differences -1, -1, -2, -2, -3, +1 have mid-ranks 2, 2, 4.5, 4.5, 6, 2."""
    key = small_key(RATINGS, 1)
    better = dict(zip(CASES, (1, 1, 2, 2, 3, -1), strict=True))

    def mark(item: Item) -> object:
        return [
            3
            - (item.methods[0] == "a") * min(2, better[item.case])
            + (item.methods[0] == "b") * (better[item.case] > 2),
            3,
        ]

    (difference, _) = (one.differences[0] for one in scored(key, tmp_path, answers_of(key, "R1", mark)).questions)
    ranks = np.array([2, 2, 4.5, 4.5, 6, 2])
    sums = [float(ranks[list(signs)].sum()) for signs in product((False, True), repeat=6)]
    total, rises = ranks.sum(), 2.0
    extreme = [one for one in sums if min(one, total - one) <= rises]
    assert difference.mean == pytest.approx(-8 / 6)
    assert difference.p == pytest.approx(len(extreme) / 64)


def test_missing_answers_are_scored_and_said(tmp_path: Path) -> None:
    design = Design(CASES, METHODS, choose_pairs(METHODS, ()), repeat=0.1)
    key = small_key(design, 3)
    whole = answers_of(key, "R1", lambda item: choose(item, "mean"))
    part = answers_of(key, "R3", lambda item: choose(item, "mean"))
    first = next(entry for entry in part["items"] if isinstance(entry["answer"], list))
    first["answer"][2] = None
    dropped = part["items"].pop()
    part["items"][-1]["answer"] = None
    found = scored(key, tmp_path, whole, part)
    assert [(one.reader, one.missing) for one in found.readers] == [("R1", 0), ("R3", 3)]
    assert found.absent == ("R2",)
    said = summary(found)
    assert f"INCOMPLETE: R3 misses 3 of {found.readers[1].asked} answers. What is there was scored." in said
    assert "INCOMPLETE: no answers from R2." in said
    assert dropped["id"] not in said


def test_one_always_prefers_one(tmp_path: Path) -> None:
    design = Design(CASES, METHODS, choose_pairs(METHODS, ()))
    key = small_key(design, 3)
    found = scored(key, tmp_path, *(answers_of(key, f"R{n}", lambda item: choose(item, "mean")) for n in (1, 2, 3)))
    by_pair = {(one.first, one.second): one for one in found.pairs}
    best = by_pair["cubic", "mean"]
    assert (best.answers.first, best.answers.second) == (0, 18)
    assert best.cases.p == binomtest(0, 6).pvalue
    assert best.p_holm == pytest.approx(2 * binomtest(0, 6).pvalue)  # two pairs have a p, the third has nothing decided
    assert by_pair["cubic", "real-thin"].answers.rate is None
    assert by_pair["cubic", "real-thin"].kappa is None
    assert [one.mean for one in found.questions[0].methods] == [2.0, 5.0, 2.0]
    said = summary(found)
    assert "mean in 100 % [82, 100], p < 0.001" in said
    assert "nobody decided" in said
    assert "INCOMPLETE" not in said


def test_sides_tell_a_reader_who_always_takes_the_left(tmp_path: Path) -> None:
    key = small_key(Design(CASES * 1, METHODS, choose_pairs(METHODS, ()), ratings=(), repeat=0.5), 1)
    found = scored(key, tmp_path, answers_of(key, "R1", lambda item: "left"))
    (reader,) = found.readers
    assert reader.sides is not None
    assert (reader.sides.first, reader.sides.second) == (27, 0)
    # Sides change in a repeat, so such a reader contradicts themselves every time.
    assert (reader.again.choices, reader.again.choices_same) == (9, 0)


def test_coin_tossers_do_not_agree_with_themselves(tmp_path: Path) -> None:
    """Answers without any content: alpha of the repeats is near 0 also where pairs differ in their methods."""
    cases = tuple(f"case-{number:03d}" for number in range(300))
    key = small_key(Design(cases, METHODS, choose_pairs(METHODS, ()), ratings=(), repeat=0.5), 1)
    rng = np.random.default_rng(2)
    found = scored(key, tmp_path, answers_of(key, "R1", lambda item: ("left", "right")[rng.integers(2)]))
    assert found.again.choices == 450
    assert found.again.choices_alpha == pytest.approx(0.0, abs=0.15)
    assert all(abs((pair.answers.rate or 0) - 0.5) < 0.13 for pair in found.pairs)


def test_the_score_is_json(tmp_path: Path) -> None:
    key = small_key(Design(CASES, METHODS, choose_pairs(METHODS, ())), 1)
    found = scored(key, tmp_path, answers_of(key, "R1", lambda item: choose(item, "mean"))).to_dict()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["kind"] == "lamella reader-study score"
    assert again["pairs"][0]["readers"]["R1"]["second"] == 6
    assert again["questions"][0]["methods"][1] == {
        "method": "mean",
        "mean": 5.0,
        "interval": [5.0, 5.0],
        "cases": 6,
        "answers": 6,
        "readers": {"R1": 5.0},
    }


def test_nothing_to_score(tmp_path: Path) -> None:
    key = small_key(PREFERENCES, 1)
    with pytest.raises(RefusedInput, match=r"no file holds an answer"):
        scored(key, tmp_path, answers_of(key, "R1", lambda item: None))


def test_the_text_by_hand(tmp_path: Path) -> None:
    """One case, one reader, everything said once: the whole text."""
    key = small_key(Design(("case-1",), ("a", "b"), (("a", "b"),), ratings=("Noise",), repeat=0.0), 1)
    found = scored(key, tmp_path, answers_of(key, "R1", lambda item: choose(item, "b", 1), seconds=3.25))
    assert summary(found) == "\n".join(
        [
            f"Reader study {key.study}: 1 case, 2 methods, 1 reader (R1)",
            "",
            "Comparisons: Which one would you rather read for a diagnosis?",
            "  Same counts for neither method.",
            "",
            "  a : b",
            "    by case        0 : 1   same 0   b in 100 % [21, 100], p 1.000",
            "    all answers    0 : 1   same 0   b in 100 % [21, 100], p 1.000",
            "    R1             0 : 1   same 0   b in 100 % [21, 100], p 1.000",
            "    between readers: - of answers alike, Fleiss' kappa -",
            "",
            "Ratings, 1 very poor to 5 excellent: mean over cases [95 %, bootstrap over cases]",
            "         a     b     between readers",
            "  Noise  2.00  5.00  alpha -",
            "",
            "  Differences (Wilcoxon over cases; Holm for all 1 of them)",
            "  Noise  a - b  -3.00  p 1.000  1 case",
            "",
            "Reader  answers  s an item  left : right     shown twice",
            f"R1      3 of 3   3.2        {'1 : 0' if key.sessions[0].items[-1].methods[0] == 'b' else '0 : 1'} (p 1.000)  -",
            "all                                          -",
        ]
    )
