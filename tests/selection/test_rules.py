"""Which series are chosen, and the reason of every other (issue 27: rules in YAML)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lamella.dicom.read import SeriesSummary
from lamella.errors import UsageError
from lamella.files.config import load
from lamella.selection.rules import SeriesRules, choose
from lamella.selection.series import FoundSeries

PLAIN = SeriesSummary("1.2", "CT", 60, 512, 512, 5.0, 5.0, (0.7, 0.7), "B30f", False, "Explicit", None, ())


def series(uid: str = "1.2", study: str = "1", ct: bool = True, own: bool = False, **summary: object) -> FoundSeries:
    words = {"image_type": "ORIGINAL\\PRIMARY\\AXIAL", "body_part": "CHEST", "description": "Thorax 5.0 Mustermann"}
    return FoundSeries(replace(PLAIN, uid=uid, **summary), uid, study, "dicom", "0" * 64, ct, own, **words)  # type: ignore[arg-type]


def verdict(one: FoundSeries, rules: SeriesRules = SeriesRules()) -> tuple[str, str]:  # noqa: B008
    (decision,) = choose([one], rules)
    return decision.verdict, decision.reason


def test_a_thick_ct_is_chosen() -> None:
    assert verdict(series()) == ("chosen", "")


@pytest.mark.parametrize(
    ("one", "rules", "reason"),
    [
        (series(synthetic=True), {}, "synthetic: a model made it, at least in part"),
        (series(own=True), {}, "own output: Lamella wrote it"),
        (series(modality="MR"), {}, "modality: MR, not CT"),
        (series(ct=False, refusal="no images"), {}, "no CT slices"),
        (series(thickness_mm=1.0), {}, "thickness_mm: 1, not 2 to 12"),
        (series(spacing_mm=7.5), {"spacing_mm": (2.0, 6.0)}, "spacing_mm: 7.5, not 2 to 6"),
        (series(), {"kernel": "^I"}, "kernel: the rule does not match"),
        (series(), {"description": "^(?!.*mustermann)"}, "description: the rule does not match"),
        (series(), {"body_part": "head"}, "body_part: the rule does not match"),
        (series(), {"image_type": r"^DERIVED\\"}, "image_type: the rule does not match"),
    ],
)
def test_every_rule_passes_over_with_its_name(one: FoundSeries, rules: dict[str, object], reason: str) -> None:
    assert verdict(one, SeriesRules(**rules)) == ("passed over", reason)  # type: ignore[arg-type]
    if rules:
        assert verdict(one) == ("chosen", "")


def test_synthetic_series_are_passed_over_whatever_the_rules_allow() -> None:
    everything = SeriesRules(modality=None, thickness_mm=None, take="all")
    assert [one.verdict for one in choose([series(synthetic=True), series("1.3", own=True)], everything)] == [
        "passed over",
        "passed over",
    ]


def test_patterns_are_searched_whatever_their_case() -> None:
    rules = SeriesRules(kernel="^b3", description="THORAX", body_part="chest|abdomen", image_type=r"original\\primary")
    assert verdict(series(), rules) == ("chosen", "")


def test_the_thickest_of_each_study_is_taken_and_the_longer_of_two() -> None:
    found = [
        series("1.1", thickness_mm=3.0),
        series("1.2", slices=60),
        series("1.3", slices=70),
        series("2.1", study="2", thickness_mm=3.0),
    ]
    decisions = choose(found, SeriesRules())
    assert [one.series.id for one in decisions if one.verdict == "chosen"] == ["1.3", "2.1"]
    assert decisions[0].reason == "take: 1.3 is taken of this study"
    assert [one.verdict for one in choose(found, SeriesRules(take="all"))] == ["chosen"] * 4


def test_a_refused_series_is_refused_where_its_study_has_no_other() -> None:
    broken = series("1.1", refusal="The slice spacing is not uniform.", thickness_mm=None, spacing_mm=None)
    assert verdict(broken) == ("refused", "The slice spacing is not uniform.")
    beside = choose([broken, series("1.2")], SeriesRules())
    assert [one.verdict for one in beside] == ["passed over", "chosen"]
    assert beside[0].reason.endswith("this one would be refused: The slice spacing is not uniform.")
    assert choose([broken, series("1.2")], SeriesRules(take="all"))[0].verdict == "refused"


def test_what_cannot_be_read_at_all_is_refused() -> None:
    lost = replace(series("", ct=False), summary=replace(PLAIN, uid="", modality="", refusal="The ZIP is damaged."))
    assert verdict(lost) == ("refused", "The ZIP is damaged.")


def test_reasons_hold_no_words_of_a_header() -> None:
    found = [series(f"1.{n}", **one) for n, one in enumerate([{}, {"modality": "SR"}, {"thickness_mm": 1.0}])]  # type: ignore[arg-type]
    told = repr(choose(found, SeriesRules(description="x", take="all"))) + repr(choose(found, SeriesRules()))
    assert "Mustermann" not in told
    assert "CHEST" not in told


def test_yaml_fills_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("modality: [CT]\nthickness_mm: [2.5, 5]\nkernel: '^(B30|I31)'\nbody_part: null\ntake: all\n")
    assert load(SeriesRules, file) == SeriesRules(("CT",), (2.5, 5.0), kernel="^(B30|I31)", take="all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernal: B30", r"Unknown key kernal. Nearest: kernel"),
        ("kernel: '('", "The rule kernel is no regular expression"),
        ("thickness_mm: [5, 2]", r"thickness_mm needs \[least, greatest\]"),
        ("take: thinnest", "take must be one of thickest, all"),
    ],
)
def test_unreadable_rules_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        load(SeriesRules, file)
