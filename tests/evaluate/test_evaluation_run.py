from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.phantom_case import TINY, settings_of

from lamella.cli import main
from lamella.errors import LamellaError
from lamella.evaluate import evaluate, methods, resume, run
from lamella.evaluate.results import table_text
from lamella.evaluate.resume import CaseStore, Recovered, Scored
from lamella.evaluate.settings import OutsideResult, PairCase
from lamella.evaluate.sheet import Sheet
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods
from lamella.nifti.image import read_nifti
from lamella.results.files import read_results
from lamella.results.schema import Results


def test_results_hold_what_was_promised(evaluated: tuple[Path, Results]) -> None:
    # SPEC C8
    _, results = evaluated
    assert [one.name for one in results.methods] == ["linear", "cubic", "linear projected", "cubic projected"]
    assert results.figures == FIGURES
    (case,) = results.cases
    assert (case.id, case.kind, case.person) == ("chest_5-every-5", "phantom", False)
    assert case.scored_slices == len(case.slices.position_mm) == 60
    cubic: Any = case.figures["cubic"]
    assert 10 < cubic["rmse_body_hu"] < 200
    low, high = case.intervals["cubic"]["rmse_body_hu"]
    assert low < cubic["rmse_body_hu"] < high
    assert abs(cubic["best_shift_mm"]) < 0.2
    kept = case.figure("cubic projected", "consistency_rmse_hu")
    assert kept is not None
    assert kept < 0.5 < cubic["consistency_rmse_hu"]
    assert cubic["sphere_12mm_contrast"] > cubic["sphere_3mm_contrast"]
    assert case.floor is not None
    assert case.floor.floor_soft_hu <= case.floor.white_floor_soft_hu
    assert {len(values) for values in case.slices.rmse_body_hu.values()} == {60}
    assert len(case.shifts.rmse_hu["cubic"]) == len(case.shifts.shift_mm)
    assert results.failures == ()


def test_kept_volumes_are_the_scored_ones(evaluated: tuple[Path, Results]) -> None:
    folder, results = evaluated
    (case,) = results.cases
    truth = read_nifti(folder / case.volumes.truth)
    cubic = read_nifti(folder / case.volumes.methods["cubic"])
    error = cubic.hu.astype(np.float64) - truth.hu
    assert np.sqrt(np.mean(error**2)) == pytest.approx(case.figures["cubic"]["rmse_hu"], rel=1e-9)
    assert read_nifti(folder / case.volumes.thick).hu.shape[0] == case.thick.slices


@pytest.mark.slow
def test_what_was_measured_is_kept_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four = ("nearest", "linear", "cubic", "lanczos")
    settings = settings_of(tmp_path / "out", baselines=four, phantoms=(TINY,), spheres=False)
    whole = evaluate(dataclasses.replace(settings, out=str(tmp_path / "whole")))
    real, asked = methods.metrics.aligned_interpolation, []

    def interrupted(hu: Any, thick_mm: Any, thin_mm: Any, kind: str) -> Any:
        if kind == "lanczos" and "lanczos" not in asked:
            asked.append(kind)
            raise KeyboardInterrupt
        asked.append(kind)
        return real(hu, thick_mm, thin_mm, kind)

    monkeypatch.setattr(methods.metrics, "aligned_interpolation", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(settings)
    parts = tmp_path / "out" / "cases" / "tiny_5-every-5.parts"
    assert len(list(parts.glob("*-scored.json"))) == 6  # three interpolations and their projections
    asked[:] = ["lanczos"]
    done = evaluate(settings)
    assert set(asked[1:]) == {"lanczos"}
    assert not parts.exists()
    (case,), (expected,) = (read_results(one.results)[1].cases for one in (done, whole))
    assert list(case.figures) == list(expected.figures)
    for name, row in expected.figures.items():
        assert {**case.figures[name], "seconds": None} == {**row, "seconds": None}
    assert case.slices == expected.slices
    assert case.volumes == expected.volumes


def test_what_was_kept_for_another_question_counts_for_nothing(tmp_path: Path) -> None:
    store = CaseStore(tmp_path, "case", "one")
    store.begin()
    store.keep_part("cubic", Recovered({"3": (0.5, 0.25)}, {"nodule_lost": None}))
    store.begin()
    assert store.part(Recovered, "cubic") == Recovered({"3": (0.5, 0.25)}, {"nodule_lost": None})
    assert store.part(Scored, "cubic") is None
    other = CaseStore(tmp_path, "case", "other")
    other.begin()
    assert other.part(Recovered, "cubic") is None


def test_progress_names_the_method(tmp_path: Path) -> None:
    told: list[str] = []
    settings = settings_of(tmp_path, baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    evaluate(settings, lambda stage, _: told.append(stage))
    assert list(dict.fromkeys(told)) == ["tiny_5-every-5: truth", "tiny_5-every-5: linear"]


def test_a_warning_of_several_methods_is_told_once() -> None:
    rough, coarse = Scored(Sheet(), ("too rough", "too coarse")), Scored(Sheet(), ("too coarse",))
    assert run._notes({"mean": coarse, "texture": rough, "sample": coarse}) == (
        "mean, texture, sample: too coarse",
        "texture: too rough",
    )


@pytest.mark.slow
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


@pytest.mark.slow
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
    told = {one.case: one.why for one in done.failures}
    assert told["tiny_5-every-5"].startswith("An error that Lamella did not expect: KeyError in test_evaluation_run.py")
    assert "Doe" not in told["gone"]
    assert "Doe" not in done.results.read_text(encoding="utf-8")


def test_a_result_that_was_exported_again_is_scored_again(tmp_path: Path) -> None:
    from lamella.evaluate.resume import _stamp

    file = tmp_path / "result.nii"
    file.write_bytes(b"one")
    first = _stamp(file)
    file.write_bytes(b"other")
    assert _stamp(file) != first
    assert _stamp(tmp_path) == _stamp(file)


@pytest.mark.slow
def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    done = evaluate(settings)
    record = tmp_path / "out" / "cases" / "tiny_5-every-5.json"
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    done.results.unlink()
    assert evaluate(settings).cases == 1
    assert json.loads(record.read_text())["record"]["id"] == "tiny_5-every-5"


@pytest.mark.slow
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


@pytest.mark.slow
def test_figures_of_other_code_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path / "out", baselines=("linear",), phantoms=(TINY,), volumes=(), spheres=False)
    evaluate(settings)
    asked = []
    real = run.evaluate_case
    monkeypatch.setattr(run, "evaluate_case", lambda case, *a: asked.append(case.id) or real(case, *a))
    monkeypatch.setattr(resume, "code_hash", lambda: "changed")
    evaluate(settings)
    assert asked == ["tiny_5-every-5"]


@pytest.mark.slow
def test_no_path_of_the_config_is_in_the_results(tmp_path: Path) -> None:
    out = tmp_path / "Doe" / "out"
    outside = OutsideResult("tool", "tiny_5-every-5", str(tmp_path / "Doe" / "SMITH_JOHN"))
    two = (TINY, dataclasses.replace(TINY, name="other", seed=1))
    settings = settings_of(out, baselines=("linear",), phantoms=two, outside=(outside,), volumes=(), spheres=False)
    done = evaluate(settings)
    assert "does not exist" in {one.case: one.why for one in done.failures}["tiny_5-every-5"]
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


def test_the_table_marks_the_best(evaluated: tuple[Path, Results]) -> None:
    text = table_text(evaluated[1])
    assert "| Cubic |" in text
    assert "**" in text
    rows = {"a": {"rmse_hu": 10.04}, "b": {"rmse_hu": 10.01}, "c": {"rmse_hu": 11.0}, "d": {"rmse_hu": None}}
    assert best_methods("rmse_hu", rows) == {"a", "b"}  # equal as printed
    assert best_methods("edge_width_z_ratio", {"a": {"edge_width_z_ratio": 0.8}, "b": {"edge_width_z_ratio": 1.3}}) == {
        "a"
    }
    assert best_methods("bias_body_hu", {"a": {"bias_body_hu": -0.1}, "b": {"bias_body_hu": 0.2}}) == {"a"}
    assert best_methods("seconds", {"a": {"seconds": 1.0}, "b": {"seconds": 2.0}}) == set()
