from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.stored_cases import StoredCase, StoredVolume, noise, ramp, stored_index

from lamella.data.collate import Batch, hu_of, unpadded_hu
from lamella.data.items import BlockSettings, ItemBatches
from lamella.data.load import case_sources
from lamella.data.samples import for_validation
from lamella.data.sources import TrainingSource
from lamella.errors import LamellaError, UsageError
from lamella.physics.slice_operator import profile_matrix
from lamella.sources.source import read_source
from lamella.window import FULL

SMALL = BlockSettings(batch=3, size_px=8, depth=24, max_thick=8, context=1, thick_noise=0.0, real_pairs=0.0)
"""Slices of a batch are exactly the measurement."""

REAL = dataclasses.replace(SMALL, real_pairs=1.0)


def sources(*cases: StoredCase) -> list[TrainingSource]:
    return case_sources(stored_index(*cases), "train")


def samples(batch: Batch) -> list[tuple[NDArray[np.float32], ...]]:
    """(thin, thick, thin_mm, thick_mm) of each sample without its padding, in HU to a thousandth."""
    cut = []
    for i in range(len(batch["name"])):
        thin, thick = batch["thin_mask"][i, 0] > 0, batch["thick_mask"][i, 0] > 0
        hu = [FULL.to_hu(stack.numpy()) for stack in (batch["target"][i, 0, thin], batch["input"][i, 0, thick])]
        at = [mm.numpy() for mm in (batch["thin_mm"][i, thin], batch["thick_mm"][i, thick])]
        cut.append((*(one.round(3) for one in hu), *at))
    return cut


def five_to_one(case_id: str = "c1", seed: int = 0) -> StoredCase:
    """Noise, and real thick slices that are exactly the means of five thin ones; two slices reach past at either end."""
    thin = noise(64, 1.0, plane=20, seed=seed)
    thick = thin.hu[2:62].reshape(12, 5, 20, 20).mean(axis=1).round().astype(np.int16)
    return StoredCase(case_id, thin, StoredVolume(thick, thin.geometry.with_slices(12, 5.0, 4.0, 5.0)))


def same(a: Batch, b: Batch) -> bool:
    stacks = ("target", "input", "thin_mm", "thick_mm", "thin_mask", "thick_mask")
    return a["name"] == b["name"] and all(torch.equal(a[name], b[name]) for name in stacks)  # type: ignore[literal-required]


def test_a_batch_depends_on_the_step_alone() -> None:
    # SPEC A18: a run that resumes at any step, on any machine, sees what an uninterrupted one would
    settings = dataclasses.replace(BlockSettings(), batch=2, size_px=8, depth=24, noise=0.5, kernel=0.5)
    held = sources(five_to_one("c1"), five_to_one("c2", seed=1))
    whole = [ItemBatches(held, settings, 8)[step] for step in range(8)]
    resumed = ItemBatches(sources(five_to_one("c1"), five_to_one("c2", seed=1)), settings, 9)
    assert all(same(whole[step], resumed[step]) for step in (7, 5, 0))
    assert not same(whole[0], whole[1])
    assert not same(whole[0], ItemBatches(held, dataclasses.replace(settings, seed=1), 1)[0])
    assert len(resumed) == 9
    with pytest.raises(IndexError):
        resumed[9]


@pytest.mark.parametrize("real", [0.0, 1.0])
@pytest.mark.parametrize("augment", [True, False])
def test_thin_and_thick_agree_at_the_same_millimetre(real: float, augment: bool) -> None:
    # SPEC A11, B10: HU rises with z and with y, so a shift or a mirror of one stack alone shows
    case = StoredCase("c1", ramp(90, 0.8, slope=10.0), ramp(14, 5.0, first_mm=121.3, slope=10.0))
    settings = dataclasses.replace(SMALL, real_pairs=real, augment=augment, other_profile=0.5)
    blocks = ItemBatches(sources(case), settings, 12)
    for step in range(12):
        for thin, thick, thin_mm, thick_mm in samples(blocks[step]):
            line = np.polyfit(thin_mm, thin.reshape(len(thin), -1), 1)
            read = line[0] * thick_mm[:, None] + line[1]
            np.testing.assert_allclose(read, thick.reshape(len(thick), -1), atol=1.6)
            if not augment:
                np.testing.assert_allclose(np.diff(thin, axis=1), 3.0)


def test_mirrored_blocks_are_drawn_on_every_axis() -> None:
    case = StoredCase("c1", ramp(90, 0.8), ramp(14, 5.0, first_mm=121.3))
    for settings in (SMALL, REAL):
        blocks, seen = ItemBatches(sources(case), settings, 20), set()
        for step in range(20):
            for thin, thick, thin_mm, thick_mm in samples(blocks[step]):
                assert (np.diff(thin_mm) > 0).all()
                assert (np.diff(thick_mm) > 0).all()
                ways = [np.sign(stack[-1, -1, -1] - stack[0, -1, -1]) for stack in (thin, thick)]
                assert ways[0] == ways[1] or len(thick) == 1
                rises = [float(thin[0, 1, 0] - thin[0, 0, 0]), float(thin[0, 0, 1] - thin[0, 0, 0])]
                seen.add((ways[0], *rises))
        assert {s[0] for s in seen} == {-1.0, 1.0}
        assert {s[1:] for s in seen} == {(3.0, 0.0), (-3.0, 0.0), (0.0, 3.0), (0.0, -3.0)}


def test_made_slices_are_the_measurement_of_the_thin_ones() -> None:
    settings = dataclasses.replace(SMALL, other_profile=0.0, context=0, augment=False)
    blocks = ItemBatches(sources(StoredCase("c1", noise(80, 1.0))), settings, 10)
    checked = 0
    for step in range(10):
        for thin, thick, thin_mm, thick_mm in samples(blocks[step]):
            spacing_mm = float(np.diff(thick_mm.astype(np.float64)).mean())
            matrix = profile_matrix(thin_mm.astype(np.float64), 1.0, thick_mm.astype(np.float64), spacing_mm)
            whole = np.abs(matrix.sum(axis=1) - 1) < 1e-3
            expected = np.tensordot(matrix[whole], thin, axes=1)
            np.testing.assert_allclose(thick[whole], expected, atol=0.9)
            checked += int(whole.sum())
            np.testing.assert_array_equal(thick, thick.round())
    assert checked > 60


@pytest.mark.parametrize("context", [0, 2])
def test_a_real_pair_is_the_same_block_of_both_volumes(context: int) -> None:
    # five thin slices lie within each thick one and their mean is that slice, whatever was mirrored
    settings = dataclasses.replace(REAL, context=context)
    blocks = ItemBatches(sources(five_to_one("c1"), five_to_one("c2", seed=1)), settings, 12)
    for step in range(12):
        for thin, thick, thin_mm, thick_mm in samples(blocks[step]):
            assert len(thin) == 20
            assert len(thick) <= 4 + 2 * context
            means = thin.reshape(4, 5, 8, 8).mean(axis=1)
            at = [int(np.argmin(np.abs(thick_mm - mm))) for mm in thin_mm.reshape(4, 5).mean(axis=1)]
            np.testing.assert_allclose(thick_mm[at], thin_mm.reshape(4, 5).mean(axis=1), atol=1e-3)
            np.testing.assert_allclose(thick[at], means, atol=0.51)
            # context is found on both sides, as far as the series goes
            assert context == 0 or len(thick) > 4
            assert at[0] <= context


def test_shorter_samples_are_padded_and_masked() -> None:
    # SPEC A6, A13, B10: air in the batch, the last slice as a codec reads it; millimetres go on along each grid
    blocks = ItemBatches(sources(five_to_one()), dataclasses.replace(SMALL, spacing_mm=(2.0, 6.0)), 6)
    padded = 0
    for step in range(6):
        batch = blocks[step]
        b, _, depth, y, x = batch["target"].shape
        count = batch["input"].shape[2]
        assert (b, y, x) == (3, 8, 8)
        assert batch["input"].shape == (3, 1, count, 8, 8)
        assert (batch["thin_mm"].shape, batch["thick_mm"].shape) == ((3, depth), (3, count))
        assert (batch["thin_mask"].shape, batch["thick_mask"].shape) == ((3, 1, depth), (3, 1, count))
        stacks = [(batch["target"], batch["num_thin_slices"]), (batch["input"], batch["num_thick_slices"])]
        assert {t.dtype for t in (batch["thin_mm"], batch["thick_mm"], *(s for s, _ in stacks))} == {torch.float32}
        assert int(batch["thin_mask"].sum(-1).max()) == depth <= 24
        assert int(batch["thick_mask"].sum(-1).max()) == count <= 8 + 2
        for i in range(3):
            for stack, counts in stacks:
                real = int(counts[i])
                assert bool((stack[i, 0, real:] == -1).all())
                assert bool((stack[i, 0, :real] > -1).all())
                hu = hu_of(stack, counts, FULL)[i, 0]
                np.testing.assert_array_equal(hu[:real], FULL.to_hu(stack[i, 0, :real].numpy()))
                assert bool((hu[real:] == hu[real - 1]).all())
                padded += stack.shape[2] - real
            for mm in (batch["thin_mm"][i], batch["thick_mm"][i]):
                np.testing.assert_allclose(mm.diff(), float(mm[1] - mm[0]), atol=1e-4)
    assert padded > 0


def test_validation_blocks_are_fixed_plain_and_take_turns() -> None:
    index = stored_index(*(StoredCase(f"c{i}", ramp(60, 1.0)) for i in range(3)))
    held_out = case_sources(index, "validation")
    wild = dataclasses.replace(SMALL, batch=2, noise=1.0, thick_noise=1.0, kernel=1.0, magnify=1.0)
    blocks = ItemBatches(held_out, for_validation(wild), 3)
    assert [blocks[step]["name"] for step in range(3)] == [["c0", "c1"], ["c2", "c0"], ["c1", "c2"]]
    assert same(blocks[1], ItemBatches(held_out, for_validation(dataclasses.replace(SMALL, batch=2)), 3)[1])
    for thin, _, thin_mm, _ in samples(blocks[0]):
        # neither noise nor mirroring: 2 HU a millimetre upwards, 3 a row
        first_row = thin[:, 0, 0] - 2 * thin_mm
        np.testing.assert_allclose(first_row, first_row[0], atol=0.01)
        np.testing.assert_allclose(np.diff(thin, axis=1), 3.0)


def test_only_blocks_are_read() -> None:
    # SPEC B15
    case = five_to_one()
    assert case.thick is not None
    _ = [ItemBatches(sources(case), settings, 3)[2] for settings in (SMALL, REAL)]
    for block in [*case.thin.reads, *case.thick.reads]:
        assert all(0 <= s.start < s.stop for s in block)
        assert [s.stop - s.start for s in block[1:]] == [8, 8]


def test_views_serve_without_a_cache() -> None:
    volume = ramp(70, 0.9)
    view = TrainingSource.of_array("scan/z", volume.hu, 0.9)
    batch = ItemBatches([view], BlockSettings(batch=2, size_px=8, depth=24), 1)[0]
    assert batch["name"] == ["scan/z", "scan/z"]
    np.testing.assert_allclose(batch["thin_mm"].diff(dim=1), 0.9, atol=1e-4)


def test_weights_of_zero_are_never_drawn() -> None:
    hu = noise(50, 1.0).hu
    views = [TrainingSource.of_array(name, hu, 1.0, weight) for name, weight in (("a", 0.0), ("b", 2.0))]
    blocks = ItemBatches(views, SMALL, 5)
    assert {name for step in range(5) for name in blocks[step]["name"]} == {"b"}


def test_geometries_stay_within_their_ranges_in_millimetres() -> None:
    settings = dataclasses.replace(SMALL, spacing_mm=(3.0, 5.0), depth=30)
    blocks = ItemBatches(sources(StoredCase("c1", noise(120, 0.7))), settings, 20)
    found = np.array([np.diff(at)[0] for step in range(20) for *_, at in samples(blocks[step]) if len(at) > 1])
    assert found.min() > 3.0 - 0.36
    assert found.max() < 5.0 + 0.36
    assert np.ptp(found) > 1.0


def test_volumes_too_small_are_left_out_by_name_and_none_at_all_is_refused() -> None:
    held = [
        StoredCase("good", noise(40, 1.0)),
        StoredCase("flat", noise(4, 1.0)),
        StoredCase("narrow", noise(40, 1.0, 6)),
    ]
    blocks = ItemBatches(sources(*held), SMALL, 4)
    assert blocks.left_out == ("flat", "narrow")
    assert {name for step in range(4) for name in blocks[step]["name"]} == {"good"}
    with pytest.raises(
        UsageError, match=r"data\.series: no volume .* 8 x 8 pixels\. Found flat 4 x 24 x 24, expected 6 slices"
    ):
        ItemBatches(sources(*held[1:]), SMALL, 4)


def test_every_depth_that_fits_is_served() -> None:
    # SPEC B9: from the shallowest volume on, whatever is drawn
    for depth in (6, 7, 9, 12, 13, 17, 23, 30):
        blocks = ItemBatches(sources(StoredCase("c1", noise(depth, 1.0))), dataclasses.replace(SMALL, batch=6), 2)
        for step in range(2):
            for thin, thick, thin_mm, thick_mm in samples(blocks[step]):
                assert 1 <= len(thin) <= depth
                assert thick_mm[0] >= thin_mm[0] - 6.5
                assert len(thick) >= 1


def test_stacks_on_different_planes_and_wrong_settings_are_refused() -> None:
    case = StoredCase("c1", ramp(40, 1.0, plane=20), ramp(8, 5.0, plane=24))
    with pytest.raises(LamellaError, match=r"case c1 lie on different in-plane grids. Found \(20, 20\) and \(24, 24\)"):
        sources(case)
    shifted = ramp(8, 5.0, plane=20)
    affine = np.array(shifted.geometry.affine)
    affine[0, 3] += 3.0
    moved = StoredVolume(shifted.hu, dataclasses.replace(shifted.geometry, affine=affine))
    with pytest.raises(LamellaError, match="different in-plane grids"):
        sources(StoredCase("c1", case.thin, moved))
    with pytest.raises(UsageError, match=r"batch of the training samples must be at least 1\. Found 0"):
        BlockSettings(batch=0)
    with pytest.raises(UsageError, match="spacing_mm of the training blocks must rise"):
        BlockSettings(spacing_mm=(6.0, 2.0))


@pytest.mark.realdata
def test_blocks_of_a_real_pair_fit_best_where_the_files_say_they_are(ct_folder: Path) -> None:
    # SPEC A11: the measurement of the thin block, moved by a millimetre either way, must fit the thick one worse
    thin, thick = (read_source(ct_folder / "pair" / name) for name in ("phantom-thin-1mm", "phantom-thick-5mm"))
    grids = thin.geometry.centres_mm, thick.geometry.centres_mm
    source = TrainingSource("pair", thin.hu.astype(np.int16), grids[0], thick.hu.astype(np.int16), grids[1])
    settings = dataclasses.replace(REAL, batch=8, depth=40, size_px=96)
    for step in range(2):
        errors: dict[float, list[float]] = {-1.0: [], 0.0: [], 1.0: []}
        for thin_hu, thick_hu, thin_mm, thick_mm in samples(ItemBatches([source], settings, 2)[step]):
            for shift_mm, found in errors.items():
                matrix = profile_matrix(thin_mm.astype(np.float64), 1.0, thick_mm.astype(np.float64) + shift_mm, 5.0)
                whole = np.abs(matrix.sum(axis=1) - 1) < 1e-3
                found.append(float(np.square(np.tensordot(matrix[whole], thin_hu, axes=1) - thick_hu[whole]).mean()))
        assert np.mean(errors[0.0]) < 0.5 * min(np.mean(errors[-1.0]), np.mean(errors[1.0]))


def test_padding_is_left_out_of_what_is_measured() -> None:  # SPEC B11
    """The scale of latents must not count the air that makes samples equally long."""
    index = stored_index(StoredCase("deep", noise(60, 1.0)), StoredCase("shallow", noise(60, 2.5)))
    batch = ItemBatches(case_sources(index, "train"), BlockSettings(batch=4, size_px=16, depth=20), 8)[0]
    whole, shortest = unpadded_hu(batch, FULL), int(batch["num_thin_slices"].min())
    assert shortest < batch["target"].shape[2]
    np.testing.assert_array_equal(whole, FULL.to_hu(batch["target"][:, :, :shortest].numpy()))
