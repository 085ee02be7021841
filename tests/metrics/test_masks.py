from __future__ import annotations

import numpy as np
import pytest

from lamella.metrics import body_mask, lung_mask, soft_tissue_mask
from lamella.volume import Geometry

SLICES, SIZE = 8, 64


def chest(noise_hu: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A round body with two lungs, a spine, fat under the skin, and a table of one thin shell that touches it."""
    z, y, x = np.mgrid[:SLICES, :SIZE, :SIZE]
    radius = np.hypot(y - 32, x - 32)
    parts = {
        "body": radius <= 24,
        "far": radius > 24 + 4,
        "fat": (radius <= 24) & (radius > 21),
        "lung": (np.hypot(y - 30, x - 22) <= 6) | (np.hypot(y - 30, x - 42) <= 6),
        "bone": np.hypot(y - 47, x - 32) <= 3,
        "table": (y >= 56) & (y <= 57) & (x > 4) & (x < 60),
        "gas": (np.hypot(y - 42, x - 22) <= 1.5) & (z == 0),
    }
    hu = np.full((SLICES, SIZE, SIZE), -1000.0)
    for part, value in (("table", 200), ("body", 40), ("fat", -100), ("lung", -850), ("bone", 700), ("gas", -950)):
        hu[parts[part]] = value
    return hu + np.random.default_rng(0).normal(0, noise_hu, hu.shape), parts


def share_wrong(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask != truth).sum() / truth.sum())


@pytest.mark.parametrize("noise_hu", [0.0, 40.0])
def test_body_has_its_lungs_and_not_the_table(noise_hu):
    hu, parts = chest(noise_hu)
    body = body_mask(hu)
    assert body.dtype == np.bool_
    # where the table touches the skin, growing back takes up to 3 pixels of it
    assert share_wrong(body, parts["body"]) < 0.02
    assert body[parts["body"]].all()
    assert not body[parts["far"]].any()


def test_body_of_int16_and_of_an_offset_air_value():
    hu, parts = chest()
    assert np.array_equal(body_mask(np.rint(hu).astype(np.int16)), body_mask(hu))
    assert share_wrong(body_mask(np.where(hu == -1000, -1024, hu)), parts["body"]) < 0.02


def test_nothing_in_air():
    air = np.full((3, 16, 16), -1000.0)
    assert not body_mask(air).any()
    assert not lung_mask(air).any()


@pytest.mark.parametrize("noise_hu", [0.0, 40.0])
def test_lungs_are_air_inside_without_small_gas(noise_hu):
    hu, parts = chest(noise_hu)
    lung = lung_mask(hu)
    # the in-plane average moves the border by less than a voxel
    assert share_wrong(lung, parts["lung"]) < 0.12
    assert not (lung & ~parts["lung"] & (hu > -300)).any()
    assert not lung[parts["gas"]].any()
    assert np.array_equal(lung, lung_mask(hu, body_mask(hu)))


def test_air_outside_is_no_lung():
    hu, parts = chest()
    assert not (lung_mask(hu) & ~parts["body"]).any()


@pytest.mark.parametrize("noise_hu", [0.0, 40.0])
def test_soft_tissue_is_flat_and_keeps_its_distance(noise_hu):
    hu, parts = chest(noise_hu)
    geometry = Geometry(hu.shape, np.diag([2.0, 2.0, 2.0, 1.0]), 2.0)
    soft = soft_tissue_mask(hu, geometry, body_mask(hu))
    muscle = parts["body"] & ~parts["fat"] & ~parts["lung"] & ~parts["bone"] & ~parts["gas"]
    assert soft.any()
    assert not (soft & ~muscle).any()
    # 40 HU +- noise and nothing else: the spread inside the mask is the noise that was put in
    assert hu[soft].std() == pytest.approx(noise_hu, rel=0.1, abs=1e-9)


def test_soft_tissue_counts_in_mm():
    hu, _ = chest()
    fine = soft_tissue_mask(hu, Geometry(hu.shape, np.diag([3.0, 3.0, 3.0, 1.0]), 3.0))
    coarse = soft_tissue_mask(hu, Geometry(hu.shape, np.diag([1.0, 1.0, 1.0, 1.0]), 1.0))
    # the same voxels, three times as wide: smoothing and margin of 2 mm take fewer of them
    assert fine.sum() > 1.5 * coarse.sum() > 0
