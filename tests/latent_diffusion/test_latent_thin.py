"""A latent diffusion model's answer, with random weights: everything but the picture is as with trained ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.small_latent import SMALL_UNET, small_codec, small_latent_model
from tests.small_model import upright
from torch import Tensor

from lamella.codecs.kl import KlCodec
from lamella.diffusion import ScheduleSettings
from lamella.diffusion.schedule import cosine
from lamella.embedded.model import EmbeddedModel
from lamella.errors import NonFiniteError, RefusedInput, UsageError
from lamella.latent_diffusion.condition import LatentDiffusionSettings
from lamella.latent_diffusion.memory_plan import LatentPlan
from lamella.latent_diffusion.model import LatentModel, latent_noise
from lamella.metrics import aligned_cubic
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.diffusion_unet import DiffusionUNet
from lamella.thinning.grid import thin_grid
from lamella.thinning.model import ThinModel
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Volume


class Echo(DiffusionUNet):
    """A network that says that the condition is the clean latent."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x[:, 4:]


def echo_model(groups: int = 0) -> LatentModel:
    """The answer is what codec and condition make of the cubic interpolation; the network adds nothing."""
    settings = LatentDiffusionSettings(SMALL_UNET, head="x0", condition="thin_grid")
    return dataclasses.replace(small_latent_model(groups=groups), settings=settings, unet=Echo(SMALL_UNET))


def asked(mode: str = "sample", **more: object) -> ThinSettings:
    return ThinSettings(**{"mode": mode, "steps": 2, "device": "cpu", "precision": "fp32"} | more)  # type: ignore[arg-type]


def fifty_thick_slices() -> Volume:
    rng = np.random.default_rng(0)
    return Volume(rng.normal(0, 200, (50, 13, 10)).round().astype(np.int16), upright((50, 13, 10), 6.0, 6.0))


@pytest.mark.parametrize("tiles", [(None, None), ((32, 16, 16), 2)])
@pytest.mark.parametrize("condition", ["thick_latents", "thin_grid"])
def test_fifty_slices_at_6_mm_become_three_hundred(
    condition: str, tiles: tuple[tuple[int, int, int] | None, int | None]
) -> None:  # SPEC A15, A16, B8, B9, B10
    thick, model = fifty_thick_slices(), small_latent_model(condition)  # type: ignore[arg-type]
    found = thin(thick, model, thin_grid(thick.geometry, slices=300), asked(), plan=LatentPlan(*tiles, 0, 0)).volume
    assert found.hu.shape == (300, 13, 10)
    # 300 mm from 3 mm before the first thick centre: thin centres at -2.5, -1.5, ...
    expected = thick.geometry.centres_mm[0] - 2.5 + np.arange(300)
    np.testing.assert_allclose(found.geometry.centres_mm, expected, atol=1e-3)
    assert np.array_equal(found.geometry.affine[:3, 1:3], thick.geometry.affine[:3, 1:3])
    averaged = found.hu.reshape(50, 6, 13, 10).mean(axis=1)
    assert np.sqrt(np.mean((averaged - thick.hu) ** 2)) <= 0.5  # SPEC C1


@pytest.mark.parametrize("slices", [21, 22, 23, 29, 35])
def test_the_depth_asked_for_is_the_depth_returned(thick_volume: Volume, slices: int) -> None:  # SPEC B9
    result = thin(thick_volume, small_latent_model(), thin_grid(thick_volume.geometry, slices=slices), asked())
    assert result.volume.hu.shape == (slices, *thick_volume.hu.shape[1:])
    assert result.report["consistency_rmse_hu"] <= 0.5
    assert abs(result.report["consistency_mean_hu"]) <= 0.05


@pytest.mark.parametrize("tile", [None, pytest.param((16, 32, 32), marks=pytest.mark.slow)])
def test_nothing_shifts_on_the_way(thick_volume: Volume, tile: tuple[int, int, int] | None) -> None:
    # SPEC A16, B10: with a network that adds nothing the answer is the codec's round trip of the cubic interpolation
    grid = thin_grid(thick_volume.geometry, slices=30)  # padded to 32, cropped again
    plan = LatentPlan(tile, None, 0, 0)
    found = thin(thick_volume, echo_model(), grid, asked(project=False), plan=plan)
    cubic = torch.from_numpy(aligned_cubic(thick_volume.hu, thick_volume.geometry.centres_mm, grid.centres_mm))
    codec = small_codec(groups=0)
    trip = codec.decode(codec.encode(cubic[None, None].float()), grid.shape)[0, 0]
    trip = torch.where(cubic.abs() > 1000, cubic.to(trip), trip).numpy()
    assert np.abs(found.volume.hu - trip).max() <= 0.51
    assert found.report["projected"] is False
    assert found.report["consistency_rmse_hu"] > 1  # a random codec; the projection is what makes it consistent


@pytest.mark.parametrize("slices", [21, 30])
def test_a_codec_with_side_information_is_shown_the_interpolation(thick_volume: Volume, slices: int) -> None:
    # SPEC A15, A16: an adapter that adds nothing gives the interpolation back, tiled, at the depth asked for
    model, grid = echo_model(), thin_grid(thick_volume.geometry, slices=slices)
    shape = dataclasses.replace(model.codec.settings.network, side_information="interpolated_thick")
    codec = KlCodec(Autoencoder(shape), dataclasses.replace(model.codec.settings, network=shape))
    own = dataclasses.replace(model, codec=codec)
    found = thin(thick_volume, own, grid, asked(project=False), plan=LatentPlan((16, 16, 16), None, 0, 0))
    cubic = aligned_cubic(thick_volume.hu, thick_volume.geometry.centres_mm, grid.centres_mm)
    assert np.abs(found.volume.hu - cubic).max() <= 0.51
    assert found.report["codec"]["side_information"] == "interpolated_thick"
    plans = [one.plan(thick_volume.geometry, grid, asked()) for one in (own, model)]
    weights = 4 * sum(p.numel() for name, p in codec.network.named_parameters() if name.startswith("adapter."))
    assert plans[0].peak_bytes - plans[1].peak_bytes == weights  # its features are narrower than the decoder's


def test_tiles_of_the_network_share_one_sample(thick_volume: Volume) -> None:
    # SPEC A16: a network without normalisation or downsampling answers alike with and without tiles
    class Local(DiffusionUNet):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool3d(x[:, :4] + x[:, 4:], 3, 1, 1, count_include_pad=False).sin()

    model = dataclasses.replace(small_latent_model(groups=0), unet=Local(SMALL_UNET))
    grid = thin_grid(thick_volume.geometry, slices=21)
    whole = thin(thick_volume, model, grid, asked(steps=3), plan=LatentPlan(None, None, 0, 0)).volume.hu
    tiled = thin(thick_volume, model, grid, asked(steps=3), plan=LatentPlan((32, 32, 32), 4, 0, 0)).volume.hu
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_a_seed_gives_the_same_voxels_and_another_seed_others(thick_volume: Volume) -> None:  # SPEC A14
    model, grid = small_latent_model(), thin_grid(thick_volume.geometry, slices=21)
    first = thin(thick_volume, model, grid, asked(seed=1)).volume.hu
    assert np.array_equal(first, thin(thick_volume, model, grid, asked(seed=1)).volume.hu)
    assert not np.array_equal(first, thin(thick_volume, model, grid, asked(seed=2)).volume.hu)


@pytest.mark.slow
def test_either_sampler_is_deterministic_for_a_seed(thick_volume: Volume) -> None:  # SPEC A14
    model, grid = small_latent_model(), thin_grid(thick_volume.geometry, slices=21)

    def voxels(**more: object) -> NDArray[np.int16]:
        return thin(thick_volume, model, grid, asked(steps=3, **more)).volume.hu

    found = {name: voxels(sampler=name) for name in ("ddim", "ddpm")}
    assert np.array_equal(found["ddim"], voxels())
    assert np.array_equal(found["ddpm"], voxels(sampler="ddpm"))
    assert not np.array_equal(found["ddpm"], found["ddim"])
    assert not np.array_equal(found["ddpm"], voxels(sampler="ddpm", seed=1))
    report = thin(thick_volume, model, grid, asked(sampler="ddpm")).report
    assert report["sampler"] == report["settings"]["sampler"] == "ddpm"
    ways = [model.provenance(model.defaults(asked(sampler=name))).draw for name in ("ddim", "ddpm")]
    assert ways == [f"{name}, 2 steps, seed 0, sample 1 of 1" for name in ("ddim", "ddpm")]


def test_ddpm_adds_noise_of_its_own_at_every_step_whatever_the_depth() -> None:  # SPEC A14
    like = torch.empty(1, 4, 3, 5, 5)
    first, second, deeper = (latent_noise(one, 0, 0, step) for one, step in ((like, 1), (like, 2), (like[:, :, :2], 1)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, latent_noise(like, 0, 0))
    assert torch.equal(first[:, :, :2], deeper)


def test_the_embedded_model_refuses_a_sampler(small_model: EmbeddedModel) -> None:  # SPEC A14
    with pytest.raises(UsageError, match=r"Found sampler ddpm\. Leave it out"):
        small_model.defaults(ThinSettings(sampler="ddpm"))
    with pytest.raises(UsageError, match=r"Unknown sampler 'euler'\. Expected one of ddim, ddpm"):
        asked(sampler="euler")


@pytest.mark.slow
def test_the_mean_averages_draws_and_the_spread_is_theirs(thick_volume: Volume) -> None:
    model, grid = small_latent_model(), thin_grid(thick_volume.geometry, slices=21)
    drawn = thin(thick_volume, model, grid, asked(samples=3, spread=True))
    mean = thin(thick_volume, model, grid, asked("mean", samples=3, spread=True))
    stacked = np.stack([one.hu for one in drawn.samples]).astype(np.float64)
    assert len(drawn.samples) == 3
    assert len(mean.samples) == 1
    clear = stacked.min(axis=(0, 1)) > -1000  # columns in which no draw had to be lifted to air
    assert clear.mean() > 0.2
    assert np.abs(stacked.mean(axis=0) - mean.volume.hu)[:, clear].max() <= 1.5
    assert drawn.spread is not None
    assert mean.spread is not None
    assert np.abs(stacked.std(axis=0, ddof=1) - mean.spread.hu)[:, clear].max() <= 1.5
    np.testing.assert_array_equal(mean.spread.hu, drawn.spread.hu)
    assert mean.report["draws"] == 3
    # the first of several draws is that of a single run
    assert np.array_equal(thin(thick_volume, model, grid, asked()).volume.hu, drawn.volume.hu)


def test_what_the_codec_cannot_hold_is_kept(thick_volume: Volume) -> None:  # SPEC B14
    hu = thick_volume.hu.copy()
    hu[:, 10:20, 10:20], hu[:, 30:40, 30:40] = 2500, -1024
    thick = Volume(hu, thick_volume.geometry)
    grid = thin_grid(thick.geometry, spacing_mm=1.0)
    for project in (False, True):
        found = thin(thick, small_latent_model(), grid, asked(project=project)).volume.hu
        assert np.abs(found[:, 10:20, 10:20] - 2500.0).max() <= 1
        assert np.abs(found[:, 30:40, 30:40] + 1024.0).max() <= 1


def test_the_report_says_how(thick_volume: Volume, small_model: EmbeddedModel) -> None:
    grid = thin_grid(thick_volume.geometry, slices=21)
    model = small_latent_model()
    report = thin(thick_volume, model, grid, ThinSettings(mode="sample", device="cpu", precision="fp32")).report
    assert set(thin(thick_volume, small_model, grid, asked("mean")).report) <= set(report)
    assert report["steps"] == report["settings"]["steps"] == 20
    assert (report["draws"], report["sampler"], report["projected"]) == (1, "ddim", True)
    codec = {"low_hu": -1000.0, "high_hu": 1000.0, "axes": "ras_xyz", "tile": None, "side_information": "none"}
    assert report["codec"] == codec
    assert report["scale"] == 1.5
    assert report["condition"] == "thick_latents"
    assert set(report["seconds"]) == {"encode", "sample", "decode", "consistency"}


def test_bfloat16_stays_finite(thick_volume: Volume) -> None:  # SPEC A20
    grid = thin_grid(thick_volume.geometry, slices=21)
    report = thin(thick_volume, small_latent_model(), grid, asked(precision="bf16")).report
    assert report["precision"] == "bf16"
    assert report["consistency_rmse_hu"] <= 0.5


def test_a_value_that_is_not_finite_names_its_step(thick_volume: Volume) -> None:  # SPEC A20
    class Bursts(DiffusionUNet):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x[:, :4] * (float("nan") if float(t) < 500 else 1.0)

    model = dataclasses.replace(small_latent_model(), unet=Bursts(SMALL_UNET))
    with pytest.raises(NonFiniteError, match="at step 3 of 4"):
        thin(thick_volume, model, thin_grid(thick_volume.geometry, slices=21), asked(steps=4))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "texture"}, "texture is not defined for a latent diffusion model"),
        ({"spread": True}, "needs several. Found 1"),
        ({"mode": "mean", "samples": 1, "spread": True}, "needs several. Found 1"),
    ],
)
def test_what_the_model_cannot_do_is_refused(thick_volume: Volume, values: dict[str, object], message: str) -> None:
    grid = thin_grid(thick_volume.geometry, slices=21)
    with pytest.raises(UsageError, match=message):
        thin(thick_volume, small_latent_model(), grid, asked(**values))  # type: ignore[arg-type]


def test_a_noise_head_is_sampled_from_where_there_is_signal_and_else_refused(thick_volume: Volume) -> None:
    # SPEC A14, A20, B6: with predicted noise that is a little wrong everywhere
    class AlmostNoise(DiffusionUNet):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = (float(level(t)) for level in (table.alpha, table.sigma))
            return (x[:, :4] - alpha * x[:, 4:]) / sigma + 0.01  # x0 is the condition

    table, grid = cosine(), thin_grid(thick_volume.geometry, slices=30)
    model = dataclasses.replace(echo_model(), unet=AlmostNoise(SMALL_UNET))

    def with_noise_head(least: float) -> LatentModel:
        return dataclasses.replace(
            model,
            settings=dataclasses.replace(model.settings, head="noise", schedule=ScheduleSettings(least_alpha=least)),
        )

    with pytest.raises(UsageError, match=r"Head noise cannot be sampled in 20 steps.*t = 999.*4\.9e-05.*Take head v"):
        thin(thick_volume, with_noise_head(0.0), grid, asked(steps=20, project=False))
    found = thin(thick_volume, with_noise_head(0.1), grid, asked(steps=20, project=False)).volume.hu
    v = thin(thick_volume, echo_model(), grid, asked(steps=20, project=False)).volume.hu
    assert np.abs(found.astype(float) - v).mean() < 0.02 * np.abs(v).mean()


def test_the_embedded_model_always_projects(thick_volume: Volume, small_model: EmbeddedModel) -> None:
    with pytest.raises(UsageError, match="without the projection onto the measurement"):
        thin(thick_volume, small_model, thin_grid(thick_volume.geometry, slices=21), asked("mean", project=False))


def test_settings_are_filled_in_by_each_model(small_model: EmbeddedModel) -> None:
    def numbers(mode: str, model: ThinModel) -> tuple[int | None, int | None, bool | None]:
        settings = model.defaults(ThinSettings(mode=mode, spread=None))  # type: ignore[arg-type]
        assert model.defaults(settings) == settings
        return settings.steps, settings.samples, settings.spread

    latent = small_latent_model()
    assert numbers("mean", small_model) == numbers("sample", small_model) == (4, 1, True)
    assert numbers("sample", latent) == (20, 1, False)
    assert numbers("mean", latent) == (20, 4, True)


def test_a_plan_takes_smaller_tiles_as_memory_shrinks_and_refuses_with_figures() -> None:
    thick = upright((50, 256, 256), 6.0, 6.0)
    grid, model = thin_grid(thick, slices=300), small_latent_model(groups=0)
    plans = [model.plan(thick, grid, asked(memory_gb=gb)) for gb in (64.0, 3.5)]
    assert all(isinstance(one, LatentPlan) and one.peak_bytes <= one.available_bytes for one in plans)
    large, small = plans
    assert isinstance(large, LatentPlan)
    assert isinstance(small, LatentPlan)
    assert large.codec_tile is None
    assert large.unet_tile is None
    assert small.codec_tile is not None
    assert small.peak_bytes < large.peak_bytes
    with pytest.raises(RefusedInput, match=r"50 x 256 x 256 to 300 slices needs about \d+\.\d GiB of 0\.5 GiB usable"):
        model.plan(thick, grid, asked(memory_gb=0.5))
