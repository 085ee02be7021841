"""A small drawn chest, thickened, and an evaluation of it with the interpolations alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.phantom_case import case_of, settings_of

from lamella.evaluate import evaluate
from lamella.evaluate.cases import Case
from lamella.results.files import read_results
from lamella.results.schema import Results


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """5 mm every 5 mm of the drawn chest."""
    return case_of(settings_of(tmp_path_factory.mktemp("none")))


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """Folder and results of the interpolations."""
    done = evaluate(settings_of(tmp_path_factory.mktemp("results") / "chest"))
    return read_results(done.results)
