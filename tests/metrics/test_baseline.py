from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import INTERPOLATIONS, aligned_cubic, aligned_interpolation, best_shift_mm, refined_shift_mm
from lamella.physics.slice_operator import cubic_matrix, profile_matrix


@given(
    coefficients=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
    start_mm=st.floats(-500, 500),
    spacing_mm=st.floats(1, 8),
    count=st.integers(4, 12),
)
@settings(max_examples=30, deadline=None)
def test_a_cubic_polynomial_comes_back_wherever_it_is_asked(coefficients, start_mm, spacing_mm, count):
    thick_mm = start_mm + spacing_mm * np.arange(count)
    thin_mm = np.linspace(thick_mm[0], thick_mm[-1], 3 * count + 1)
    polynomial = np.polynomial.Polynomial(coefficients, domain=[thick_mm[0], thick_mm[-1]], window=[-1, 1])
    thick = 1000 * polynomial(thick_mm)[:, None, None] * np.ones((1, 2, 3))
    thin = aligned_cubic(thick, thick_mm, thin_mm)
    assert thin.dtype == np.float32
    assert thin.shape == (len(thin_mm), 2, 3)
    assert thin[:, 1, 2] == pytest.approx(1000 * polynomial(thin_mm), abs=2e-2)


def test_constant_beyond_the_outer_slices():
    thick_mm = np.array([0.0, 5.0, 10.0, 15.0])
    thick = np.array([7.0, -3.0, 20.0, 11.0])[:, None, None]
    thin = aligned_cubic(thick, thick_mm, np.array([-2.0, 0.0, 5.0, 15.0, 17.0]))
    assert thin[:, 0, 0] == pytest.approx([7, 7, -3, 11, 11], abs=1e-5)


def test_agrees_with_the_matrix_of_the_slice_physics():
    rng = np.random.default_rng(0)
    thick_mm, thin_mm = 5.0 * np.arange(9), np.arange(-2.0, 43.0, 0.7)
    thick = rng.normal(0, 300, (9, 70, 5)).astype(np.float32)  # 70 rows: two chunks, the second not full
    expected = np.tensordot(cubic_matrix(thick_mm, thin_mm), thick, axes=(1, 0))
    assert np.abs(aligned_cubic(thick, thick_mm, thin_mm) - expected).max() < 1e-2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_slices_and_integers(count):
    thick_mm = 4.0 * np.arange(count)
    thick = np.arange(count, dtype=np.int16)[:, None, None] * np.ones((1, 3, 3), np.int16)
    thin = aligned_cubic(thick, thick_mm, thick_mm[:-1] + 2.0 if count > 1 else np.array([9.0, 11.0]))
    expected = np.arange(count - 1) + 0.5 if count > 1 else np.zeros(2)
    assert thin[:, 0, 0] == pytest.approx(expected, abs=1e-6)


def test_refuses_positions_that_do_not_rise_or_fit():
    thick = np.zeros((3, 2, 2))
    for positions in (np.array([0.0, 2.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0])):
        with pytest.raises(LamellaError, match="rise strictly"):
            aligned_cubic(thick, positions, positions)


every_kind = pytest.mark.parametrize("kind", INTERPOLATIONS)


@every_kind
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_constant_stays_constant_and_thick_slices_come_back(kind, count):
    thick_mm = -31.0 + 4.2 * np.arange(count)
    far = np.concatenate([[-60.0], np.linspace(-34.0, 4.0, 27), [60.0]])
    assert aligned_interpolation(np.full((count, 2, 3), -850.0), thick_mm, far, kind) == pytest.approx(-850, abs=1e-3)
    thick = np.random.default_rng(0).normal(0, 300, (count, 70, 3)).astype(np.float32)
    assert aligned_interpolation(thick, thick_mm, thick_mm, kind) == pytest.approx(thick, abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_a_ramp_comes_back_between_the_outer_centres(kind):
    thick_mm, thin_mm = 100.0 + 5.0 * np.arange(6), np.linspace(100.0, 125.0, 31)
    thin = aligned_interpolation(20.0 * thick_mm[:, None, None] * np.ones((1, 2, 2)), thick_mm, thin_mm, kind)
    assert thin[:, 1, 1] == pytest.approx(20.0 * thin_mm, abs=1e-2)


@every_kind
def test_nothing_changes_when_the_slice_axis_is_turned(kind):
    thick_mm, thin_mm = 5.0 * np.arange(7), np.arange(-2.0, 33.0)  # no thin slice lies in the middle of two
    thick = np.random.default_rng(1).normal(0, 300, (7, 4, 4))
    turned = aligned_interpolation(thick[::-1], -thick_mm[::-1], -thin_mm[::-1], kind)
    assert turned[::-1] == pytest.approx(aligned_interpolation(thick, thick_mm, thin_mm, kind), abs=1e-2)


def test_nearest_and_linear_by_hand():
    thick_mm, thick = np.array([0.0, 4.0, 8.0]), np.array([10.0, 20.0, 40.0])[:, None, None]
    thin_mm = np.array([-9.0, 1.9, 2.0, 2.0 + 1e-9, 2.1, 6.0, 7.0, 9.0])
    nearest = aligned_interpolation(thick, thick_mm, thin_mm, "nearest")[:, 0, 0]
    assert nearest.tolist() == [10, 10, 10, 10, 20, 20, 40, 40]  # the middle belongs to the lower slice, rounded or not
    linear = aligned_interpolation(thick, thick_mm, thin_mm, "linear")[:, 0, 0]
    assert linear == pytest.approx([10, 14.75, 15, 15, 15.25, 30, 35, 40])


def test_lanczos_by_hand():
    thick_mm, thick = 5.0 * np.arange(8), np.zeros((8, 1, 1))
    thick[4] = 1000.0
    lobes = {d: np.sin(np.pi * d) * 3 * np.sin(np.pi * d / 3) / (np.pi * d) ** 2 for d in (0.5, 1.5, 2.5)}
    scale = 1000.0 / (2 * sum(lobes.values()))  # half-way between two slices the six weights are three pairs
    middles = aligned_interpolation(thick, thick_mm, thick_mm + 2.5, "lanczos")[:, 0, 0]
    expected = [0, lobes[2.5], lobes[1.5], lobes[0.5], lobes[0.5], lobes[1.5], lobes[2.5], 0]
    assert middles == pytest.approx(scale * np.array(expected), abs=1e-3)
    thick[4], thick[-1] = 0.0, 1000.0  # the last slice is repeated past the end and takes the weights there
    middle = aligned_interpolation(thick, thick_mm, np.array([32.5]), "lanczos")[0, 0, 0]
    assert middle == pytest.approx(scale * (lobes[0.5] + lobes[1.5] + lobes[2.5]), abs=1e-3)


def test_refuses_an_unknown_kind_and_uneven_slices_for_lanczos():
    thick, uneven_mm = np.zeros((4, 2, 2)), np.array([0.0, 5.0, 11.0, 15.0])
    with pytest.raises(LamellaError, match=r"Unknown interpolation 'spline'.*nearest, linear, cubic, lanczos"):
        aligned_interpolation(thick, uneven_mm, uneven_mm, "spline")
    with pytest.raises(LamellaError, match=r"1\.000 mm off its place"):
        aligned_interpolation(thick, uneven_mm, uneven_mm, "lanczos")


@every_kind
def test_a_baseline_that_is_placed_wrongly_is_reported(kind):  # SPEC C8
    thin_mm = np.arange(80.0)
    rng = np.random.default_rng(2)
    layers = rng.normal(0, 300, (80, 12, 12))
    truth = (
        layers[:-4] + layers[1:-3] + layers[2:-2] + layers[3:-1] + layers[4:]
    ) / 5  # alike over a few mm, as tissue
    thin_mm = thin_mm[: len(truth) - 1]
    truth = truth[: len(thin_mm)]
    thick_mm = np.arange(2.0, len(thin_mm) - 2, 5.0)
    thick = np.tensordot(profile_matrix(thin_mm, 1.0, thick_mm, 5.0), truth, axes=1)
    for moved_mm in (0.0, 1.0, -1.0):
        baseline = aligned_interpolation(thick, thick_mm + moved_mm, thin_mm, kind)
        best, scores = best_shift_mm(baseline, truth, thin_mm)
        assert best == pytest.approx(moved_mm, abs=0.25)
        assert refined_shift_mm(scores) == pytest.approx(moved_mm, abs=0.1)
    best, scores = best_shift_mm(truth, truth, thin_mm)
    assert (best, scores[0.0]) == (0.0, 0.0)
    assert refined_shift_mm(scores) == pytest.approx(0.0, abs=0.02)


def test_a_staircase_has_no_shift_of_its_own():
    # read a quarter of a millimetre off, a staircase is smoother and fits a little better, on either side alike
    scores = {-0.75: 84.5, -0.5: 80.2, -0.25: 79.3, 0.0: 79.8, 0.25: 79.2, 0.5: 80.1, 0.75: 84.4}
    scores |= {-1.25: 93.5, -1.0: 89.7, 1.0: 89.6, 1.25: 93.4}
    assert abs(refined_shift_mm(scores)) < 0.05


def test_the_shift_of_a_region_and_of_every_nth_column():  # SPEC C8
    centres_mm = 1.0 * np.arange(24)
    truth, prediction = wave(centres_mm), wave(centres_mm)
    prediction[:, 1::2, 1::2] = wave(centres_mm - 1.0)[:, 1::2, 1::2]
    odd = np.zeros(truth.shape, dtype=np.bool_)
    odd[:, 1::2, 1::2] = True
    assert best_shift_mm(prediction, truth, centres_mm, mask=odd)[0] == 1.0
    assert best_shift_mm(prediction, truth, centres_mm, mask=~odd)[0] == 0.0
    assert best_shift_mm(prediction, truth, centres_mm, stride=2)[0] == 1.0  # rows and columns 1, 3, ...
    with pytest.raises(LamellaError, match="mask does not fit"):
        best_shift_mm(prediction, truth, centres_mm, mask=odd[:, 1:])
    with pytest.raises(LamellaError, match="No voxel counts"):
        best_shift_mm(prediction, truth, centres_mm, mask=odd, stride=4)  # row and column 2


def wave(centres_mm: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:4, :5]
    return np.sin(centres_mm[:, None, None] / 4.0 + 0.3 * y + 0.2 * x) * 200


@pytest.mark.parametrize("shift_mm", [-0.75, 0.0, 0.5])
def test_a_known_shift_is_found(shift_mm):  # SPEC C8
    centres_mm = 40.0 + 1.25 * np.arange(24)
    truth = wave(centres_mm)
    best, scores = best_shift_mm(wave(centres_mm - shift_mm), truth, centres_mm)
    assert best == shift_mm
    assert len(scores) == 17
    assert scores[best] == pytest.approx(0, abs=0.5)
    assert refined_shift_mm(scores) == pytest.approx(shift_mm, abs=0.02)


def test_refinement_is_finer_than_the_grid():
    centres_mm = 1.0 * np.arange(24)
    best, scores = best_shift_mm(wave(centres_mm - 0.1), wave(centres_mm), centres_mm)
    assert best == 0.0
    assert refined_shift_mm(scores) == pytest.approx(0.1, abs=0.02)


def test_best_at_the_end_of_the_grid_stays_there():
    assert refined_shift_mm({-1.0: 3.0, 0.0: 2.0, 1.0: 1.0}) == 1.0
    assert refined_shift_mm({-1.0: 2.0, 0.0: 1.0, 1.0: 2.0}) == pytest.approx(0.0)


def test_ties_go_to_no_shift_and_short_or_broken_volumes_are_refused():
    flat = np.zeros((8, 2, 2))
    centres_mm = 1.0 * np.arange(8)
    assert best_shift_mm(flat, flat, centres_mm)[0] == 0.0
    with pytest.raises(LamellaError, match="too short to shift"):
        best_shift_mm(flat[:4], flat[:4], centres_mm[:4])
    with pytest.raises(NonFiniteError, match="case-5"):
        best_shift_mm(flat * np.nan, flat, centres_mm, case="case-5")
