"""Agreement against published tables, and by laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.errors import LamellaError
from lamella.reader_study.agreement import fleiss_kappa, holm, krippendorff_alpha

NAN = float("nan")

DIAGNOSES = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
"""Fleiss 1971, table 1: 30 patients, six psychiatrists, five diagnoses; one digit a diagnosis."""

FOURTEEN_RATERS = """0 0 0 0 14; 0 2 6 4 2; 0 0 3 5 6; 0 3 9 2 0; 2 2 8 1 1;
    7 7 0 0 0; 3 2 6 3 0; 2 5 3 2 2; 6 5 2 1 0; 0 2 2 3 7"""
"""The worked example of Wikipedia's page on Fleiss' kappa."""

CLASSIC = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""Krippendorff's reliability data: four observers, twelve units, `.` for no answer."""


def table(text: str) -> np.ndarray:
    return np.array([[NAN if cell == "." else float(cell) for cell in row.split()] for row in text.strip().split("\n")])


def test_fleiss_1971() -> None:
    counts = np.array([[int(digit) for digit in row] for row in DIAGNOSES.split()])
    assert counts.shape == (30, 5)
    assert set(counts.sum(axis=1)) == {6}
    assert fleiss_kappa(counts) == pytest.approx(0.430, abs=5e-4)


def test_fleiss_fourteen_raters() -> None:
    counts = np.array([[int(cell) for cell in row.split()] for row in FOURTEEN_RATERS.split(";")])
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_krippendorff_classic(level: str, published: float) -> None:
    assert krippendorff_alpha(table(CLASSIC), level) == pytest.approx(published, abs=5e-4)  # type: ignore[arg-type]


def test_krippendorff_by_hand() -> None:
    # Two raters, units (1, 1), (2, 2), (1, 2): coincidences 2, 1, 1, 2; margins 3, 3; n = 6.
    # Do = 2 / 6, De = 2 * 9 / 30, alpha = 1 - (1/3) / (3/5) = 4/9; with two values ordinal is the same.
    ratings = [[1, 2, 1], [1, 2, 2]]
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(4 / 9)
    assert krippendorff_alpha(ratings, "ordinal") == pytest.approx(4 / 9)


def test_a_unit_with_one_answer_changes_nothing() -> None:
    ratings = table(CLASSIC)
    lone = np.full((4, 1), NAN)
    lone[2] = 5
    for level in ("nominal", "ordinal"):
        both = (krippendorff_alpha(r, level) for r in (ratings, np.hstack([ratings, lone])))  # type: ignore[arg-type]
        assert len({round(a, 12) for a in both if a is not None}) == 1
    assert fleiss_kappa([[2, 0], [0, 2], [1, 1], [1, 0]]) == fleiss_kappa([[2, 0], [0, 2], [1, 1]])


def test_fleiss_with_a_missing_answer_by_hand() -> None:
    # Subject agreements 1, 1/3, 1; shares (4, 4)/8, chance 1/2: kappa = (7/9 - 1/2) / (1/2) = 5/9.
    assert fleiss_kappa([[3, 0], [1, 2], [0, 2]]) == pytest.approx(5 / 9)


def test_perfect_and_undefined_agreement() -> None:
    assert fleiss_kappa([[4, 0], [0, 4]]) == 1.0
    assert krippendorff_alpha([[1, 5], [1, 5]], "ordinal") == 1.0
    assert fleiss_kappa([[4, 0], [4, 0]]) is None  # one category: chance agrees always
    assert krippendorff_alpha([[3, 3], [3, 3]], "ordinal") is None
    assert fleiss_kappa([[1, 0], [0, 1]]) is None
    assert krippendorff_alpha([[1, NAN], [NAN, 2]], "nominal") is None
    assert krippendorff_alpha(np.empty((2, 0)), "nominal") is None


def test_random_answers_agree_by_chance_only() -> None:
    rng = np.random.default_rng(1)
    ratings = rng.integers(1, 6, (4, 4000)).astype(float)
    counts = (ratings[:, :, None] == np.arange(1, 6)).sum(axis=0)
    for found in (fleiss_kappa(counts), krippendorff_alpha(ratings, "nominal"), krippendorff_alpha(ratings, "ordinal")):
        assert found == pytest.approx(0.0, abs=0.02)


@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0, 5.0]), min_size=3, max_size=3), min_size=2, max_size=9))
def test_alpha_knows_no_order_of_raters_and_ranks_only(units: list[list[float]]) -> None:
    ratings = np.array(units).T
    alpha = krippendorff_alpha(ratings, "ordinal")
    for other in (ratings[::-1], ratings[:, ::-1], 6 - ratings, ratings**3):
        assert krippendorff_alpha(other, "ordinal") == pytest.approx(alpha)


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_refusals() -> None:
    with pytest.raises(LamellaError, match=r"table of counts"):
        fleiss_kappa([[0.5, 1.5]])
    with pytest.raises(LamellaError, match=r"Found 1 axes"):
        krippendorff_alpha([1, 2, 3], "nominal")
