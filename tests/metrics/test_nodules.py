from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label, regionprops
from tests.small_model import upright

from lamella.errors import LamellaError
from lamella.metrics import Sphere, compare_nodule, detectability, empty_places, insert_spheres, observer_answer
from lamella.metrics.spheres import distance_mm, sphere_box

SHAPE = (40, 48, 52)
GEOMETRY = upright(SHAPE, 1.0, 1.0, 0.7)


def at(z: float, y: float, x: float, diameter_mm: float = 8.0) -> Sphere:
    lps = GEOMETRY.position(z, y, x)
    return Sphere((float(lps[0]), float(lps[1]), float(lps[2])), diameter_mm)


NODULE = at(20.0, 24.0, 26.0)
LUNG = np.full(SHAPE, -860.0)
TRUTH = insert_spheres(LUNG, GEOMETRY, [NODULE])


def test_the_truth_itself_and_a_lost_nodule() -> None:
    same, lost = (compare_nodule(one, TRUTH, GEOMETRY, NODULE) for one in (TRUTH, LUNG))
    assert (same.volume_ratio, same.off_mm) == (1.0, pytest.approx(0.0))
    assert (lost.volume_ratio, lost.off_mm) == (0.0, None)


def test_a_nodule_that_moved_by_hand() -> None:
    moved = compare_nodule(np.roll(TRUTH, 1, axis=0), TRUTH, GEOMETRY, NODULE)
    assert moved.off_mm == pytest.approx(1.0, abs=0.05)
    assert moved.volume_ratio == pytest.approx(1.0, abs=0.02)
    aside = compare_nodule(np.roll(TRUTH, 1, axis=2), TRUTH, GEOMETRY, NODULE)
    assert aside.off_mm == pytest.approx(0.7, abs=0.05)


def test_its_centre_is_finer_than_a_voxel() -> None:
    shifted = insert_spheres(LUNG, GEOMETRY, [at(20.3, 24.0, 26.0)])
    assert compare_nodule(shifted, TRUTH, GEOMETRY, NODULE).off_mm == pytest.approx(0.3, abs=0.05)


def test_a_nodule_of_half_the_volume() -> None:
    smaller = insert_spheres(LUNG, GEOMETRY, [at(20.0, 24.0, 26.0, 8.0 * 0.5 ** (1 / 3))])
    assert compare_nodule(smaller, TRUTH, GEOMETRY, NODULE).volume_ratio == pytest.approx(0.5, abs=0.05)


def test_what_the_observer_sums_up_by_hand() -> None:
    """Shares times contrast: the sum of squared shares of the sphere, times 900 HU."""
    box, offsets = sphere_box(GEOMETRY, NODULE, 9.0)
    shares = (TRUTH[box] + 860.0) / 900.0
    assert distance_mm(offsets).min() < 0.5
    assert observer_answer(TRUTH, GEOMETRY, NODULE) == pytest.approx(900.0 * float((shares**2).sum()), rel=1e-6)
    assert observer_answer(LUNG + 55.0, GEOMETRY, NODULE) == pytest.approx(0.0, abs=1e-6)


def test_detectability_by_hand() -> None:
    absent = [-1.0, 1.0] * 6  # standard deviation sqrt(12 / 11)
    assert detectability([4.0, 6.0], absent) == pytest.approx(5.0 / np.sqrt(12 / 11))
    with pytest.raises(LamellaError, match="Too few places"):
        detectability([1.0], absent[:9])
    with pytest.raises(LamellaError, match="all alike"):
        detectability([1.0], [0.0] * 12)


def test_the_observers_d_prime_is_that_of_theory_in_white_noise() -> None:
    """d' of a matched filter in white noise: signal energy over noise, sqrt(sum s^2) / sigma, less the shell's own noise."""
    small = at(20.0, 24.0, 26.0, 3.0)
    places = [at(z, y, x, 3.0) for z in (9, 15, 25, 31) for y in (12, 36) for x in (12, 26, 40)]
    signal = insert_spheres(LUNG, GEOMETRY, [small]) - LUNG
    found = []
    for seed in range(8):
        image = LUNG + signal + np.random.default_rng(seed).normal(0, 400.0, SHAPE)
        absent = [observer_answer(image, GEOMETRY, place) for place in places]
        found.append(detectability([observer_answer(image, GEOMETRY, small)], absent))
    assert np.mean(found) == pytest.approx(np.sqrt((signal**2).sum()) / 400.0, rel=0.12)


def test_empty_places_keep_clear_of_nodules_and_of_the_border() -> None:
    lung = np.ones(SHAPE, dtype=np.bool_)
    lung[:, :2] = lung[:, -2:] = False
    taken = [at(12.0, 24.0, 26.0, 5.0)]
    places = empty_places(lung, GEOMETRY, 3.0, taken, count=15)
    assert 0 < len(places) <= 15
    assert places == empty_places(lung, GEOMETRY, 3.0, taken, count=15)
    for place in places:
        gap = np.linalg.norm(np.subtract(place.centre_mm, taken[0].centre_mm)) - (3.0 + 5.0) / 2
        assert gap >= 10.0
    assert empty_places(~lung, GEOMETRY, 3.0, taken) == ()


def test_parity_with_regions_of_scikit_image() -> None:
    """Volume and centre of the region above half of the contrast, as another library counts them."""
    result = insert_spheres(LUNG, GEOMETRY, [at(20.6, 23.5, 26.4, 7.0)])
    found = compare_nodule(result, TRUTH, GEOMETRY, NODULE)
    half = -860.0 + (TRUTH[20, 24, 26] + 860.0) / 2
    (true,), (made,) = (regionprops(label(hu > half), intensity_image=hu - half) for hu in (TRUTH, result))
    assert found.volume_ratio == pytest.approx(made.area / true.area, abs=0.05)
    apart = np.array(made.centroid_weighted) - np.array(true.centroid_weighted)
    assert found.off_mm == pytest.approx(float(np.linalg.norm(apart * [1.0, 0.7, 0.7])), abs=0.05)
