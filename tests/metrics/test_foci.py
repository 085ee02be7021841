from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import compare_foci, dense_parts
from lamella.metrics.foci import Foci
from lamella.volume import Geometry

SHAPE = (24, 48, 48)
PIXEL_MM = 0.8
GEOMETRY = Geometry(SHAPE, np.diag([1.0, PIXEL_MM, PIXEL_MM, 1.0]), 1.0)


def foci(prediction: np.ndarray, truth: np.ndarray, region: np.ndarray, geometry: Geometry, case: str = "a") -> Foci:
    """The foci of both, compared."""
    return compare_foci(*(dense_parts(hu, region, geometry, case) for hu in (prediction, truth)))


def lung(noise_hu: float = 0.0, seed: int = 0) -> np.ndarray:
    """Lung in a wall of tissue, 4 voxels thick in the slice and 2 along z."""
    hu = np.full(SHAPE, 40.0)
    hu[inside()] = -850.0
    return hu + np.random.default_rng(seed).normal(0, noise_hu, SHAPE)


def inside() -> np.ndarray:
    region = np.zeros(SHAPE, dtype=np.bool_)
    region[2:-2, 4:-4, 4:-4] = True
    return region


def with_block(hu: np.ndarray, z: int, y: int, x: int, size: tuple[int, int, int] = (4, 5, 5)) -> np.ndarray:
    """The volume with a block of tissue; (4, 5, 5) is 4 x 4 x 4 mm."""
    hu = hu.copy()
    hu[z : z + size[0], y : y + size[1], x : x + size[2]] = 40.0
    return hu


def test_the_same_volume_has_neither_fabricated_nor_erased_foci():
    truth = with_block(with_block(lung(30), 6, 10, 10), 12, 30, 20)
    found = foci(truth, truth, inside(), GEOMETRY)
    assert (found.truth_count, found.prediction_count, found.fabricated, found.erased) == (2, 2, 0, 0)
    assert (found.fabricated_rate, found.erased_rate) == (0.0, 0.0)


def test_one_added_is_fabricated_and_one_removed_is_erased():  # SPEC C8
    shared = with_block(lung(), 6, 10, 10)
    more = with_block(shared, 12, 30, 20)
    found = foci(more, shared, inside(), GEOMETRY)
    assert (found.fabricated, found.erased, found.fabricated_rate, found.erased_rate) == (1, 0, 0.5, 0.0)
    found = foci(shared, more, inside(), GEOMETRY)
    assert (found.fabricated, found.erased, found.fabricated_rate, found.erased_rate) == (0, 1, 0.0, 0.5)


def test_one_that_shrank_or_grew_out_of_the_sizes_is_neither():
    block = with_block(lung(), 6, 10, 10)
    speck = with_block(lung(), 7, 12, 12, (1, 2, 2))  # 1 x 1.6 x 1.6 mm = 2.6 mm^3: too small to be a focus itself
    large = with_block(lung(), 5, 6, 6, (12, 16, 16))  # 12 x 12.8 x 12.8 mm = 1966 mm^3
    for other in (speck, large):
        found = foci(other, block, inside(), GEOMETRY)
        assert (found.truth_count, found.fabricated, found.erased) == (1, 0, 0)
        found = foci(block, other, inside(), GEOMETRY)
        assert (found.prediction_count, found.fabricated, found.erased) == (1, 0, 0)


def test_sizes_are_in_mm3():
    # 2 x 3 x 4 voxels: 15 mm^3 at 1 x 0.8 x 0.8 mm, 614 mm^3 at 40 times the slice spacing
    block = with_block(lung(), 10, 20, 20, (2, 3, 4))
    assert foci(block, lung(), inside(), GEOMETRY).fabricated == 1
    far_apart = Geometry(SHAPE, np.diag([40.0, PIXEL_MM, PIXEL_MM, 1.0]), 1.0)
    assert foci(block, lung(), inside(), far_apart).prediction_count == 0
    single = with_block(lung(), 10, 20, 20, (1, 2, 2))  # 2.6 mm^3
    assert foci(single, lung(), inside(), GEOMETRY).prediction_count == 0


def test_what_hangs_on_the_wall_or_reaches_the_ends_is_no_focus():
    on_the_wall = with_block(lung(), 6, 4, 20)
    shadow = lung()
    shadow[2:4, 4:-4, 4:-4] = 0.0  # the wall blurred into the lung along z
    for hu in (on_the_wall, shadow):
        assert foci(hu, lung(), inside(), GEOMETRY).prediction_count == 0
    everywhere = np.ones(SHAPE, dtype=np.bool_)
    cut_off = with_block(np.full(SHAPE, -850.0), 0, 20, 20)
    assert foci(cut_off, cut_off, everywhere, GEOMETRY).truth_count == 0
    whole = with_block(np.full(SHAPE, -850.0), 1, 20, 20)
    assert foci(whole, whole, everywhere, GEOMETRY).truth_count == 1


def test_noise_makes_no_foci_and_loses_none():
    block = with_block(lung(), 6, 10, 10) - lung()
    for sd in (30, 60):
        found = foci(lung(sd, seed=1) + block, lung(sd, seed=2) + block, inside(), GEOMETRY)
        assert (found.truth_count, found.prediction_count, found.fabricated, found.erased) == (1, 1, 0, 0)
    speckle = lung()
    speckle[::2, ::2, ::2] += 900.0  # single bright voxels are speckle; smoothed in the slice they stay below
    assert dense_parts(speckle, inside(), GEOMETRY).labels[2:-2, 4:-4, 4:-4].max() == 0


def test_counts_without_foci_have_no_rates():
    found = foci(lung(), lung(), inside(), GEOMETRY)
    assert (found.truth_count, found.fabricated_rate, found.erased_rate) == (0, None, None)


def test_refuses_empty_regions_nan_and_other_grids():
    hu = lung()
    with pytest.raises(LamellaError, match=r"no lung to look for foci in.*case-3"):
        foci(hu, hu, np.zeros(SHAPE, dtype=np.bool_), GEOMETRY, case="case-3")
    with pytest.raises(NonFiniteError, match="case-3"):
        foci(hu * np.nan, hu, inside(), GEOMETRY, case="case-3")
    with pytest.raises(LamellaError, match="mask does not fit"):
        foci(hu[1:], hu[1:], inside()[1:], GEOMETRY)
    smaller = inside()
    smaller[:, :10] = False
    with pytest.raises(LamellaError, match="different regions"):
        compare_foci(dense_parts(hu, inside(), GEOMETRY), dense_parts(hu, smaller, GEOMETRY))
