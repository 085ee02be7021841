"""Bands and overshoot in an evaluation: of phantoms and scanned objects, never of persons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.small_model import upright

from lamella.errors import LamellaError
from lamella.evaluate.cases import build_cases, plan_cases
from lamella.evaluate.flat import flat_figures, flat_truth
from lamella.evaluate.methods import Answer
from lamella.evaluate.scans import scan_of
from lamella.evaluate.settings import EvaluationSettings, GeometrySettings, PhantomCase
from lamella.volume import Volume, round_hu


def test_bands_and_overshoot_of_a_test_object() -> None:
    # No bands in flat material: deviation along z over the truth's, overshoot at edges
    phantom = PhantomCase(
        (GeometrySettings(5.0, 5.0),), "plates", 40, 128, 1.0, 3.0, 1, (10.0, 0.0, 5.0), region="plates"
    )
    settings = EvaluationSettings("", phantoms=(phantom,))
    ((_, case),) = build_cases(plan_cases(settings), settings)
    assert not isinstance(case, Exception)
    flat, truth = flat_truth(case.scan), round_hu(case.scan.volume.hu)
    assert flat.sd_hu == pytest.approx(3.0, rel=0.4)
    own = flat_figures(Answer("truth", truth, None, 0.0), flat)
    assert own["flat_sd_ratio"] == pytest.approx(1.0)
    assert own["overshoot_percent"] < 3.0
    bands = np.where(np.arange(len(truth)) % 2, 12.0, -12.0)[:, None, None]
    banded = flat_figures(Answer("banded", round_hu(truth + bands), None, 0.0), flat)
    assert banded["flat_sd_ratio"] == pytest.approx(np.hypot(12.0, flat.sd_hu) / flat.sd_hu, rel=0.1)
    assert banded["overshoot_percent"] > own["overshoot_percent"] + 5


def test_a_scanned_plate_is_flat_and_a_person_is_not_asked() -> None:
    hu = np.zeros((30, 40, 40))
    hu[12:20] = 85.0
    hu += np.random.default_rng(0).normal(0, 4, hu.shape)
    volume = Volume(round_hu(hu), upright(hu.shape, 1.0, 1.0))
    scan = scan_of("plate", "pair", False, volume, crop=False)
    flat = flat_truth(scan)
    assert (flat.runs[12:20] > 0).mean() > 0.5
    assert flat.sd_hu == pytest.approx(4.0, rel=0.15)
    with pytest.raises(LamellaError, match="phantoms and test objects alone"):
        flat_truth(replace(scan, person=True))
