"""The page of an evaluation: findings, pictures, tables with the best marked, plots; one case at a time or all pooled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lamella.files.atomic import staged_file
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods
from lamella.report import plots
from lamella.report.cases import Pictures, pictures_of
from lamella.report.contact import contact_sheets
from lamella.report.findings import caveats, findings
from lamella.report.markup import Cell, Plot, Row, Table, in_words, number, plot_of
from lamella.report.pack import BUDGET_BYTES
from lamella.report.page import render_page, viewer_windows
from lamella.report.people import blinded_tables, people_tables
from lamella.results.compared import Interval
from lamella.results.files import read_blinded, read_results
from lamella.results.schema import CaseRecord, Results

_GROUPS = {
    "error": "Error",
    "tasks": "Tasks",
    "structure": "Structure along the slices",
    "noise": "Noise",
    "densitometry": "Densitometry",
    "foci": "Small foci",
    "calibration": "Predicted spread",
    "measurement": "Measurement and placement",
}
"""Heading of a group of figures, in the order of the tables."""

_CAPTIONS = {
    "plot_slices": "Error of each thin slice: it rises between the centres of the thick slices where little was learnt.",
    "plot_shifts": "Error when a result is moved along the slice axis. Its least value (marked) belongs at 0.",
    "plot_spectra": "Noise power against the truth's: below it is smoothing, above it noise that is not the scan's.",
    "plot_noise": "Noise of each thin slice. Teeth at the distance of the thick slices are stripes.",
    "plot_coverage": "Share of errors inside the predicted intervals. On the line the spread means what it says.",
    "plot_spheres": "What is left of small spheres put into the lungs: 1 is all of it, 0 is nothing.",
}

_MOST_CURVES = 6
"""More curves cannot be told apart."""

_KINDS = {"baseline": "interpolation", "projected": "interpolation, then projected onto the measurement"}

Bases = Mapping[str, Mapping[str, frozenset[str]]]
"""Method -> figure -> the cases that it is a mean over."""


def render_results(results: Path, out: Path, *, overwrite: bool = False, budget_bytes: int = BUDGET_BYTES) -> None:
    """Write the page of an evaluation.

    Args:
        results: folder or results.json that `lamella evaluate` wrote.
        out: name of the page.
        overwrite: replace an earlier page.
        budget_bytes: what the volumes of all cases may take.

    Raises:
        UsageError: there is no results.json.
        RefusedInput: a volume it names is damaged or not finite.
        LamellaError: results.json is damaged or of another version, lacks a volume it names, or the volumes do not fit.
    """
    folder, found = read_results(results)
    pictures = pictures_of(folder, found, budget_bytes)
    page = render_page(
        "evaluation.html",
        _content(folder, found, pictures),
        {"windows": viewer_windows(), "views": pictures.views},
        "Lamella: evaluation",
        blocks=pictures.blocks,
    )
    with staged_file(out, overwrite=overwrite) as file:
        file.write_text(page, encoding="utf-8")


def _content(folder: Path, found: Results, pictures: Pictures) -> dict[str, Any]:
    """What the template is given."""
    shown = {view["case"] for view in pictures.views}
    models = ", ".join(one.name for one in found.model) or "no model"
    return {
        "heading": "Thin slices against the truth",
        "facts": f"Evaluation of {models}, Lamella {found.lamella}",
        "links": [
            ("pictures", "Pictures"),
            ("pooled", "All cases"),
            ("case", "This case"),
            ("made", "How it was made"),
        ],
        "cards": findings(found),
        "warnings": caveats(found),
        "warnings_title": "What to know before you quote this",
        "choices": [(case.id, case.title) for case in found.cases],
        "notes": pictures.notes,
        "gains": _gains(found),
        "people": [*people_tables(found), *blinded_tables(found, read_blinded(folder))],
        "pooled": _pooled(found),
        "cases": [
            {
                "id": case.id,
                "title": case.title,
                "notes": [_about(case), *case.notes],
                "plots": list(_plots(found, case)),
                "tables": _tables(found, case.figures, case.intervals, case.title, case.id),
                "sheets": contact_sheets(folder, found, case) if case.id in shown else [],
            }
            for case in found.cases
        ],
        "run": [
            ("Lamella", found.lamella),
            ("Made", found.created),
            ("Seconds", f"{found.seconds:.0f}"),
            *((f"Model {one.name}", f"SHA-256 {one.sha256}, {one.licence}") for one in found.model),
        ],
        "methods": [(one.label, _KINDS.get(one.kind, one.kind)) for one in found.methods],
        "settings": [(key, in_words(value)) for key, value in found.settings.items()],
    }


def _gains(found: Results) -> Plot | None:
    if not any(one.against == "cubic" for one in found.gains):
        return None
    words = "Gain over cubic interpolation, per case and pooled; lines are 95 % intervals. Right of the line is better."
    return plot_of(plots.plot_gains(found), "gains", words)


def _pooled(found: Results) -> list[Table]:
    values: dict[str, dict[str, float | None]] = {}
    intervals: dict[str, dict[str, Interval]] = {}
    bases: dict[str, dict[str, frozenset[str]]] = {}
    for method, figures in found.pooled.items():
        values[method] = {name: one.value for name, one in figures.items()}
        intervals[method] = {name: one.interval for name, one in figures.items() if one.interval}
        bases[method] = {
            name: frozenset(case.id for case in found.cases if case.figure(method, name) is not None)
            for name in figures
        }
    return _tables(found, values, intervals, "all cases", "pooled", bases)


def what_was_scored(case: CaseRecord) -> str:
    """The slices of a case in a sentence."""
    thick, thin = case.thick, case.thin
    return (
        f"{thick.slices} slices of {thick.thickness_mm:g} mm every {thick.spacing_mm:g} mm; "
        f"{case.scored_slices} thin slices every {thin.spacing_mm:g} mm were scored."
    )


def _about(case: CaseRecord) -> str:
    words, floor = what_was_scored(case), case.floor
    if floor and floor.floor_soft_hu is not None:
        words += (
            f" The truth's own noise in soft tissue is {floor.sd_in_plane_hu:.1f} HU: no method could come below an RMSE of "
            f"about {floor.floor_soft_hu:.1f} HU there."
        )
    return words


def _plots(found: Results, case: CaseRecord) -> Iterator[Plot]:
    """Every plot the case has data for."""
    methods, count = curves_of(found, case), len(case.figures)
    left_out = "" if len(methods) == count else f" ({len(methods)} of {count} methods; the tables have all.)"
    possible = (
        (plots.plot_slices, True),
        (plots.plot_shifts, True),
        (plots.plot_spectra, case.spectra.in_plane or case.spectra.along_z),
        (plots.plot_noise, case.slices.noise_hu),
        (plots.plot_coverage, case.coverage),
        (plots.plot_spheres, case.spheres),
    )
    for plot, there in possible:
        if there:
            name = plot.__name__
            yield plot_of(plot(case, found.labels, methods), f"{case.id}-{name}", f"{_CAPTIONS[name]}{left_out}")


def curves_of(found: Results, case: CaseRecord) -> list[str]:
    """The methods a plot can hold: the first of `ordered`, and cubic interpolation, which all are judged by."""
    methods = ordered(found, case.figures)
    if "cubic" in methods[_MOST_CURVES:]:
        return [*methods[: _MOST_CURVES - 1], "cubic"]
    return methods[:_MOST_CURVES]


def ordered(found: Results, rows: Iterable[str]) -> list[str]:
    """Methods as people look for them: models and outside results, cubic and cubic projected, the others as listed."""
    order = dict.fromkeys([*found.of_kind("model", "outside"), "cubic", "cubic projected", *found.labels])
    return [name for name in order if name in set(rows)]


def _tables(
    found: Results,
    rows: Mapping[str, Mapping[str, float | None]],
    intervals: Mapping[str, Mapping[str, Interval]],
    where: str,
    id: str,
    bases: Bases | None = None,
) -> list[Table]:
    """One table a group of figures; the first is open."""
    methods = ordered(found, rows)
    tables = []
    for group, title in _GROUPS.items():
        figures = [name for name, about in FIGURES.items() if about.group == group]
        known = [name for name in figures if any(rows[method].get(name) is not None for method in methods)]
        if known:
            body = [_row(name, rows, intervals, methods, bases or {}, len(found.cases)) for name in known]
            columns = [found.label(method) for method in methods]
            tables.append(Table(f"{id}-{group}", title, f"{title}: {where}", columns, body, group == "error"))
    return tables


def _row(
    name: str,
    rows: Mapping[str, Mapping[str, float | None]],
    intervals: Mapping[str, Mapping[str, Interval]],
    methods: list[str],
    bases: Bases,
    count: int,
) -> Row:
    """A figure of every method; a mean over fewer cases than another's cannot be the best of all."""
    about = FIGURES[name]
    cases = {method: bases.get(method, {}).get(name, frozenset()) for method in methods}
    union = frozenset().union(*cases.values())
    best = best_methods(name, {method: row for method, row in rows.items() if cases.get(method, frozenset()) == union})
    cells = []
    for method in methods:
        value, interval = rows[method].get(name), intervals.get(method, {}).get(name)
        if value is None:
            cells.append(Cell(""))
            continue
        under = f"{number(interval[0], about.digits)} to {number(interval[1], about.digits)}" if interval else ""
        if bases and len(cases[method]) < count:
            under = f"{under}; " * bool(under) + f"{len(cases[method])} of {count} cases"
        cells.append(Cell(number(value, about.digits), method in best, under))
    return Row(about.label, cells, about.unit, about.about)
