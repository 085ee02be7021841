"""What an evaluation found, in words: the numbers of the sentences are those of results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lamella.files.config import fill
from lamella.report.findings import caveats, findings
from lamella.report.markup import Card
from lamella.results.schema import Results


@pytest.fixture
def plain(results_folder: Path) -> dict[str, Any]:
    """results.json as JSON types, to be changed."""
    return dict(json.loads((results_folder / "results.json").read_text()))


def cards_of(plain: dict[str, Any]) -> list[Card]:
    return findings(fill(Results, plain))


def words(plain: dict[str, Any]) -> str:
    return " | ".join(f"{card.figure}: {card.words}" for card in cards_of(plain))


def gain(plain: dict[str, Any], against: str, **changes: Any) -> None:
    for one in plain["gains"]:
        if one["case"] == "pooled" and one["against"] == against:
            one |= changes


def test_gain_in_words(plain: dict[str, Any]) -> None:
    gain(plain, "cubic", difference=1.84, interval=[1.51, 2.13], difference_at_best_shift=1.7)
    gain(plain, "flat", difference=2.5)
    found = cards_of(plain)
    assert found[1].figure == "+1.8 dB"
    assert found[1].tone == "good"
    assert found[1].words == (
        "Errors of Lamella mean are 1.8 dB below those of cubic interpolation, mean of 2 cases (95 % interval +1.5 to +2.1 "
        "dB); +1.7 dB when that may first be moved to where it fits best."
    )


def test_a_loss_is_called_one(plain: dict[str, Any]) -> None:
    gain(plain, "cubic", difference=-0.42, interval=None)
    card = cards_of(plain)[1]
    assert (card.figure, card.tone) == ("\u22120.4 dB", "warning")
    assert "0.4 dB above those of cubic" in card.words


def test_the_strongest_interpolation_is_named(plain: dict[str, Any]) -> None:
    gain(plain, "cubic", difference=2.0)
    gain(plain, "flat", difference=0.3)
    assert "+0.3 dB: is what Lamella mean gains over the best of the interpolations (Nearest)" in words(plain)
    gain(plain, "flat", difference=2.5)
    assert "best of the interpolations" not in words(plain)


@pytest.mark.parametrize(("share", "judged"), [(0.70, "about right"), (0.80, "too cautious"), (0.55, "too sure")])
def test_the_spread_is_judged(plain: dict[str, Any], share: float, judged: str) -> None:
    for case in plain["cases"]:
        case["coverage"]["found"]["mean"][1] = share
    assert f"{100 * share:.0f} %: of the errors of Lamella mean" in words(plain)
    assert f"the model is {judged}" in words(plain)


def test_consistency_and_foci(plain: dict[str, Any]) -> None:
    pooled = plain["pooled"]["mean"]
    pooled |= {
        "consistency_rmse_hu": {"value": 0.126, "interval": None, "cases": 2},
        "foci_fabricated_rate": {"value": 0.021, "interval": None, "cases": 2},
        "foci_erased_rate": {"value": 0.4, "interval": None, "cases": 2},
    }
    assert "0.13 HU: Averaging the slices of Lamella mean" in words(plain)
    assert "2.1 % are not in the truth; of those in the truth it lacks 40.0 %" in words(plain)


def test_without_a_model_only_what_was_compared_is_said(plain: dict[str, Any]) -> None:
    for method in plain["methods"]:
        method["kind"] = "baseline"
    assert [card.figure for card in cards_of(plain)] == ["2 cases"]


def test_caveats(plain: dict[str, Any]) -> None:
    told = " ".join(caveats(fill(Results, plain)))
    assert "come from 2 scans" in told
    assert "No scan of a person" in told
    plain["cases"][0]["person"] = True
    plain["failures"].append({"case": "case-9", "why": "It is broken."})
    told = " ".join(caveats(fill(Results, plain)))
    assert "case-9 was not evaluated: It is broken." in told
    assert "show scans of persons" in told
    assert "No scan of a person" not in told
