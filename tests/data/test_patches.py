from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_model import upright

from lamella.data.augmentation import magnified
from lamella.data.patches import PatchBatches, PatchSettings, cubic_error
from lamella.data.sources import TrainingSource
from lamella.data.views import SeriesSettings, load_views, views_of
from lamella.errors import UsageError
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.slice_operator import SliceOperator
from lamella.volume import Volume

PLAIN = PatchSettings(
    batch=2, size_px=16, depth=24, noise=0.0, kernel=0.0, thick_noise=0.0, other_profile=0.0, pair_average=0.0
)


def views(spacing_mm: float = 1.0, weight: float = 1.0) -> list[TrainingSource]:
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(np.arange(60), np.arange(40), np.arange(40), indexing="ij")
    hu = 300 * np.sin(z / 4 + y / 7) * np.cos(x / 6) + rng.normal(0, 5, z.shape)
    return [TrainingSource.of_array(f"made/{spacing_mm}", hu.astype(np.int16), spacing_mm, weight)]


def test_a_batch_depends_on_the_step_alone() -> None:
    # SPEC A18: a resumed run sees the batches an uninterrupted one would
    settings = dataclasses.replace(PatchSettings(), batch=2, size_px=16, depth=24)
    whole, later = PatchBatches(views(), settings, 10), PatchBatches(views(), settings, 9)
    assert len(later) == 9
    for step in (8, 3):
        first, second = whole[step], later[step]
        assert torch.equal(first.thick_hu, second.thick_hu)
        assert torch.equal(first.thin_hu, second.thin_hu)
        assert torch.equal(first.condition, second.condition)
    assert not torch.equal(whole[0].thin_hu[:, :, :4], whole[1].thin_hu[:, :, :4])
    with pytest.raises(IndexError):
        later[9]


def test_thick_slices_are_the_measurement_of_the_thin_ones() -> None:
    batches = PatchBatches(views(), PLAIN, 40)
    for step in range(40):
        pairs = batches[step]
        measured = pairs.grids.operator.blur(pairs.thin_hu)
        torch.testing.assert_close(pairs.thick_hu, measured, atol=0.51, rtol=0)
        assert torch.equal(pairs.thick_hu, pairs.thick_hu.round())
        assert bool((pairs.grids.operator.matrix[:, pairs.counted.numpy() > 0] > 0).any(axis=1).all())


def test_geometries_cover_what_clinics_send() -> None:
    # SPEC C2
    batches = PatchBatches(views(), PLAIN, 150)
    spacing, stretch = [], []
    for step in range(150):
        grids = batches[step].grids
        spacing.append(grids.spacing_mm)
        stretch.append(grids.thickness_mm / grids.spacing_mm)
    assert min(spacing) < 2.5
    assert max(spacing) > 6.5
    assert min(stretch) < 0.8
    assert max(stretch) > 1.5
    assert sum(abs(s - 1) < 1e-9 for s in stretch) > 50


def test_what_varies_a_patch_changes_the_truth_and_its_measurement_alike() -> None:
    noisy = dataclasses.replace(PLAIN, noise=1.0, noise_hu=(30.0, 30.0))
    pairs = PatchBatches(views(), noisy, 1)[0]
    torch.testing.assert_close(pairs.thick_hu, pairs.grids.operator.blur(pairs.thin_hu), atol=0.51, rtol=0)
    clean = PatchBatches(views(), PLAIN, 1)[0]
    assert float(pairs.thin_hu.diff(dim=2).std()) > float(clean.thin_hu.diff(dim=2).std()) + 15


def test_a_magnified_block_is_the_middle_of_it_seen_closer() -> None:
    # SPEC C2: heads have pixels half as long as chests
    y, x = np.meshgrid(np.arange(33) - 16.0, np.arange(33) - 16.0, indexing="ij")
    block = np.stack([400 * np.sin(y / 4 + x / 9), 20 * y - 5 * x]).round().astype(np.int16)
    close = magnified(block, 2.0, 48)
    y, x = (np.meshgrid(*[(np.arange(48) - 23.5) / 2] * 2, indexing="ij")[i] for i in (0, 1))
    np.testing.assert_allclose(close[0], 400 * np.sin(y / 4 + x / 9), atol=1.5)
    np.testing.assert_allclose(close[1], 20 * y - 5 * x, atol=1e-2)


def test_magnified_patches_are_smoother_in_the_plane_and_measured_alike() -> None:
    near = dataclasses.replace(PLAIN, magnify=1.0, magnified=(2.0, 2.0))
    pairs, plain = (PatchBatches(views(), settings, 1)[0] for settings in (near, PLAIN))
    torch.testing.assert_close(pairs.thick_hu, pairs.grids.operator.blur(pairs.thin_hu), atol=0.51, rtol=0)
    assert pairs.thin_hu.shape[-1] == PLAIN.size_px
    assert float(pairs.thin_hu.diff(dim=4).std()) < 0.75 * float(plain.thin_hu.diff(dim=4).std())
    with pytest.raises(UsageError, match="at least 1"):
        PatchSettings(magnified=(0.5, 2.0))


def test_another_profile_makes_a_measurement_the_model_does_not_expect() -> None:
    other = dataclasses.replace(PLAIN, other_profile=1.0)
    misfits = [
        float((p.thick_hu - p.grids.operator.blur(p.thin_hu)).abs().max())
        for p in (PatchBatches(views(), other, 8)[i] for i in range(8))
    ]
    assert max(misfits) > 3


def test_a_batch_mixes_only_views_of_like_spacing() -> None:
    settings = dataclasses.replace(PLAIN, batch=6)
    batches = PatchBatches([*views(1.0), *views(2.5), *views(0.7)], settings, 30)
    seen = set()
    for step in range(30):
        kinds = {name == "made/2.5" for name in batches[step].names}
        assert len(kinds) == 1
        seen |= kinds
    assert seen == {True, False}


def test_averaging_pairs_doubles_the_target_spacing() -> None:
    pairs = PatchBatches(views(), dataclasses.replace(PLAIN, pair_average=1.0, factors=(2.0, 6.0)), 1)[0]
    np.testing.assert_allclose(np.exp(pairs.condition[:, 2].numpy()), 2.0, rtol=1e-6)


def test_views_along_rows_and_columns_have_square_pixels() -> None:
    rng = np.random.default_rng(0)
    volume = Volume(rng.integers(-500, 500, (12, 20, 24)).astype(np.int16), upright((12, 20, 24), 2.4, 2.5, 0.8))
    z, y, x = views_of("scan", volume, SeriesSettings("scan", axial=1.0, reformat=0.5, slices=(2, 12)))
    assert (z.name, z.thin.shape, z.spacing_mm) == ("scan/z", (10, 20, 24), pytest.approx(2.4))
    assert (y.name, y.thin.shape, y.spacing_mm) == ("scan/y", (20, 27, 24), 0.8)
    assert (x.name, x.thin.shape, x.spacing_mm) == ("scan/x", (24, 27, 20), 0.8)
    # the interpolated plane passes through the measured slices
    np.testing.assert_array_equal(np.asarray(y.thin)[:, ::3], volume.hu[2:11].transpose(1, 0, 2))


def test_a_phantom_is_a_series_to_learn_from() -> None:
    phantom = PhantomSettings(shape=(12, 16, 20), seed=7)
    (view,) = load_views(Path("nowhere"), [SeriesSettings(phantom=phantom, axial=0.5)])
    np.testing.assert_array_equal(view.thin, paint_phantom(phantom).hu.astype(np.int16))
    assert (view.name, view.spacing_mm, view.weight) == ("phantom-7/z", 1.0, 0.5)
    for item in ({}, {"path": "scan", "phantom": phantom}):
        with pytest.raises(UsageError, match="either a path or a phantom"):
            SeriesSettings(**item)


def test_a_missing_series_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere does not exist. Set data.folder"):
        load_views(tmp_path, [SeriesSettings("nowhere", axial=1.0)])


def test_the_yardstick_is_plain_interpolation() -> None:
    pairs = PatchBatches(views(), PLAIN, 1)[0]
    guess = torch.einsum("dk,bckyx->bcdyx", torch.as_tensor(pairs.grids.start_matrix).float(), pairs.thick_hu)
    kept = pairs.counted.bool()
    expected = (guess - pairs.thin_hu)[:, :, kept].square().mean()
    torch.testing.assert_close(cubic_error(pairs, pairs.grids.start_matrix), expected)
    assert isinstance(pairs.grids.operator, SliceOperator)
