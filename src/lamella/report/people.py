"""Tables of people: a line each, differences in pairs, agreement of what is read off their lungs; and a blinded judge."""

from __future__ import annotations

from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import heading
from lamella.report.markup import Cell, Row, Table, number
from lamella.results.compared import Interval, Paired
from lamella.results.evidence import BlindedTest
from lamella.results.schema import Results

_READINGS = {"laa_950_percent": "LAA-950", "laa_910_percent": "LAA-910", "perc15_hu": "Perc15"}


def people_tables(found: Results) -> list[Table]:
    """Person by person, where there are people and a model; concordance, where there are enough."""
    return [*_people(found), *_concordance(found)]


def blinded_tables(found: Results, blinded: BlindedTest | None) -> list[Table]:
    """How often a classifier tells the results from real scans, where that was asked."""
    if blinded is None:
        return []
    questions = (
        ("Side by side", "side_by_side", "Share of pairs of one place in which it knows the real one; 50 % is chance."),
        ("Alone", "alone", "Share of right answers on single patches; 50 % is chance."),
    )
    rows = [
        Row(label, [_share(getattr(one, name), getattr(one, f"{name}_interval")) for one in blinded.judged], "%", about)
        for label, name, about in questions
    ]
    over = "persons" if all(one.over_people for one in blinded.judged) else "parts of the scans"
    caption = f"How often a small classifier tells results from real thin scans; below, 95 % over {over}"
    columns = [found.label(one.method) for one in blinded.judged]
    return [Table("blinded", "Blinded test", caption, columns, rows, False)]


def _share(value: float, interval: Interval | None) -> Cell:
    under = " to ".join(number(100 * one, 1) for one in interval) if interval else ""
    return Cell(number(100 * value, 1), False, under)


def _people(found: Results) -> list[Table]:
    pairs = found.pairs_shown()
    if not pairs:
        return []
    method, against = found.label(pairs[0].method), found.label(pairs[0].against)
    people = list(dict.fromkeys(name for one in pairs for name in one.differences))
    about = "Means over the cases of a person; a dot: better than the interpolation."
    rows = [Row(name, [_of_person(found, one, name) for one in pairs], "", about) for name in people]
    rows.append(
        Row(f"Mean of {len(people)}", [_mean(one) for one in pairs], "", "Mean of the differences over people.")
    )
    caption = f"{method}, person by person; below each figure its difference from {against}, a dot where it is better"
    return [Table("people", "People", caption, [heading(one.figure) for one in pairs], rows, True)]


def _of_person(found: Results, pair: Paired, person: str) -> Cell:
    values = [
        value
        for case in found.cases
        if case.group == person and (value := case.figure(pair.method, pair.figure)) is not None
    ]
    if person not in pair.differences or not values:
        return Cell("")
    digits, difference = FIGURES[pair.figure].digits, pair.differences[person]
    return Cell(
        number(sum(values) / len(values), digits), _better(pair, difference), number(difference, digits, plus=True)
    )


def _mean(pair: Paired) -> Cell:
    digits = FIGURES[pair.figure].digits
    under = ""
    if pair.interval:
        under = f"{number(pair.interval[0], digits, plus=True)} to {number(pair.interval[1], digits, plus=True)}"
    return Cell(number(pair.mean, digits, plus=True), _better(pair, pair.mean), under)


def _better(pair: Paired, difference: float) -> bool:
    """Better as printed: what rounds to no difference is none."""
    shown = round(difference, FIGURES[pair.figure].digits)
    return shown > 0 if FIGURES[pair.figure].best == "high" else shown < 0


def _concordance(found: Results) -> list[Table]:
    methods = [name for name in found.labels if name in found.concordance]
    rows = [
        Row(
            label,
            [
                Cell("" if (value := found.concordance[method].get(reading)) is None else number(value, 3))
                for method in methods
            ],
            "",
            "Lin's concordance coefficient of a method's readings with the truth's, over people: 1 is agreement.",
        )
        for reading, label in _READINGS.items()
        if any(reading in found.concordance[method] for method in methods)
    ]
    if not rows:
        return []
    columns = [found.label(method) for method in methods]
    return [Table("concordance", "Concordance", "Concordance over people: all cases", columns, rows, False)]
