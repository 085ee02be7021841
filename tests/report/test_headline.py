"""The half page at the head of the document: its numbers are those of the records (issue: no figure typed by hand)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lamella.report.document import document_text
from lamella.report.headline import groups_of, headline, mean_of
from lamella.results.evidence import BlindedTest, Judged, ToolRun
from lamella.results.files import read_results
from lamella.results.schema import CaseRecord, Results

FIGURES = {
    "mean": {
        "rmse_body_hu": 20.0,
        "vessel_found": 0.8,
        "blobs_invented_per_litre": 1.25,
        "blobs_erased_per_litre": 2.5,
    },
    "cubic": {
        "rmse_body_hu": 30.0,
        "vessel_found": 0.5,
        "blobs_invented_per_litre": 3.75,
        "blobs_erased_per_litre": 5.0,
    },
    "flat": {},
}


@pytest.fixture
def found(results_folder: Path) -> Results:
    """Two persons and a phantom."""
    results = read_results(results_folder)[1]
    first = replace(results.cases[0], figures=FIGURES, kind="thickened", person=True, group="a")
    second = {**FIGURES, "mean": {**FIGURES["mean"], "vessel_found": 0.6}}
    cases = (
        first,
        replace(first, id="b", group="b", figures=second, harm=None),
        replace(first, id="b3", group="b", thick=replace(first.thick, spacing_mm=3.0), figures={}, harm=None),
        replace(results.cases[1], figures=FIGURES),
    )
    return replace(results, cases=cases)


def test_means_are_over_people_in_one_geometry(found: Results) -> None:
    groups = groups_of(found)
    assert list(groups) == ["2 persons, 5 mm every 5 mm", "phantom case-1, 5 mm every 5 mm"]
    assert mean_of(groups["2 persons, 5 mm every 5 mm"], "mean", "vessel_found") == pytest.approx(0.7)
    assert mean_of(groups["2 persons, 5 mm every 5 mm"], "flat", "vessel_found") is None


def test_several_cases_of_a_person_count_once(found: Results) -> None:
    a, b, *_ = found.cases
    again = replace(a, figures={"mean": {"rmse_body_hu": 40.0}})
    assert mean_of([a, again, b], "mean", "rmse_body_hu") == pytest.approx((30.0 + 20.0) / 2)


def test_the_sentences_say_what_the_records_hold(found: Results) -> None:
    judged = Judged("mean", 0.61, 0.73, (0.5, 0.7), (0.6, 0.8), 100, 2, False)
    blinded = BlindedTest("0.1.0", ("school",), 100, 8, 0, 10.0, (judged,))
    answers = dict(headline(found, "mean", blinded).sentences)
    assert answers["How much better?"] == (
        "On 2 persons, 5 mm every 5 mm, Lamella mean has an error in the body of 20.0 HU (Cubic: 30.0), "
        "shows 70 % of the length of the lung vessels' centre lines (Cubic: 50 %)."
    )
    assert answers["On how many people?"].startswith("2 persons, and 1 scan of phantoms. With fewer than six persons")
    assert "5 mm every 5 mm, 5 mm every 3 mm" in answers["At what?"]
    assert "invents 1.25 other small structures a litre of body (Cubic: 3.75)" in answers["At what risk?"]
    harm = found.cases[0].harm
    assert harm is not None
    assert f"Its {len(harm.from_truth)} worst places are" in answers["At what risk?"]
    assert "knows the real one of a pair in 73 %" in answers["At what risk?"]


def test_six_people_have_intervals_and_the_sentence_goes(found: Results) -> None:
    people = [replace(found.cases[0], id=str(n), group=str(n)) for n in range(6)]
    answer = dict(headline(replace(found, cases=tuple(people)), "mean", None).sentences)["On how many people?"]
    assert answer == "6 persons, and no scans of phantoms. Intervals are over people."


def test_the_document_tells_worst_places_tools_and_the_blinded_test(found: Results) -> None:
    tools = {"peer": ToolRun({"peer": "1.0.1"}, "peer in out", 3600.0, 2048.0), "slow": ToolRun(could_not="A week.")}
    case: CaseRecord = replace(found.cases[0], tools=tools)
    judged = Judged("cubic", 0.91, 0.93, (0.9, 0.92), None, 100, 2, False)
    blinded = BlindedTest("0.1.0", ("school",), 100, 8, 0, 10.0, (judged,))
    text = document_text(replace(found, cases=(case, *found.cases[1:])), {}, blinded)
    assert "| peer | case-0, 5 mm every 5 mm | peer 1.0.1 | 3600.0 | 2048 | `peer in out` |" in text
    assert "Could not: A week." in text
    assert "| Cubic | 93.0 % | 91.0 % [90.0, 92.0] | 100 |" in text
    assert "Lamella mean from cubic interpolation |" in text
    assert text.count("With fewer than six persons") == 1
    assert "## Other tools" not in document_text(found, {})
