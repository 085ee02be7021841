"""A small drawn chest, thickened, and an evaluation of it with the interpolations alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.drawn_chest import case_of, settings_of

from lamella.evaluate import evaluate
from lamella.evaluate.cases import Case


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """5 mm every 5 mm of the drawn chest."""
    return case_of(settings_of(tmp_path_factory.mktemp("none")))


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """results.json of the interpolations."""
    done = evaluate(settings_of(tmp_path_factory.mktemp("results") / "chest"))
    return {**json.loads(done.results.read_text(encoding="utf-8")), "folder": done.results.parent}
