"""The document of an evaluation: Markdown with tables and plots beside it, and pictures of phantoms alone.

Every sentence with a number is made from results.json; no figure is typed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from lamella.errors import UsageError
from lamella.files.atomic import staged_file
from lamella.metrics.catalogue import FIGURES, SHORT, SPHERES_MM
from lamella.metrics.tables import best_methods, heading, markdown_cell, markdown_table
from lamella.nifti.image import read_nifti
from lamella.report import plots
from lamella.report.anatomy import plot_fissure, plot_vessels
from lamella.report.evaluation import curves_of, what_was_scored
from lamella.report.headline import headline
from lamella.report.page import render
from lamella.report.preview import PreviewPanel, compose
from lamella.results.evidence import KINDS, BlindedTest, by_kind
from lamella.results.files import read_blinded, read_results
from lamella.results.people import people_table
from lamella.results.schema import CaseRecord, Results

_DPI = 110

_SHOWN = 3
"""Methods beside thick and truth in the picture of a case that shows nobody."""


def write_document(results: Path, out: Path, *, overwrite: bool) -> None:
    """Write the document; its pictures go to a folder of its name beside it.

    Args:
        results: folder or results.json of an evaluation.
        out: name ending in .md.
        overwrite: replace an earlier document.

    Raises:
        UsageError: the pictures would go into the results.
        LamellaError: the results cannot be read.
    """
    folder, found = read_results(results)
    pictures = out.with_suffix("")
    if pictures.resolve() == folder.resolve():
        raise UsageError(
            f"The document's pictures would go into the results, {pictures}. Choose another name than {out}."
        )
    links: dict[str, str] = {}
    for name, figure in _pictures(folder, found):
        with staged_file(pictures / f"{name}.png", overwrite=True) as file:
            figure.savefig(
                file, format="png", dpi=_DPI, facecolor=figure.get_facecolor(), metadata={"Software": "Lamella"}
            )
        links[name] = f"{pictures.name}/{name}.png"
    with staged_file(out, overwrite=overwrite) as file:
        file.write_text(document_text(found, links, read_blinded(folder)), encoding="utf-8")


def document_text(found: Results, links: Mapping[str, str], blinded: BlindedTest | None = None) -> str:
    """The Markdown.

    Args:
        found: the results.
        links: name of a picture -> where it lies; those that are missing are left out.
        blinded: the blinded test, where it was run.
    """
    judged = _headlines(found)
    gains = [
        (method, case, found.gain(case.id, method, "cubic"), found.least_gain(case.id, method))
        for method in judged
        for case in found.cases
    ]
    return render(
        "document.md",
        found=found,
        links=links,
        headline=headline(found, judged[0], blinded) if judged else None,
        blinded=blinded,
        people_tables=people_table(found.pairs_shown(), found.labels),
        places=_places(found),
        tools=[(case, found.label(name), run) for case in found.cases for name, run in case.tools.items()],
        models=", ".join(f"{one.name} (SHA-256 {one.sha256[:12]})" for one in found.model) or "none",
        short=[gain for gain in gains if None not in gain],
        people=len({case.group for case in found.cases if case.person}),
        kinds=KINDS,
        diameters=SPHERES_MM,
        catalogue=FIGURES,
        heading=heading,
        what_was_scored=what_was_scored,
        short_table=lambda case: markdown_table(SHORT, found.labels, case.figures),
        long_table=lambda case: _turned(found, case, tuple(name for name in FIGURES if name not in SHORT)),
    )


def _headlines(found: Results) -> list[str]:
    """The first answer of the models, which is their least-error one, and other tools' results."""
    models = found.of_kind("model")
    means = [name for name in models if name.split()[-1] == "mean"] or models[:1]
    return means + found.of_kind("outside")


def _places(found: Results) -> list[str]:
    """A line of a table for each case and list of worst places: how many of each kind, and how far they are off."""
    lines = []
    for case in found.cases:
        if case.harm is None:
            continue
        for places, other in ((case.harm.from_truth, "the truth"), (case.harm.from_cubic, "cubic interpolation")):
            if places:
                sizes = sorted(abs(one.difference_hu) for one in places)
                kinds = [str(len(ones)) for ones in by_kind(places).values()]
                off = f"{sizes[len(sizes) // 2]:.0f}, {sizes[-1]:.0f}"
                what = f"{case.title}: {found.label(case.harm.method)} from {other}"
                lines.append(f"| {what} | {off} | {' | '.join(kinds)} |")
    return lines


def _pictures(folder: Path, found: Results) -> Iterator[tuple[str, Figure]]:
    yield from _anatomy(folder, found)
    yield "gains", plots.plot_gains(found)
    for case in found.cases:
        if case.spectra.in_plane or case.spectra.along_z:
            yield f"{case.id}-noise", plots.plot_spectra(case, found.labels, curves_of(found, case))
        if not case.person and case.volumes.thick and case.volumes.truth:
            files = {"thick": case.volumes.thick, "truth": case.volumes.truth, **case.volumes.methods}
            yield f"{case.id}-view", _view(found, case, {name: folder / file for name, file in files.items()})


def _anatomy(folder: Path, found: Results) -> Iterator[tuple[str, Figure]]:
    """Vessels and a fissure of the first case that shows nobody, has lungs, and whose volumes were kept."""
    judged = _headlines(found)
    for case in found.cases:
        kept = case.volumes
        method = next((name for name in judged if name in kept.methods), None)
        lungs = case.figure(method, "vessel_found") is not None if method else False
        if case.person or not (method and lungs and kept.thick and kept.truth and "cubic" in kept.methods):
            continue
        thin = f"Thin, {case.thin.thickness_mm:g} mm"
        files = {
            f"Thick, {case.thick.thickness_mm:g} mm": kept.thick,
            found.label("cubic"): kept.methods["cubic"],
            found.label(method): kept.methods[method],
            thin: kept.truth,
        }
        volumes = {name: read_nifti(folder / file) for name, file in files.items()}
        for name, plot in (("vessels", plot_vessels), ("fissure", plot_fissure)):
            if (figure := plot(volumes, thin)) is not None:
                yield name, figure
        return


def _view(found: Results, case: CaseRecord, files: Mapping[str, Path]) -> Figure:
    """Thick, the kept methods and the truth of a case that shows nobody."""
    panels = [PreviewPanel("Thick", read_nifti(files["thick"]), as_slices=True)]
    models = found.of_kind("model")
    for name in list(case.volumes.methods)[:_SHOWN]:
        panels.append(PreviewPanel(found.label(name), read_nifti(files[name]), accent=name in models))
    panels.append(PreviewPanel("Truth", read_nifti(files["truth"])))
    return compose(panels, title=case.title)


def _turned(found: Results, case: CaseRecord, figures: tuple[str, ...]) -> str:
    """Figures down, methods across."""
    rows = case.figures
    methods = {name: label for name, label in found.labels.items() if name in rows}
    lines = ["| | " + " | ".join(methods.values()) + " |", "|---" * (len(methods) + 1) + "|"]
    for name in figures:
        if any(row.get(name) is not None for row in rows.values()):
            best = best_methods(name, rows)
            cells = [markdown_cell(name, rows[method].get(name), method in best) for method in methods]
            lines.append(f"| {heading(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
