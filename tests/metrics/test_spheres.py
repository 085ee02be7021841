from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, ndimage

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import (
    Sphere,
    insert_spheres,
    place_spheres,
    sphere_contrast,
    sphere_recovery,
    sphere_volume_ratio,
)
from lamella.volume import Geometry

SHAPE = (45, 56, 64)
STEPS_MM = np.array([1.0, 0.5, 0.6])
LUNG_HU = -860.0


def geometry(thickness_mm: float = 1.0) -> Geometry:
    """Slices from the head downwards, rows and columns turned in the plane: every axis differs from LPS."""
    turn = np.array([[0.0, 0.8, 0.6], [0.0, -0.6, 0.8], [-1.0, 0.0, 0.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * STEPS_MM
    affine[:3, 3] = [-120.0, 30.0, 700.0]
    return Geometry(SHAPE, affine, thickness_mm)


def at(z: float, y: float, x: float, diameter_mm: float) -> Sphere:
    lps = geometry().position(z, y, x)
    return Sphere((float(lps[0]), float(lps[1]), float(lps[2])), diameter_mm)


def lung(noise_hu: float = 0.0) -> np.ndarray:
    return LUNG_HU + np.random.default_rng(0).normal(0, noise_hu, SHAPE)


SPHERES = (at(10.0, 28.0, 20.0, 3.0), at(30.4, 20.3, 44.7, 8.0))


@pytest.mark.parametrize("thickness_mm", [1.0, 2.0])
def test_an_inserted_sphere_has_the_volume_of_a_sphere(thickness_mm):
    for sphere in SPHERES:
        added = insert_spheres(lung(), geometry(thickness_mm), [sphere], hu_inside=40.0) - lung()
        # slabs that overlap see every part twice as thick, half as dense: the sum over 1 mm steps is the volume
        volume_mm3 = added.sum() / 900.0 * STEPS_MM.prod()
        assert volume_mm3 == pytest.approx(np.pi / 6 * sphere.diameter_mm**3, rel=0.01)
        assert added.max() == pytest.approx(900.0 if thickness_mm == 1.0 or sphere.diameter_mm > 3 else 870.0, rel=0.05)
        centre = (added * np.indices(SHAPE)).sum(axis=(1, 2, 3)) / added.sum()
        assert geometry().position(*centre) == pytest.approx(sphere.centre_mm, abs=0.01)


def test_the_lung_goes_and_its_noise_stays():
    scan = lung(25) + 60 * np.sin(np.arange(SHAPE[0]) / 8)[:, None, None]  # lung that is not the same everywhere
    scan[24:36, 20, 44] = 100.0  # a vessel through the larger sphere
    filled = insert_spheres(scan, geometry(), SPHERES)
    index = np.indices(SHAPE).reshape(3, -1).T - [30.4, 20.3, 44.7]
    inner = (np.linalg.norm(index * STEPS_MM, axis=1) < 3.2).reshape(SHAPE)
    smooth = ndimage.gaussian_filter(scan, 1.5 / STEPS_MM, mode="nearest")
    noise = np.clip(scan - smooth, -120, 120)
    assert filled[inner] == pytest.approx((40 + noise)[inner], abs=1e-6)
    assert filled[inner].max() <= 160.0
    assert np.array_equal(filled[20:24], scan[20:24])
    whole = insert_spheres(np.rint(scan).astype(np.int16), geometry(), SPHERES)
    assert whole.dtype == np.int16
    assert whole[inner].mean() == pytest.approx(filled[inner].mean(), abs=1)


def test_contrast_by_hand():
    filled = insert_spheres(lung(), geometry(), SPHERES)
    # the core of 4 mm lies wholly inside the sphere of 8 mm; the shell begins 2 mm outside it
    assert sphere_contrast(filled, geometry(), SPHERES[1]) == pytest.approx(900.0, abs=1e-6)
    assert sphere_contrast(lung(), geometry(), SPHERES[1]) == pytest.approx(0.0, abs=1e-9)
    assert sphere_contrast(filled * 0.5, geometry(), SPHERES[1]) == pytest.approx(450.0, abs=1e-6)


def test_the_truth_recovers_everything_and_the_empty_lung_nothing():
    truth = insert_spheres(lung(25), geometry(), SPHERES)
    assert sphere_recovery(truth, truth, geometry(), SPHERES) == {3.0: (1.0, 1.0), 8.0: (1.0, 1.0)}
    nothing = sphere_recovery(lung(25), truth, geometry(), SPHERES)
    for contrast, volume in nothing.values():
        assert contrast == pytest.approx(0.0, abs=0.05)
        assert volume == 0.0
    half = sphere_recovery(lung(25) + 0.4 * (truth - lung(25)), truth, geometry(), SPHERES)
    assert half[8.0][0] == pytest.approx(0.4, abs=0.01)
    assert half[8.0][1] == 0.0  # below half its contrast it is lost


def test_a_thick_slice_keeps_the_share_that_geometry_says():  # SPEC C8
    small = at(12.0, 28.0, 20.0, 3.0)  # in the middle of the thick slice of the slices 10 to 14
    truth = insert_spheres(lung(), geometry(), [small])
    thick = truth.reshape(9, 5, *SHAPE[1:]).mean(axis=1)
    contrast, volume = sphere_recovery(np.repeat(thick, 5, axis=0), truth, geometry(), [small])[3.0]
    # along z the slab sees a chord of 2 sqrt(1.5^2 - rho^2) in 5 mm; averaged over the core, a ball of 0.75 mm
    core = 4 / 3 * np.pi * 0.75**3
    chord, _ = integrate.quad(
        lambda rho: 2 * np.pi * rho * 2 * np.sqrt(0.75**2 - rho**2) / core * 2 * np.sqrt(1.5**2 - rho**2), 0, 0.75
    )
    assert contrast == pytest.approx(chord / 5, rel=0.04)
    # half of its contrast remains where the chord exceeds 2.5 mm, within 0.83 mm of the axis: 3 x 3 pixels, 5 slices
    assert volume == pytest.approx(9 * 5 * STEPS_MM.prod() / (np.pi / 6 * 3**3), abs=0.1)


def test_volume_counts_the_part_around_the_centre_only():
    truth = insert_spheres(lung(), geometry(), [SPHERES[1]])
    apart = truth.copy()
    apart[30, 20, 55] = 40.0  # 6.2 mm from the centre: beyond the 2 mm around the sphere
    apart[25, 20, 45] = 40.0  # 5.4 mm from it: near, but not connected
    assert sphere_volume_ratio(apart, truth, geometry(), SPHERES[1]) == 1.0
    grown = insert_spheres(lung(), geometry(), [at(30.4, 20.3, 44.7, 9.0)])
    assert sphere_volume_ratio(grown, truth, geometry(), SPHERES[1]) == pytest.approx((9 / 8) ** 3, rel=0.05)


def test_recovery_is_the_mean_over_spheres_of_one_size():
    pair = (at(10.0, 28.0, 20.0, 5.0), at(34.0, 28.0, 44.0, 5.0))
    truth = insert_spheres(lung(), geometry(), pair)
    one_lost = truth.copy()
    one_lost[25:] = LUNG_HU
    contrast, volume = sphere_recovery(one_lost, truth, geometry(), pair)[5.0]
    assert contrast == pytest.approx(0.5, abs=1e-6)
    assert volume == 0.5


PLACES = Geometry((80, 110, 130), np.diag([1.25, 0.75, 0.75, 1.0]), 1.25)


def lung_places() -> np.ndarray:
    mask = np.zeros(PLACES.shape, dtype=np.bool_)
    mask[4:-4, 6:-6, 5:60] = mask[4:-4, 6:-6, 70:-5] = True
    mask[:, 40:43, 20:23] = mask[:, 80:82] = False  # a vessel along z, and one across
    return mask


def test_places_are_even_over_the_thick_slices_and_clear_of_everything():
    spheres = place_spheres(lung_places(), PLACES, period_mm=5.0)
    assert [s.diameter_mm for s in spheres] == [12, 12, 12, 8, 8, 8, 5, 5, 5, 3, 3, 3]
    assert spheres == place_spheres(lung_places(), PLACES, period_mm=5.0)
    first_face_mm = PLACES.centres_mm[0] - 0.625
    phases = np.array([s.centre_mm[0] - first_face_mm for s in spheres]) % 5.0
    assert phases.reshape(4, 3) == pytest.approx(np.tile(np.array([1.25, 6.25, 11.25]) / 3, (4, 1)))
    index = np.indices(PLACES.shape).reshape(3, -1).T * [1.25, 0.75, 0.75]
    for k, s in enumerate(spheres):
        distance = np.linalg.norm(index - s.centre_mm, axis=1).reshape(PLACES.shape)
        assert lung_places()[distance < s.diameter_mm / 2].mean() > 0.9
        wall = ~ndimage.binary_closing(lung_places(), np.ones((1, 7, 7)))
        assert distance[wall].min() > s.diameter_mm / 2 + 3
        for other in spheres[:k]:
            gap = np.linalg.norm(np.subtract(s.centre_mm, other.centre_mm)) - (s.diameter_mm + other.diameter_mm) / 2
            assert gap >= 10


def test_a_size_without_room_is_left_out_whole():
    small = lung_places()
    small[:, :, 60:] = False
    small[:, 35:] = False
    sizes = [s.diameter_mm for s in place_spheres(small, PLACES, period_mm=5.0)]
    assert set(sizes) < {3.0, 5.0, 8.0, 12.0}
    assert sizes
    assert all(sizes.count(size) == 3 for size in sizes)
    assert place_spheres(np.zeros(PLACES.shape, dtype=np.bool_), PLACES) == ()


def test_refuses_spheres_outside_nan_and_other_grids():
    truth = insert_spheres(lung(), geometry(), SPHERES)
    outside = at(2.0, 28.0, 20.0, 8.0)
    with pytest.raises(LamellaError, match="reaches past the image"):
        insert_spheres(lung(), geometry(), [outside])
    with pytest.raises(LamellaError, match="reaches past the image"):
        sphere_contrast(truth, geometry(), outside)
    with pytest.raises(LamellaError, match=r"no sphere in the truth.*case-2"):
        sphere_recovery(truth, lung(), geometry(), SPHERES, case="case-2")
    with pytest.raises(NonFiniteError, match="case-2"):
        sphere_recovery(truth * np.nan, truth, geometry(), SPHERES, case="case-2")
    with pytest.raises(LamellaError, match="Array and geometry differ"):
        sphere_contrast(truth[1:], geometry(), SPHERES[0])
    with pytest.raises(LamellaError, match="Array and geometry differ"):
        insert_spheres(truth[1:], geometry(), SPHERES)
    with pytest.raises(LamellaError, match="same grid"):
        sphere_volume_ratio(truth[1:], truth, geometry(), SPHERES[0])
    with pytest.raises(LamellaError, match="mask does not fit"):
        place_spheres(lung_places()[1:], PLACES)
