from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.drawn_chest import TINY, settings_of

from lamella.cli import main
from lamella.errors import LamellaError
from lamella.evaluate import evaluate, run
from lamella.evaluate.results import table_text
from lamella.evaluate.settings import OutsideResult, PairCase
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods
from lamella.nifti.image import read_nifti


def test_results_hold_what_was_promised(evaluated: dict[str, Any]) -> None:
    # SPEC C8
    assert [one["name"] for one in evaluated["methods"]] == ["linear", "cubic", "linear projected", "cubic projected"]
    assert set(evaluated["figures"]) == set(FIGURES)
    (case,) = evaluated["cases"]
    assert (case["id"], case["kind"], case["person"]) == ("chest_5-every-5", "phantom", False)
    assert case["scored_slices"] == len(case["slices"]["position_mm"]) == 60
    cubic = case["figures"]["cubic"]
    assert 10 < cubic["rmse_body_hu"] < 200
    low, high = case["intervals"]["cubic"]["rmse_body_hu"]
    assert low < cubic["rmse_body_hu"] < high
    assert abs(cubic["best_shift_mm"]) < 0.2
    assert case["figures"]["cubic projected"]["consistency_rmse_hu"] < 0.5 < cubic["consistency_rmse_hu"]
    assert cubic["sphere_12mm_contrast"] > cubic["sphere_3mm_contrast"]
    assert case["floor"]["floor_soft_hu"] <= case["floor"]["white_floor_soft_hu"]
    assert {len(values) for values in case["slices"]["rmse_body_hu"].values()} == {60}
    assert len(case["shifts"]["rmse_hu"]["cubic"]) == len(case["shifts"]["shift_mm"])
    assert evaluated["failures"] == []


def test_kept_volumes_are_the_scored_ones(evaluated: dict[str, Any]) -> None:
    (case,) = evaluated["cases"]
    volumes = case["volumes"]
    truth = read_nifti(evaluated["folder"] / volumes["truth"])
    cubic = read_nifti(evaluated["folder"] / volumes["methods"]["cubic"])
    error = cubic.hu.astype(np.float64) - truth.hu
    assert np.sqrt(np.mean(error**2)) == pytest.approx(case["figures"]["cubic"]["rmse_hu"], rel=1e-9)
    assert read_nifti(evaluated["folder"] / volumes["thick"]).hu.shape[0] == case["thick"]["slices"]


def test_the_same_command_goes_on_and_another_question_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    first = evaluate(settings)
    asked = []
    real = run.evaluate_case
    monkeypatch.setattr(run, "evaluate_case", lambda case, *a: asked.append(case.id) or real(case, *a))
    assert evaluate(settings).results == first.results
    assert asked == []
    two = dataclasses.replace(settings, phantoms=(TINY, dataclasses.replace(TINY, name="other", seed=1)))
    evaluate(two)
    assert asked == ["other_5-every-5"]
    evaluate(dataclasses.replace(settings, baselines=("nearest",)))
    assert asked == ["other_5-every-5", "tiny_5-every-5"]


def test_a_crash_in_one_case_is_told_with_its_place_and_without_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(case: Any, *rest: Any) -> Any:
        if case.scan.name == "tiny":
            raise KeyError("patient")
        return real(case, *rest)

    real = run.evaluate_case
    monkeypatch.setattr(run, "evaluate_case", crash)
    two = (TINY, dataclasses.replace(TINY, name="other", seed=1))
    missing = PairCase(str(tmp_path / "Doe"), str(tmp_path / "Doe"), "gone")
    settings = settings_of(
        tmp_path / "out", phantoms=two, pairs=(missing,), baselines=("linear",), volumes=(), spheres=False
    )
    done = evaluate(settings)
    assert done.cases == 1
    told = dict(done.failures)
    assert told["tiny_5-every-5"].startswith("An error that Lamella did not expect: KeyError in test_evaluation_run.py")
    assert "Doe" not in told["gone"]
    assert "Doe" not in done.results.read_text(encoding="utf-8")


def test_a_result_that_was_exported_again_is_scored_again(tmp_path: Path) -> None:
    from lamella.evaluate.run import _stamp

    file = tmp_path / "result.nii"
    file.write_bytes(b"one")
    first = _stamp(file)
    file.write_bytes(b"other")
    assert _stamp(file) != first
    assert _stamp(tmp_path) == _stamp(file)


def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    done = evaluate(settings)
    record = tmp_path / "out" / "cases" / "tiny_5-every-5.json"
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    done.results.unlink()
    assert evaluate(settings).cases == 1
    assert json.loads(record.read_text())["record"]["id"] == "tiny_5-every-5"


def test_pictures_belong_to_the_figures_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a run under other settings writes over the volumes, and is stopped before its figures are there
    settings = settings_of(
        tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=("linear",), spheres=False
    )
    evaluate(settings)
    truth = tmp_path / "out" / "volumes" / "tiny_5-every-5" / "truth.nii.gz"
    before = truth.read_bytes()

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "record_of", stopped)
        other = dataclasses.replace(TINY, seed=7)
        with pytest.raises(KeyboardInterrupt):
            evaluate(dataclasses.replace(settings, phantoms=(other,)))
    assert truth.read_bytes() != before
    evaluate(settings)
    assert truth.read_bytes() == before
    truth.unlink()  # and a lost one is made again
    evaluate(settings)
    assert truth.read_bytes() == before


def test_figures_of_other_code_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    evaluate(settings)
    asked = []
    real = run.evaluate_case
    monkeypatch.setattr(run, "evaluate_case", lambda case, *a: asked.append(case.id) or real(case, *a))
    monkeypatch.setattr(run, "_sources", lambda: "changed")
    evaluate(settings)
    assert asked == ["tiny_5-every-5"]


def test_the_code_that_counts_is_what_figures_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("metrics/error.py", "cli/thin.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(run.lamella, "__file__", str(tmp_path / "__init__.py"))
    first = run._sources.__wrapped__()
    (tmp_path / "cli" / "thin.py").write_text("other")
    assert run._sources.__wrapped__() == first
    (tmp_path / "metrics" / "error.py").write_text("other")
    assert run._sources.__wrapped__() != first


def test_no_path_of_the_config_is_in_the_results(tmp_path: Path) -> None:
    out = tmp_path / "Doe" / "out"
    outside = OutsideResult("tool", "tiny_5-every-5", str(tmp_path / "Doe" / "SMITH_JOHN"))
    two = (TINY, dataclasses.replace(TINY, name="other", seed=1))
    settings = settings_of(out, baselines=("linear",), phantoms=two, outside=(outside,), volumes=(), spheres=False)
    done = evaluate(settings)
    assert "does not exist" in dict(done.failures)["tiny_5-every-5"]
    text = done.results.read_text(encoding="utf-8")
    assert "Doe" not in text
    assert "SMITH" not in text


CONFIG = """
out: {out}
phantoms:
  - {{name: tiny, slices: 30, rows: 112, pixel_mm: 3.0, geometries: [{{thickness_mm: 5.0, spacing_mm: 5.0}}]}}
pairs:
  - {{name: gone, thick: {missing}, thin: {missing}}}
models: []
baselines: [linear]
volumes: []
spheres: false
"""


def test_one_failure_of_several_is_told_and_is_exit_code_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(out=tmp_path / "out", missing=tmp_path / "missing"))
    assert main(["evaluate", str(config)]) == 8
    shown = capsys.readouterr()
    assert "Case gone could not be evaluated." in shown.err
    assert "tiny, 5 mm every 5 mm" in shown.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [failure["case"] for failure in results["failures"]] == ["gone"]
    assert (tmp_path / "out" / "settings.yaml").is_file()


def test_nothing_but_failures_is_an_error(tmp_path: Path) -> None:
    missing = PairCase(str(tmp_path / "no"), str(tmp_path / "no"), "gone")
    with pytest.raises(LamellaError, match=r"No case could be evaluated. The first, gone:"):
        evaluate(settings_of(tmp_path / "out", phantoms=(), pairs=(missing,)))
    assert not (tmp_path / "out" / "results.json").exists()


def test_the_table_marks_the_best(evaluated: dict[str, Any]) -> None:
    text = table_text(evaluated)
    assert "| Cubic |" in text
    assert "**" in text
    rows = {"a": {"rmse_hu": 10.04}, "b": {"rmse_hu": 10.01}, "c": {"rmse_hu": 11.0}, "d": {"rmse_hu": None}}
    assert best_methods("rmse_hu", rows) == {"a", "b"}  # equal as printed
    assert best_methods("edge_width_z_ratio", {"a": {"edge_width_z_ratio": 0.8}, "b": {"edge_width_z_ratio": 1.3}}) == {
        "a"
    }
    assert best_methods("bias_body_hu", {"a": {"bias_body_hu": -0.1}, "b": {"bias_body_hu": 0.2}}) == {"a"}
    assert best_methods("seconds", {"a": {"seconds": 1.0}, "b": {"seconds": 2.0}}) == set()
