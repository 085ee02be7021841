"""Figures of tasks in an evaluation: of every method, perfect for the truth, left out where nobody asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.phantom_case import FIVE, TINY, settings_of
from tests.small_model import upright

from lamella.errors import UsageError
from lamella.evaluate import evaluate
from lamella.evaluate.cases import Case, thickened_case
from lamella.evaluate.methods import Answer
from lamella.evaluate.scans import scan_of
from lamella.evaluate.sheet import Sheet
from lamella.evaluate.tasks import TaskTruth, task_figures, task_truth
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics.catalogue import FIGURES, TASKS
from lamella.results.files import read_results
from lamella.results.schema import Results
from lamella.volume import Volume, round_hu


@pytest.fixture(scope="module")
def truth(chest: Case) -> TaskTruth:
    return task_truth(chest, TaskSettings())


def test_the_truth_is_perfect_at_every_task(chest: Case, truth: TaskTruth) -> None:
    sheet = Sheet()
    task_figures(sheet, Answer("truth", chest.scan.volume.hu, None, 0.0), truth)
    assert set(sheet.figures) == set(TASKS)
    for name, value in sheet.figures.items():
        if name.startswith(("airway_", "calcium_")):
            assert "test object" in sheet.absent[name]
            continue
        if name in ("fissure_visible", "fissure_by_chance"):
            assert value is not None
            continue
        perfect = {"high": 1.0, "one": 1.0, "low": 0.0, "zero": 0.0}[FIGURES[name].best]
        assert value == pytest.approx(perfect), name


def test_every_method_has_precision_beside_what_it_finds(evaluated: tuple[Path, Results]) -> None:
    # SPEC C8
    found = evaluated[1].cases[0]
    for method in ("linear", "cubic", "linear projected", "cubic projected"):
        assert 0.1 < found.figures[method]["vessel_found"] < 1.0
        assert 0.3 < found.figures[method]["vessel_precision"] < 1.0
        assert 0.0 < found.figures[method]["bone_250_mean_mm"] < 5.0
    assert found.figures["cubic projected"]["vessel_found"] > found.figures["linear"]["vessel_found"]
    assert evaluated[1].settings["tasks"]["vessel_hu"] == -500.0  # whoever reads the figures can read the thresholds


def test_tasks_can_be_left_out(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "out", phantoms=(TINY,), baselines=("cubic",), projected=False, tasks=None)
    case = read_results(evaluate(settings).results)[1].cases[0]
    assert {case.figures["cubic"][name] for name in TASKS} == {None}
    assert {case.absent["cubic"][name] for name in TASKS} == {"No tasks were asked for."}


def test_a_head_has_no_lungs_to_follow_vessels_in() -> None:
    """Its sinuses are gas in a body."""
    geometry = upright((30, 80, 80), 1.0, 1.0, 1.0)
    z, y, x = np.indices(geometry.shape)
    hu = np.where((y - 40) ** 2 + (x - 40) ** 2 < 36**2, 40, -1000)
    hu[(z - 15) ** 2 + (y - 30) ** 2 + (x - 40) ** 2 < 10**2] = -900
    scan = scan_of("head", "thickened", False, Volume(round_hu(hu), geometry), crop=False)
    truth = task_truth(thickened_case("head", "head", scan, FIVE), TaskSettings())
    sheet = Sheet()
    task_figures(sheet, Answer("truth", truth.case.scan.volume.hu, None, 0.0), truth)
    assert sheet.figures["vessel_found"] is None
    assert "less than 100 ml of lung" in sheet.absent["vessel_found"]
    assert sheet.figures["fissure_visible"] is None


def test_a_missing_package_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamella.machine.extras.EXTRAS", {"evaluate": ("no_such_package",)})
    with pytest.raises(UsageError, match=r"lamella\[evaluate\]"):
        evaluate(settings_of(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_length_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="bone_near_mm must be above 0"):
        TaskSettings(bone_near_mm=-1.0)
