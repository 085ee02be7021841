"""Prepared cases in an evaluation."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tests.stored_cases import StoredCase, StoredVolume, stored_index

from lamella.errors import UsageError
from lamella.evaluate.cases import build_cases, paths_of, plan_cases
from lamella.evaluate.settings import EvaluationSettings, GeometrySettings, SplitCases
from lamella.volume import Volume, round_hu


@pytest.fixture
def prepared(chest_thin: Volume, monkeypatch: pytest.MonkeyPatch) -> str:
    """An index whose validation split holds a pair and a thin series alone."""
    shape = (4, *chest_thin.hu.shape[1:])
    averaged = chest_thin.hu[:20].reshape(4, 5, *shape[1:]).mean(axis=1).round().astype(np.int16)
    grid = chest_thin.geometry.with_slices(4, 5.0, 2.0, 5.0)
    thin = StoredVolume(np.asarray(chest_thin.hu, np.int16), chest_thin.geometry)
    index = stored_index(StoredCase("pair", thin, StoredVolume(averaged, grid)), StoredCase("alone", thin))
    module = ModuleType("lamella.data.index")
    module.Index = SimpleNamespace(load=lambda folder: index)  # type: ignore[attr-defined]  # stands for the class
    monkeypatch.setitem(sys.modules, "lamella.data.index", module)
    return "prepared"


@pytest.fixture(scope="module")
def chest_thin() -> Volume:
    from lamella.phantom import PhantomSettings, paint_phantom

    drawn = paint_phantom(PhantomSettings((20, 112, 112), pixel_mm=3.0, nodules=0))
    return Volume(round_hu(drawn.hu), drawn.geometry)


def test_real_pairs_and_thickened_cases(prepared: str, tmp_path: Path) -> None:
    box = GeometrySettings(4.0, 4.0)
    settings = EvaluationSettings(
        str(tmp_path), splits=(SplitCases(prepared, "validation", most=1), SplitCases(prepared, "validation", (box,)))
    )
    planned = plan_cases(settings)
    assert sorted(one.id for one in planned) == ["alone_4-every-4", "pair", "pair_4-every-4"]
    assert paths_of(planned[0]) == ("prepared",)
    built = {one.id: case for one, case in build_cases(planned, settings)}
    assert not [case for case in built.values() if isinstance(case, Exception)]
    pair = built["pair"]
    assert not isinstance(pair, Exception)
    assert pair.thick.geometry.shape[0] == 4
    assert pair.grid.shape[0] == 20
    assert pair.profile == "unknown"
    thickened = built["alone_4-every-4"]
    assert not isinstance(thickened, Exception)
    assert thickened.thick.geometry.thickness_mm == 4.0
    # both are scans of one patient, and one in every interval and test
    assert {case.scan.name for case in built.values() if not isinstance(case, Exception)} == {"p1"}


def test_what_cannot_be_had_is_said(prepared: str, tmp_path: Path) -> None:
    settings = EvaluationSettings(str(tmp_path), splits=(SplitCases(prepared, "validation"),))
    built = {one.id: case for one, case in build_cases(plan_cases(settings), settings)}
    assert "case alone has no thick series" in str(built["alone"])
    with pytest.raises(UsageError, match="the split test of the prepared data set holds no case"):
        plan_cases(EvaluationSettings(str(tmp_path), splits=(SplitCases(prepared),)))
