"""The half page at the head of a document: how much better, on how many people, at what, at what risk.

Every number comes from the records. People are weighed alike, by the first geometry that their scans were thickened to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.metrics import FEWEST_PAIRS
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods, heading, markdown_cell, printed
from lamella.report.contact import shares
from lamella.results.evidence import BlindedTest, WorstPlace
from lamella.results.schema import CaseRecord, Results

AGAINST = ("cubic projected", "cubic")
"""What a result is held against: the strongest plain method, and the usual one."""

BETTER = (
    *("rmse_body_hu", "vessel_found", "vessel_small_found", "vessel_precision", "bone_250_mean_mm", "fissure_visible"),
    *("nodule_volume_error", "nodule_lost", "airway_area_error", "calcium_score_ratio", "laa_950_bias_pp"),
)
RISK = (
    *("vessel_invented", "foci_fabricated_per_litre", "foci_erased_rate", "blobs_invented_per_litre"),
    *("blobs_erased_per_litre", "consistency_rmse_hu"),
)

_SPOKEN_BETTER = (
    ("rmse_body_hu", "has an error in the body of {} HU"),
    ("vessel_found", "shows {} of the length of the lung vessels' centre lines"),
    ("vessel_precision", "is right in {} of those that it shows"),
    ("bone_250_mean_mm", "has the surface of bone {} mm off"),
)
_SPOKEN_RISK = (
    ("foci_fabricated_per_litre", "invents {} small dense foci a litre of lung"),
    ("foci_erased_rate", "lacks {} of those of the truth"),
    ("blobs_invented_per_litre", "invents {} other small structures a litre of body"),
    ("blobs_erased_per_litre", "lacks {} that the truth has"),
)


@dataclass(frozen=True)
class Headline:
    """The half page.

    Attributes:
        sentences: (question, answer).
        tables: Markdown: what is better, and what it risks.
    """

    sentences: Sequence[tuple[str, str]]
    tables: Sequence[str]


def headline(found: Results, method: str, blinded: BlindedTest | None) -> Headline:
    """The half page about one method.

    Args:
        found: the results.
        method: the one that it is about.
        blinded: the blinded test, where it was run.
    """
    groups = groups_of(found)
    names = [method, *(name for name in AGAINST if name in found.labels)]
    sentences = [
        ("How much better?", _better(found, names, groups)),
        ("On how many people?", _people(found)),
        ("At what?", _at_what(found)),
        ("At what risk?", _risk(found, names, groups, blinded)),
    ]
    return Headline(
        [(question, answer) for question, answer in sentences if answer],
        [table for figures in (BETTER, RISK) if (table := _table(found, figures, names, groups))],
    )


def groups_of(found: Results) -> dict[str, list[CaseRecord]]:
    """Cases whose means are told: persons in the first geometry that they were thickened to, real pairs, and each phantom."""
    people = [case for case in found.cases if case.person and case.kind == "thickened"]
    first = [case for case in people if _widths(case) == _widths(people[0])]
    groups: dict[str, list[CaseRecord]] = {}
    if first:
        count = _count(len({case.group for case in first}), "person")
        groups[f"{count}, {_geometry(first[0])}"] = first
    for case in found.cases:
        if case.kind == "pair":
            groups[case.title] = [case]
        elif not case.person:
            groups[f"phantom {case.title}"] = [case]
    return groups


def mean_of(cases: Sequence[CaseRecord], method: str, figure: str) -> float | None:
    """Mean over persons or scans of their means over cases; None where no case has the figure."""
    values: dict[str, list[float]] = {}
    for case in cases:
        if (value := case.figure(method, figure)) is not None:
            values.setdefault(case.group, []).append(value)
    means = [sum(ones) / len(ones) for ones in values.values()]
    return sum(means) / len(means) if means else None


def _count(number_of: int, one: str) -> str:
    return f"{number_of or 'no'} {one}{'' if number_of == 1 else 's'}"


def _widths(case: CaseRecord) -> tuple[float, float]:
    return case.thick.thickness_mm, case.thick.spacing_mm


def _geometry(case: CaseRecord) -> str:
    return f"{case.thick.thickness_mm:g} mm every {case.thick.spacing_mm:g} mm"


def _told(found: Results, cases: Sequence[CaseRecord], names: Sequence[str], spoken: Sequence[tuple[str, str]]) -> str:
    """What a method reads on some cases, each beside the others; figures that one of them lacks are left out.

    Args:
        names: the method, then those that it is held against.
        spoken: (figure, words with a place for its value).
    """
    told = []
    for figure, words in spoken:
        values = [mean_of(cases, name, figure) for name in names]
        if None not in values:
            own, *others = (_number(figure, value) for value in values if value is not None)
            beside = "; ".join(f"{found.label(name)}: {other}" for name, other in zip(names[1:], others, strict=True))
            told.append(f"{words.format(own)} ({beside})")
    return ", ".join(told)


def _number(figure: str, value: float) -> str:
    """As it is said: shares of the whole in per cent."""
    share = figure in ("vessel_found", "vessel_precision", "foci_erased_rate")
    return f"{100 * value:.0f} %" if share else printed(figure, value)


def _better(found: Results, names: Sequence[str], groups: dict[str, list[CaseRecord]]) -> str:
    """Errors, vessels and bone of persons and real pairs; of phantoms where there is nobody."""
    told = [
        f"On {where}, {found.label(names[0])} {words}."
        for where, cases in _first(groups).items()
        if (words := _told(found, cases, names, _SPOKEN_BETTER))
    ]
    return " ".join(told)


def _first(groups: dict[str, list[CaseRecord]]) -> dict[str, list[CaseRecord]]:
    """Groups of scans; the first phantom where there is none."""
    scans = {where: cases for where, cases in groups.items() if cases[0].kind != "phantom"}
    return scans or dict(list(groups.items())[:1])


def _people(found: Results) -> str:
    people = {case.group for case in found.cases if case.person}
    others = {case.group for case in found.cases if not case.person}
    words = f"{_count(len(people), 'person')}, and {_count(len(others), 'scan')} of phantoms."
    words = f"{words[0].upper()}{words[1:]}"
    if len(people) < FEWEST_PAIRS:
        return f"{words} With fewer than six persons no interval over people is given: how the next one fares is not known."
    return f"{words} Intervals are over people."


def _at_what(found: Results) -> str:
    listed = list(dict.fromkeys(_geometry(case) for case in found.cases))
    thin = sorted({round(case.thin.spacing_mm, 2) for case in found.cases})
    return (
        f"At slices of {', '.join(listed)}, made thin again to every {' and '.join(f'{mm:g}' for mm in thin)} mm. What is "
        "measured is what a reader or a program does with a scan, with thresholds that were fixed before."
    )


def _risk(
    found: Results, names: Sequence[str], groups: dict[str, list[CaseRecord]], blinded: BlindedTest | None
) -> str:
    """What is invented and erased, where the result is worst, and whether it can be told from a real scan."""
    told = []
    for where, cases in list(_first(groups).items())[:1]:
        if words := _told(found, cases, names, _SPOKEN_RISK):
            told.append(f"On {where}, it {words}.")
        places = tuple(one for case in cases for one in _places(case, names[0]))
        if places:
            kinds = ", ".join(f"{kind} {count}" for kind, count in shares(places).items())
            most = max(abs(one.difference_hu) for one in places)
            told.append(f"Its {len(places)} worst places are up to {most:.0f} HU from the truth: {kinds}.")
    one = next((one for one in blinded.judged if one.method == names[0]), None) if blinded else None
    if one:
        told.append(
            f"A small classifier knows the real one of a pair in {100 * one.side_by_side:.0f} % (50 % is chance)."
        )
    return " ".join(told)


def _places(case: CaseRecord, method: str) -> tuple[WorstPlace, ...]:
    return case.harm.from_truth if case.harm and case.harm.method == method else ()


def _table(found: Results, names: Sequence[str], methods: Sequence[str], groups: dict[str, list[CaseRecord]]) -> str:
    """Figures down; methods of every group across; the best of each group bold."""
    lines = []
    for where, cases in groups.items():
        shown = where
        for figure in names:
            row = {method: {figure: mean_of(cases, method, figure)} for method in methods}
            if any(one[figure] is not None for one in row.values()):
                best = best_methods(figure, row)
                cells = [markdown_cell(figure, row[method][figure], method in best) for method in methods]
                lines.append(f"| {shown} | {heading(figure)} | {' | '.join(cells)} |")
                shown = ""
    if not lines:
        return ""
    assert set(names) <= set(FIGURES), "figures of the catalogue"
    head = f"| on | | {' | '.join(found.label(one) for one in methods)} |"
    return "\n".join([head, "|---" * (len(methods) + 2) + "|", *lines])
