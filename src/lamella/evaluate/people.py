"""What an evaluation says of people, one figure each: paired differences, and agreement with the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

import lamella.metrics as metrics
from lamella.metrics.catalogue import FIGURES, PEOPLE
from lamella.results.compared import Paired
from lamella.results.schema import CaseRecord, MethodKind

CONCORDANT = {
    "laa_950_percent": "laa_950_bias_pp",
    "laa_910_percent": "laa_910_bias_pp",
    "perc15_hu": "perc15_bias_hu",
}
"""What the truth reads -> the figure that is a method's reading minus it."""

AGAINST = ("cubic", "cubic projected")
"""The methods that people's figures are compared with."""


def of_people(cases: Sequence[CaseRecord], value: Callable[[CaseRecord], float | None]) -> dict[str, float]:
    """Person -> mean over their cases that have a value; scans of nobody are left out."""
    found: dict[str, list[float]] = {}
    for case in cases:
        if case.person and (one := value(case)) is not None:
            found.setdefault(case.group, []).append(one)
    return {name: float(np.mean(values)) for name, values in found.items()}


def paired_figures(cases: Sequence[CaseRecord], kinds: Mapping[str, MethodKind], seed: int) -> list[Paired]:
    """The difference of every model and outside result to the projected and the plain cubic spline, a person each.

    Figures whose best value is 0 are compared by their size. An interval (bootstrap over people) and a paired test need
    `FEWEST_PAIRS` people.
    """
    found = []
    for method in (name for name, kind in kinds.items() if kind in ("model", "outside")):
        for against in (name for name in AGAINST if name in kinds):
            for figure in PEOPLE:
                differences = of_people(cases, partial(_difference, method, against, figure))
                if differences:
                    values = list(differences.values())
                    enough = len(values) >= metrics.FEWEST_PAIRS
                    interval = metrics.bootstrap_interval(values, seed=seed) if enough else None
                    p = metrics.paired_test(values, np.zeros(len(values)))
                    found.append(Paired(figure, method, against, differences, float(np.mean(values)), interval, p))
    return found


def _difference(method: str, against: str, figure: str, case: CaseRecord) -> float | None:
    ours, theirs = case.figure(method, figure), case.figure(against, figure)
    if ours is None or theirs is None:
        return None
    return abs(ours) - abs(theirs) if FIGURES[figure].best == "zero" else ours - theirs


def concordances(cases: Sequence[CaseRecord], methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Method -> reading -> Lin's concordance with the truth's over people; readings without one are left out."""
    found: dict[str, dict[str, float]] = {}
    for method in methods:
        for reading, bias in CONCORDANT.items():
            having = [c for c in cases if getattr(c.truth, reading) is not None and c.figure(method, bias) is not None]
            true = of_people(having, partial(_true, reading))
            off = of_people(having, partial(_figure, method, bias))
            agreement = metrics.concordance([true[one] + off[one] for one in true], list(true.values()))
            if agreement is not None:
                found.setdefault(method, {})[reading] = agreement
    return found


def _true(reading: str, case: CaseRecord) -> float | None:
    value: float | None = getattr(case.truth, reading)
    return value


def _figure(method: str, figure: str, case: CaseRecord) -> float | None:
    return case.figure(method, figure)
