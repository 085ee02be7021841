from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.small_latent import small_codec
from tests.small_model import upright

from lamella.cli import main
from lamella.codecs.autoencoder_loss import AutoencoderLossSettings
from lamella.codecs.folder import load_codec, save_codec
from lamella.data.collate import Batch, hu_of, unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import DataSettings, load_sources
from lamella.data.prepare_settings import PrepareSettings
from lamella.data.views import SeriesSettings
from lamella.errors import UsageError
from lamella.files.config import load, save
from lamella.networks.autoencoder_settings import AutoencoderSettings
from lamella.nifti.image import write_nifti
from lamella.physics.slice_operator import along_z, cubic_matrix
from lamella.train.fit_settings import FitSettings
from lamella.train.vae import VaeRun, VaeStage, train_vae
from lamella.volume import Volume
from lamella.window import FULL

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers, loggers and short epochs

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = AutoencoderSettings(channels=(4, 8, 8), blocks=(1, 1, 1), latent_channels=4, groups=0)
BLOCKS = BlockSettings(batch=2, size_px=16, depth=12, max_thick=4, context=0, factors=(2.0, 4.0), spacing_mm=(2.0, 4.0))
FIT = FitSettings(
    4,
    validate_every=2,
    learning_rate=3e-3,
    warm_up=1,
    ema=0.5,
    precision="32-true",
    threads=1,
    device="cpu",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> VaeRun:
    folder = tmp_path_factory.mktemp("vae")
    rng = np.random.default_rng(0)
    for name in ("a.nii", "b.nii"):
        z, y, x = np.meshgrid(np.arange(40), np.arange(24), np.arange(24), indexing="ij")
        hu = 300 * np.sin(z / 4 + y / 7) * np.cos(x / 6) + rng.normal(0, 9, z.shape)
        write_nifti(folder / name, [Volume(hu.astype(np.int16), upright(z.shape, 1.0, 1.0))], None)
    series = [(SeriesSettings(name, axial=1.0),) for name in ("a.nii", "b.nii")]
    data = DataSettings(folder=str(folder), series=series[0], held_out=series[1])
    return VaeRun(str(folder / "run"), data, FIT, network=NETWORK, blocks=BLOCKS, scale_batches=2, validation_batches=2)


def stage_of(run: VaeRun) -> tuple[VaeStage, ItemBatches]:
    torch.manual_seed(0)
    train, _ = load_sources(run.data)
    return VaeStage(run), ItemBatches(train, run.blocks, run.fit.items)


def curve(run: VaeRun, name: str) -> list[float]:
    with (Path(run.run) / "curves-from-000000" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_a_run_makes_a_codec_with_the_measured_scale(run: VaeRun) -> None:
    # SPEC A7, B11, B16
    folder = train_vae(run)
    codec = load_codec(folder)
    assert codec.settings.network == NETWORK
    assert (codec.settings.low_hu, codec.settings.high_hu, codec.settings.axes) == (-1000.0, 1000.0, "zyx")
    _, data = stage_of(run)
    latents = torch.cat([codec.encode(unpadded_hu(data[i], FULL)).flatten() for i in range(run.scale_batches)])
    assert float(latents.std()) == pytest.approx(1.0, rel=1e-3)
    card = yaml.safe_load((folder / "model.yaml").read_text())
    assert (card["kind"], card["name"], card["training"]["steps"]) == ("autoencoder", "compact", 4)
    averaged = torch.load(Path(run.run) / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in codec.network.state_dict().items():
        assert torch.equal(averaged[f"network.{name}"], tensor), name
    assert len(curve(run, "val/rmse_hu")) == len(curve(run, "val/latent_std")) == len(curve(run, "val/kl")) == 2


def test_training_lowers_the_error_of_the_round_trip(run: VaeRun) -> None:
    # SPEC A7, B16
    stage, data = stage_of(dataclasses.replace(run, fit=dataclasses.replace(FIT, steps=40)))
    optimizer = torch.optim.AdamW(stage.parameters(), lr=3e-3)
    before = rmse_hu(stage, data[0])
    for step in range(40):
        loss, _ = stage.loss(data[step], torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimizer.step()
    assert rmse_hu(stage, data[0]) < 0.5 * before


def rmse_hu(stage: VaeStage, batch: Batch) -> float:
    with torch.no_grad():
        return float(stage.loss(batch, torch.Generator().manual_seed(0))[1]["rmse_hu"])


def test_a_stopped_run_makes_the_same_codec(run: VaeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SPEC A18
    straight = train_vae(dataclasses.replace(run, run=str(tmp_path / "straight")))
    again, loss = dataclasses.replace(run, run=str(tmp_path / "again")), VaeStage.loss

    def dies(self: VaeStage, *args: Any) -> Any:
        if self.training and self.global_step == 3:
            raise RuntimeError("stopped")
        return loss(self, *args)

    monkeypatch.setattr(VaeStage, "loss", dies)
    with pytest.raises(RuntimeError, match="stopped"):
        train_vae(again)
    monkeypatch.setattr(VaeStage, "loss", loss)
    name = "weights.safetensors"
    assert (train_vae(again) / name).read_bytes() == (straight / name).read_bytes()


def test_thin_and_thick_stacks_are_both_learnt_from(run: VaeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    # SPEC A11: the condition is a thick stack's latent
    stage, data = stage_of(run)
    batch, seen = data[0], []
    network = stage.network.forward
    monkeypatch.setattr(stage.network, "forward", lambda x, *more: seen.append(x.shape[2]) or network(x, *more))
    values = [[float(stage.loss(batch, torch.Generator().manual_seed(i))[0].detach()) for i in range(8)] for _ in "ab"]
    assert values[0] == values[1]  # of batch and generator alone
    padded = {-(-hu.shape[2] // 4) * 4 for hu in (batch["target"], batch["input"])}
    assert len(padded) == 2
    assert set(seen) == padded


def test_the_error_is_in_hu_of_the_clipped_range_and_padding_does_not_enter(run: VaeRun) -> None:
    # SPEC A13, B12
    class Brighter(torch.nn.Module):
        factor, settings = 4, NETWORK

        def forward(self, x: torch.Tensor, noise: torch.Tensor, beside: None) -> tuple[torch.Tensor, ...]:
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
            assert all(n % 4 == 0 for n in x.shape[2:])
            spoilt = x + 0.01
            spoilt[:, :, 5:] = 1e3
            return spoilt, torch.zeros_like(noise), torch.zeros_like(noise)

    stage, data = stage_of(run)
    stage.network = Brighter()  # type: ignore[assignment]
    masks = torch.ones(2, 1, 7), torch.ones(2, 1, 5)
    masks[0][:, :, 5:] = 0
    batch: Batch = {
        **data[0],
        "target": torch.full((2, 1, 7, 8, 8), -1.0),
        "input": torch.full((2, 1, 5, 6, 8), 1.0),
        "thin_mask": masks[0],
        "thick_mask": masks[1],
        "num_thin_slices": torch.tensor([5, 5]),
        "num_thick_slices": torch.tensor([5, 5]),
    }
    for seed in range(4):
        loss, figures = stage.loss(batch, torch.Generator().manual_seed(seed))
        assert float(figures["rmse_hu"]) == pytest.approx(20.0, rel=1e-3)  # 0.01 of 2000 HU
        assert float(loss) == pytest.approx(0.01, rel=1e-3)


def test_another_factor_is_refused(run: VaeRun) -> None:
    with pytest.raises(UsageError, match=r"a factor of 4\. Found a factor of 2"):
        train_vae(dataclasses.replace(run, network=AutoencoderSettings((4, 8), (1, 1), groups=0)))


def test_the_config_says_what_is_trained_and_what_is_held_out() -> None:
    # SPEC A24
    run = load(VaeRun, CONFIGS / "compact_vae.yaml")
    assert (run.network.factor, run.network.latent_channels, run.network.groups) == (4, 4, 0)
    assert isinstance(run.loss, AutoencoderLossSettings)
    assert 1e-6 <= run.loss.kl <= 1e-5
    assert run.data.index == "cache/shared_ct"
    prepared = load(PrepareSettings, CONFIGS / "shared_ct.yaml")
    assert prepared.out == run.data.index
    splits = {(one.path, one.slices): one.split for one in prepared.series}
    assert splits["train/lidc-0314-1.0mm", (0, 225)] == "train"
    assert splits["train/lidc-0314-1.0mm", (225, 275)] == "validation"
    assert splits["train/qin-0003-3mm", None] == "validation"
    assert {split for (path, _), split in splits.items() if not path.startswith("train/")} == {"test"}


def test_the_verb_trains_a_codec(run: VaeRun, tmp_path: Path) -> None:
    # SPEC A22, A24
    config = tmp_path / "run.yaml"
    save(dataclasses.replace(run, run=str(tmp_path / "run")), config)
    assert main(["train", str(config), "fit.steps=2"]) == 0
    assert load_codec(tmp_path / "run" / "model").settings.network == NETWORK


def test_a_codec_needs_something_to_be_validated_on(run: VaeRun) -> None:
    with pytest.raises(UsageError, match=r"data\.held_out: no series has a view"):
        train_vae(dataclasses.replace(run, data=dataclasses.replace(run.data, held_out=())))


def test_volumes_too_small_are_told(run: VaeRun, tmp_path: Path) -> None:
    small = Volume(np.full((40, 12, 12), -1000, np.int16), upright((40, 12, 12), 1.0, 1.0))
    write_nifti(Path(run.data.folder) / "small.nii", [small], None)
    series = (*run.data.series, SeriesSettings("small.nii", axial=1.0))
    more = dataclasses.replace(run, run=str(tmp_path / "run"), data=dataclasses.replace(run.data, series=series))
    with pytest.warns(UserWarning, match=r"1 training volumes are too small.*small\.nii/z"):
        train_vae(more)


def test_with_side_information_the_decoder_is_shown_the_interpolation(run: VaeRun, tmp_path: Path) -> None:
    # a codec's card states it; half of the thin stacks' own thick slices, by position; the answer begins as they are
    shown = dataclasses.replace(
        NETWORK, side_information="interpolated_thick", side_channels=(4, 4), side_blocks=(1, 1)
    )
    own = dataclasses.replace(run, run=str(tmp_path / "run"), network=shown)
    stage, data = stage_of(own)
    batch = data[0]
    for seed in range(4):  # thin stacks, whatever is drawn
        figures = stage.loss(batch, torch.Generator().manual_seed(seed))[1]
        torch.testing.assert_close(figures["rmse_hu"], figures["interpolated_rmse_hu"])
    factor = [
        cubic_matrix(a.double().numpy(), b.double().numpy())
        for a, b in zip(batch["thick_mm"], batch["thin_mm"], strict=True)
    ]
    thick_hu = hu_of(batch["input"], batch["num_thick_slices"], FULL)
    expected = torch.stack([along_z(m, one) for m, one in zip(factor, thick_hu, strict=True)])
    unit, mask, beside = stage._unit(batch, thick=False)
    assert beside is not None
    assert beside.shape == unit.shape
    assert mask.shape[2] == unit.shape[2]
    found = beside[:, :, : expected.shape[2], : expected.shape[3], : expected.shape[4]]
    torch.testing.assert_close(2000 * found - 1000, expected.clamp(-1000, 1000), atol=0.01, rtol=0)
    folder = train_vae(own)
    codec, card = load_codec(folder), yaml.safe_load((folder / "model.yaml").read_text())
    assert card["settings"]["network"]["side_information"] == "interpolated_thick"
    assert codec.shown
    assert len(curve(own, "val/interpolated_rmse_hu")) == 2
    assert bool(stage_of(own)[0].network.adapter.correction.weight.eq(0).all())  # type: ignore[union-attr]
    assert not bool(codec.network.adapter.correction.weight.eq(0).any())  # type: ignore[union-attr]


def test_a_codec_gains_side_information_and_keeps_its_own_weights(run: VaeRun, tmp_path: Path) -> None:
    # SPEC A7, B12: MAISI's family, axes and range; only the adapter learns, and the licence of both is told
    base = small_codec()
    save_codec(tmp_path / "base", base, {"licence": "terms of others"})
    network = dataclasses.replace(NETWORK, side_channels=(4, 4), side_blocks=(1, 1))
    fit = dataclasses.replace(FIT, ema=0.9)  # an average whose rounding would change them
    own = dataclasses.replace(run, run=str(tmp_path / "run"), start=str(tmp_path / "base"), network=network, fit=fit)
    folder = train_vae(own)
    codec = load_codec(folder)
    tensors, before = codec.network.state_dict(), base.network.state_dict()
    assert {k for k in tensors if k not in before} == {k for k in tensors if k.startswith("adapter.")}
    assert all(torch.equal(tensors[k], v) for k, v in before.items())
    assert (codec.settings.axes, codec.shown) == ("ras_xyz", True)
    assert yaml.safe_load((folder / "model.yaml").read_text())["licence"] == (
        "Apache-2.0 (adapter); terms of others (autoencoder)"
    )
    assert not bool(codec.network.adapter.correction.weight.eq(0).all())  # type: ignore[union-attr]
    with torch.no_grad():
        next(base.network.parameters()).add_(1.0)
    save_codec(tmp_path / "base", base, {"licence": "terms of others"})
    with pytest.raises(UsageError, match="an adapter behind another codec"):
        train_vae(own)
    with pytest.raises(UsageError, match="has side information already"):
        train_vae(dataclasses.replace(own, run=str(tmp_path / "again"), start=str(folder)))
