from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import label, regionprops
from tests.small_model import upright

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import blobs_of, compare_blobs

SHAPE = (24, 40, 40)
GEOMETRY = upright(SHAPE, 1.0, 1.0, 1.0)
INSIDE = np.zeros(SHAPE, dtype=np.bool_)
INSIDE[1:-1, 2:-2, 2:-2] = True


def flat(*cubes: tuple[int, int, int, float]) -> NDArray[np.int16]:
    """Soft tissue with cubes of 4 mm that differ from it."""
    hu = np.full(SHAPE, 40, dtype=np.int16)
    for z, y, x, contrast in cubes:
        hu[z : z + 4, y : y + 4, x : x + 4] += np.int16(contrast)
    return hu


def counted(prediction: NDArray[np.int16], truth: NDArray[np.int16]) -> tuple[int, int]:
    return compare_blobs(*(blobs_of(hu, INSIDE, GEOMETRY) for hu in (prediction, truth)))


def test_invented_and_erased_by_hand() -> None:
    truth = flat((8, 8, 8, 400), (8, 8, 26, -400))
    assert counted(truth, truth) == (0, 0)
    assert counted(flat((8, 8, 8, 400)), truth) == (0, 1)  # the dark one is gone
    assert counted(flat((8, 8, 8, 400), (8, 8, 26, -400), (8, 26, 8, 400)), truth) == (1, 0)
    assert counted(flat((8, 8, 8, -400), (8, 8, 26, -400)), truth) == (1, 1)  # dark is no counterpart of bright


def test_a_paler_one_is_no_loss_until_it_is_below_half_of_the_contrast() -> None:
    truth = flat((8, 8, 8, 400))
    peak = float(blobs_of(truth, INSIDE, GEOMETRY).contrast_hu.max())
    assert counted(flat((8, 8, 8, 400 * 55 / peak)), truth) == (0, 0)
    assert counted(flat((8, 8, 8, 400 * 45 / peak)), truth) == (0, 1)


def test_what_is_large_small_faint_or_on_the_border_is_no_blob() -> None:
    large = flat()
    large[4:20, 8:32, 8:32] = 440
    speck = flat()
    speck[12, 20, 20] = 1040
    for hu in (speck, flat((10, 20, 20, 50)), flat((10, 0, 20, 400)), flat((0, 20, 20, 400))):
        assert blobs_of(hu, INSIDE, GEOMETRY).count == 0
    bright = [
        blobs_of(large, INSIDE, GEOMETRY, volumes_mm3=limits).parts[0][1].sum() for limits in ((4, 490), (4, 1e5))
    ]
    assert bright == [0, 1]


def test_parity_with_regions_of_scikit_image() -> None:
    rng = np.random.default_rng(3)
    hu = np.rint(rng.normal(0, 1200, SHAPE)).astype(np.int16)
    found = blobs_of(hu, INSIDE, GEOMETRY)
    expected = 0
    for mask in (found.contrast_hu >= 100, found.contrast_hu <= -100):
        for region in regionprops(label(mask, connectivity=1)):
            z, y, x = region.coords.T
            inner = (z > 0).all() and (z < mask.shape[0] - 1).all()
            body = (y > 0).all() and (x > 0).all() and (y < mask.shape[1] - 1).all() and (x < mask.shape[2] - 1).all()
            expected += bool(3.9 <= region.area <= 490 and inner and body)
    assert found.count == expected > 5


def test_noise_of_a_scan_makes_none() -> None:
    hu = np.rint(40 + np.random.default_rng(0).normal(0, 50, SHAPE)).astype(np.int16)
    assert blobs_of(hu, INSIDE, GEOMETRY).count == 0


def test_refusals() -> None:
    with pytest.raises(LamellaError, match="the region is empty"):
        blobs_of(flat(), np.zeros(SHAPE, dtype=np.bool_), GEOMETRY)
    bad = flat().astype(np.float32)
    bad[12, 20, 20] = np.nan
    with pytest.raises(NonFiniteError):
        blobs_of(bad, INSIDE, GEOMETRY)
    smaller = INSIDE.copy()
    smaller[:, :10] = False
    with pytest.raises(LamellaError, match="different regions"):
        compare_blobs(blobs_of(flat(), INSIDE, GEOMETRY), blobs_of(flat(), smaller, GEOMETRY))
