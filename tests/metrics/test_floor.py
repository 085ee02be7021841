from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import (
    body_mask,
    noise_correlation_z,
    noise_floor_hu,
    noise_sd_in_plane,
    rmse_hu,
    soft_tissue_mask,
)
from lamella.metrics.floor import _covariance
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.slice_operator import SliceOperator, profile_matrix


def boxes(thin: int, ratio: int = 5, thickness: float | None = None) -> np.ndarray:
    """Slabs every `ratio` thin slices of 1 mm, wholly inside."""
    thickness = float(ratio) if thickness is None else thickness
    thick_mm = np.arange(thickness / 2, thin - thickness / 2 + 1e-6, ratio)
    return profile_matrix(np.arange(thin) + 0.5, 1.0, thick_mm, thickness)


def everywhere(hu: np.ndarray) -> np.ndarray:
    return np.ones(hu.shape, dtype=np.bool_)


@pytest.mark.parametrize("ratio", [2, 3, 5])
def test_white_noise_agrees_with_the_count_of_what_is_seen(ratio):  # SPEC B13
    matrix = boxes(30, ratio)
    assert noise_floor_hu(20.0, np.array([1.0]), matrix) == pytest.approx(20 * np.sqrt(1 - len(matrix) / 30))
    assert noise_floor_hu(20.0, np.array([1.0, 0.0, 0.0]), matrix) == pytest.approx(20 * np.sqrt(1 - 1 / ratio))


def test_two_slices_by_hand():
    # of the mean of two slices of correlation r the difference is unknown: each is off by half of it, (1 - r) / 2
    for r in (0.0, 0.3, -0.4):
        assert noise_floor_hu(10.0, np.array([1.0, r]), np.array([[0.5, 0.5]])) == pytest.approx(
            10 * np.sqrt((1 - r) / 2)
        )


def test_seeing_every_slice_leaves_nothing_and_seeing_none_all():
    assert noise_floor_hu(20.0, np.array([1.0, 0.4]), np.eye(8)) == pytest.approx(0.0, abs=1e-6)
    assert noise_floor_hu(20.0, np.array([1.0, 0.4]), np.zeros((1, 8))) == pytest.approx(20.0)


def test_correlated_noise_agrees_with_a_simulation():
    rho, count, draws = 0.6, 40, 4000
    matrix = boxes(count)
    correlation = rho ** np.arange(count)
    rng = np.random.default_rng(0)
    noise = np.empty((count, draws))
    noise[0] = rng.normal(0, 20, draws)
    for index in range(1, count):
        noise[index] = rho * noise[index - 1] + rng.normal(0, 20 * np.sqrt(1 - rho**2), draws)
    # the least-squares guess of every slice from the thick ones, fitted to half the draws and judged on the others
    half = draws // 2
    guess = np.linalg.lstsq((matrix @ noise[:, :half]).T, noise[:, :half].T, rcond=None)[0]
    left = noise[:, half:].T - (matrix @ noise[:, half:]).T @ guess
    simulated = float(np.sqrt((left**2).mean()))
    assert noise_floor_hu(20.0, correlation, matrix) == pytest.approx(simulated, rel=0.02)
    # four lags measured instead of all of them
    assert noise_floor_hu(20.0, correlation[:5], matrix) == pytest.approx(simulated, rel=0.05)
    assert simulated < 0.85 * 20 * np.sqrt(1 - len(matrix) / count)


def test_no_linear_guess_beats_the_floor():
    matrix, correlation = boxes(30, 5, 7.0), np.array([1.0, 0.6, 0.2])
    operator = SliceOperator.from_matrix(matrix)
    covariance = _covariance(correlation, 30)
    floor = noise_floor_hu(1.0, correlation, matrix)
    best = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T)
    for guess in (operator.inverse, 0.9 * operator.inverse, best):
        left = np.eye(30) - guess @ matrix
        assert np.sqrt(np.trace(left @ covariance @ left.T) / 30) >= floor - 1e-9
    assert np.sqrt(np.trace((np.eye(30) - best @ matrix) @ covariance) / 30) == pytest.approx(floor)


def test_slices_outside_the_wanted_ones_do_not_count():
    # Slabs that overlap reach past the wanted slices, where little of the noise is known.
    half = np.hstack([np.zeros((5, 10)), np.kron(np.eye(5), np.full(2, 0.5)), np.zeros((5, 10))])
    assert noise_floor_hu(20.0, np.array([1.0]), half) == pytest.approx(20 * np.sqrt(25 / 30))
    assert noise_floor_hu(20.0, np.array([1.0]), half, slice(10, 20)) == pytest.approx(20 * np.sqrt(5 / 10))


def test_overlapping_slabs_leave_a_finite_floor():
    matrix = np.repeat(boxes(20), 2, axis=0)  # every slab twice: A C A^T is singular
    assert noise_floor_hu(20.0, np.array([1.0, 0.3]), matrix) == pytest.approx(
        noise_floor_hu(20.0, np.array([1.0, 0.3]), boxes(20))
    )


def test_covariance_is_positive_semi_definite_and_a_possible_one_is_kept():
    possible = _covariance(np.array([1.0, 0.5, 0.2]), 12)
    assert possible[0, :4] == pytest.approx([1.0, 0.5, 0.2, 0.0], abs=1e-12)
    # neighbours alike at 0.9 and nothing beyond: no noise is like that
    mended = _covariance(np.array([1.0, 0.9]), 12)
    assert np.diag(mended) == pytest.approx(np.ones(12))
    assert np.linalg.eigvalsh(mended).min() > -1e-9
    assert 0.5 < mended[0, 1] < 0.9


def test_correlation_reads_white_and_averaged_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 20, (30, 48, 48))
    assert noise_correlation_z(noise, everywhere(noise)) == pytest.approx([1, 0, 0, 0, 0], abs=0.03)
    averaged = (noise[2:] + noise[1:-1] + noise[:-2]) / 3  # overlaps of 3, 2, 1 and 0 slices
    for hu in (averaged, np.rint(averaged).astype(np.int16)):
        assert noise_correlation_z(hu, everywhere(averaged)) == pytest.approx([1, 2 / 3, 1 / 3, 0, 0], abs=0.03)


def test_anatomy_that_slices_share_is_hardly_correlation():
    rng = np.random.default_rng(2)
    _, y, x = np.mgrid[:20, :64, :64]
    hu = 40 + 30 * np.sin(y / 9) + 20 * np.cos(x / 11) + rng.normal(0, 15, (20, 64, 64))
    assert noise_correlation_z(hu, everywhere(hu), lags=2) == pytest.approx([1, 0, 0], abs=0.03)


def test_phantom_with_white_noise_of_20_hu():  # SPEC C8
    clean = paint_phantom(PhantomSettings(shape=(30, 128, 128), pixel_mm=2.8, noise_hu=0.0))
    noise = np.random.default_rng(0).normal(0, 20, clean.hu.shape)
    truth = np.rint(clean.hu + noise).astype(np.int16)
    soft = soft_tissue_mask(truth, clean.geometry, body_mask(truth))
    matrix = boxes(30)
    floor = noise_floor_hu(noise_sd_in_plane(truth, soft), noise_correlation_z(truth, soft), matrix)
    assert floor == pytest.approx(20 * np.sqrt(0.8), rel=0.1)
    # who knows the anatomy and is consistent with the thick slices ends up just there
    inverse = SliceOperator.from_matrix(matrix).inverse
    oracle = clean.hu + np.tensordot(inverse @ matrix, noise, axes=(1, 0))
    assert rmse_hu(oracle, truth, soft) == pytest.approx(floor, rel=0.1)


def test_refuses_too_little_tissue_silence_nan_and_bad_correlations():
    noise = np.random.default_rng(0).normal(0, 20, (6, 24, 24))
    few = np.zeros(noise.shape, dtype=np.bool_)
    few[:, 5:15, 5:15] = True
    with pytest.raises(LamellaError, match="case-5: found 400 pairs of voxels 2 slices apart, expected at least 500"):
        noise_correlation_z(noise, few, case="case-5")
    with pytest.raises(LamellaError, match="has no noise"):
        noise_correlation_z(np.zeros(noise.shape), everywhere(noise))
    with pytest.raises(LamellaError, match="mask does not fit"):
        noise_correlation_z(noise, few[:2])
    noise[2, 8, 8] = np.nan
    with pytest.raises(NonFiniteError, match="case-5"):
        noise_correlation_z(noise, everywhere(noise), case="case-5")
    for correlation in ([], [0.9, 0.1], [1.0, np.nan]):
        with pytest.raises(LamellaError, match="correlation of 1 at lag 0"):
            noise_floor_hu(20.0, np.array(correlation), boxes(10))
    with pytest.raises(LamellaError, match="finite deviation"):
        noise_floor_hu(np.nan, np.array([1.0]), boxes(10))
