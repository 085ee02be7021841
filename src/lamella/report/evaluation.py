"""The page of an evaluation: findings, pictures, tables with the best marked, plots; one case at a time or all pooled."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lamella import RESEARCH_ONLY
from lamella.files.atomic import staged_file
from lamella.metrics.catalogue import FIGURES
from lamella.metrics.tables import best_methods
from lamella.report import plots
from lamella.report.cases import Pictures, pictures_of
from lamella.report.findings import caveats, findings
from lamella.report.markup import (
    Cell,
    Ids,
    Row,
    cards,
    folded,
    number,
    pairs,
    plot,
    section,
    table,
    warnings,
)
from lamella.report.pack import BUDGET_BYTES
from lamella.report.page import assemble, header, viewer_part, viewer_windows, web_file
from lamella.report.results import Results, read_results

_GROUPS = {
    "error": "Error",
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
        LamellaError: results.json is damaged, lacks keys or a volume it names, or the volumes do not fit.
    """
    found = read_results(results)
    pictures = pictures_of(found, budget_bytes)
    page = assemble(
        _body(found, pictures),
        {"windows": viewer_windows(), "views": pictures.views},
        "Lamella: evaluation",
        blocks=pictures.blocks,
        extra_script=web_file("page.js"),
    )
    with staged_file(out, overwrite=overwrite) as file:
        file.write_text(page, encoding="utf-8")


def _body(found: Results, pictures: Pictures) -> str:
    ids = Ids()
    cases = [(str(case["id"]), str(case["title"])) for case in found.cases]
    models = ", ".join(str(one["name"]) for one in found.content["model"]) or "no model"
    links = [("pictures", "Pictures"), ("pooled", "All cases"), ("case", "This case"), ("made", "How it was made")]
    parts = [
        header("Thin slices against the truth", f"Evaluation of {models}, Lamella {found.content['lamella']}", links),
        "<main>",
        cards(findings(found)),
        warnings(caveats(found), "What to know before you quote this"),
        viewer_part(cases, pictures.notes),
        section("pooled", "All cases", _pooled(found, ids), _pooled_lead(found)),
        f'<section id="case">{"".join(_case(found, case, ids) for case in found.cases)}</section>',
        section("made", "How it was made", _made(found)),
        "</main>",
        f"<footer><p>{html.escape(RESEARCH_ONLY)}</p></footer>",
    ]
    return "".join(parts)


def _pooled_lead(found: Results) -> str:
    count = len(found.cases)
    return (
        f"Means over {count} case{'' if count == 1 else 's'}, if nothing else is said. A green dot marks the best value of a "
        "figure; where intervals overlap, the difference may be chance. Point at a figure for what it says."
    )


def _pooled(found: Results, ids: Ids) -> str:
    gains = found.content["gains"]
    drawn = ""
    if any(one["against"] == "cubic" for one in gains):
        words = (
            "Gain over cubic interpolation, per case and pooled; lines are 95 % intervals. Right of the line is better."
        )
        drawn = f'<div class="plots">{plot(plots.plot_gains(found.content), "gains", words)}</div>'
    rows = {
        method: {figure: entry["value"] for figure, entry in figures.items()}
        for method, figures in found.content["pooled"].items()
    }
    intervals = {
        method: {figure: entry["interval"] for figure, entry in figures.items() if entry["interval"]}
        for method, figures in found.content["pooled"].items()
    }
    return drawn + _tables(found, rows, intervals, "all cases", ids, _bases(found))


def _bases(found: Results) -> Bases:
    """The cases that a pooled figure comes from."""
    return {
        method: {
            figure: frozenset(
                str(case["id"]) for case in found.cases if case["figures"].get(method, {}).get(figure) is not None
            )
            for figure in figures
        }
        for method, figures in found.content["pooled"].items()
    }


def _case(found: Results, case: Mapping[str, Any], ids: Ids) -> str:
    """Plots and tables of one case; the page shows the chosen one."""
    notes = "".join(f"<p>{html.escape(str(note))}</p>" for note in (_about(case), *case["notes"]))
    drawn = "".join(_plots(found, case))
    return (
        f'<div data-case="{html.escape(str(case["id"]))}"><h2>{html.escape(str(case["title"]))}</h2>'
        f'<div class="lead">{notes}</div><div class="plots">{drawn}</div>'
        f"{_tables(found, case['figures'], case['intervals'], str(case['title']), ids)}</div>"
    )


def _about(case: Mapping[str, Any]) -> str:
    thick, thin, floor = case["thick"], case["thin"], case["floor"]
    words = (
        f"{thick['slices']} slices of {thick['thickness_mm']:g} mm every {thick['spacing_mm']:g} mm; "
        f"{case['scored_slices']} thin slices every {thin['spacing_mm']:g} mm were scored."
    )
    if floor and floor["floor_soft_hu"] is not None:
        words += (
            f" The truth's own noise in soft tissue is {floor['sd_in_plane_hu']:.1f} HU: no method could come below an RMSE of "
            f"about {floor['floor_soft_hu']:.1f} HU there."
        )
    return words


def _plots(found: Results, case: Mapping[str, Any]) -> Iterator[str]:
    """Every plot the case has data for."""
    labels = {str(one["name"]): str(one["label"]) for one in found.content["methods"]}
    methods, count = curves_of(found, case), len(case["figures"])
    left_out = "" if len(methods) == count else f" ({len(methods)} of {count} methods; the tables have all.)"
    drawn = (
        (plots.plot_slices, True),
        (plots.plot_shifts, True),
        (plots.plot_spectra, case["spectra"]),
        (plots.plot_noise, case["slices"]["noise_hu"]),
        (plots.plot_coverage, case["coverage"]),
        (plots.plot_spheres, case["spheres"]),
    )
    for draw, there in drawn:
        if there:
            name = draw.__name__
            words = f"{_CAPTIONS[name]}{left_out}"
            yield plot(draw(case, labels, methods), f"{case['id']}-{name}", words)


def curves_of(found: Results, case: Mapping[str, Any]) -> list[str]:
    """The methods a plot can hold: the first of `ordered`, and cubic interpolation, which all are judged by."""
    methods = ordered(found, case["figures"])
    if "cubic" in methods[_MOST_CURVES:]:
        return [*methods[: _MOST_CURVES - 1], "cubic"]
    return methods[:_MOST_CURVES]


def ordered(found: Results, rows: Iterable[str]) -> list[str]:
    """Methods as people look for them: models and outside results, cubic and cubic projected, the others as listed."""
    kinds = {str(one["name"]): str(one["kind"]) for one in found.content["methods"]}
    first = [name for name, kind in kinds.items() if kind in ("model", "outside")]
    order = dict.fromkeys([*first, "cubic", "cubic projected", *kinds])
    return [name for name in order if name in set(rows)]


def _tables(
    found: Results,
    rows: Mapping[str, Mapping[str, float | None]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]],
    where: str,
    ids: Ids,
    bases: Bases | None = None,
) -> str:
    """One table a group of figures; the first is open."""
    methods = ordered(found, rows)
    parts = []
    for group, title in _GROUPS.items():
        figures = [name for name, about in FIGURES.items() if about.group == group]
        known = [name for name in figures if any(rows[method].get(name) is not None for method in methods)]
        if known:
            body = [_row(name, rows, intervals, methods, bases or {}, len(found.cases)) for name in known]
            drawn = table([found.label(method) for method in methods], body, f"{title}: {where}", ids)
            parts.append(folded(title, drawn, opened=group == "error"))
    return "".join(parts)


def _row(
    name: str,
    rows: Mapping[str, Mapping[str, float | None]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]],
    methods: Sequence[str],
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


def _made(found: Results) -> str:
    content = found.content
    models = [(f"Model {one['name']}", f"SHA-256 {one['sha256']}, {one['licence']}") for one in content["model"]]
    kinds = {"baseline": "interpolation", "projected": "interpolation, then projected onto the measurement"}
    methods = [(one["label"], kinds.get(one["kind"], one["kind"])) for one in content["methods"]]
    run = [
        ("Lamella", content["lamella"]),
        ("Made", content["created"]),
        ("Seconds", f"{content.get('seconds', 0):.0f}"),
        *models,
    ]
    settings = [(key, _plain(value)) for key, value in content["settings"].items()]
    return (
        f'<div class="columns"><div><h3>Run</h3>{pairs(run)}</div><div><h3>Methods</h3>{pairs(methods)}</div></div>'
        f"{folded('All settings', pairs(settings))}"
    )


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return "not given" if value is None else str(value)
