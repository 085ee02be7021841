from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.small_model import SMALL
from tests.stored_cases import StoredCase, noise, stored_index

from lamella.data.patches import PatchSettings
from lamella.data.views import SeriesSettings
from lamella.embedded.model import EmbeddedModel
from lamella.errors import NonFiniteError, UsageError
from lamella.files.config import save
from lamella.networks.folder import read_card
from lamella.train import EmbeddedRun, train_embedded
from lamella.train.settings import EmbeddedData, StageSettings
from lamella.train.stages import FlowStage, MeanStage

PATCHES = PatchSettings(batch=2, size_px=16, depth=16)
STAGE = StageSettings(steps=6, warm_up=2, ema=0.5)


def run_of(folder: Path, out: Path, steps: int) -> EmbeddedRun:
    series = {"series": (SeriesSettings("a.nii", axial=1.0),), "held_out": (SeriesSettings("b.nii", axial=1.0),)}
    data = EmbeddedData(folder=str(folder), **series)
    stage = dataclasses.replace(STAGE, steps=steps)
    return EmbeddedRun(
        run=str(out),
        data=data,
        model=SMALL,
        patches=PATCHES,
        flow_patches=PATCHES,
        mean=stage,
        flow=stage,
        precision="32-true",
        validate_every=2,
        threads=1,
        device="cpu",
    )


def losses(out: Path, stage: str) -> list[tuple[str, str]]:
    with (out / stage / "curves-from-000000" / "metrics.csv").open() as file:
        return [
            (row["step"], row["val/gain_over_start_db" if stage == "mean" else "val/loss"])
            for row in csv.DictReader(file)
        ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_makes_a_model_and_an_interrupted_one_makes_the_same(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SPEC A17, A18
    ahead = dataclasses.replace(run_of(data_folder, tmp_path / "straight", 6), workers=2)
    straight = train_embedded(ahead)  # patches drawn by other processes are the same
    for stage in (MeanStage, FlowStage):
        loss = stage.loss

        def dies(self: Any, *args: Any, loss: Any = loss) -> Any:
            if self.training and self.global_step == 5:
                raise RuntimeError("stopped")
            return loss(self, *args)

        monkeypatch.setattr(stage, "loss", dies)
        with pytest.raises(RuntimeError, match="stopped"):
            train_embedded(run_of(data_folder, tmp_path / "broken", 6))
        monkeypatch.setattr(stage, "loss", loss)
    resumed = train_embedded(run_of(data_folder, tmp_path / "broken", 6))
    one, two = EmbeddedModel.read(straight), EmbeddedModel.read(resumed)
    for network in ("mean", "flow"):
        for name, tensor in getattr(one, network).state_dict().items():
            assert torch.equal(tensor, getattr(two, network).state_dict()[name]), name
    assert one.calibration == two.calibration
    assert losses(tmp_path / "straight", "flow")


def events(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return board


@pytest.mark.filterwarnings("ignore")
def test_both_stages_leave_their_best_checkpoint_pictures_and_throughput(data_folder: Path, tmp_path: Path) -> None:
    # SPEC A17, A18, A25: what the reference's networks leave, and several batches a step
    run = dataclasses.replace(run_of(data_folder, tmp_path, 4), accumulate=2, validation_batches=3)
    card = read_card(train_embedded(run))
    assert card["training"]["patches_per_step"] == {"mean": 4, "flow": 4}
    assert card["training"]["steps"] == {"mean": 4, "flow": 4}
    for stage, picture in (("mean", "interpolated, mean, true"), ("flow", "mean, sampled, true")):
        assert {file.name for file in (tmp_path / stage).glob("*.ckpt")} == {"last.ckpt", "best.ckpt"}
        board = events(tmp_path / stage)
        assert [one.step for one in board.Images(picture)] == [2, 4]
        assert board.Images(picture)[0].width == 3 * PATCHES.size_px
        assert {"train/samples_per_s", "train/learning_rate", "val/loss"} <= set(board.Tags()["scalars"])
    assert len(losses(tmp_path, "mean")) == len(losses(tmp_path, "flow"))


@pytest.mark.filterwarnings("ignore")
def test_the_embedded_model_learns_from_a_prepared_data_set_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = stored_index(StoredCase("c1", noise(40, 1.0)), StoredCase("c2", noise(40, 0.8, seed=1)))
    monkeypatch.setattr("lamella.data.index.Index.load", lambda folder: index)
    run = dataclasses.replace(run_of(tmp_path, tmp_path / "run", 1), data=EmbeddedData(index="cache"))
    assert EmbeddedModel.read(train_embedded(run)).name == "embedded"


@pytest.mark.slow
def test_two_processes_train_the_embedded_model_as_one(data_folder: Path, tmp_path: Path) -> None:
    # SPEC A17: the second stage begins in the processes that the first has started
    ways: dict[str, dict[str, Any]] = {"one": {"accumulate": 2}, "two": {"devices": 2, "strategy": "ddp"}}
    models = []
    for name, changes in ways.items():
        run = dataclasses.replace(run_of(data_folder, tmp_path / name, 2), **changes)
        save(run, tmp_path / f"{name}.yaml")
        call = [sys.executable, "-m", "lamella", "train", str(tmp_path / f"{name}.yaml"), "--quiet"]
        done = subprocess.run(call, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        models.append(EmbeddedModel.read(tmp_path / name / "model"))
    for network in ("mean", "flow"):
        for one, two in zip(*(getattr(model, network).parameters() for model in models), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_the_rate_warms_up_holds_and_falls() -> None:
    # SPEC A17
    factor = StageSettings(steps=110, warm_up=10, hold=0.5, learning_rate=1.0).rate_factor
    assert factor(0) == 0.1
    assert factor(10) == factor(60) == 1.0
    assert factor(85) == pytest.approx(0.01 + 0.99 / 2)
    assert factor(110) == pytest.approx(0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_can_start_from_a_model(data_folder: Path, tmp_path: Path) -> None:
    run = run_of(data_folder, tmp_path / "first", 2)
    first = EmbeddedModel.read(train_embedded(run))
    still = dataclasses.replace(STAGE, steps=2, learning_rate=0.0, weight_decay=0.0)
    again = dataclasses.replace(
        run, run=str(tmp_path / "second"), start=str(tmp_path / "first" / "model"), mean=still, flow=still
    )
    second = EmbeddedModel.read(train_embedded(again))
    for network in ("mean", "flow"):
        for name, tensor in getattr(first, network).state_dict().items():
            assert torch.equal(tensor, getattr(second, network).state_dict()[name]), name
    assert read_card(tmp_path / "second" / "model")["training"]["start"] == first.sha256
    assert "start" not in read_card(tmp_path / "first" / "model")["training"]
    other = dataclasses.replace(again, model=dataclasses.replace(SMALL, flow_hidden=6, flow_channels=(4, 8)))
    with pytest.raises(UsageError, match="has other settings"):
        train_embedded(other)
    third = EmbeddedModel.read(
        train_embedded(dataclasses.replace(other, run=str(tmp_path / "third"), start_flow=False))
    )
    assert third.flow.read_channels == 6
    for name, tensor in first.mean.state_dict().items():
        assert torch.equal(tensor, third.mean.state_dict()[name]), name
    other = dataclasses.replace(other, model=dataclasses.replace(SMALL, head_basis=3), start_flow=False)
    with pytest.raises(UsageError, match="has other settings"):
        train_embedded(other)


@pytest.mark.filterwarnings("ignore")
def test_a_stage_without_steps_is_left_out_and_a_resumed_one_takes_new_rates(data_folder: Path, tmp_path: Path) -> None:
    still = dataclasses.replace(STAGE, steps=0)
    run = dataclasses.replace(run_of(data_folder, tmp_path / "run", 2), flow=still)
    train_embedded(run)
    assert not (tmp_path / "run" / "flow").exists()
    more = dataclasses.replace(STAGE, steps=4, learning_rate=2 * STAGE.learning_rate)
    train_embedded(dataclasses.replace(run, mean=more))
    stored = torch.load(tmp_path / "run" / "mean" / "last.ckpt", weights_only=True)
    group = stored["optimizer_states"][0]["param_groups"][0]
    assert group["initial_lr"] == more.learning_rate
    assert group["lr"] == pytest.approx(more.learning_rate * more.rate_factor(4))


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_stops_and_names_the_batch(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SPEC A20
    from lamella.train import stages

    real = stages.mean_scale_loss
    monkeypatch.setattr(stages, "mean_scale_loss", lambda *a: (real(*a)[0] * float("nan"), {}))
    with pytest.raises(NonFiniteError, match=r"not finite at step 0, for the batch a\.nii/z, a\.nii/z\. Found: nan"):
        train_embedded(run_of(data_folder, tmp_path / "run", 2))


@pytest.mark.filterwarnings("ignore")
def test_a_mean_does_not_learn_on_under_a_flow(data_folder: Path, tmp_path: Path) -> None:
    run = run_of(data_folder, tmp_path / "run", 2)
    train_embedded(run)
    with pytest.raises(UsageError, match=r"mean of 2 steps. Found mean\.steps 4. Set mean\.steps=2"):
        train_embedded(dataclasses.replace(run, mean=dataclasses.replace(STAGE, steps=4)))
    (tmp_path / "run" / "mean").rename(tmp_path / "mean")
    with pytest.raises(UsageError, match="from a mean that is not there"):
        train_embedded(run)
    (tmp_path / "mean").rename(tmp_path / "run" / "mean")
    shorter = dataclasses.replace(STAGE, steps=1)  # nothing to do, and the card says what was done
    out = train_embedded(dataclasses.replace(run, mean=shorter, flow=shorter, name="mine", licence="CC0-1.0"))
    card = read_card(out)
    assert (card["name"], card["licence"], card["training"]["steps"]) == ("mine", "CC0-1.0", {"mean": 2, "flow": 2})


def test_series_too_small_for_the_patches_are_named_before_training(data_folder: Path, tmp_path: Path) -> None:
    run = run_of(data_folder, tmp_path / "run", 2)
    deep = dataclasses.replace(PATCHES, factors=(2.0, 10.0), thicknesses=(1.2, 10.0))
    with pytest.raises(
        UsageError, match=r"data\.series: no volume is large enough.*a\.nii/z 40 x 24 x 24, expected 48"
    ):
        train_embedded(dataclasses.replace(run, patches=deep))
    deeper = dataclasses.replace(PATCHES, depth=60)
    with pytest.raises(UsageError, match=r"data\.held_out: no volume .*b\.nii/z 40 x 24 x 24, expected 62"):
        train_embedded(dataclasses.replace(run, flow_patches=deeper))
    with pytest.raises(UsageError, match=r"data\.held_out: no series has a view"):
        train_embedded(dataclasses.replace(run, data=dataclasses.replace(run.data, held_out=())))


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing does not exist. Set data.folder=PATH"):
        train_embedded(run_of(tmp_path / "missing", tmp_path / "run", 2))
