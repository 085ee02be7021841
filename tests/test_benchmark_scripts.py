"""The parts of the benchmark scripts that decide what a figure means, and the configurations they run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import lamella
from lamella.evaluate.scans import Scan, scan_of
from lamella.evaluate.settings import EvaluationSettings
from lamella.files.config import load
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.train.settings import EmbeddedRun

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_script_finds_its_parts() -> None:
    names = sorted(file.stem for file in (ROOT / "benchmarks").glob("*.py"))
    words = [sys.executable, "-c", f"import {', '.join(names)}"]
    done = subprocess.run(words, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_repairs_keep_spheres_in_place() -> None:
    """Issue 26, item 7: what limits.md says of each repair, at one place of the sphere."""
    repairs, model = script("repairs"), lamella.load_model()
    for kind, spacing_mm, diameter_mm, most_mm in (
        ("tilt", 2.5, 12.0, 0.015),
        ("uneven", 2.5, 12.0, 0.105),
        ("uneven", 5.0, 16.0, 0.195),
        ("gap", 2.5, 10.0, 0.105),
        ("gap", 2.5, 8.0, 0.245),
    ):
        off = 0.5 if kind == "gap" else 0.0
        assert repairs.moved_mm(kind, spacing_mm, diameter_mm, off, model) < most_mm


@pytest.fixture(scope="module")
def chest() -> Scan:
    settings = PhantomSettings((60, 128, 128), 1.0, 3.0, noise_hu=5.0)
    return scan_of("chest", "phantom", False, paint_phantom(settings), crop=True)


def test_the_geometry_study_asks_for_slices_within_the_slabs_and_knows_their_truth(chest: Scan) -> None:
    # SPEC C2
    geometries = script("geometries")
    own = geometries.question(chest, 5.0, 5.0)
    assert own.grid.shape == own.truth.shape == own.body.shape == chest.volume.hu.shape
    np.testing.assert_array_equal(own.truth, chest.volume.hu)
    double = geometries.question(chest, 5.0, 5.0, 2.0)
    assert double.grid.spacing_mm == pytest.approx(2.0)
    first = (double.grid.centres_mm[0] - 1.0) - (chest.volume.geometry.centres_mm[0] - 0.5)
    assert first == pytest.approx(round(first), abs=1e-6)
    k = round(first)
    np.testing.assert_allclose(double.truth[0], chest.volume.hu[k : k + 2].mean(axis=0), atol=1e-3)
    gap = geometries.question(chest, 5.0, 7.0)
    low = gap.thick.geometry.centres_mm[0] - 2.5
    high = gap.thick.geometry.centres_mm[-1] + 2.5
    assert low - 1e-6 <= gap.grid.centres_mm[0] - 0.5 < low + 1.0
    assert high - 1.0 < gap.grid.centres_mm[-1] + 0.5 <= high + 1e-6
    for thickness_mm, spacing_mm, target_mm in (
        (1.2, 5.0, None),
        (5.0, 1.2, None),
        (5.0, 5.0, 0.5),
        (10.0, 40.0, None),
    ):
        assert geometries.question(chest, thickness_mm, spacing_mm, target_mm) is None


def test_the_mean_of_each_cell_is_the_codec_benchmarks_baseline() -> None:
    # SPEC B16
    codec = script("codec")
    hu = np.arange(6 * 5 * 9, dtype=np.float32).reshape(6, 5, 9)
    back = codec.cell_means(hu, (2, 4, 4))
    assert back.shape == hu.shape
    assert back[0, 0, 0] == pytest.approx(hu[:2, :4, :4].mean())
    assert back[1, 3, 3] == back[0, 0, 0]


@pytest.mark.parametrize(("name", "least"), [("study.yaml", 11), ("study-average.yaml", 3)])
def test_every_run_of_the_training_study_is_a_run(name: str, least: int) -> None:
    study = yaml.safe_load((ROOT / "configs" / name).read_text())
    runs = [
        load(EmbeddedRun, ROOT / "configs" / "embedded.yaml", [*study["base"], *run.get("set", [])])
        for run in study["runs"]
    ]
    assert len({run["name"] for run in study["runs"]}) == len(runs) >= least
    assert all(run.flow.steps == 0 for run in runs)
    assert len({repr(run) for run in runs}) == len(runs)  # no two are the same


def test_the_studys_table_shows_gains_over_the_first_run(tmp_path: Path) -> None:
    study = script("study")
    tissue = {"soft": 0.9, "lung": 0.75, "bone": 0.8}
    rows = [
        (
            study.Variant(name, tmp_path, (), "-"),
            {"plan": {"steps": 9, "step_s": 0.5}, "5 every 5": {"gain_db": gain, **tissue}},
        )
        for name, gain in (("base", 1.5), ("other", 1.2))
    ]
    assert "| other | - | 9 | 1.00 | +1.20 (-0.30) | 0.900 | 0.750 | 0.800 |" in study.table(rows, rows[0][1])


def test_every_run_of_the_study_takes_the_time_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = script("study")
    base, slow, same = (study.Variant(n, tmp_path / n, (), "-", n == "same") for n in ("base", "slow", "same"))
    monkeypatch.setattr(study, "seconds_a_step", lambda one: {"base": 1.2, "slow": 2.4}[one.name])  # a slow day
    study.plan_all(base, [slow, same], 540.0, 500)
    steps = {one.name: json.loads((one.folder / "plan.json").read_text())["steps"] for one in (slow, same)}
    assert steps == {"slow": 250, "same": 500}
    monkeypatch.setattr(study, "seconds_a_step", lambda one: pytest.fail("planned already"))
    study.plan_all(base, [slow, same], 540.0, 500)


@pytest.mark.parametrize(
    "name",
    [
        "evaluate",
        "evaluate-calibration",
        "evaluate-fine-pixels",
        "evaluate-held-out",
        "evaluate-phantom",
        "evaluate-reference",
        "evaluate-soft-kernels",
        "evaluate-steps",
    ],
)
def test_evaluations_are_evaluations(name: str) -> None:
    settings = load(EvaluationSettings, ROOT / "configs" / f"{name}.yaml")
    assert settings.models


def test_radiomics_agree_by_hand() -> None:
    """Three features over four balls: one alike, one off by its own spread, one that is the same everywhere."""
    radiomics = script("radiomics")
    true = [{"alike": float(n), "off": float(n), "same": 1.0} for n in range(4)]
    measured = [{"alike": n + 0.01, "off": n + 3.0, "same": 1.0} for n in range(4)]
    assert radiomics.share_that_agrees(measured, true) == pytest.approx(0.5)
    assert radiomics.share_that_agrees(true, true) == 1.0
    assert radiomics.share_that_agrees([{"same": 1.0}] * 4, true) is None


def test_balls_of_radiomics_lie_in_their_region_apart_from_each_other(chest: Scan) -> None:
    radiomics = script("radiomics")
    lung, geometry = chest.masks["lung"], chest.volume.geometry
    found = list(radiomics.balls(lung, geometry, 0.8))
    assert 2 <= len(found) <= radiomics.EACH
    for box, ball in found:
        assert lung[box].shape == ball.shape
        assert lung[box].mean() >= 0.79
        assert 0.25 < ball.mean() < 0.55  # a ball in its box: pi / 6, less what the box is wider
    middles = [np.array([part.start for part in box]) * [1.0, 3.0, 3.0] for box, _ in found]
    gaps = [np.linalg.norm(one - other) for number, one in enumerate(middles) for other in middles[:number]]
    assert min(gaps) >= 16.0


@pytest.mark.parametrize("name", ["study-folds", "study-warm"])
def test_no_fold_learns_from_who_it_leaves_out_and_every_run_can_be_read(name: str) -> None:
    # Which series serves what is decided with people left out of training
    folds = script("folds")
    values = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    study = folds.fill(folds.Study, values | {"config": str(ROOT / values["config"])})
    assert not [one for one in study.scored if one.path and one.slices is None]
    trained = {one.phantom.seed for one in folds.settings(study, ()).data.series if one.phantom}
    assert trained.isdisjoint({one.phantom.seed for one in study.scored if one.phantom})
    for one in study.runs:
        run = folds.settings(study, one.set)
        for fold in study.folds:
            learnt = folds.left(run, fold, one.people)
            assert set(fold.leave) <= {series.path for series in run.data.series}
            assert set(fold.leave).isdisjoint({series.path for series in learnt})
            assert one.people is None or len([series for series in learnt if series.path]) == one.people
        if one.from_trunk:
            assert run.model == folds.settings(study, ()).model


def test_the_table_of_folds_has_gains_and_their_differences() -> None:
    folds = script("folds")
    runs = (folds.Variant("base", "as it is"), folds.Variant("more", "one more"))
    scores = {"base": {"first": {"a": 2.0}}, "more": {"first": {"a": 2.25}}}
    assert folds.table(runs, scores).splitlines()[2:] == [
        "| base | as it is | +2.00 (+0.00) |",
        "| more | one more | +2.25 (+0.25) |",
    ]
