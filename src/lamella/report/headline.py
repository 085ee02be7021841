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
from lamella.results.evidence import BlindedTest
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
    against = [name for name in AGAINST if name in found.labels]
    sentences = [
        ("How much better?", _better(found, method, against, groups)),
        ("On how many people?", _people(found)),
        ("At what?", _at_what(found)),
        ("At what risk?", _risk(found, method, against, groups, blinded)),
    ]
    return Headline(
        [(question, answer) for question, answer in sentences if answer],
        [table for names in (BETTER, RISK) if (table := _table(found, names, [method, *against], groups))],
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


def _better(found: Results, method: str, against: Sequence[str], groups: dict[str, list[CaseRecord]]) -> str:
    """Errors, vessels and bone of the first group that has them, beside interpolation."""
    told = []
    for figure, words in (
        ("rmse_body_hu", "Its error in the body is {} HU"),
        ("vessel_found", "It shows {} of the length of the lung vessels' centre lines"),
        ("vessel_precision", "{} of what it shows of them is right"),
        ("bone_250_mean_mm", "The surface of bone lies {} mm from the truth's"),
    ):
        for where, cases in groups.items():
            value = mean_of(cases, method, figure)
            others = [(name, mean_of(cases, name, figure)) for name in against]
            if value is not None and all(other is not None for _, other in others):
                beside = ", ".join(f"{found.label(name)}: {_spoken(figure, other)}" for name, other in others)
                told.append(f"{words.format(_spoken(figure, value))} ({beside}; {where}).")
                break
    return f"{found.label(method)}: {' '.join(told)}" if told else ""


def _spoken(figure: str, value: float | None) -> str:
    assert value is not None, "asked for above"
    share = figure in ("vessel_found", "vessel_precision")
    return f"{100 * value:.0f} %" if share else printed(figure, value)


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
    found: Results,
    method: str,
    against: Sequence[str],
    groups: dict[str, list[CaseRecord]],
    blinded: BlindedTest | None,
) -> str:
    told = []
    for where, cases in list(groups.items())[:1]:
        names = [method, *against]
        for figure, words in (
            ("blobs_invented_per_litre", "a litre of body it invents {} small structures"),
            ("blobs_erased_per_litre", "a litre of body {} of the truth's small structures are not in it"),
        ):
            values = [(name, mean_of(cases, name, figure)) for name in names]
            if all(value is not None for _, value in values):
                (_, own), *rest = values
                beside = ", ".join(f"{found.label(name)}: {_spoken(figure, value)}" for name, value in rest)
                text = f"{words.format(_spoken(figure, own))} ({beside})"
                told.append(f"{text[0].upper()}{text[1:]}.")
        worst = [case for case in cases if case.harm and case.harm.method == method and case.harm.from_truth]
        if worst:
            places = tuple(one for case in worst if case.harm for one in case.harm.from_truth)
            kinds = ", ".join(f"{kind} {count}" for kind, count in shares(places).items())
            most = max(abs(one.difference_hu) for one in places)
            told.append(
                f"Of the {len(places)} places where it is furthest from the truth, up to {most:.0f} HU: {kinds}."
            )
        told = [f"{where}: {' '.join(told)}"] if told else []
    if blinded:
        one = next((one for one in blinded.judged if one.method == method), None)
        if one:
            told.append(
                f"A small classifier knows the real one of a pair in {100 * one.side_by_side:.0f} % (50 % is chance)."
            )
    return " ".join(told)


def _table(found: Results, names: Sequence[str], methods: Sequence[str], groups: dict[str, list[CaseRecord]]) -> str:
    """Figures down; methods of every group across; the best of each group bold."""
    lines = []
    for where, cases in groups.items():
        for figure in names:
            row = {method: {figure: mean_of(cases, method, figure)} for method in methods}
            if any(one[figure] is not None for one in row.values()):
                best = best_methods(figure, row)
                cells = [markdown_cell(figure, row[method][figure], method in best) for method in methods]
                lines.append(f"| {where} | {heading(figure)} | {' | '.join(cells)} |")
    if not lines:
        return ""
    assert set(names) <= set(FIGURES), "figures of the catalogue"
    head = f"| on | | {' | '.join(found.label(one) for one in methods)} |"
    return "\n".join([head, "|---" * (len(methods) + 2) + "|", *lines])
