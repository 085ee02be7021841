"""The shipped model on real CT, through the same evaluation that makes the published figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lamella.evaluate import EvaluationSettings, evaluate
from lamella.evaluate.settings import GeometrySettings, ModelMethods, PairCase, SeriesCase

pytestmark = [pytest.mark.slow, pytest.mark.realdata]


def figures_of(settings: EvaluationSettings) -> dict[str, Any]:
    (case,) = json.loads(evaluate(settings).results.read_text(encoding="utf-8"))["cases"]
    return dict(case["figures"])


def test_the_mean_beats_aligned_cubic_on_a_scan_never_trained_on(ct_folder: Path, tmp_path: Path) -> None:
    # SPEC C1, C3, C4, C8
    series = SeriesCase(str(ct_folder / "val" / "lidc-0002-1.25mm"), (GeometrySettings(5.0, 5.0),), slices=(20, 60))
    answers = ModelMethods(modes=("mean", "texture"))
    rows = figures_of(
        EvaluationSettings(str(tmp_path / "out"), (series,), baselines=("cubic",), models=(answers,), volumes=())
    )
    cubic, mean, texture = rows["cubic"], rows["mean"], rows["texture"]
    assert mean["psnr_4095_db"] - cubic["psnr_4095_db"] >= 1.0
    assert mean["rmse_body_hu"] < cubic["rmse_body_hu"]
    assert mean["rmse_lung_hu"] < cubic["rmse_lung_hu"]
    assert 55 <= mean["coverage_68"] <= 80
    assert mean["consistency_rmse_hu"] <= 0.5
    assert abs(mean["consistency_mean_hu"]) <= 0.05
    assert mean["psnr_4095_db"] - texture["psnr_4095_db"] <= 0.6
    assert 0.75 <= texture["noise_in_plane_ratio"] <= 1.3
    assert mean["sphere_8mm_contrast"] > cubic["sphere_8mm_contrast"]


def test_the_mean_beats_cubic_on_a_real_pair_and_neither_is_shifted(ct_folder: Path, tmp_path: Path) -> None:
    # SPEC C8
    pair = PairCase(
        str(ct_folder / "pair" / "phantom-thick-5mm"),
        str(ct_folder / "pair" / "phantom-thin-1mm"),
        "head",
        person=False,
    )
    answers = ModelMethods(modes=("mean",))
    rows = figures_of(
        EvaluationSettings(str(tmp_path / "out"), pairs=(pair,), baselines=("cubic",), models=(answers,), volumes=())
    )
    assert rows["mean"]["rmse_hu"] < rows["cubic"]["rmse_hu"]
    for method in ("mean", "cubic"):
        assert abs(rows[method]["best_shift_mm"]) <= 0.1
