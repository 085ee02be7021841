from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.drawn_chest import settings_of

import lamella.metrics as metrics
from lamella.errors import RefusedInput, UsageError
from lamella.evaluate.cases import Case
from lamella.evaluate.methods import Answer, answers, crop_answer, methods_of
from lamella.evaluate.settings import EvaluationSettings, ModelMethods, OutsideResult
from lamella.model import Model
from lamella.nifti import write_nifti
from lamella.thinning import consistency
from lamella.volume import Volume


def answers_of(case: Case, settings: EvaluationSettings, models: dict[str, Model] | None = None) -> dict[str, Answer]:
    return {one.method: crop_answer(case, one) for one in answers(case, settings, models or {})}


def test_every_baseline_also_comes_projected(tmp_path: Path, chest: Case) -> None:
    # SPEC C1, C8
    found = answers_of(chest, settings_of(tmp_path, baselines=("nearest", "linear", "cubic", "lanczos")))
    assert list(found) == [
        *("nearest", "nearest projected", "linear", "linear projected"),
        *("cubic", "cubic projected", "lanczos", "lanczos projected"),
    ]
    grid = chest.scan.volume.geometry
    for name, answer in found.items():
        misfit = consistency(Volume(answer.hu, grid), chest.thick)["consistency_rmse_hu"]
        assert (misfit < 0.5) == ("projected" in name or name == "nearest"), (name, misfit)


def test_a_models_answers_are_named_and_scored_slices_line_up(tmp_path: Path, chest: Case, small_model: Model) -> None:
    settings = settings_of(tmp_path, baselines=(), models=(ModelMethods("small", steps=1, samples=2),), volumes=())
    names = [one.name for one in methods_of(settings, {"small": small_model})]
    assert names == ["mean", "texture", "sample", "mean of 2 samples"]
    found = answers_of(chest, settings, {"small": small_model})
    assert list(found) == names
    assert {one.hu.shape for one in found.values()} == {chest.scan.volume.hu.shape}
    assert found["mean"].spread is not None
    assert all(one.spread is None for name, one in found.items() if name != "mean")


def test_several_models_are_told_apart(tmp_path: Path, small_model: Model) -> None:
    other = dataclasses.replace(small_model, name="other")
    two = (ModelMethods("a", modes=("mean",)), ModelMethods("b", modes=("mean",)))
    settings = settings_of(tmp_path, baselines=(), models=two, volumes=())
    assert [one.name for one in methods_of(settings, {"a": small_model, "b": other})] == ["small mean", "other mean"]
    with pytest.raises(UsageError, match="two are called 'small mean'"):
        methods_of(settings, {"a": small_model, "b": small_model})
    with pytest.raises(UsageError, match="there is no method 'mean'"):
        methods_of(dataclasses.replace(settings, volumes=("mean",)), {"a": small_model, "b": other})


def outside(folder: Path, chest: Case, name: str, hu: np.ndarray, **moved: float) -> OutsideResult:
    """A file of another tool on the whole in-plane grid of the scan."""
    rows, columns = chest.scan.box
    whole = np.full((len(hu), *chest.scan.whole.shape[1:]), -1000, np.int16)
    whole[:, rows, columns] = hu
    grid = chest.scan.whole.with_slices(len(whole), 1.0, moved.get("by_mm", 0.0), 1.0)
    write_nifti(folder / f"{name}.nii", [Volume(whole, grid)], None)
    return OutsideResult(name, chest.id, str(folder / f"{name}.nii"))


def test_a_result_from_a_file_is_taken_by_position(tmp_path: Path, chest: Case) -> None:
    # SPEC C8
    truth = chest.scan.volume.hu
    same = outside(tmp_path, chest, "same", truth)
    longer = np.concatenate([truth[:1], truth[:1], truth, truth[-1:]])
    placed = outside(tmp_path, chest, "placed", longer, by_mm=-2.0)
    found = answers_of(chest, settings_of(tmp_path, baselines=(), outside=(same, placed), volumes=()))
    assert np.array_equal(found["same"].hu, truth)
    # It begins 2 mm lower and reaches 1 mm higher: by position it is the truth, by index it would be 2 mm off.
    assert metrics.rmse_hu(found["placed"].hu, truth) == 0.0


def test_a_result_of_another_grid_or_another_place_is_refused(tmp_path: Path, chest: Case) -> None:
    truth = chest.scan.volume.hu
    far = outside(tmp_path, chest, "far", truth, by_mm=30.0)
    with pytest.raises(RefusedInput, match=r"The result of far does not cover case .* far.nii: slices from"):
        answers_of(chest, settings_of(tmp_path, baselines=(), outside=(far,), volumes=()))
    write_nifti(tmp_path / "crop.nii", [chest.scan.volume], None)
    crop = OutsideResult("crop", chest.id, str(tmp_path / "crop.nii"))
    with pytest.raises(RefusedInput, match="do not share the in-plane grid"):
        answers_of(chest, settings_of(tmp_path, baselines=(), outside=(crop,), volumes=()))
