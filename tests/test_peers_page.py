"""The page of other tools, from the records of an evaluation."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest

from lamella.results.evidence import ToolRun
from lamella.results.schema import Method, Results
from tests.result_records import blank_record

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


def test_the_page_says_what_each_tool_did_could_not_do_and_does_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    peers = [{"name": name, "about": f"about {name}."} for name in ("fast", "slow", "never")]
    figures = {
        "mean": {"rmse_body_hu": 40.0, "vessel_found": 0.7, "seconds": 20.0},
        "fast": {"rmse_body_hu": 50.0, "vessel_found": 0.8, "seconds": 3.0},
    }
    tools = {
        "fast": ToolRun({"tool": "1.2"}, "thin.py THICK", 3.0, 812.4, "Told nothing."),
        "slow": ToolRun({"tool": "0.1"}, could_not="Made for abutting slices alone."),
    }
    case = dataclasses.replace(blank_record("chest"), figures=figures, tools=tools)
    methods = [
        Method("mean", "Lamella mean", "model"),
        Method("fast", "fast", "outside"),
        Method("slow", "slow", "outside"),
    ]
    found = Results("0", "now", {}, (), tuple(methods), {}, (case,), {}, (), ())
    page = importlib.import_module("table").page([found], peers)
    assert "- **fast**: about fast.\n" in page
    assert "- **never**: about never. *It has not been run yet.*" in page
    assert "| fast | tool 1.2 | `thin.py THICK` | 3 | 812 | Told nothing. |" in page
    assert "| slow | tool 0.1 | `` | - | - | Could not do it: Made for abutting slices alone. |" in page
    assert "fast is better than Lamella mean in: Vessels found." in page
