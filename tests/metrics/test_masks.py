from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lamella.metrics import (
    body_mask,
    bone_mask,
    lung_mask,
    lung_region,
    shrunk_along_z,
    soft_tissue_mask,
    vessel_mask,
)
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


def cube(step_mm: float, shape: tuple[int, int, int]) -> Geometry:
    return Geometry(shape, np.diag([step_mm, step_mm, step_mm, 1.0]), step_mm)


@pytest.mark.parametrize("noise_hu", [0.0, 40.0])
def test_bone_is_dense_large_and_inside(noise_hu):
    hu, parts = chest(noise_hu)
    hu[:, 20, 32] += 600.0  # a line of 1 x 1 x 8 mm: calcified, but below 100 mm3
    body = body_mask(hu)
    bone = bone_mask(hu, cube(1.0, hu.shape), body)
    assert bone[parts["bone"]].all()
    # smoothing by 1 mm moves the level of 200 HU outwards from an edge of 40 to 700 HU, by less than a voxel
    assert not (bone & ~ndimage.binary_dilation(parts["bone"], np.ones((1, 3, 3)))).any()
    assert not bone[:, 20, 32].any()
    assert not bone[parts["table"] & ~body].any()


def test_contrast_medium_counts_as_bone_and_unenhanced_blood_does_not():
    hu, _ = chest()
    vessel = np.broadcast_to(np.hypot(*(np.mgrid[:SIZE, :SIZE] - 32)) <= 5, hu.shape)
    for blood_hu, counts in ((60.0, False), (320.0, True)):
        hu[vessel] = blood_hu
        assert bone_mask(hu, cube(1.0, hu.shape), body_mask(hu))[4, 32, 32] == counts


def lungs_with_things(step_mm: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Two boxes of air, 30 mm apart, with what lies in lungs; `step_mm` a voxel."""
    z, y, x = (
        axis * step_mm for axis in np.mgrid[: round(40 / step_mm), : round(80 / step_mm), : round(190 / step_mm)]
    )
    boxes = (y > 5) & (y < 75) & (((x > 5) & (x < 80)) | ((x > 110) & (x < 185)))
    parts = {
        "vessel": (np.hypot(y - 20, z - 20) < 2.0) & (x < 60) & (x > 20),
        "nodule": np.sqrt((z - 20) ** 2 + (y - 50) ** 2 + (x - 30) ** 2) < 4.0,
        "mass": np.hypot(y - 40, x - 60) < 12.0,  # a column as wide as 452 mm2
        "heart": np.hypot(y - 40, x - 148) < 20.0,  # 1257 mm2, lung all round it
    }
    dense = np.logical_or.reduce(list(parts.values()))
    return np.where(boxes & ~dense, -850.0, 40.0), {**parts, "boxes": boxes}


@pytest.mark.parametrize("step_mm", [1.0, 2.0])
def test_region_has_vessels_and_nodules_in_it_and_not_the_heart(step_mm):
    hu, parts = lungs_with_things(step_mm)
    lung = hu == -850.0
    region = lung_region(lung, cube(step_mm, hu.shape))
    assert region[lung].all()
    for inside in ("vessel", "nodule", "mass"):
        assert region[parts[inside]].all()
    assert not region[:, :, round(82 / step_mm) : round(108 / step_mm)].any()  # between the lungs
    assert region[parts["heart"]].mean() < 0.2  # the closing rounds it off, no more
    assert not (region & ~parts["boxes"]).any()


def test_vessels_are_what_is_dense_in_the_region_clear_of_its_border():
    hu, parts = lungs_with_things(1.0)
    hu[:, 5:8, :] = 40.0  # a thick pleura before the lungs
    noisy = hu + np.random.default_rng(1).normal(0, 40, hu.shape)
    lung = hu == -850.0
    region = lung_region(lung, cube(1.0, hu.shape))
    vessels = vessel_mask(noisy, lung, region)
    things = parts["vessel"] | parts["nodule"] | parts["mass"]
    assert vessels[things].mean() > 0.95
    assert (vessels & ~things & ~parts["heart"]).sum() < 0.25 * things.sum()  # the rim of partial volume
    assert not vessels[:, :10].any()
    assert not vessel_mask(noisy, np.zeros_like(lung), region).any()
    one_pixel = np.full((1, 21, 21), -850.0)
    one_pixel[0, 10] = -100.0
    everywhere = np.ones(one_pixel.shape, dtype=np.bool_)
    assert vessel_mask(one_pixel, everywhere, everywhere)[0, 10, 2:-2].all()


def test_empty_lungs_have_no_region():
    nothing = np.zeros((3, 16, 16), dtype=np.bool_)
    assert not lung_region(nothing, cube(1.0, nothing.shape)).any()


def test_shrinking_along_z_by_hand():
    column = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1], dtype=np.bool_)[:, None, None]
    expected = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0], dtype=np.bool_)  # the volume's ends are no border
    assert np.array_equal(shrunk_along_z(column, 1)[:, 0, 0], expected)
    assert np.array_equal(shrunk_along_z(column, 0), column)
