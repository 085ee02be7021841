"""The study by persons, from trunk to score, with small networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.small_model import SMALL
from tests.test_benchmark_scripts import script

from lamella.data.patches import PatchSettings
from lamella.data.views import SeriesSettings
from lamella.files.config import fill, save
from lamella.train import EmbeddedRun
from lamella.train.settings import EmbeddedData, StageSettings

TEST_OBJECT = {"axial": 1.0, "phantom": {"region": "plates", "seed": 3, "shape": [40, 24, 24], "pixel_mm": 2.0}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_runs_go_on_from_one_trunk_and_are_scored_on_who_was_left_out(data_folder: Path, tmp_path: Path) -> None:
    series = tuple(SeriesSettings(name, axial=1.0) for name in ("a.nii", "b.nii"))
    run = EmbeddedRun(
        run=str(tmp_path),
        data=EmbeddedData(folder=str(data_folder), series=series),
        model=SMALL,
        patches=PatchSettings(batch=2, size_px=16, depth=16),
        mean=StageSettings(warm_up=2, ema=0.5),
        precision="32-true",
        threads=1,
        device="cpu",
    )
    save(run, tmp_path / "run.yaml")
    folds = script("folds")
    values = {
        "config": str(tmp_path / "run.yaml"),
        "out": str(tmp_path / "runs"),
        "kept": str(tmp_path / "kept.json"),
        "trunk_steps": 3,
        "branch_steps": 2,
        "batches": 2,
        "folds": [{"name": "one", "leave": ["b.nii"]}],
        "runs": [
            {"name": "base", "about": "-"},
            {"name": "steeper", "about": "-", "set": ["mean.learning_rate=0.01"]},
            {"name": "wide", "about": "-", "set": ["model.trunk_channels=[16,32]"], "from_trunk": False},
        ],
        "scored": [TEST_OBJECT],
    }
    study = fill(folds.Study, values)
    fold = study.folds[0]
    scores = {one.name: folds.measured(study, fold, one) for one in study.runs}
    assert all(set(one) == {"b.nii", "plates-3"} for one in scores.values())
    assert len({one["b.nii"] for one in scores.values()}) == 3
    # What was trained is not trained again, and scores are of fixed patches.
    assert folds.measured(study, fold, study.runs[1]) == scores["steeper"]
    plan = json.loads((tmp_path / "runs" / "one" / "wide" / "plan.json").read_text())
    assert plan["steps"] == max(1, round(5 * plan["cpu_s"][0] / plan["cpu_s"][1]))
