from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.result_records import blank_record

from lamella.evaluate.summary import block_of, gains_of_case, intervals_of_case, pooled_figures, pooled_gains
from lamella.results.schema import CaseRecord, Shifts

KINDS = {"cubic": "baseline", "ours": "model"}


def case_of(name: str, ours: float, cubic: float, shifted: float, group: str = "") -> CaseRecord:
    """Ten slices of 100 voxels with a constant squared error each; the cubic spline fits better when moved."""
    squares = {"cubic": (cubic * 100,) * 10, "ours": (ours * 100,) * 10}
    record = blank_record(name)
    return replace(
        record,
        group=group or name,
        figures={"cubic": {"rmse_hu": math.sqrt(cubic)}, "ours": {"rmse_hu": math.sqrt(ours)}},
        slices=replace(
            record.slices, squares=squares, squares_body=squares, voxels=(100.0,) * 10, voxels_body=(100.0,) * 10
        ),
        shifts=Shifts(
            (-1.0, 0.0, 1.0),
            {
                "cubic": (math.sqrt(shifted), math.sqrt(cubic), math.sqrt(2 * cubic)),
                "ours": (math.sqrt(2 * ours), math.sqrt(ours), math.sqrt(2 * ours)),
            },
        ),
    )


def test_a_gain_is_ten_log_ten_of_the_ratio_of_squared_errors() -> None:
    gains = gains_of_case(case_of("a", ours=1.0, cubic=10.0, shifted=10.0), KINDS, seed=0)
    assert {gain.figure for gain in gains} == {"psnr_4095_db", "psnr_body_db"}
    whole = next(gain for gain in gains if gain.figure == "psnr_4095_db")
    assert (whole.method, whole.against, whole.cases) == ("ours", "cubic", 1)
    assert whole.difference == pytest.approx(10.0)
    assert whole.interval == pytest.approx((10.0, 10.0))
    assert whole.difference_at_best_shift == pytest.approx(10.0)


def test_a_misplaced_baseline_is_not_a_gain() -> None:
    # SPEC C8: all but 1 dB of the 10 dB over this baseline come from its place
    gains = gains_of_case(case_of("a", ours=1.0, cubic=10.0, shifted=10**0.1), KINDS, seed=0)
    whole = next(gain for gain in gains if gain.figure == "psnr_4095_db")
    assert whole.difference == pytest.approx(10.0)
    assert whole.difference_at_best_shift == pytest.approx(1.0)


def test_pooling_takes_means_and_gives_intervals_only_with_six_scans() -> None:
    many = [case_of(f"{n}", 1.0 if n % 2 else 4.0, 10.0, 10.0) for n in range(6)]
    pooled = pooled_figures(many, ["cubic", "ours"], seed=0)
    assert pooled["ours"]["rmse_hu"].value == pytest.approx(1.5)
    assert pooled["ours"]["rmse_hu"].cases == 6
    low, high = pooled["ours"]["rmse_hu"].interval
    assert 1.0 <= low < 1.5 < high <= 2.0
    assert pooled_figures(many[:5], ["ours"], seed=0)["ours"]["rmse_hu"].interval is None
    cases = [case_of("a", 1.0, 10.0, 10.0), case_of("b", 4.0, 10.0, 10.0)]
    gains = [gain for case in cases for gain in gains_of_case(case, KINDS, seed=0)]
    both = next(gain for gain in pooled_gains(gains, cases, seed=0) if gain.figure == "psnr_4095_db")
    assert both.difference == pytest.approx((10.0 + 10 * math.log10(2.5)) / 2)
    assert both.p is None  # two cases can never reach significance
    assert both.cases == 2


def test_cases_of_one_scan_are_one_patient() -> None:
    cases = [case_of("a", 1.0, 10.0, 10.0), case_of("b", 4.0, 10.0, 10.0, "a")]
    assert pooled_figures(cases, ["ours"], seed=0)["ours"]["rmse_hu"].interval is None


def test_six_thickenings_of_one_scan_are_no_six_patients() -> None:
    cases = [case_of(f"c{n}", 1.0, 10.0 + n, 20.0, "one") for n in range(6)]
    gains = [gain for case in cases for gain in gains_of_case(case, KINDS, seed=0)]
    assert all(gain.p is None for gain in pooled_gains(gains, cases, seed=0))
    scans = [replace(case, group=case.id) for case in cases]
    assert all(gain.p == pytest.approx(2 / 64) for gain in pooled_gains(gains, scans, seed=0))


def test_a_case_interval_holds_its_rmse() -> None:
    rng = np.random.default_rng(0)
    counts = {"": np.full(80, 1000.0), "_body": np.zeros(80)}
    squares = {"": rng.gamma(4.0, 100.0, 80) * 1000, "_body": np.zeros(80)}
    found = intervals_of_case(squares, counts, block_of(1.0, 80), seed=0)
    assert list(found) == ["rmse_hu"]
    low, high = found["rmse_hu"]
    assert low < math.sqrt(squares[""].sum() / counts[""].sum()) < high
    assert high - low < 4.0


def test_blocks_are_as_long_as_neighbouring_slices_resemble_each_other() -> None:
    assert block_of(1.0, 200) == 20
    assert block_of(1.0, 40) == 10
    assert block_of(5.0, 2) == 1
