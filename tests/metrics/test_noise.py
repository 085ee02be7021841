from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import noise_sd_along_z, noise_sd_in_plane

SHAPE = (8, 48, 48)
EVERYWHERE = np.ones(SHAPE, dtype=np.bool_)


@pytest.mark.parametrize("measure", [noise_sd_in_plane, noise_sd_along_z])
def test_white_noise_reads_its_own_standard_deviation(measure):
    noise = np.random.default_rng(1).normal(40, 20, SHAPE)
    assert measure(noise, EVERYWHERE) == pytest.approx(20, rel=0.03)
    assert measure(np.rint(noise).astype(np.int16), EVERYWHERE) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("measure", [noise_sd_in_plane, noise_sd_along_z])
@pytest.mark.parametrize("sd_hu", [4.0, 5.5])
def test_whole_hu_do_not_round_the_figure(measure, sd_hu):
    noise = np.random.default_rng(6).normal(0, sd_hu, (16, 96, 96))
    mask = np.ones(noise.shape, dtype=np.bool_)
    # the median of whole differences could only be 4 or 6 here: 4.19 or 6.29 HU
    whole = measure(np.rint(noise).astype(np.int16), mask)
    assert whole == pytest.approx(measure(noise, mask), rel=0.015)
    assert whole == measure(np.rint(noise).astype(np.int16), mask)


@pytest.mark.parametrize("measure", [noise_sd_in_plane, noise_sd_along_z])
def test_a_plain_gradient_is_no_noise_and_a_scale_is_a_scale(measure):
    z, y, x = np.mgrid[:8, :48, :48].astype(np.float64)
    assert measure(3 * z + 2 * y - x, EVERYWHERE) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(2).normal(0, 10, SHAPE)
    assert measure(3 * noise + 7, EVERYWHERE) == pytest.approx(3 * measure(noise, EVERYWHERE))


def test_along_z_by_hand():
    hu = np.array([0.0, 1.0, 4.0, 2.0, 2.0])[:, None, None]
    # differences 1, 3, -2, 0: median 0.5, deviations 0.5, 2.5, 2.5, 0.5: median 1.5
    assert noise_sd_along_z(hu, np.ones(hu.shape, np.bool_)) == pytest.approx(1.4826 * 1.5 / np.sqrt(2))


def test_in_plane_by_hand():
    hu = np.zeros((1, 5, 7))
    hu[0, 2, 2:5] = 25.0, 50.0, 0.0
    # the 5 x 5 means of the three inner voxels are all 75 / 25 = 3: high-pass 22, 47, -3; deviations 0, 25, 25
    expected = 1.4826 * 25 / np.sqrt(24 / 25)
    assert noise_sd_in_plane(hu, np.ones(hu.shape, np.bool_)) == pytest.approx(expected)


def test_a_few_edges_hardly_count():
    noise = np.random.default_rng(3).normal(0, 10, SHAPE)
    with_vessel = noise.copy()
    with_vessel[:, 20:22, :] += 500
    assert noise_sd_along_z(with_vessel, EVERYWHERE) == noise_sd_along_z(noise, EVERYWHERE)
    assert noise_sd_in_plane(with_vessel, EVERYWHERE) < 1.6 * noise_sd_in_plane(noise, EVERYWHERE)
    assert with_vessel.std() > 8 * noise.std()


def test_smoothing_is_seen_in_its_own_direction_only():
    noise = np.random.default_rng(4).normal(0, 10, SHAPE)
    in_plane, along_z = (ndimage.uniform_filter1d(noise, 3, axis=axis) * np.sqrt(3) for axis in (1, 0))
    assert noise_sd_along_z(in_plane, EVERYWHERE) == pytest.approx(10, rel=0.05)
    assert noise_sd_in_plane(in_plane, EVERYWHERE) < 9.5
    assert noise_sd_in_plane(along_z, EVERYWHERE) == pytest.approx(10, rel=0.05)
    assert noise_sd_along_z(along_z, EVERYWHERE) < 7


def test_refuses_empty_masks_and_nan():
    noise = np.random.default_rng(5).normal(0, 10, (3, 8, 8))
    nothing = np.zeros(noise.shape, dtype=np.bool_)
    for measure in (noise_sd_in_plane, noise_sd_along_z):
        with pytest.raises(LamellaError, match="Too little homogeneous tissue"):
            measure(noise, nothing)
        with pytest.raises(LamellaError, match="mask does not fit"):
            measure(noise, nothing[:2])
    noise[1, 4, 4] = np.nan
    for measure in (noise_sd_in_plane, noise_sd_along_z):
        with pytest.raises(NonFiniteError, match="case-3"):
            measure(noise, ~nothing, case="case-3")
