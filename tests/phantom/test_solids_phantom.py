"""The test object: what is painted has the densities said, the same in every millimetre."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study
from lamella.phantom.shapes import Grid
from lamella.phantom.solids import DENSITIES_HU, solid_distance

OBJECT = PhantomSettings(
    shape=(60, 120, 120), pixel_mm=2.0, spacing_mm=2.0, thickness_mm=2.0, noise_hu=0.0, region="solids", seed=1
)


def test_densities_are_those_of_test_objects_and_seeds_differ() -> None:
    # SPEC C2: flat faces and sharp corners, which people do not have
    first, second = (paint_phantom(replace(OBJECT, seed=seed)).hu for seed in (1, 2))
    values = np.array([*DENSITIES_HU, 0.0, 40.0])
    near = np.abs(first[..., None] - values).min(axis=-1)
    assert float((near < 0.5).mean()) > 0.6
    assert len({float(v) for v in np.unique(first.round()) if v in values}) >= 6
    assert float((np.abs(first - second) > 20).mean()) > 0.05
    np.testing.assert_array_equal(first, paint_phantom(OBJECT).hu)


def test_the_same_millimetre_holds_the_same_solid_on_every_grid() -> None:
    coarse = paint_phantom(replace(OBJECT, shape=(21, 61, 61), spacing_mm=3.0, pixel_mm=3.0, thickness_mm=3.0)).hu
    fine = paint_phantom(replace(OBJECT, shape=(61, 61, 61), spacing_mm=1.0, pixel_mm=3.0, thickness_mm=3.0)).hu
    np.testing.assert_allclose(fine[::3], coarse, atol=0.1)


@pytest.mark.parametrize(("kind", "share"), [(0, np.pi / 6), (1, 1.0), (2, np.pi / 4)])
def test_solids_have_their_volume(kind: int, share: float) -> None:
    axis = np.arange(-20.0, 20.0, 0.5, dtype=np.float32)
    grid = Grid(axis, axis, axis, edge_mm=0.7)
    half = np.array([8.0, 8.0, 12.0])
    turn = np.eye(3, dtype=np.float32)[[1, 2, 0]]
    distance = solid_distance(grid, np.array([0.3, -0.4, 0.2]), half, turn, kind)
    assert float((distance < 0).sum()) * 0.5**3 == pytest.approx(share * 8 * half.prod(), rel=0.05)
    # the third of its axes points along x
    assert np.ptp(axis[(distance < 0).any(axis=(0, 1))]) == pytest.approx(24.0, abs=1.1)


def test_a_study_of_it_says_phantom(tmp_path: Path) -> None:
    small = paint_phantom(replace(OBJECT, shape=(3, 40, 40), pixel_mm=3.0))
    header = pydicom.dcmread(write_phantom_study(tmp_path / "object", small, region="solids")[0])
    assert header.BodyPartExamined == "PHANTOM"
    assert "ContrastBolusAgent" not in header
