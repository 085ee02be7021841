"""Airways and specks of the test object in an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.phantom_case import FIVE, answers, case_of, settings_of

from lamella.evaluate.cases import Case
from lamella.evaluate.methods import crop_answer
from lamella.evaluate.settings import EvaluationSettings, PhantomCase
from lamella.evaluate.targets import Targets, airway_figures, calcium_figures, sheets_of, targets_of
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics import sheets_seen
from lamella.phantom.torso import fissure, horizontal_fissure

OBJECT = PhantomCase((FIVE,), name="object", slices=80, rows=152, pixel_mm=1.0, noise_hu=8.0, region="targets")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSettings:
    return settings_of(Path(tmp_path_factory.mktemp("none")), phantoms=(OBJECT,), baselines=("cubic",))


@pytest.fixture(scope="module")
def case(settings: EvaluationSettings) -> Case:
    return case_of(settings)


@pytest.fixture(scope="module")
def targets(case: Case) -> Targets:
    found = targets_of(case.scan, TaskSettings())
    assert found is not None
    return found


def test_the_truth_measures_itself(case: Case, targets: Targets) -> None:
    assert {one.lumen_mm for one, _ in targets.airways} >= {4.0, 6.0, 8.0}
    truth = case.scan.volume.hu
    assert airway_figures(truth, targets) == {"airway_lost": 0, "airway_area_error": 0, "airway_wall_error_mm": 0}
    assert calcium_figures(truth, targets) == {"calcium_score_ratio": 1, "calcium_found": 1, "calcium_elsewhere": 0}


def test_thick_slices_lose_airways_and_score(case: Case, targets: Targets, settings: EvaluationSettings) -> None:
    cubic = crop_answer(case, next(answers(case, settings, {}))).hu
    airways, calcium = airway_figures(cubic, targets), calcium_figures(cubic, targets)
    assert airways["airway_lost"] > 0.0
    assert airways["airway_wall_error_mm"] > 0.02
    assert calcium["calcium_score_ratio"] < 0.98
    assert calcium["calcium_found"] < 1.0


def test_a_score_where_no_speck_is_counts_as_elsewhere(case: Case, targets: Targets) -> None:
    truth = case.scan.volume.hu.copy()
    middle = np.argwhere(case.scan.masks["soft"]).mean(axis=0).astype(int)
    clear = calcium_figures(truth, targets)
    z = len(truth) // 2
    truth[z, middle[1] - 2 : middle[1] + 3, middle[2] - 2 : middle[2] + 3] = 500
    found = calcium_figures(truth, targets)
    assert found["calcium_elsewhere"] > clear["calcium_elsewhere"]
    assert found["calcium_score_ratio"] == pytest.approx(1.0)


def test_a_chest_has_no_known_parts(chest: Case) -> None:
    assert targets_of(chest.scan, TaskSettings()) is None


def test_the_fissures_of_a_drawn_chest_are_where_it_has_them(chest: Case) -> None:
    sheets, scan = sheets_of(chest.scan, TaskSettings()), chest.scan
    off_mm = np.minimum(*(np.abs(distance(*sheets.points_mm.T)) for distance in (fissure, horizontal_fissure)))
    assert len(sheets.points_mm) > 300
    assert off_mm.max() < 0.05
    assert np.linalg.norm(sheets.normals, axis=1) == pytest.approx(1.0)
    truth = sheets_seen(scan.volume.hu, scan.lung_region, scan.volume.geometry, sheets)
    assert truth.visible > 0.4
    assert truth.visible > 2 * truth.by_chance
    assert truth.contrast_hu > 5.0
