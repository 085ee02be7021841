"""A small phantom chest as a case of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamella.evaluate import EvaluationSettings
from lamella.evaluate.cases import Case, build_cases, plan_cases
from lamella.evaluate.methods import Answer, tasks_of
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


def answers(case: Case, settings: EvaluationSettings, models: Mapping[str, Any]) -> Iterator[Answer]:
    """Every method's answer, one after the other."""
    for task in tasks_of(case, settings, models):
        yield from task.run(lambda *_: None)
