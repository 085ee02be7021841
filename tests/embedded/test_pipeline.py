from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.small_model import SMALL, SUMMARISED, awake, upright

from lamella.embedded.memory_plan import MemoryPlan
from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import EmbeddedSettings
from lamella.errors import NonFiniteError, RefusedInput, UsageError
from lamella.machine.runtime import runtime
from lamella.models.shipped import find_model
from lamella.thinning.consistency import consistency
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import AIR_HU, Volume

MODES = ("mean", "texture", "sample")


def settings(mode: str, **more: object) -> ThinSettings:
    return ThinSettings(mode=mode, steps=2, device="cpu", precision="fp32", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_averaging_the_written_integers_gives_the_scan_back(
    small_model: EmbeddedModel, thick_volume: Volume, mode: str
) -> None:
    # SPEC C1
    result = thin(thick_volume, small_model, thin_grid(thick_volume.geometry, spacing_mm=1.0), settings(mode))
    averaged = result.volume.hu.reshape(7, 5, 42, 50).mean(axis=1)
    misfit = averaged - thick_volume.hu
    assert result.volume.hu.dtype == np.int16
    assert np.sqrt((misfit**2).mean()) <= 0.5
    assert abs(misfit.mean()) <= 0.05
    assert result.report["consistency_rmse_hu"] == pytest.approx(np.sqrt((misfit**2).mean()), abs=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [SMALL, pytest.param(SUMMARISED, marks=pytest.mark.slow)])
@pytest.mark.parametrize("blocks", [(2, 3, 2, 16), (3, 7, 5, 32), (100, 100, 100, 400)])
def test_results_do_not_depend_on_the_size_of_tiles(
    thick_volume: Volume,
    mode: str,
    shape: EmbeddedSettings,
    blocks: tuple[int, int, int, int],
) -> None:
    # SPEC A16, issue: at most 0.1 HU; here not even one stored grey level
    grid, model = thin_grid(thick_volume.geometry, spacing_mm=1.0), awake(shape)
    whole = thin(thick_volume, model, grid, settings(mode, spread=True))
    tiled = thin(thick_volume, model, grid, settings(mode, spread=True), plan=MemoryPlan(*blocks, 0, 0))
    assert whole.spread is not None
    assert tiled.spread is not None
    np.testing.assert_allclose(tiled.spread.hu, whole.spread.hu, rtol=1e-4)
    difference = np.abs(tiled.volume.hu.astype(int) - whole.volume.hu)
    # rounding may tip a value that lies on the edge between two integers
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_a_seed_gives_the_same_voxels_and_another_seed_others(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    # SPEC A14
    grid = thin_grid(thick_volume.geometry, spacing_mm=1.0)
    first = thin(thick_volume, small_model, grid, settings("sample", seed=1)).volume.hu
    assert np.array_equal(first, thin(thick_volume, small_model, grid, settings("sample", seed=1)).volume.hu)
    assert not np.array_equal(first, thin(thick_volume, small_model, grid, settings("sample", seed=2)).volume.hu)


def test_samples_are_distinct_draws_and_the_first_is_that_of_a_single_run(
    small_model: EmbeddedModel, thick_volume: Volume
) -> None:
    # SPEC C3
    grid = thin_grid(thick_volume.geometry, spacing_mm=1.0)
    several = thin(thick_volume, small_model, grid, settings("sample", samples=3)).samples
    assert len(several) == 3
    assert np.array_equal(several[0].hu, thin(thick_volume, small_model, grid, settings("sample")).volume.hu)
    assert not np.array_equal(several[0].hu, several[1].hu)
    assert not np.array_equal(several[1].hu, several[2].hu)


@pytest.mark.parametrize(("slices", "thickness_mm"), [(7, 5.0), (35, 5.0), (41, 5.0), (23, 3.4), (30, 8.0), (200, 5.0)])
def test_exactly_the_slices_asked_for(
    small_model: EmbeddedModel, thick_volume: Volume, slices: int, thickness_mm: float
) -> None:
    # SPEC B8, B9, C2
    volume = Volume(thick_volume.hu, dataclasses.replace(thick_volume.geometry, thickness_mm=thickness_mm))
    grid = thin_grid(volume.geometry, slices=slices)
    assert thin(volume, small_model, grid, settings("mean")).volume.hu.shape == (slices, 42, 50)


def test_padding_outside_the_field_of_view_stays_air(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    hu = thick_volume.hu.copy()
    hu[:, :, 40:] = AIR_HU
    volume = Volume(hu, thick_volume.geometry)
    result = thin(volume, small_model, thin_grid(volume.geometry, spacing_mm=1.0), settings("sample"))
    assert (result.volume.hu[:, :, 40:] == AIR_HU).all()
    assert result.volume.hu.min() >= AIR_HU


def test_a_mirrored_scan_gives_a_result_on_the_mirrored_positions(
    small_model: EmbeddedModel, thick_volume: Volume
) -> None:
    grid = thin_grid(thick_volume.geometry, spacing_mm=1.25)
    result = thin(thick_volume, small_model, grid, settings("mean"))
    np.testing.assert_allclose(result.volume.geometry.centres_mm, grid.centres_mm, atol=1e-9)
    # the brightest thick slice must hold the brightest thin ones
    bright = thick_volume.hu.astype(float)
    bright[:] = 0
    bright[2] = 900
    lit = thin(Volume(bright.astype(np.int16), thick_volume.geometry), small_model, grid, settings("mean"))
    profile = lit.volume.hu.reshape(28, -1).mean(axis=1)
    centre = (profile * np.arange(28)).sum() / profile.sum()
    assert grid.centres_mm[0] + centre * 1.25 == pytest.approx(thick_volume.geometry.centres_mm[2], abs=0.3)


def test_weights_that_overflow_stop_with_the_step(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    # SPEC A20
    import copy

    flow = copy.deepcopy(small_model.flow)
    with torch.no_grad():
        flow.linear.weight.fill_(float("nan"))
    broken = dataclasses.replace(small_model, flow=flow)
    with pytest.raises(NonFiniteError, match=r"step 2 of 2"):
        thin(thick_volume, broken, thin_grid(thick_volume.geometry, spacing_mm=1.0), settings("sample"))
    # the first step is the mean's, and asks no network
    one = dataclasses.replace(settings("sample"), steps=1)
    thin(thick_volume, broken, thin_grid(thick_volume.geometry, spacing_mm=1.0), one)


def test_a_volume_too_large_for_the_memory_is_refused_with_the_plan(small_model: EmbeddedModel) -> None:
    thick = upright((60, 512, 512), 5.0, 5.0)
    with pytest.raises(
        RefusedInput, match=r"too large for the memory.*about \d+\.\d GiB of 0\.5 GiB.*a larger memory_gb"
    ):
        small_model.plan(thick, thin_grid(thick, spacing_mm=1.0), ThinSettings(memory_gb=0.5))


def test_less_memory_gives_smaller_blocks() -> None:
    thick = upright((55, 512, 512), 5.0, 5.0)
    grid = thin_grid(thick, spacing_mm=1.0)
    model = EmbeddedModel.read(find_model("embedded"))
    roomy = model.plan(thick, grid, ThinSettings(mode="sample"))
    tight = model.plan(thick, grid, ThinSettings(mode="sample", memory_gb=roomy.peak_bytes / 2**30 - 0.01))
    assert tight.slab_thin < roomy.slab_thin
    assert tight.peak_bytes < roomy.peak_bytes


def test_draws_that_are_kept_count_in_the_plan() -> None:
    # SPEC C3: all of them are held until the result is written
    thick = upright((55, 512, 512), 5.0, 5.0)
    grid, model = thin_grid(thick, spacing_mm=1.0), EmbeddedModel.read(find_model("embedded"))
    one, many = (
        model.plan(thick, grid, ThinSettings(mode="sample", samples=n, memory_gb=1000)).peak_bytes for n in (1, 20)
    )
    assert many - one >= 19 * 275 * 512 * 512 * 2


def test_an_accelerator_gets_blocks_that_fit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # the device is made up: only its free memory is asked for
    thick = upright((55, 512, 512), 5.0, 5.0)
    grid, model = thin_grid(thick, spacing_mm=1.0), EmbeddedModel.read(find_model("embedded"))
    asked = ThinSettings(mode="sample", device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    tiles = []
    for gib in (80, 3, 1.2):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, gib=gib: (int(gib * 2**30), 0))
        tiles.append(model.plan(thick, grid, asked).tile)
    assert tiles[0] >= tiles[1] > tiles[2]
    assert not runtime(asked.device, asked.precision).bf16  # which compute capability 7.5 would imitate
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**28, 0))
    with pytest.raises(RefusedInput, match=r"too large for cuda.* use device cpu"):
        model.plan(thick, grid, asked)


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "target_mm", "message"),
    [
        (5.0, 15.0, 1.0, "slice thickness is far outside"),
        (20.0, 5.0, 1.0, "slice spacing is far outside"),
    ],
)
def test_far_outside_the_trained_range_is_refused(
    small_model: EmbeddedModel,
    thick_volume: Volume,
    spacing_mm: float,
    thickness_mm: float,
    target_mm: float,
    message: str,
) -> None:
    # SPEC C6
    volume = Volume(thick_volume.hu, upright((7, 42, 50), spacing_mm, thickness_mm))
    with pytest.raises(RefusedInput, match=message):
        thin(volume, small_model, thin_grid(volume.geometry, spacing_mm=target_mm), settings("mean"))


def test_slightly_outside_the_trained_range_warns(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    volume = Volume(thick_volume.hu, upright((7, 42, 50), 11.0, 9.0))
    report = thin(volume, small_model, thin_grid(volume.geometry, spacing_mm=1.0), settings("mean")).report
    assert [w.split(" of ")[0] for w in report["warnings"][:2]] == ["The slice thickness", "The slice spacing"]
    assert "gaps of 2.00 mm that were never scanned" in report["warnings"][2]


@pytest.mark.parametrize("mode", ["mean", "sample"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_array_that_is_not_finite_is_refused(
    small_model: EmbeddedModel, thick_volume: Volume, mode: str, value: float
) -> None:
    # SPEC A20: the readers let none of these through, a caller in Python may
    hu = thick_volume.hu.astype(np.float32)
    hu[2, 3, 4] = value
    grid = thin_grid(thick_volume.geometry, spacing_mm=1.0)
    with pytest.raises(NonFiniteError, match="NaN or infinity in 1 voxels"):
        thin(Volume(hu, thick_volume.geometry), small_model, grid, settings(mode))


def test_padding_in_an_array_is_set_to_air_as_the_readers_do(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    padded, air = thick_volume.hu.copy(), thick_volume.hu.copy()
    padded[:, :6], air[:, :6] = -3024, AIR_HU
    grid = thin_grid(thick_volume.geometry, spacing_mm=1.0)
    one, other = (
        thin(Volume(hu, thick_volume.geometry), small_model, grid, settings("sample")) for hu in (padded, air)
    )
    assert np.array_equal(one.volume.hu, other.volume.hu)
    assert set(one.report["warnings"]) - set(other.report["warnings"]) == {
        f"{7 * 6 * 50:,} voxels below -1024 HU set to air (-1024 HU)"
    }


def test_a_report_says_where_the_measurement_is_not_kept(small_model: EmbeddedModel, thick_volume: Volume) -> None:
    # SPEC C1: tissue and air in turn, to slices hardly finer: no answer in the range keeps it
    hu = np.full_like(thick_volume.hu, AIR_HU)
    hu[::2] = 1000
    volume = Volume(hu, thick_volume.geometry)
    report = thin(volume, small_model, thin_grid(volume.geometry, spacing_mm=4.0), settings("mean")).report
    assert report["consistency_worst_hu"] > 30
    assert any("the result differs from them" in text for text in report["warnings"])


def test_overlapping_slabs_count_only_where_they_lie_inside(thick_volume: Volume) -> None:
    thick = upright((7, 4, 4), 2.5, 5.0)
    flat = Volume(np.full((7, 4, 4), 40, np.int16), thick)
    thin_flat = Volume(np.full((18, 4, 4), 40, np.int16), thin_grid(thick, slices=18))
    assert set(consistency(thin_flat, flat).values()) == {0.0}
    shifted = Volume(np.full((18, 4, 4), 43, np.int16), thin_flat.geometry)
    assert consistency(shifted, flat)["consistency_mean_hu"] == -3.0
    assert consistency(shifted, flat)["consistency_worst_hu"] == 3.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "median"}, "Unknown mode 'median'"),
        ({"steps": 0}, "steps must lie between"),
        ({"samples": 0}, "samples must lie between"),
        ({"mode": "mean", "samples": 2}, "2 samples, which need mode texture or sample"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    small_model: EmbeddedModel, values: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        small_model.defaults(ThinSettings(**values))  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UsageError, match="Unknown device 'tpu7x'"):
        ThinSettings(device="tpu7x")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="is not there: 0 CUDA devices"):
            runtime("cuda", "auto")
