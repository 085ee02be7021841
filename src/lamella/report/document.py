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
from lamella.report.evaluation import curves_of, what_was_scored
from lamella.report.preview import PreviewPanel, compose
from lamella.results.files import read_results
from lamella.results.schema import CaseRecord, Gain, Results

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
        file.write_text(document_text(found, links), encoding="utf-8")


def document_text(found: Results, links: Mapping[str, str]) -> str:
    """The Markdown.

    Args:
        found: the results.
        links: name of a picture -> where it lies; those that are missing are left out.
    """
    parts = [
        _head(found),
        _short(found),
        _picture(links, "gains", "Gain over cubic interpolation, per case and method"),
    ]
    for case in found.cases:
        parts += [
            f"## {case.title}",
            _case_in_words(case),
            markdown_table(SHORT, found.labels, case.figures),
            _picture(
                links, f"{case.id}-noise", "Noise power in the slice and along the slice axis, against the truth's"
            ),
            _picture(links, f"{case.id}-view", "Thick, interpolated, restored and true, in the same window"),
        ]
    parts += [_spheres(found), _spread(found), _limits(found), _how_to_read(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _pictures(folder: Path, found: Results) -> Iterator[tuple[str, Figure]]:
    yield "gains", plots.plot_gains(found)
    for case in found.cases:
        if case.spectra.in_plane or case.spectra.along_z:
            yield f"{case.id}-noise", plots.plot_spectra(case, found.labels, curves_of(found, case))
        if not case.person and case.volumes.thick and case.volumes.truth:
            files = {"thick": case.volumes.thick, "truth": case.volumes.truth, **case.volumes.methods}
            yield f"{case.id}-view", _view(found, case, {name: folder / file for name, file in files.items()})


def _view(found: Results, case: CaseRecord, files: Mapping[str, Path]) -> Figure:
    """Thick, the kept methods and the truth of a case that shows nobody."""
    panels = [PreviewPanel("Thick", read_nifti(files["thick"]), as_slices=True)]
    models = found.of_kind("model")
    for name in list(case.volumes.methods)[:_SHOWN]:
        panels.append(PreviewPanel(found.label(name), read_nifti(files[name]), accent=name in models))
    panels.append(PreviewPanel("Truth", read_nifti(files["truth"])))
    return compose(panels, title=case.title)


def _head(found: Results) -> str:
    projected = ", and each also comes projected onto the measurement" if found.of_kind("projected") else ""
    models = ", ".join(f"{one.name} (SHA-256 {one.sha256[:12]})" for one in found.model) or "none"
    failed = "".join(f"\n\n**Not evaluated**: {one.case}: {one.why}" for one in found.failures)
    return (
        "# Results\n\n"
        f"<!-- Written by `lamella report` from results.json; edit neither by hand. -->\n\n"
        f"Lamella {found.lamella}, model {models}. Every method saw the same thick slices; every interpolation is "
        f"placed by position{projected}. Masks come from the truth. "
        + (
            "All but the body's bounding box was cropped away."
            if found.settings["crop_to_body"]
            else "Nothing was cropped."
        )
        + failed
    )


def _short(found: Results) -> str:
    """What the least-error answers gain, in sentences."""
    lines = ["## In short"]
    for method in _headlines(found):
        for case in (one for one in found.cases if method in one.figures):
            cubic, best = found.gain(case.id, method, "cubic"), found.least_gain(case.id, method)
            if cubic is not None and best is not None:
                lines.append(
                    f"- **{found.label(method)}**, {case.title}: {_db(cubic)} over cubic interpolation{_even_moved(cubic)}; "
                    f"{_db(best)} over the strongest interpolation ({found.label(best.against)})."
                )
    note = (
        "Brackets: 95 % when the scan's slabs are drawn again and again. Moving is judged on the slices that no shift takes "
        "past the ends."
    )
    return "\n".join([*lines, "", note]) if len(lines) > 1 else ""


def _headlines(found: Results) -> list[str]:
    """The first answer of the models, which is their least-error one, and other tools' results."""
    models = found.of_kind("model")
    means = [name for name in models if name.split()[-1] == "mean"] or models[:1]
    return means + found.of_kind("outside")


def _db(gain: Gain) -> str:
    text = f"{gain.difference:+.2f} dB"
    return text if gain.interval is None else f"{text} [{gain.interval[0]:+.2f}, {gain.interval[1]:+.2f}]"


def _even_moved(gain: Gain) -> str:
    moved = gain.difference_at_best_shift
    return "" if moved is None else f", {moved:+.2f} dB when cubic may first be moved to where it fits best"


def _case_in_words(case: CaseRecord) -> str:
    floor, truth, words = case.floor, case.truth, [what_was_scored(case)]
    if floor and floor.floor_soft_hu is not None:
        words.append(
            f"The truth's own noise in soft tissue is {floor.sd_in_plane_hu:.1f} HU; no method could come below an RMSE "
            f"of about {floor.floor_soft_hu:.1f} HU there ({floor.white_floor_soft_hu:.1f} HU if the noise were white "
            "along the slice axis)."
        )
    if truth.edge_width_z_mm is not None:
        words.append(f"Strong edges are {truth.edge_width_z_mm:.1f} mm wide along the slice axis in the truth.")
    if truth.stripe_ratio is not None:
        words.append(f"Stripes of the truth itself: {truth.stripe_ratio:.1f}.")
    return " ".join([*words, *case.notes])


def _picture(links: Mapping[str, str], name: str, words: str) -> str:
    return f"![{words}]({links[name]})" if name in links else ""


def _spheres(found: Results) -> str:
    """What is left of nodules: contrast by diameter, per case."""
    having = [(case, case.spheres) for case in found.cases if case.spheres]
    if not having:
        return ""
    lines = [
        "## Small nodules",
        "Spheres of 40 HU were inserted into the lungs before the thickening. Contrast over that in the thin truth, 1 is kept:",
        "",
        "| | " + " | ".join(f"{mm:g} mm" for mm in SPHERES_MM) + " |",
        "|---" * (len(SPHERES_MM) + 1) + "|",
    ]
    for case, spheres in having:
        for method, row in spheres.contrast.items():
            cells = ["-" if value is None else f"{value:.2f}" for value in row]
            lines.append(f"| {case.title}: {found.label(method)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(found: Results) -> str:
    """Does the predicted spread mean what it says?"""
    lines = []
    for case in found.cases:
        if case.coverage is None:
            continue
        for method, row in case.coverage.found.items():
            pairs = zip(case.coverage.nominal, row, strict=True)
            shares = ", ".join(f"{nominal:.0%}: {share:.1%}" for nominal, share in pairs if share is not None)
            auc = case.figure(method, "error_detection_auc")
            detects = "" if auc is None else f"; area under the error-detection curve {auc:.2f}"
            lines.append(f"- {case.title}, {found.label(method)}: {shares}{detects}")
    head = "## The predicted spread\nShare of the body's errors inside the predicted interval, by its nominal share:\n"
    return "\n".join([head, *lines]) if lines else ""


def _limits(found: Results) -> str:
    """What these figures do not show."""
    people = {case.group for case in found.cases if case.person}
    return (
        "## Limits\n"
        f"- {_count(len(people), 'scan of a person', 'scans of persons')} and {_count(len(found.cases), 'case')} in all: "
        "intervals within one scan say how much its slabs differ, not how patients differ.\n"
        "- Thickened series are exact averages of the truth; a scanner's are not. The real pair, where there is one, shows "
        "what that costs.\n"
        "- PSNR rewards smoothness: noise that nobody could predict counts as error. Read it beside the noise floor, the "
        "noise ratios and the edge widths.\n"
        "- Nothing here says whether a reader finds more, or a disease is measured better. `lamella reader` is for that.\n"
        "- For research use only. Not a medical device. Not for diagnosis."
    )


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _how_to_read(found: Results) -> str:
    """Every figure explained, and the long tables."""
    words = [f"- **{heading(name)}**: {FIGURES[name].about}" for name in FIGURES]
    tables = []
    rest = tuple(name for name in FIGURES if name not in SHORT)
    for case in found.cases:
        tables.append(
            f"<details><summary>{case.title}: all other figures</summary>\n\n{_turned(found, case, rest)}\n\n</details>"
        )
    return "\n".join(["## Every figure", *words, "", *tables])


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
