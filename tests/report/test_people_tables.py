from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.report.results_builder import write_results

from lamella.files.config import fill
from lamella.report.people import blinded_tables, people_tables
from lamella.results.evidence import BlindedTest, Judged
from lamella.results.files import read_results
from lamella.results.schema import Results

PAIR = {
    "figure": "vessel_found", "method": "mean", "against": "cubic", "differences": {"case-0": 0.2, "case-1": -0.1},
    "mean": 0.05, "interval": None, "p": None,
}  # fmt: skip


def results(folder: Path, **more: Any) -> Results:
    content = json.loads((write_results(folder, 2, person=True, volumes=False) / "results.json").read_text("utf-8"))
    for case, value in zip(content["cases"], (0.7, 0.4), strict=True):
        case["figures"]["mean"]["vessel_found"] = value
    return fill(Results, {**content, **more})


def test_a_line_a_person_and_the_mean_difference_last(tmp_path: Path) -> None:
    pair = {**PAIR, "interval": [-0.1, 0.2]}
    (table,) = people_tables(results(tmp_path, paired=[pair]))
    assert table.columns == ["Vessels found"]
    assert [row.label for row in table.rows] == ["case-0", "case-1", "Mean of 2"]
    cells = [row.cells[0] for row in table.rows]
    assert [(one.text, one.under, one.best) for one in cells] == [
        ("0.700", "+0.200", True),
        ("0.400", "\N{MINUS SIGN}0.100", False),
        ("+0.050", "\N{MINUS SIGN}0.100 to +0.200", True),
    ]
    assert "difference from Cubic" in table.caption
    (same,) = people_tables(results(tmp_path, paired=[{**PAIR, "differences": {"case-0": 0.0004}, "mean": 0.0004}]))
    assert [row.cells[0].best for row in same.rows] == [False, False]  # what prints as 0.000 is no gain


def test_concordance_has_a_row_a_reading(tmp_path: Path) -> None:
    found = results(
        tmp_path, concordance={"cubic": {"perc15_hu": 0.5}, "mean": {"perc15_hu": 0.98, "laa_950_percent": 0.9}}
    )
    (table,) = people_tables(found)
    assert table.columns == ["Lamella mean", "Cubic"]
    assert [(row.label, [cell.text for cell in row.cells]) for row in table.rows] == [
        ("LAA-950", ["0.900", ""]),
        ("Perc15", ["0.980", "0.500"]),
    ]


def test_results_of_before_are_read_and_have_no_such_table(tmp_path: Path) -> None:
    """Earlier results lack the keys `paired` and `concordance`."""
    _, found = read_results(write_results(tmp_path, volumes=False))
    assert people_tables(found) == []


def test_a_blinded_test_is_a_table(results_folder: Path) -> None:
    found = read_results(results_folder)[1]
    judged = (
        Judged("mean", 0.55, 0.61, (0.5, 0.6), (0.55, 0.67), 900, 2, False),
        Judged("cubic", 0.95, 0.98, (0.94, 0.96), None, 900, 2, False),
    )
    (table,) = blinded_tables(found, BlindedTest("0.1.0", ("school",), 900, 8, 0, 60.0, judged))
    assert list(table.columns) == ["Lamella mean", "Cubic"]
    assert [[(cell.text, cell.under) for cell in row.cells] for row in table.rows] == [
        [("61.0", "55.0 to 67.0"), ("98.0", "")],
        [("55.0", "50.0 to 60.0"), ("95.0", "94.0 to 96.0")],
    ]
    assert "parts of the scans" in table.caption
    assert blinded_tables(found, None) == []
