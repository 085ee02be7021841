"""The targets of a cohort (issue 27): wall time beside single runs, and memory over many studies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

pytestmark = pytest.mark.slow


def test_a_batch_of_twelve_takes_at_most_seven_tenths_of_twelve_runs(tmp_path: Path) -> None:
    import cohort

    found = cohort.single(tmp_path, 6, 64)
    assert found["share"] <= cohort.SHARE, found


def test_memory_is_flat_over_a_hundred_studies(tmp_path: Path) -> None:
    import cohort

    found = cohort.memory(tmp_path, 6, 48)
    assert found["growth"] <= cohort.GROWTH, found
