"""What an evaluation found, in words: the numbers of the sentences are those of results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lamella.report.findings import caveats, findings
from lamella.report.results import Results, read_results


@pytest.fixture
def results(results_folder: Path) -> Results:
    found = read_results(results_folder)
    return Results(found.folder, json.loads(json.dumps(found.content)))


def words(results: Results) -> str:
    return " | ".join(f"{card.figure}: {card.words}" for card in findings(results))


def gain(results: Results, against: str, **changes: Any) -> None:
    for one in results.content["gains"]:
        if one["case"] == "pooled" and one["against"] == against:
            one |= changes


def test_gain_in_words(results: Results) -> None:
    gain(results, "cubic", difference=1.84, interval=[1.51, 2.13], difference_at_best_shift=1.7)
    gain(results, "flat", difference=2.5)
    found = findings(results)
    assert found[1].figure == "+1.8 dB"
    assert found[1].tone == "good"
    assert found[1].words == (
        "Errors of Lamella mean are 1.8 dB below those of cubic interpolation, mean of 2 cases (95 % interval +1.5 to +2.1 "
        "dB); +1.7 dB when that may first be moved to where it fits best."
    )


def test_a_loss_is_called_one(results: Results) -> None:
    gain(results, "cubic", difference=-0.42, interval=None)
    card = findings(results)[1]
    assert (card.figure, card.tone) == ("\u22120.4 dB", "warning")
    assert "0.4 dB above those of cubic" in card.words


def test_the_strongest_interpolation_is_named(results: Results) -> None:
    gain(results, "cubic", difference=2.0)
    gain(results, "flat", difference=0.3)
    assert "+0.3 dB: is what Lamella mean gains over the best of the interpolations (Nearest)" in words(results)
    gain(results, "flat", difference=2.5)
    assert "best of the interpolations" not in words(results)


@pytest.mark.parametrize(("share", "judged"), [(0.70, "about right"), (0.80, "too cautious"), (0.55, "too sure")])
def test_the_spread_is_judged(results: Results, share: float, judged: str) -> None:
    for case in results.cases:
        case["coverage"]["found"]["mean"][1] = share
    assert f"{100 * share:.0f} %: of the errors of Lamella mean" in words(results)
    assert f"the model is {judged}" in words(results)


def test_consistency_and_foci(results: Results) -> None:
    pooled = results.content["pooled"]["mean"]
    pooled |= {
        "consistency_rmse_hu": {"value": 0.126, "interval": None, "cases": 2},
        "foci_fabricated_rate": {"value": 0.021, "interval": None, "cases": 2},
        "foci_erased_rate": {"value": 0.4, "interval": None, "cases": 2},
    }
    assert "0.13 HU: Averaging the slices of Lamella mean" in words(results)
    assert "2.1 % are not in the truth; of those in the truth it lacks 40.0 %" in words(results)


def test_without_a_model_only_what_was_compared_is_said(results: Results) -> None:
    for method in results.content["methods"]:
        method["kind"] = "baseline"
    assert [card.figure for card in findings(results)] == ["2 cases"]


def test_caveats(results: Results) -> None:
    told = " ".join(caveats(results))
    assert "come from 2 scans" in told
    assert "No scan of a person" in told
    results.cases[0]["person"] = True
    results.content["failures"].append({"case": "case-9", "why": "It is broken."})
    told = " ".join(caveats(results))
    assert "case-9 was not evaluated: It is broken." in told
    assert "show scans of persons" in told
    assert "No scan of a person" not in told
