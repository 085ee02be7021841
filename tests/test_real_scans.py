"""The shipped model on real CT, through the same command that prints the published figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.realdata]


def quality(tmp_path: Path, *arguments: str) -> dict[str, object]:
    out = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "quality.py"), "--json", str(out), *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: a target missed, which the assertions below judge
    return dict(json.loads(out.read_text()))


def test_the_mean_beats_aligned_cubic_on_a_scan_never_trained_on(ct_folder: Path, tmp_path: Path) -> None:
    # SPEC C1, C3, C4
    arguments = ("--ct", str(ct_folder), "--slices", "20:60", "--crop", "320", "--geometries", "5/5", "--pair", "no")
    rows = quality(tmp_path, "--modes", "mean,texture", *arguments)["runs"][0]["rows"]  # type: ignore[index]
    cubic, mean, texture = rows["cubic"], rows["mean"], rows["texture"]
    assert mean["psnr_4095_db"] - cubic["psnr_4095_db"] >= 1.0
    assert mean["rmse_body_hu"] < cubic["rmse_body_hu"]
    assert mean["rmse_lung_hu"] < cubic["rmse_lung_hu"]
    assert 0.55 <= mean["coverage_body"] <= 0.8
    assert mean["consistency_rmse_hu"] <= 0.5
    assert abs(mean["consistency_mean_hu"]) <= 0.05
    assert mean["psnr_4095_db"] - texture["psnr_4095_db"] <= 0.6
    assert 0.75 <= texture["noise_in_plane_ratio"] <= 1.3


def test_the_mean_beats_cubic_on_a_real_pair_and_neither_is_shifted(ct_folder: Path, tmp_path: Path) -> None:
    arguments = ("--ct", str(ct_folder), "--slices", "20:40", "--crop", "64", "--geometries", "5/5", "--pair", "yes")
    rows = quality(tmp_path, "--modes", "mean", *arguments)["pair"]["rows"]  # type: ignore[index]
    assert rows["mean"]["rmse_hu"] < rows["cubic"]["rmse_hu"]
    assert rows["mean"]["best_shift_mm"] == 0.0
    assert rows["cubic"]["best_shift_mm"] == 0.0
