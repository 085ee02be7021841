from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.phantom_case import answers, settings_of

import lamella.metrics as metrics
from lamella.embedded.model import EmbeddedModel
from lamella.errors import RefusedInput, UsageError
from lamella.evaluate.cases import Case, plan_cases
from lamella.evaluate.methods import Answer, crop_answer, kept_volumes, methods_of
from lamella.evaluate.settings import EvaluationSettings, ModelMethods, OutsideResult
from lamella.files.config import load
from lamella.nifti.image import write_nifti
from lamella.thinning.consistency import consistency
from lamella.volume import Volume, round_hu


def answers_of(
    case: Case, settings: EvaluationSettings, models: dict[str, EmbeddedModel] | None = None
) -> dict[str, Answer]:
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


def test_a_models_answers_are_named_and_scored_slices_line_up(
    tmp_path: Path, chest: Case, small_model: EmbeddedModel
) -> None:
    settings = settings_of(tmp_path, baselines=(), models=(ModelMethods("small", steps=1, samples=2),), volumes=())
    names = [one.name for one in methods_of(settings)]
    assert names == ["mean", "texture", "sample", "mean of 2 samples"]
    found = answers_of(chest, settings, {"small": small_model})
    assert list(found) == names
    assert {one.hu.shape for one in found.values()} == {chest.scan.volume.hu.shape}
    assert found["mean"].spread is not None
    assert all(one.spread is None for name, one in found.items() if name != "mean")


def test_every_answer_bears_its_own_name_whatever_the_order(
    tmp_path: Path, chest: Case, small_model: EmbeddedModel
) -> None:
    one = ModelMethods("small", modes=("sample", "mean"), steps=1, samples=2)
    found = answers_of(chest, settings_of(tmp_path, baselines=(), models=(one,)), {"small": small_model})
    assert list(found) == ["sample", "mean of 2 samples", "mean"]
    again = ModelMethods("small", modes=("mean",))
    (mean,) = answers_of(chest, settings_of(tmp_path, baselines=(), models=(again,)), {"small": small_model}).values()
    assert np.array_equal(found["mean"].hu, mean.hu)


def test_several_models_are_told_apart(tmp_path: Path) -> None:
    two = (ModelMethods("embedded", modes=("mean",)), ModelMethods("runs/b", modes=("mean",), name="mine"))
    settings = settings_of(tmp_path, models=two, volumes=None)
    assert [one.name for one in methods_of(settings) if one.kind == "model"] == ["embedded mean", "mine mean"]
    assert kept_volumes(settings) == ("cubic", "embedded mean", "mine mean")
    paths = (ModelMethods("/a/runs/x/model", modes=("mean",)), ModelMethods("SMITH_JOHN", modes=("mean",)))
    unnamed = dataclasses.replace(settings, models=paths)
    assert [one.name for one in methods_of(unnamed) if one.kind == "model"] == ["model 1 mean", "model 2 mean"]
    alike = (OutsideResult("tool", "chest_5-every-5", "a.nii"), OutsideResult("tool+", "chest_5-every-5", "a.nii"))
    with pytest.raises(UsageError, match="two are called 'tool'"):  # as files
        methods_of(dataclasses.replace(settings, outside=alike))
    with pytest.raises(UsageError, match="two are called 'embedded mean'"):
        methods_of(dataclasses.replace(settings, models=(two[0], two[0])))
    with pytest.raises(UsageError, match="there is no method 'mean'"):
        methods_of(dataclasses.replace(settings, volumes=("mean",)))
    twice = OutsideResult("tool", "chest_5-every-5", "a.nii")
    with pytest.raises(UsageError, match="two are called 'tool of chest_5-every-5'"):
        methods_of(dataclasses.replace(settings, outside=(twice, twice)))


def test_the_config_of_the_documents_can_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "evaluation.md").read_text(encoding="utf-8")
    config = tmp_path / "mine.yaml"
    config.write_text(page.split("```yaml\n")[1].split("```")[0])
    settings = load(EvaluationSettings, config)
    assert [one.id for one in plan_cases(settings)] == ["scan-01_5-every-5", "scan-01_5-every-3_gaussian", "scan-02"]
    assert [one.name for one in methods_of(settings) if one.kind in ("model", "outside")] == [
        *("embedded mean", "embedded texture", "mine mean", "other tool"),
    ]


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
    moved = chest.scan.volume.part(slice(None), slice(1, None))
    write_nifti(tmp_path / "other.nii", [moved], None)
    other = OutsideResult("other", chest.id, str(tmp_path / "other.nii"))
    with pytest.raises(RefusedInput, match="do not share the in-plane grid"):
        answers_of(chest, settings_of(tmp_path, baselines=(), outside=(other,), volumes=()))


def test_metal_counts_the_same_for_every_method() -> None:
    # truth, thick slices and answers alike: HU beyond 12 bits are kept
    assert round_hu(np.array([[-3000.4, 8000.4, 40000.0]])).tolist() == [[-1024, 8000, 32767]]
