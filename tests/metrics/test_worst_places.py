from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max
from tests.small_model import upright

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import kind_of, largest_differences

SHAPE = (20, 48, 48)
GEOMETRY = upright(SHAPE, 1.0, 1.0, 1.0)
EVERYWHERE = np.ones(SHAPE, dtype=np.bool_)
NO_VESSEL = np.zeros(SHAPE, dtype=np.bool_)
AT = (10, 24, 24)


def test_places_by_hand() -> None:
    truth = np.full(SHAPE, 40, dtype=np.int16)
    hu = truth.copy()
    for at, contrast in (((10, 10, 10), 900), ((10, 12, 13), 800), ((10, 36, 36), -500), ((4, 10, 36), 300)):
        hu[at] += contrast
    found = largest_differences(hu, truth, EVERYWHERE, GEOMETRY, 10, 8.0)
    assert [one.at for one in found] == [
        (10, 10, 10),
        (10, 36, 36),
        (4, 10, 36),
    ]  # the second lies in the cube of the first
    assert [np.sign(one.difference_hu) for one in found] == [1, -1, 1]
    peak = float(ndimage.gaussian_filter1d(np.eye(1, 21, 10)[0], 1.0).max() ** 3)
    assert found[1].difference_hu == pytest.approx(-500 * peak, rel=1e-3)
    assert len(largest_differences(hu, truth, EVERYWHERE, GEOMETRY, 2, 8.0)) == 2
    left = EVERYWHERE.copy()
    left[:, :, 20:] = False
    assert [one.at for one in largest_differences(hu, truth, left, GEOMETRY, 10, 8.0)] == [(10, 10, 10)]
    assert largest_differences(truth, truth, EVERYWHERE, GEOMETRY, 10, 8.0) == []


def test_parity_with_peaks_of_scikit_image() -> None:
    rng = np.random.default_rng(1)
    hu = rng.normal(0, 100, SHAPE).astype(np.float32)
    smooth = np.abs(ndimage.gaussian_filter(hu, 1.0, mode="nearest"))
    expected = peak_local_max(smooth, min_distance=1, exclude_border=False, threshold_abs=0)
    found = largest_differences(hu, np.zeros(SHAPE, np.float32), EVERYWHERE, GEOMETRY, 10**6, 0.5)
    assert {one.at for one in found} == {tuple(int(n) for n in one) for one in expected}
    sizes = [abs(one.difference_hu) for one in found]
    assert sizes == sorted(sizes, reverse=True)


def test_no_two_places_overlap() -> None:
    hu = np.random.default_rng(2).normal(0, 100, SHAPE).astype(np.float32)
    geometry = upright(SHAPE, 2.5, 2.5, 0.7)
    at = np.array([one.at for one in largest_differences(hu, 0 * hu, EVERYWHERE, geometry, 100, 9.0)])
    apart_mm = np.abs(at[:, None] - at[None]) * np.array([2.5, 0.7, 0.7])
    assert ((apart_mm >= 9.0).any(axis=2) | np.eye(len(at), dtype=bool)).all()


def test_kinds_by_hand() -> None:
    flat = np.full(SHAPE, 40, dtype=np.int16)
    flat[:] += np.rint(np.random.default_rng(0).normal(0, 15, SHAPE)).astype(np.int16)
    assert kind_of(flat, NO_VESSEL, GEOMETRY, AT) == "noise"
    steep = flat.copy()
    steep[:, :25] = -800
    assert kind_of(steep, NO_VESSEL, GEOMETRY, AT) == "edge"
    assert kind_of(steep, NO_VESSEL, GEOMETRY, (10, 38, 24)) == "noise"  # far from it
    vessel = NO_VESSEL.copy()
    vessel[10, 25, 25] = True
    assert kind_of(steep, vessel, GEOMETRY, AT) == "vessel"
    moved = steep.copy()
    moved[9::2, 20:30] = -400  # a border that jumps from slice to slice
    assert kind_of(moved, vessel, GEOMETRY, AT) == "motion"
    metal = moved.copy()
    metal[10, 32, 24] = 3000
    assert kind_of(metal, vessel, GEOMETRY, AT) == "metal"


def test_a_plate_that_is_a_slice_thick_does_not_move() -> None:
    plate = np.full(SHAPE, -800, dtype=np.int16)
    plate[10] = 40
    assert kind_of(plate, NO_VESSEL, GEOMETRY, AT) == "edge"
    plate[12] = 40
    assert kind_of(plate, NO_VESSEL, GEOMETRY, AT) == "motion"


def test_the_thresholds_are_the_callers() -> None:
    steep = np.full(SHAPE, -100, dtype=np.int16)
    steep[:, :25] = 60
    assert kind_of(steep, NO_VESSEL, GEOMETRY, AT) == "edge"
    assert kind_of(steep, NO_VESSEL, GEOMETRY, AT, edge_hu_per_mm=200.0) == "noise"
    assert kind_of(steep, NO_VESSEL, GEOMETRY, AT, metal_hu=50.0) == "metal"


def test_refusals() -> None:
    hu = np.zeros(SHAPE, dtype=np.float32)
    with pytest.raises(LamellaError, match="mask does not fit"):
        largest_differences(hu, hu[1:], EVERYWHERE, GEOMETRY, 1, 5.0)
    with pytest.raises(NonFiniteError):
        largest_differences(hu, np.full(SHAPE, np.nan), EVERYWHERE, GEOMETRY, 1, 5.0)
