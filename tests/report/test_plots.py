"""Plots: the curves are the numbers of results.json, with names and units on their axes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from lamella.report import plots
from lamella.results.files import read_results
from lamella.results.schema import CaseRecord, Shifts, Spectra

CASE_PLOTS = (
    plots.plot_slices,
    plots.plot_noise,
    plots.plot_shifts,
    plots.plot_spectra,
    plots.plot_spheres,
    plots.plot_coverage,
)
LABELS = {"mean": "Lamella mean", "cubic": "Cubic", "flat": "Nearest"}


@pytest.fixture(scope="module")
def case(results_folder: Path) -> CaseRecord:
    return read_results(results_folder)[1].cases[0]


def curves(figure: Figure, panel: int = 0) -> dict[str, Any]:
    return {str(line.get_label()): line for line in figure.axes[panel].lines}


@pytest.mark.parametrize("draw", CASE_PLOTS)
def test_axes_have_names_units_and_a_legend(draw: Any, case: CaseRecord) -> None:
    figure = draw(case, LABELS)
    for axes in figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    assert ", " in figure.axes[0].get_xlabel()  # a unit after the comma
    assert figure.legends
    assert "Lamella mean" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("draw", CASE_PLOTS)
def test_what_was_not_measured_is_said(draw: Any, case: CaseRecord) -> None:
    empty = replace(
        case,
        spectra=Spectra(),
        spheres=None,
        coverage=None,
        shifts=Shifts((), {}),
        slices=replace(case.slices, rmse_body_hu={}, noise_hu={}),
    )
    figure = draw(empty, LABELS)
    assert all("not measured" in axes.texts[-1].get_text() for axes in figure.axes)


def test_slices_are_drawn_as_they_are_with_the_thick_centres(case: CaseRecord) -> None:
    found = curves(plots.plot_slices(case, LABELS))
    assert np.array_equal(found["Lamella mean"].get_ydata(), case.slices.rmse_body_hu["mean"])
    assert np.array_equal(found["thick slices"].get_xdata(), case.slices.thick_position_mm)


def test_a_missing_value_is_a_gap(case: CaseRecord) -> None:
    found = curves(plots.plot_noise(case, LABELS))
    assert np.isnan(found["Lamella mean"].get_ydata()[-1])
    assert np.isnan(curves(plots.plot_spectra(case, LABELS))["Lamella mean"].get_ydata()[-1])  # no logarithm of 0
    assert np.isnan(curves(plots.plot_spheres(case, LABELS), 1)["Cubic"].get_ydata()[0])


def test_the_least_of_the_shifts_is_marked(case: CaseRecord) -> None:
    marks = [line for line in plots.plot_shifts(case, LABELS).axes[0].lines if line.get_marker() not in ("None", "")]
    assert [line.get_xdata()[0] for line in marks] == [0.0, 0.0]


def test_coverage_is_in_per_cent_against_the_diagonal(case: CaseRecord) -> None:
    axes = plots.plot_coverage(case, LABELS).axes[0]
    assert list(axes.lines[0].get_xdata()) == list(axes.lines[0].get_ydata())
    assert np.allclose(axes.lines[1].get_ydata(), 100 * np.array(case.coverage.found["mean"]))


def test_a_method_has_one_colour_in_every_plot_and_no_two_share_one(case: CaseRecord) -> None:
    seen: dict[str, set[Any]] = {label: set() for label in LABELS.values()}
    for draw in CASE_PLOTS:
        for panel, _ in enumerate(draw(case, LABELS).axes):
            for label, line in curves(draw(case, LABELS), panel).items():
                if label in seen:
                    seen[label].add(line.get_color())
    assert all(len(colours) == 1 for colours in seen.values())
    assert len(set.union(*seen.values())) == 3


def test_only_the_methods_asked_for(case: CaseRecord) -> None:
    found = curves(plots.plot_slices(case, LABELS, ["cubic"]))
    assert set(found) == {"Cubic", "thick slices"}


def test_gains_stand_in_one_row_a_case_with_their_intervals(results_folder: Path) -> None:
    _, results = read_results(results_folder)
    axes = plots.plot_gains(results).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "All cases, mean",
        *(case.title for case in results.cases),
    ]
    gains = [one for one in results.gains if one.against == "cubic"]
    points = {tuple(np.round(line.get_xdata(), 6)) for line in axes.lines}
    for one in gains:
        assert (round(one.difference, 6),) in points
        assert tuple(np.round(one.interval, 6)) in points


@pytest.mark.slow
def test_no_state_of_pyplot_is_touched() -> None:
    code = "import sys, lamella.report.evaluation; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
