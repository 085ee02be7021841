"""The studies and records of the reference system: their configurations, and the parts that decide what a figure means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lamella.evaluate.settings import EvaluationSettings
from lamella.files.config import load
from lamella.networks.autoencoder import Autoencoder
from lamella.train.latent import LatentRun
from lamella.train.vae import VaeRun
from tests.test_benchmark_scripts import ROOT, script

CONFIGS = ROOT / "configs"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.mark.parametrize(("name", "kind"), [("study-codec.yaml", VaeRun), ("study-heads.yaml", LatentRun)])
def test_every_run_of_a_study_is_a_run(name: str, kind: Any) -> None:
    study = yaml.safe_load((CONFIGS / name).read_text())
    runs = [
        load(kind, ROOT / study["config"], list(one.overrides)) for one in script("latent_study").variants_of(study)
    ]
    assert len({repr(run) for run in runs}) == len(runs) == len({one["name"] for one in study["runs"]})


def test_the_codecs_have_their_size_and_state_their_side_information() -> None:
    # issue: at least 3 M parameters, and the same but for what the decoder is shown
    plain, side = (load(VaeRun, CONFIGS / f"{name}.yaml") for name in ("compact_vae", "compact_side_vae"))
    with torch.device("meta"):
        counts = [sum(p.numel() for p in Autoencoder(run.network).parameters()) for run in (plain, side)]
    assert min(counts) >= 3e6
    assert counts == [3_965_585, 5_691_970]
    assert (plain.network.side_information, side.network.side_information) == ("none", "interpolated_thick")
    assert plain.network.groups == side.network.groups == 0  # tiles are exact
    assert side.blocks.context == 1
    maisi = load(VaeRun, CONFIGS / "maisi_side.yaml")
    assert maisi.start == "models/maisi"


def test_the_evaluation_of_draws_asks_one_model_for_steps_and_draws() -> None:
    # SPEC A14, A26
    settings = load(EvaluationSettings, CONFIGS / "evaluate-draws.yaml")
    assert len({one.model for one in settings.models}) == 1
    assert {one.steps for one in settings.models} == {5, 10, 20, 50}
    assert {one.samples for one in settings.models} == {1, 4, 16}
    assert all("train" in one.path for one in settings.series)  # nothing is chosen on published scans


def test_a_run_takes_as_many_steps_as_the_first_ones_time_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent_study = script("latent_study")
    runs = [{"name": n, "about": "-", "same_cost": n == "same"} for n in ("base", "slow", "same")]
    study = {"out": str(tmp_path), "steps": 300, "runs": runs}
    monkeypatch.setattr(latent_study, "seconds_a_step", lambda _, one: {"base": 1.0, "slow": 1.5}[one.name])
    variants = latent_study.variants_of(study)
    assert [*latent_study.planned(study, variants[0], variants, {}).values()] == [300, 200, 300]
    monkeypatch.setattr(latent_study, "seconds_a_step", lambda *_: pytest.fail("planned already"))
    assert [*latent_study.planned(study, variants[0], variants, {}).values()] == [300, 200, 300]


def test_a_curve_holds_the_validations_of_all_starts(tmp_path: Path) -> None:
    curve = script("curve")
    for name, rows in (
        ("curves-from-000000", "9,0.5,\n9,,40\n19,,30\n"),
        ("curves-from-000010", "19,,31\n29,,20\n"),  # stopped after a validation, before its checkpoint
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text("step,train/loss,val/rmse_hu\n" + rows)
    found = curve.validations(tmp_path)
    assert found == [{"step": 10, "rmse_hu": 40}, {"step": 20, "rmse_hu": 31}, {"step": 30, "rmse_hu": 20}]


def test_a_seam_is_a_step_that_stands_out_at_a_border() -> None:
    # SPEC A16
    seam_hu = script("full_codec").seam_hu
    image = torch.randn(96, 8, 8, generator=torch.Generator().manual_seed(0))
    assert seam_hu(image, 0, 32) == 0
    image[32:] += 50
    assert seam_hu(image, 0, 32) > 40
    assert seam_hu(image, 0, 96) == 0  # one tile
    assert seam_hu(image.movedim(0, 2), 2, 32) > 40


def test_the_kept_record_of_the_full_size_is_whole() -> None:
    # issue: medium stepped, resumed bit for bit, memory within 15 % of what is computed
    kept = json.loads((ROOT / "docs" / "full-size.json").read_text())["train"]
    assert (kept["preset"], kept["parameters"], kept["cells"]) == ("medium", 599_685_124, [8, 64, 64])
    assert kept["losses"] == sorted(kept["losses"], reverse=True)
    assert len(kept["losses"]) >= 3
    assert kept["resumed_bit_for_bit"] is True
    assert abs(kept["peak_bytes"] / kept["computed_bytes"] - 1) <= 0.15
