from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import bootstrap_interval, paired_test, slab_bootstrap_gain_db, slab_bootstrap_rmse


def test_equal_values_have_no_interval_to_speak_of_and_one_patient_has_none():
    assert bootstrap_interval([3.0, 3.0, 3.0]) == (3.0, 3.0)
    assert bootstrap_interval([3.0]) is None
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([1.0, 5.0, 9.0], groups=["a", "a", "a"]) is None


def test_interval_of_two_patients_by_hand():
    # each draw is (1, 1), (1, 3), (3, 1) or (3, 3): means 1, 2, 2, 3, and each end holds a quarter of the draws
    assert bootstrap_interval([1.0, 3.0]) == (1.0, 3.0)
    assert bootstrap_interval([1.0, 3.0], level=0.4) == (2.0, 2.0)
    # patient 8 is drawn from its own two cases: the largest is 1 in a quarter of the draws, 9 in more than a third
    assert bootstrap_interval([1.0, 2.0, 9.0], groups=[7, 8, 8], statistic=np.max) == (1.0, 9.0)


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_the_interval_holds_the_true_value_as_often_as_it_says(statistic):
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(150):
        interval = bootstrap_interval(rng.normal(7.0, 2.0, 30), statistic=statistic, resamples=300, seed=seed)
        held += interval[0] <= 7.0 <= interval[1]
    assert 0.90 <= held / 150 <= 0.98


def test_cases_of_one_patient_do_not_count_as_patients():
    rng = np.random.default_rng(1)
    held = {"patients": 0, "cases": 0}
    for seed in range(100):
        values = (rng.normal(7.0, 2.0, (12, 1)) + rng.normal(0.0, 0.3, (12, 5))).ravel()
        for name, groups in (("patients", np.repeat(np.arange(12), 5).tolist()), ("cases", None)):
            low, high = bootstrap_interval(values, groups, resamples=300, seed=seed)
            held[name] += low <= 7.0 <= high
    assert held["patients"] / 100 >= 0.87
    assert held["cases"] / 100 < 0.7


def test_intervals_are_the_same_every_time_and_follow_the_seed():
    values = np.random.default_rng(2).normal(0, 1, 20)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    low, high = bootstrap_interval(values)
    inner = bootstrap_interval(values, level=0.5)
    assert low < inner[0] < inner[1] < high


def test_the_interval_of_an_rmse_by_hand():
    counts = np.full(8, 100.0)
    assert slab_bootstrap_rmse(900.0 * counts, counts, 2) == (30.0, 30.0)
    # Slices of 10 and of 30 HU, four in a row. Of the 64 equally likely pairs of blocks of four one holds only the first
    # kind, four hold seven of it: the lowest 2.5 % end at (7 x 100 + 900) / 8.
    low, high = slab_bootstrap_rmse(np.repeat([100.0, 900.0], 4) * counts, counts, 4)
    assert (low, high) == pytest.approx((np.sqrt(200.0), np.sqrt(800.0)))
    # slices without voxels weigh nothing
    empty = np.array([100.0, 0.0] * 4)
    assert slab_bootstrap_rmse(900.0 * empty, empty, 2) == (30.0, 30.0)


def test_blocks_make_up_the_length_of_the_scan():
    # 5 slices in blocks of 2: two blocks and the first slice of a third. All draws by hand, each equally likely
    squares, counts = np.array([1.0, 4.0, 9.0, 16.0, 25.0]), np.ones(5)
    pairs = [squares[i] + squares[(i + 1) % 5] for i in range(5)]
    drawn = [np.sqrt((a + b + squares[k]) / 5) for a, b, k in itertools.product(pairs, pairs, range(5))]
    expected = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    assert slab_bootstrap_rmse(squares, counts, 2, resamples=40000) == pytest.approx(expected)


def test_blocks_see_that_neighbours_are_alike():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (200, 140))
    alike = np.stack([np.convolve(row, np.ones(8) / np.sqrt(8), mode="valid") for row in noise])
    held = {1: 0, 16: 0}
    truth = 30.0 * np.exp(0.5**2 / 4)
    for seed, row in enumerate(alike):
        for block in held:
            low, high = slab_bootstrap_rmse(
                900.0 * np.exp(0.5 * row), np.ones(len(row)), block, resamples=300, seed=seed
            )
            held[block] += low <= truth <= high
    assert held[1] / 200 < 0.7
    assert held[16] / 200 > 0.75


def test_a_gain_is_positive_where_the_method_is_better():
    rng = np.random.default_rng(4)
    counts = np.full(60, 1000.0)
    hard = np.exp(np.convolve(rng.normal(0, 1, 67), np.ones(8) / 2, mode="valid"))  # slices differ much, alike for both
    baseline, method = 900.0 * hard * counts, 900.0 * hard * counts * 10 ** (-0.15 + 0.01 * rng.normal(0, 1, 60))
    low, high = slab_bootstrap_gain_db(method, baseline, counts, 8)
    assert 1.4 < low < 1.5 < high < 1.6
    worse = slab_bootstrap_gain_db(baseline, method, counts, 8)
    assert worse == pytest.approx((-high, -low))
    one, other = (slab_bootstrap_rmse(squares, counts, 8) for squares in (method, baseline))
    assert one[1] > other[0]  # the intervals of the two overlap, that of their difference is far from 0
    assert slab_bootstrap_gain_db(baseline, baseline, counts, 8) == (0.0, 0.0)


def test_no_interval_where_there_is_too_little():
    ones = np.ones(9)
    assert slab_bootstrap_rmse(ones, ones, 5) is None
    assert slab_bootstrap_gain_db(ones, ones, ones, 5) is None
    sparse = np.zeros(9)
    sparse[4] = 1.0  # draws without this slice have no voxel
    assert slab_bootstrap_rmse(sparse, sparse, 2) is None
    assert slab_bootstrap_gain_db(sparse, sparse, ones, 2) is None


def test_paired_test_by_hand():
    a = np.arange(6.0)
    # all six differences positive: 2 of the 2^6 signs are as extreme
    assert paired_test(a + 1 + 0.1 * a, a) == pytest.approx(2 / 64)
    assert paired_test(a, a + 1 + 0.1 * a) == pytest.approx(2 / 64)
    assert paired_test(a[:5] + 1, a[:5]) is None
    assert paired_test([*(a[:5] + 1), 8.0], [*a[:5], 8.0]) is None  # the pair without a difference says nothing
    assert paired_test(a, a) is None
    # differences of one size: exact over all signs as well
    assert paired_test(a + 1, a) == pytest.approx(2 / 64)


def test_paired_test_agrees_with_all_signs():
    difference = np.array([0.3, -0.1, 0.7, 1.2, -0.5, 0.9, 2.0, -0.2, 0.4])
    ranks = stats.rankdata(np.abs(difference))
    sums = [sum(ranks[np.array(signs)]) for signs in itertools.product([False, True], repeat=9)]
    lower = min(ranks[difference > 0].sum(), ranks[difference < 0].sum())
    assert paired_test(difference, np.zeros(9)) == pytest.approx(2 * np.mean(np.array(sums) <= lower))


def test_refuses_what_does_not_fit():
    ones = np.ones(8)
    with pytest.raises(NonFiniteError, match="1 of 3"):
        bootstrap_interval([1.0, np.nan, 2.0])
    with pytest.raises(LamellaError, match="3 values and 2 groups"):
        bootstrap_interval([1.0, 2.0, 3.0], groups=["a", "b"])
    with pytest.raises(LamellaError, match="level"):
        bootstrap_interval([1.0, 2.0], level=95)
    with pytest.raises(LamellaError, match="list of numbers"):
        bootstrap_interval(np.ones((2, 2)))
    with pytest.raises(LamellaError, match="8, 7 slices"):
        slab_bootstrap_rmse(ones, ones[1:], 2)
    with pytest.raises(LamellaError, match="8 negative sums"):
        slab_bootstrap_gain_db(ones, -ones, ones, 2)
    with pytest.raises(LamellaError, match="at least one slice"):
        slab_bootstrap_rmse(ones, ones, 0)
    with pytest.raises(LamellaError, match="needs pairs"):
        paired_test(ones, ones[1:])
