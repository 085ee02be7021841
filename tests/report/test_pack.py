"""Packed volumes: where they were, as fine as they fit, never coarser along the slices, and told in words."""

from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.report.results_builder import body, grid, thickened

from lamella.errors import LamellaError, NonFiniteError
from lamella.nifti.image import read_nifti
from lamella.report.pack import Packed, PageVolume, pack_volumes
from lamella.volume import Geometry, Volume


@pytest.fixture(scope="module")
def truth() -> Volume:
    return Volume(body(grid()), grid())


def unpacked(packed: Packed, name: str, folder: Path) -> Volume:
    """A block read by the project's own reader of NIfTI."""
    path = folder / f"{name}.nii.gz"
    path.write_bytes(base64.b64decode(packed.blocks[f"volume-{name}"]))
    return read_nifti(path)


def at(volume: Volume, mm: NDArray[np.float64]) -> float:
    """HU of the voxel nearest to an LPS position."""
    z, y, x = np.rint(np.linalg.inv(volume.geometry.affine) @ [*mm, 1.0])[:3].astype(int)
    return float(volume.hu[z, y, x])


def test_every_kept_voxel_comes_back_where_it_was(truth: Volume, tmp_path: Path) -> None:
    thick = thickened(truth)
    packed = pack_volumes([PageVolume("thick", "Thick", "thick", thick), PageVolume("thin", "Thin", "thin", truth)])
    for name, volume in (("thick", thick), ("thin", truth)):
        back = unpacked(packed, name, tmp_path)
        z, y, x = np.rint(np.linalg.inv(volume.geometry.affine) @ back.geometry.affine[:, 3])[:3].astype(int)
        part = volume.hu[z : z + back.hu.shape[0], y : y + back.hu.shape[1], x : x + back.hu.shape[2]]
        assert np.array_equal(back.hu, part)
        assert np.allclose(back.geometry.position(0), volume.geometry.position(z, y, x), atol=1e-3)
        assert back.hu.shape[0] == volume.hu.shape[0]
    assert "cropped to the body" in packed.note
    assert "unchanged" in packed.note


def test_the_body_and_its_margin_are_kept(truth: Volume, tmp_path: Path) -> None:
    wide = grid((60, 120, 140), 1.0, 1.5)
    volume = Volume(body(wide), wide)
    back = unpacked(pack_volumes([PageVolume("thin", "Thin", "thin", volume)]), "thin", tmp_path)
    assert back.hu.shape < volume.hu.shape
    # An ellipse of 68 x 54 mm, rows that it barely touches left out, with 10 mm on each side.
    for index, size_mm in ((2, 68.0), (1, 54.0)):
        kept_mm = back.hu.shape[index] * 1.5
        assert size_mm - 6 <= kept_mm - 20 <= size_mm + 6


def test_averaging_worked_by_hand(tmp_path: Path) -> None:
    geometry = grid((2, 4, 4), 5.0, 1.0)
    hu = np.arange(32, dtype=np.int16).reshape(2, 4, 4) * 8 - 100  # all of it is body
    packed = pack_volumes([PageVolume("a", "A", "thin", Volume(hu, geometry))], 10_000)
    assert np.array_equal(unpacked(packed, "a", tmp_path).hu, hu)
    coarse = next(
        p
        for budget in range(len(packed.blocks["volume-a"]), 0, -4)
        for p in (packed_within(hu, geometry, budget),)
        if p
    )
    back = unpacked(coarse, "a", tmp_path)
    assert "2 x 2 pixels" in coarse.note
    assert back.hu.shape == (2, 2, 2)
    assert back.hu[0, 0, 0] == pytest.approx(np.mean([0, 1, 4, 5]) * 8 - 100, abs=2)
    # The centre of the first block lies half a pixel inside the first voxel's centre.
    assert np.allclose(back.geometry.position(0), geometry.position(0, 0.5, 0.5), atol=1e-4)


def packed_within(hu: NDArray[np.int16], geometry: Geometry, budget: int) -> Packed | None:
    """Packed with pixels averaged, if this budget makes it so."""
    try:
        packed = pack_volumes([PageVolume("a", "A", "thin", Volume(hu, geometry))], budget)
    except LamellaError:
        return None
    return packed if "averaged" in packed.note else None


def test_less_room_means_coarser_and_never_fewer_slices(truth: Volume, tmp_path: Path) -> None:
    panes = [PageVolume("thin", "Thin", "thin", truth), PageVolume("truth", "Truth", "truth", truth)]
    whole = pack_volumes(panes)
    notes = []
    for share in (1.0, 0.8, 0.5, 0.2, 0.1):
        budget = int(share * whole.bytes) + 1
        packed = pack_volumes(panes, budget)
        assert packed.bytes == sum(len(text) for text in packed.blocks.values()) <= budget
        back = unpacked(packed, "thin", tmp_path)
        assert back.hu.shape[0] == truth.hu.shape[0]
        notes.append(packed.note)
        ball, air = np.array([14.0, 19.0, 12.0]), np.array([-14.0, 0.0, 0.0])
        assert at(back, ball) > at(back, air) + 800
    assert len(set(notes)) >= 4
    assert "steps of 2 HU" in " ".join(notes)


def test_steps_of_hu_bound_the_error(truth: Volume, tmp_path: Path) -> None:
    whole = pack_volumes([PageVolume("a", "A", "thin", truth)])
    packed = pack_volumes([PageVolume("a", "A", "thin", truth)], int(0.93 * whole.bytes))
    assert "steps of 2 HU" in packed.note
    assert "averaged" not in packed.note
    difference = unpacked(packed, "a", tmp_path).hu.astype(int) - unpacked(whole, "a", tmp_path).hu
    assert 0 < np.abs(difference).max() <= 1


def test_a_difference_costs_nothing(truth: Volume) -> None:
    two = [PageVolume("a", "A", "thin", truth), PageVolume("b", "B", "truth", truth)]
    with_error = pack_volumes([*two, PageVolume("e", "A - B", "error", minus=("a", "b"))])
    assert with_error.bytes == pack_volumes(two).bytes
    assert with_error.volumes[2]["derived"] == {"minus": ["a", "b"]}


def test_the_same_input_gives_the_same_blocks(truth: Volume) -> None:
    panes = [PageVolume("a", "A", "thin", truth)]
    assert pack_volumes(panes) == pack_volumes(panes)


def test_a_spread_gets_round_ends_of_its_colours(truth: Volume) -> None:
    spread = Volume(np.full(truth.hu.shape, 37.2, np.float32), truth.geometry)
    (spec,) = pack_volumes([PageVolume("s", "Spread", "spread", spread)]).volumes
    assert spec["range"] == [0.0, 50.0]
    (block,) = pack_volumes([PageVolume("s", "Spread", "spread", spread)]).blocks.values()
    raw = gzip.decompress(base64.b64decode(block))
    assert np.frombuffer(raw, "<f4", 1, 112)[0] == 0.5  # scl_slope
    assert set(np.frombuffer(raw, "<i2", offset=352)) == {74}


# SPEC A21
def test_nothing_that_is_not_finite_is_drawn(truth: Volume) -> None:
    hu = truth.hu.astype(np.float32)
    hu[7, 3, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"'Mine' cannot be shown: slice 7 of 60"):
        pack_volumes([PageVolume("a", "Mine", "thin", Volume(hu, truth.geometry))])


def test_volumes_that_cannot_stand_side_by_side(truth: Volume) -> None:
    geometry = truth.geometry
    turned = np.array(geometry.affine)
    turned[:, [1, 2]] = turned[:, [2, 1]]
    elsewhere = np.array(geometry.affine)
    elsewhere[2, 3] += 500.0
    shifted = np.array(geometry.affine)
    shifted[2, 3] += 0.5
    one = PageVolume("a", "A", "thin", truth)

    def other(affine: NDArray[np.float64]) -> PageVolume:
        return PageVolume("b", "B", "truth", Volume(truth.hu, Geometry(geometry.shape, affine, 1.0)))

    with pytest.raises(LamellaError, match="different orientations"):
        pack_volumes([one, other(turned)])
    with pytest.raises(LamellaError, match="do not overlap along axis 0"):
        pack_volumes([one, other(elsewhere)])
    error = PageVolume("e", "E", "error", minus=("a", "b"))
    with pytest.raises(LamellaError, match="needs two volumes on one grid"):
        pack_volumes([one, other(shifted), error])
    with pytest.raises(LamellaError, match="needs the volume 'b', which the page does not hold"):
        pack_volumes([one, error])


def test_refusals(truth: Volume) -> None:
    one = PageVolume("a", "A", "thin", truth)
    with pytest.raises(LamellaError, match="at least one volume"):
        pack_volumes([])
    with pytest.raises(LamellaError, match=r"different ids\. Found a, a"):
        pack_volumes([one, replace(one, label="B")])
    with pytest.raises(LamellaError, match="do not fit a page of 0 MB even at their coarsest"):
        pack_volumes([one], 1000)
    with pytest.raises(LamellaError, match="a-z, 0-9 and hyphens only"):
        PageVolume('a"><script>', "A", "thin", truth)
    with pytest.raises(LamellaError, match="either a volume or a difference"):
        PageVolume("a", "A", "thin")
