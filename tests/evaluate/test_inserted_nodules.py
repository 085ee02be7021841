"""Spheres and spiculated shapes put into a case: painted as promised, and perfect in the truth."""

from __future__ import annotations

import numpy as np
import pytest
from tests.phantom_case import settings_of
from tests.small_model import upright

from lamella.evaluate.cases import Case
from lamella.evaluate.methods import crop_answer, tasks_of
from lamella.evaluate.nodules import inserted_figures, nodule_figures
from lamella.evaluate.spheres import Filled, spiculated_share, with_spheres
from lamella.metrics import Sphere
from lamella.metrics.catalogue import NODULES, SPHERES_MM
from lamella.metrics.spheres import distance_mm, sphere_box


@pytest.fixture(scope="module")
def filled(chest: Case) -> Filled:
    found = with_spheres(chest)
    assert found is not None
    return found


def test_a_spiculated_shape_is_a_core_with_spikes_within_its_sphere() -> None:
    geometry = upright((30, 40, 40), 0.5, 0.5, 0.5)
    lps = geometry.position(14.5, 19.5, 19.5)
    _, offsets = sphere_box(geometry, Sphere((float(lps[0]), float(lps[1]), float(lps[2])), 12.0), 7.0)
    share, away = spiculated_share(offsets, geometry, 6.0), distance_mm(offsets)
    assert share[away < 3.0].min() > 0.9  # the core is 3.6 mm
    spikes = (away > 4.3) & (away < 5.7)
    assert share[spikes].max() > 0.4
    assert 0.01 < (share[spikes] > 0.3).mean() < 0.25  # some of the shell is spike, most is not
    assert share[away > 7.0].max(initial=0.0) < 0.05


def test_both_shapes_are_there_apart_from_each_other_and_from_empty_places(filled: Filled) -> None:
    assert {one.diameter_mm for one in filled.spheres} == set(SPHERES_MM)
    assert len(filled.spiculated) >= 3
    every = [*filled.spheres, *filled.spiculated]
    for number, one in enumerate(every):
        for other in (*every[number + 1 :], *filled.empty[one.diameter_mm]):
            gap = np.linalg.norm(np.subtract(one.centre_mm, other.centre_mm))
            assert gap >= (one.diameter_mm + other.diameter_mm) / 2 + 5.0


def test_the_truth_loses_nothing_and_a_spline_something(
    filled: Filled, tmp_path_factory: pytest.TempPathFactory
) -> None:
    truth = nodule_figures(filled.case.scan.volume.hu, filled)
    assert (truth["nodule_volume_error"], truth["nodule_centre_mm"], truth["nodule_lost"]) == (
        0.0,
        pytest.approx(0.0),
        0.0,
    )
    settings = settings_of(tmp_path_factory.mktemp("none"), baselines=("cubic",), projected=False)
    (task,) = tasks_of(filled.case, settings, {}, extras=False)
    (answer,) = task.run(lambda *_: None)
    cubic = nodule_figures(crop_answer(filled.case, answer).hu, filled)
    assert cubic["nodule_volume_error"] > 0.05
    assert cubic["nodule_centre_mm"] > 0.1
    known = [name for name in NODULES if name.endswith("dprime") and truth[name] is not None]
    assert known
    for name in known:
        assert 0.0 < cubic[name] < 1000.0


def test_without_nodules_every_figure_is_none() -> None:
    none = inserted_figures({}, {})
    assert set(none) == {*NODULES, *(f"sphere_{mm:g}mm_{what}" for mm in SPHERES_MM for what in ("contrast", "volume"))}
    assert set(none.values()) == {None}
