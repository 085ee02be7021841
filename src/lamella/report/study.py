"""The page of one study, whose truth nobody knows: thick, thin and spread side by side, and what was done, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamella.errors import LamellaError
from lamella.files.atomic import staged_file
from lamella.metrics.masks import body_mask
from lamella.report.interest import place_of_interest, window_of_interest
from lamella.report.markup import MINUS, Card, in_words, number
from lamella.report.pack import BUDGET_BYTES, PageVolume, pack_volumes, require_finite
from lamella.report.page import render_page, view_of, viewer_windows
from lamella.volume import Geometry, Volume

_EXACT_HU = 0.5
"""A measurement that is kept to this much counts as kept (SPEC C1)."""

_SAMPLED_SLICES = 24
_TISSUES = (
    ("the lungs", -1000.0, -600.0),
    ("soft tissue", 0.0, 100.0),
    ("bone and contrast medium", 250.0, 3072.0),
)
"""Where the spread is summed up, by HU of the answer inside the body; lungs only where the scan shows them."""

_MODES = {
    "mean": (
        "Mean",
        "This is the answer of least expected error: smoother than a scan, with nothing sampled at random.",
    ),
    "texture": ("Texture", "Noise at the level of the scan's own is sampled and added; structure is not."),
    "sample": ("Sample", "Everything the measurement leaves open is sampled: small details may be invented."),
}


def render_study(
    out: Path,
    source: Volume,
    answers: Sequence[tuple[str, Volume]],
    spread: Volume | None,
    report: Mapping[str, Any],
    *,
    names: tuple[str, str] = ("", ""),
    overwrite: bool = False,
    budget_bytes: int = BUDGET_BYTES,
) -> None:
    """Write the page of one study.

    Args:
        out: name of the page.
        source: the thick slices.
        answers: (label, volume): the answer first, then others to compare it with, such as an interpolation.
        spread: the predicted standard deviation of the answer in HU, or None.
        report: what `lamella thin --report FILE.json` writes.
        names: what people call source and result, such as "Series 3, Thorax"; empty where they have no name.
        overwrite: replace an earlier page.
        budget_bytes: what the volumes may take.

    Raises:
        NonFiniteError: a volume holds NaN or infinity.
        LamellaError: no answer, a report that lacks keys, or volumes that do not fit together or into the budget.
    """
    if not answers:
        raise LamellaError("The page of a study needs an answer to show. Found none.")
    _check(report)
    answer = answers[0][1]
    for label, volume in (("source", source), *answers, *([("spread", spread)] if spread is not None else [])):
        require_finite(label, volume)
    panes = _panes(source, answers, spread)
    packed = pack_volumes(panes, budget_bytes)
    shown = [one.id for one in panes if one.minus is None][:4]
    data = {
        "windows": viewer_windows(),
        "views": [view_of("study", packed, shown, place_of_interest(answer), window_of_interest(answer))],
    }
    content = {
        "heading": "From thick slices to thin ones",
        "facts": " \N{RIGHTWARDS ARROW} ".join(filter(None, names))
        or f"{_grid(source.geometry)} became {_grid(answer.geometry)}",
        "links": [("pictures", "Pictures"), ("made", "How it was made")],
        "cards": _findings(source, answer, spread, report),
        "warnings": report["warnings"],
        "warnings_title": "What to know before you use it",
        "choices": [("study", "")],
        "notes": {"study": packed.note},
        "series": _series(report, names),
        "settings": [(key, in_words(value)) for key, value in report["settings"].items()],
        "seconds": [(key, f"{float(value):.1f} s") for key, value in report["seconds"].items()],
    }
    page = render_page("study.html", content, data, "Lamella: thin slices", blocks=packed.blocks)
    with staged_file(out, overwrite=overwrite) as file:
        file.write_text(page, encoding="utf-8")


def _check(report: Mapping[str, Any]) -> None:
    needed = ("lamella", "model", "settings", "seconds", "source", "output", "scan", "consistency_rmse_hu", "warnings")
    lacking = [key for key in needed if key not in report]
    if lacking:
        raise LamellaError(
            f"The report of a study lacks {', '.join(lacking)}. Expected what `lamella thin --report` writes. "
            "Nothing was written."
        )


def _panes(source: Volume, answers: Sequence[tuple[str, Volume]], spread: Volume | None) -> list[PageVolume]:
    """Thick, then what the answer is compared with, then the answer, what it changed, and the spread."""
    label, answer = answers[0]
    panes = [PageVolume("thick", f"Thick, {source.geometry.thickness_mm:.3g} mm", "thick", source)]
    others = [PageVolume(f"other-{n}", name, "thin", volume) for n, (name, volume) in enumerate(answers[1:], start=1)]
    panes += [*others, PageVolume("thin", label, "thin", answer)]
    if spread is not None:
        panes.append(PageVolume("spread", "Predicted spread, 1 SD", "spread", spread))
    for one in others:
        if one.volume is not None and one.volume.geometry == answer.geometry:
            panes.append(
                PageVolume(f"change-{one.id}", f"{label} {MINUS} {one.label}", "error", minus=("thin", one.id))
            )
    return panes


def _grid(geometry: Geometry) -> str:
    return f"{geometry.shape[0]} slices of {geometry.thickness_mm:.3g} mm every {geometry.spacing_mm:.3g} mm"


def _findings(source: Volume, answer: Volume, spread: Volume | None, report: Mapping[str, Any]) -> list[Card]:
    thick, thin = source.geometry, answer.geometry
    found = [
        Card(
            f"{thick.shape[0]} \N{RIGHTWARDS ARROW} {thin.shape[0]} slices",
            f"{_grid(thick)} became {_grid(thin)}.",
        )
    ]
    kept, which = report["consistency_rmse_hu"], (report.get("repair") or {}).get("kept", "measured")
    if kept is not None and np.isfinite(kept):
        exact = kept <= _EXACT_HU
        found.append(
            Card(
                f"{number(kept, 2)} HU",
                f"Averaging the thin slices over each thick one gives the {which} slices back, to this much (root mean square)."
                + ("" if exact else " That is more than rounding: slabs overlap, or the measurement was noisy."),
                "good" if exact else "plain",
            )
        )
    if spread is not None:
        found += _unsure(answer, spread, lungs=report["scan"]["lungs"])
    mode = str(report["settings"].get("mode", ""))
    if mode in _MODES:
        found.append(Card(*_MODES[mode], "warning" if mode == "sample" else "plain"))
    seconds = sum(float(value) for value in report["seconds"].values())
    memory = report.get("peak_rss_bytes")
    peak = f", with {memory / 2**30:.1f} GiB of memory at most" if memory else ""
    found.append(Card(f"{seconds:.0f} s", f"It took this long on {report.get('device', 'this machine')}{peak}."))
    return found


def _unsure(answer: Volume, spread: Volume, *, lungs: bool) -> list[Card]:
    """How far the model expects to be off, by tissue: the median of the spread in a sample of slices."""
    if answer.hu.shape != spread.hu.shape:
        raise LamellaError(
            f"Spread and answer differ in shape: {spread.hu.shape} and {answer.hu.shape}. Expected one grid."
        )
    every = max(1, len(answer.hu) // _SAMPLED_SLICES)
    hu, expected = (volume.hu[::every].astype(np.float32) for volume in (answer, spread))
    body = body_mask(hu)
    medians = {}
    for name, low, high in _TISSUES[not lungs :]:
        tissue = body & (hu >= low) & (hu < high)
        if tissue.mean() > 1e-3:
            medians[name] = float(np.median(expected[tissue]))
    if not medians:
        return []
    least, most = min(medians, key=lambda k: medians[k]), max(medians, key=lambda k: medians[k])
    words = ", ".join(f"\N{PLUS-MINUS SIGN}{value:.0f} HU in {name}" for name, value in medians.items())
    figure = f"\N{PLUS-MINUS SIGN}{medians[least]:.0f}"
    figure += f" to {medians[most]:.0f} HU" if round(medians[most]) != round(medians[least]) else " HU"
    return [Card(figure, f"The model says how unsure it is (one standard deviation, median): {words}.")]


def _series(report: Mapping[str, Any], names: tuple[str, str]) -> list[tuple[str, str]]:
    """Model, device and series."""
    model = report["model"]
    entries = [
        ("Lamella", str(report["lamella"])),
        ("Model", str(model.get("name", ""))),
        ("SHA-256 of the model", str(model.get("sha256", ""))),
        ("Licence of the model", str(model.get("licence", ""))),
        ("Device", " ".join(str(report[key]) for key in ("device", "precision") if report.get(key))),
    ]
    for key, name, called in (("source", "Source", names[0]), ("output", "Result", names[1])):
        series = report[key]
        entries += [(name, called)] * bool(called)
        slices = f"{series['slices']} slices of {series['thickness_mm']:g} mm every {series['spacing_mm']:g} mm"
        entries.append((f"{name}, slices", slices))
        if series.get("series_uid"):
            entries.append((f"{name}, series UID", str(series["series_uid"])))
    entries += _scan(report["scan"])
    if (condition := report.get("condition_number")) is not None:
        entries.append(("Condition of the slabs, ridge", f"{condition:g}, {report.get('ridge', 0):g}"))
    return entries


def _scan(scan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured of the thick slices, as `lamella.thinning.coverage` compares it with the training."""
    units = {"pixel_mm": ("Pixel", "mm"), "noise_hu": ("Noise, for slices of 1 mm", "HU")}
    units["sharpness_per_mm"] = ("Sharpness in the plane (MTF 0.5)", "cycles/mm")
    entries = [(name, f"{scan[key]:.3g} {unit}") for key, (name, unit) in units.items() if scan[key] is not None]
    return entries + [("Body part", str(scan["body_part"]))] * bool(scan["body_part"])
