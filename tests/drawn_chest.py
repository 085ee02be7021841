"""A small drawn chest as a case of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamella.evaluate import EvaluationSettings
from lamella.evaluate.cases import Case, build_cases, plan_cases
from lamella.evaluate.settings import GeometrySettings, PhantomCase

FIVE = GeometrySettings(5.0, 5.0)
TINY = PhantomCase((FIVE,), name="tiny", slices=30, rows=112, pixel_mm=3.0)
CHEST = PhantomCase((FIVE,), name="chest", slices=60, rows=128, pixel_mm=2.8)


def settings_of(out: Path, **differing: Any) -> EvaluationSettings:
    plain: dict[str, Any] = {
        "phantoms": (CHEST,),
        "models": (),
        "volumes": ("cubic",),
        "baselines": ("linear", "cubic"),
    }
    return EvaluationSettings(out=str(out), **{**plain, **differing})


def case_of(settings: EvaluationSettings) -> Case:
    _, case = next(iter(build_cases(plan_cases(settings), settings)))
    assert isinstance(case, Case), case
    return case
