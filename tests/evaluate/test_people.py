from __future__ import annotations

from dataclasses import replace

import pytest
from tests.result_records import blank_record

from lamella.evaluate.people import concordances, paired_figures
from lamella.results.schema import CaseRecord, TruthFigures

KINDS = {"cubic": "baseline", "cubic projected": "projected", "ours": "model"}


def case_of(
    name: str, ours: dict[str, float], cubic: dict[str, float], group: str = "", person: bool = True
) -> CaseRecord:
    record = blank_record(name)
    return replace(record, group=group or name, person=person, figures={"ours": ours, "cubic projected": cubic})


def test_a_difference_a_person_by_hand() -> None:
    cases = [
        case_of("a", {"vessel_found": 0.7, "laa_950_bias_pp": -1.0}, {"vessel_found": 0.5, "laa_950_bias_pp": 3.0}),
        case_of("b5", {"vessel_found": 0.6}, {"vessel_found": 0.5}, "b"),
        case_of("b3", {"vessel_found": 0.9}, {"vessel_found": 0.5}, "b"),
        case_of("phantom", {"vessel_found": 0.0}, {"vessel_found": 1.0}, person=False),
    ]
    found = {one.figure: one for one in paired_figures(cases, KINDS, seed=0) if one.against == "cubic projected"}
    assert set(found) == {"vessel_found", "laa_950_bias_pp"}
    assert found["vessel_found"].differences == pytest.approx({"a": 0.2, "b": 0.25})  # two thickenings, one person
    assert found["vessel_found"].mean == pytest.approx(0.225)
    assert found["laa_950_bias_pp"].differences == pytest.approx({"a": -2.0})  # 1 pp off instead of 3
    assert found["vessel_found"].interval is None


def test_an_interval_needs_six_people() -> None:
    # SPEC C8
    cases = [case_of(f"{n}", {"vessel_found": 0.6 + 0.01 * n}, {"vessel_found": 0.5}) for n in range(6)]
    one = next(one for one in paired_figures(cases, KINDS, seed=0) if one.figure == "vessel_found")
    assert one.interval is not None
    assert 0.1 <= one.interval[0] < one.mean < one.interval[1] <= 0.15
    assert one.p == pytest.approx(2 / 64)
    five = next(one for one in paired_figures(cases[:5], KINDS, seed=0) if one.figure == "vessel_found")
    assert five.interval is None
    assert five.p is None


def test_concordance_is_of_readings_not_of_biases() -> None:
    """Readings 2, 3, 4 % of the truth's 1, 2, 3 %: one percentage point off everywhere."""
    cases = [
        replace(case_of(f"{n}", {"laa_950_bias_pp": 1.0}, {}), truth=TruthFigures(laa_950_percent=n + 1.0))
        for n in range(3)
    ]
    assert concordances(cases, ["ours"]) == {"ours": {"laa_950_percent": pytest.approx(4 / 7)}}
    assert concordances(cases[:2], ["ours"]) == {}
    assert concordances([replace(case, person=False) for case in cases], ["ours"]) == {}
