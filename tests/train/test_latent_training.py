from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.small_latent import SMALL_UNET, small_codec
from tests.small_model import upright
from tests.stored_cases import stored_index

from lamella.cli import main
from lamella.codecs.folder import save_codec
from lamella.data.collate import unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import DataSettings, load_sources
from lamella.data.views import SeriesSettings
from lamella.diffusion import ScheduleSettings
from lamella.errors import NonFiniteError, UsageError
from lamella.files.config import load, save
from lamella.latent_diffusion.model import LatentModel
from lamella.nifti.image import write_nifti
from lamella.train.fit_settings import FitSettings
from lamella.train.latent import LatentRun, LatentStage, train_latent
from lamella.volume import Volume
from lamella.window import FULL

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers, loggers and short epochs

CONFIGS = Path(__file__).parents[2] / "configs"
BLOCKS = BlockSettings(batch=2, size_px=16, depth=12, max_thick=4, context=1, factors=(2.0, 4.0), spacing_mm=(2.0, 4.0))
FIT = FitSettings(
    4,
    validate_every=2,
    learning_rate=1e-3,
    warm_up=1,
    ema=0.5,
    precision="32-true",
    threads=1,
    device="cpu",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LatentRun:
    folder = tmp_path_factory.mktemp("latent")
    rng = np.random.default_rng(0)
    for name in ("a.nii", "b.nii"):
        z, y, x = np.meshgrid(np.arange(40), np.arange(24), np.arange(24), indexing="ij")
        hu = 300 * np.sin(z / 4 + y / 7) * np.cos(x / 6) + rng.normal(0, 9, z.shape)
        write_nifti(folder / name, [Volume(hu.astype(np.int16), upright(z.shape, 1.0, 1.0))], None)
    save_codec(folder / "codec", small_codec(), {"licence": "Apache-2.0"})
    series = [(SeriesSettings(name, axial=1.0),) for name in ("a.nii", "b.nii")]
    data = DataSettings(folder=str(folder), series=series[0], held_out=series[1])
    return LatentRun(
        str(folder / "run"),
        data,
        str(folder / "codec"),
        FIT,
        unet=SMALL_UNET,
        schedule=ScheduleSettings("cosine", zero_terminal_snr=True),
        blocks=BLOCKS,
        scale_batches=2,
        validation_batches=2,
    )


def stage_of(run: LatentRun) -> tuple[LatentStage, ItemBatches]:
    torch.manual_seed(0)
    train, _ = load_sources(run.data)
    return LatentStage(run.settings, small_codec(), run.fit, FULL), ItemBatches(train, run.blocks, run.fit.items)


def test_a_run_makes_a_model_with_the_measured_scale(run: LatentRun) -> None:
    # SPEC A7, A8, A17, A18, B11
    model = LatentModel.read(train_latent(run))
    assert model.settings == run.settings
    assert model.settings.loss.min_snr_gamma == 5
    kept = yaml.safe_load((Path(run.run) / "scale.yaml").read_text())["latent_scale"]
    assert model.codec.settings.scale == pytest.approx(kept)
    train, _ = load_sources(run.data)
    data = ItemBatches(train, run.blocks, run.fit.items)
    latents = torch.cat([model.codec.encode(unpadded_hu(data[i], FULL)).flatten() for i in range(2)])
    assert float(latents.std()) == pytest.approx(1.0, rel=1e-3)
    for name, tensor in small_codec().network.state_dict().items():  # frozen
        assert torch.equal(model.codec.network.state_dict()[name], tensor), name
    stored = torch.load(Path(run.run) / "last.ckpt", weights_only=True)
    assert all(name.startswith("network.") for name in stored["state_dict"])
    torch.testing.assert_close(model.unet.head.weight, stored["state_dict"]["network.head.weight"], rtol=0, atol=0)


@pytest.mark.slow
def test_a_stopped_run_makes_the_same_model(run: LatentRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SPEC A18
    straight = LatentModel.read(train_latent(dataclasses.replace(run, run=str(tmp_path / "straight"))))
    again, loss = dataclasses.replace(run, run=str(tmp_path / "again")), LatentStage.loss

    def dies(self: LatentStage, *args: Any) -> Any:
        if self.training and self.global_step == 3:
            raise RuntimeError("stopped")
        return loss(self, *args)

    monkeypatch.setattr(LatentStage, "loss", dies)
    with pytest.raises(RuntimeError, match="stopped"):
        train_latent(again)
    monkeypatch.setattr(LatentStage, "loss", loss)
    assert LatentModel.read(train_latent(again)).sha256 == straight.sha256


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_codec(run: LatentRun, tmp_path: Path) -> None:
    # SPEC A7, A8: a network trained on one codec's latents means nothing with another
    codec = tmp_path / "codec"
    save_codec(codec, small_codec(), {"licence": "terms of others"})
    own = dataclasses.replace(run, run=str(tmp_path / "run"), codec=str(codec))
    out = train_latent(own)
    assert LatentModel.read(out).licence == "Apache-2.0 (denoising network); terms of others (autoencoder)"
    other = small_codec()
    with torch.no_grad():
        next(other.network.parameters()).add_(1.0)
    save_codec(codec, other, {"licence": "Apache-2.0"})
    with pytest.raises(UsageError, match="latents of another codec"):
        train_latent(own)
    (Path(own.run) / "last.ckpt").unlink()  # nothing was learnt: another codec, another scale
    model = LatentModel.read(train_latent(dataclasses.replace(own, scale=2.5)))
    assert model.codec.settings.scale == 2.5


def test_a_scale_is_above_0(run: LatentRun) -> None:
    with pytest.raises(UsageError, match="scale must be above 0"):
        dataclasses.replace(run, scale=0.0)


@pytest.mark.parametrize("condition", ["thick_latents", "thin_grid"])
def test_the_loss_depends_on_batch_and_generator_alone(run: LatentRun, condition: Any) -> None:
    # SPEC A11, A13, A18
    stage, data = stage_of(dataclasses.replace(run, condition=condition))
    values = []
    for seed in (1, 1, 2):
        torch.rand(3)
        values.append(float(stage.loss(data[0], torch.Generator().manual_seed(seed))[0].detach()))
    assert values[0] == values[1] != values[2]
    stage.loss(data[0], torch.Generator().manual_seed(1))[0].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in stage._codec.network.parameters())


def test_padding_does_not_enter_the_loss(run: LatentRun) -> None:
    # SPEC A13, B5: what stands in latent cells of padding alone is not looked at
    stage, data = stage_of(run)
    batch = next(b for b in (data[i] for i in range(len(data))) if b["target"].shape[2] > 8)
    mask = batch["thin_mask"].clone()
    mask[:, :, 4:] = 0

    def loss_at(changed: Callable[[torch.Tensor], object]) -> float:
        def encode(hu: torch.Tensor) -> torch.Tensor:
            latent = torch.ones(len(hu), 4, -(-hu.shape[2] // 4), 4, 4)
            changed(latent)
            return latent

        class Fixed:
            factor = (4, 4, 4)

        Fixed.encode = staticmethod(encode)  # type: ignore[attr-defined]
        stage._codec = Fixed()  # type: ignore[assignment]
        stage.network = Nothing()  # type: ignore[assignment]
        return float(stage.loss({**batch, "thin_mask": mask}, torch.Generator().manual_seed(0))[0])

    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x[:, :4])

    assert loss_at(lambda z: None) == loss_at(lambda z: z[:, :, 1:].fill_(7.0)) != loss_at(lambda z: z.fill_(7.0))


def test_a_network_that_leaves_the_finite_numbers_is_named_by_its_batch(run: LatentRun, tmp_path: Path) -> None:
    # SPEC A20
    wild = dataclasses.replace(FIT, learning_rate=1e30, clip=0.0, weight_decay=0.0)
    with pytest.raises(NonFiniteError, match=r"not finite at step \d+, for the batch a\.nii.*Lower the learning rate"):
        train_latent(dataclasses.replace(run, run=str(tmp_path), fit=wild))


def test_what_is_missing_is_refused(run: LatentRun, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="codec folder nowhere does not exist"):
        train_latent(dataclasses.replace(run, codec="nowhere"))
    monkeypatch.setattr("lamella.data.index.Index.load", lambda folder: stored_index())
    with pytest.raises(UsageError, match="nothing to validate on"):
        train_latent(dataclasses.replace(run, data=DataSettings(index="cache")))
    with pytest.raises(UsageError, match="name either preset or unet"):
        dataclasses.replace(run, preset="smoke")


def test_the_reference_config_holds_the_references_values() -> None:
    # SPEC A9, A12, A13, A17, A24
    run = load(LatentRun, CONFIGS / "maisi_medium.yaml")
    u, s = run.settings.unet, run.fit
    assert (u.width, u.multipliers, u.blocks, u.attention_levels, u.heads) == (192, (1, 2, 4, 4), 2, (1, 2), 8)
    assert (u.time_embedding, u.checkpoint, run.schedule.kind, run.schedule.num_train_timesteps) == (
        1024,
        True,
        "cosine",
        1000,
    )
    assert (run.condition, run.loss.min_snr_gamma) == ("thick_latents", 5)
    assert (s.learning_rate, s.final_rate, s.warm_up, s.weight_decay, s.clip) == (1e-4, 1e-6, 1000, 0.01, 1)
    assert (run.blocks.batch * s.accumulate, s.precision, s.validate_every) == (16, "bf16-mixed", 1000)
    assert run.validation_batches == 20
    assert s.steps * 16 >= 100 * 267  # 100 epochs
    # SPEC B6: the description's own head is kept in a file of its own, and nothing else differs
    assert (run.head, run.schedule.zero_terminal_snr) == ("v", True)
    described = load(LatentRun, CONFIGS / "maisi_medium_noise_head.yaml")
    assert (described.head, described.schedule.zero_terminal_snr) == ("noise", False)
    assert described.schedule.least_alpha == 0.1  # else it cannot be sampled
    with pytest.raises(UsageError, match="Head noise cannot be sampled in 20 steps"):
        dataclasses.replace(described, schedule=ScheduleSettings("cosine"))
    same = {name: getattr(run, name) for name in ("run", "name", "head", "schedule")}
    assert dataclasses.replace(described, **same) == run
    assert "337 HU" in (CONFIGS / "maisi_medium_noise_head.yaml").read_text().splitlines()[0]
    small = load(LatentRun, CONFIGS / "reference_small.yaml")
    assert (small.head, small.schedule.kind, small.settings.unet.width) == ("v", "cosine", 32)


def test_the_verb_trains_what_kind_says(run: LatentRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # SPEC A22, A24
    config = tmp_path / "run.yaml"
    save(dataclasses.replace(run, run=str(tmp_path / "run")), config)
    assert main(["train", str(config), "fit.steps=2"]) == 0
    assert (tmp_path / "run" / "model" / "model.yaml").is_file()
    assert load(LatentRun, tmp_path / "run" / "settings.yaml").fit.steps == 2
    for change, message in (("kind=other", "kind must be one of"), ("fit.step=2", "Unknown key fit.step")):
        capsys.readouterr()
        assert main(["train", str(config), change]) == 2
        assert message in capsys.readouterr().err


def test_a_validation_logs_a_sample_beside_interpolation_and_truth(run: LatentRun) -> None:
    # SPEC A25
    train_latent(run)
    board = EventAccumulator(str(Path(run.run) / "tensorboard"))
    board.Reload()
    name = "interpolated, sampled, true"
    assert board.Tags()["images"] == [name]
    assert [one.step for one in board.Images(name)] == [2, 4]
    assert board.Images(name)[0].width == 3 * run.blocks.size_px
    stage, data = stage_of(run)
    batch = data[0]
    with torch.no_grad():
        shown = stage.pictures(batch)[name]
    depth = int(batch["num_thin_slices"][0])
    true = FULL.to_hu(
        batch["target"][0, 0, :depth, run.blocks.size_px // 2].flip(0).numpy()
    )  # lowest slice, lowest row
    np.testing.assert_allclose(shown[:, -run.blocks.size_px :], ((true + 1000) / 1400).clip(0, 1), atol=1e-6)
    assert shown.shape[0] == depth
