from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_fit import PLAIN, Tiny, noted, train

from lamella.errors import NonFiniteError, UsageError
from lamella.train.checkpoints import steps_done
from lamella.train.fit_settings import FitSettings
from lamella.train.strategy import fsdp, strategy_of

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers, loggers and short epochs


def settings(**changes: Any) -> FitSettings:
    return FitSettings(**{**PLAIN, **changes})


def curve(folder: Path, name: str, start: int = 0) -> list[float]:
    with (folder / f"curves-from-{start:06d}" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    # SPEC A17
    s = FitSettings(steps=11000)
    at = [1e-4 * s.rate_factor(step) for step in (0, 499, 999, 1000, 6000, 11000)]
    assert at == pytest.approx([1e-7, 5e-5, 1e-4, 1e-4, (1e-4 + 1e-6) / 2, 1e-6])
    assert (s.learning_rate, s.weight_decay, s.clip, s.precision, s.validate_every) == (
        1e-4,
        0.01,
        1,
        "bf16-mixed",
        1000,
    )


def test_the_cosine_ends_where_asked_or_at_a_hundredth() -> None:
    # SPEC A17
    for changes, low in (({}, 0.01), ({"final_rate": 2e-5}, 0.2)):
        s = FitSettings(steps=110, warm_up=10, hold=0.5, **changes)
        assert s.rate_factor(10) == s.rate_factor(60) == 1.0
        assert s.rate_factor(85) == pytest.approx((1 + low) / 2)
        assert s.rate_factor(110) == pytest.approx(low)
    assert FitSettings(steps=10, validate_every=5).part == 5


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tiny]:
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(folder, settings())


def test_a_run_leaves_curves_and_its_last_and_best_checkpoint(straight: tuple[Path, Tiny]) -> None:
    # SPEC A18, A25
    folder, _ = straight
    steps = {n: torch.load(folder / f"{n}.ckpt", weights_only=True)["global_step"] for n in ("last", "best")}
    values = curve(folder, "val/loss")
    assert len(values) == 3
    assert steps == {"last": 12, "best": 4 * (1 + values.index(min(values)))}
    assert curve(folder, "train/loss")
    assert curve(folder, "train/learning_rate")[0] == pytest.approx(1e-2 * settings().rate_factor(3))
    assert curve(folder, "train/samples_per_s")[0] > 0
    assert not list(folder.glob(".*.new"))
    assert list((folder / "tensorboard").iterdir())


def test_the_module_ends_with_the_average_of_its_weights(tmp_path: Path) -> None:
    # SPEC A18: with decay d, average <- d average + (1 - d) weights after each step
    weights: list[torch.Tensor] = []
    s = settings(steps=4)
    for steps in range(1, 5):
        one = settings(steps=steps, checkpoint_every=1, validate_every=4, warm_up=10)
        weights.append(train(tmp_path / str(steps), FitSettings(**{**vars(one), "ema": 0.0})).network.weight.detach())
    averaged = train(tmp_path / "ema", settings(steps=4, checkpoint_every=1, warm_up=10, ema=s.ema))
    state = torch.load(tmp_path / "ema" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(state["current_model_state"]["network.weight"], weights[-1], rtol=0, atol=0)
    assert not torch.equal(averaged.network.weight, weights[-1])
    low, high = torch.stack(weights).amin(0), torch.stack(weights).amax(0)
    inside = (averaged.network.weight >= low - 1e-7) & (averaged.network.weight <= high + 1e-7)
    assert bool(inside.all())


@pytest.mark.parametrize("dies_in", [5, 9])
def test_a_run_stopped_anywhere_goes_on_with_the_same_losses(
    straight: tuple[Path, Tiny], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: int
) -> None:
    # SPEC A18; by an exception here, by SIGKILL in test_fit_killed
    loss = Tiny.loss

    def dies(self: Tiny, batch: dict[str, Any], generator: torch.Generator) -> Any:
        if self.training and batch["item"] == dies_in:
            raise RuntimeError("stopped")
        return loss(self, batch, generator)

    monkeypatch.setattr(Tiny, "loss", dies)
    with pytest.raises(RuntimeError, match="stopped"):
        train(tmp_path, settings())
    monkeypatch.setattr(Tiny, "loss", loss)
    torch.rand(5)  # the global generator does not matter
    resumed = train(tmp_path, settings())
    folder, module = straight
    assert noted(tmp_path / "notes") == noted(folder / "notes")
    assert torch.equal(resumed.network.weight, module.network.weight)
    begun = dies_in // 4 * 4
    assert curve(tmp_path, "val/loss", begun) == curve(folder, "val/loss")[begun // 4 :]


def test_a_resumed_run_takes_the_rates_of_its_settings(tmp_path: Path) -> None:
    # not those stored with the optimiser
    train(tmp_path, settings(steps=4))
    changed = settings(learning_rate=4e-3, weight_decay=0.0, beta2=0.98)
    train(tmp_path, changed)
    expected = [4e-3 * changed.rate_factor(step) for step in (7, 11)]
    assert curve(tmp_path, "train/learning_rate", 4) == pytest.approx(expected)
    group = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert (group["initial_lr"], group["weight_decay"], group["betas"]) == (4e-3, 0.0, (0.9, 0.98))


@pytest.mark.parametrize("begun", [{"steps": 6}, {"steps": 6, "checkpoint_every": 3, "validate_every": 3}])
def test_a_prolonged_run_leaves_out_and_repeats_no_batch(tmp_path: Path, begun: dict[str, int]) -> None:
    # SPEC A18: it may have ended within a part, or have had parts of another length
    train(tmp_path, settings(**begun))
    train(tmp_path, settings(steps=12))
    items = [int(line.split()[0]) for line in (tmp_path / "notes").read_text().splitlines()]
    assert items == list(range(12))
    assert steps_done(tmp_path / "last.ckpt") == 12
    assert train(tmp_path, settings(steps=10)) is not None  # there is nothing to do
    assert len((tmp_path / "notes").read_text().splitlines()) == 12


def test_a_finished_run_is_not_trained_again(straight: tuple[Path, Tiny]) -> None:
    folder, module = straight
    before = (folder / "notes").read_text()
    assert torch.equal(train(folder, settings()).network.weight, module.network.weight)
    assert (folder / "notes").read_text() == before


def test_accumulated_batches_count_as_one_large_batch(tmp_path: Path) -> None:
    # SPEC A17: the gradient of a mean of losses is the mean of their gradients
    s = settings(steps=1, checkpoint_every=1, validate_every=1, accumulate=3, ema=0.0, warm_up=1)
    module = train(tmp_path, s)
    by_hand = Tiny(s)
    from tests.tiny_fit import Numbers

    from lamella.train.fit import _generator

    data = Numbers(3)
    torch.stack([by_hand.loss(data[i], _generator(s.seed, i))[0] for i in range(3)]).mean().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(by_hand.parameters(), s.clip)
    torch.optim.AdamW(by_hand.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay).step()
    torch.testing.assert_close(module.network.weight, by_hand.network.weight)
    assert list(noted(tmp_path / "notes")) == [0, 1, 2]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(tmp_path: Path) -> None:
    # SPEC A20
    with pytest.raises(NonFiniteError, match=r"not finite at step 6, for the batch case 6\. Found: nan"):
        train(tmp_path, settings(), spoilt=6)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1. Found 0"),
        ({"validate_every": 5}, "validate_every must be a multiple of checkpoint_every. Found 5 and 4"),
        ({"hold": 1.5}, r"hold must lie in \[0, 1\]. Found 1.5"),
        ({"ema": 1.0}, r"ema must lie in \[0, 1\). Found 1"),
        ({"muon": -1.0}, r"muon must lie in \[0, 100\]. Found -1"),
        ({"strategy": "fsdp", "ema": 0.0, "muon": 4.0}, "Weights that fsdp shares out are no matrices. Found muon 4"),
        ({"strategy": "fsdp"}, "Weights that fsdp shares out cannot be averaged. Found ema 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(**changes)


def test_strategies_by_name() -> None:
    assert (strategy_of("auto", "cpu", 1), strategy_of("auto", "cpu", 2), strategy_of("ddp", "cpu", 2)) == (
        "auto",
        "ddp",
        "ddp",
    )
    with pytest.raises(UsageError, match=r"fsdp needs CUDA devices\. Found none"):
        strategy_of("fsdp", "cpu", 2)
    assert type(fsdp()).__name__ == "FSDPStrategy"  # built only; sharding itself needs GPUs
    assert math.isclose(FitSettings(steps=10, strategy="fsdp", ema=0.0).ema, 0.0)
