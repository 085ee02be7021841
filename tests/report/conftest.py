"""One small evaluation for all tests of the report that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.results_builder import write_results


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("evaluation") / "results", cases=2)
