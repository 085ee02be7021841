from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import aligned_cubic, best_shift_mm, refined_shift_mm
from lamella.slices import cubic_matrix


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
    assert refined_shift_mm(scores) == pytest.approx(0.1, abs=0.01)


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
