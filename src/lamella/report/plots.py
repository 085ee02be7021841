"""Plots of an evaluation as matplotlib figures: the curves of a case, and the gains of all cases.

Okabe and Ito's colours, told apart by dashes and markers too; the truth in ink. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamella.results.schema import GAIN_FIGURE, POOLED, CaseRecord, Curve, Results

INK, FAINT, GRID = "#1b2430", "#5b6776", "#dde2e8"
"""Text and truth; ticks and notes; grid. A page replaces them by its own, light or dark."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8a7f00", "#56b4e9")
"""Okabe and Ito's (https://jfly.uni-koeln.de/color), the yellow darkened to be seen on white."""

_MARKERS = "osD^vP*"
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 1.5)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (1, 1)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (3, 1)),
)
_HANDLE_IN, _LETTER_IN, _LINE_IN = 0.62, 0.073, 0.2
"""Room a legend needs: for a sample of the line and the gap, for a letter, and for a row."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class _Pens:
    """How the curves of a case look: a method has the same pen in every plot."""

    methods: tuple[str, ...]
    labels: Labels

    def label(self, name: str) -> str:
        return "Truth" if name == "truth" else self.labels.get(name, name)

    def colour(self, name: str) -> str:
        return INK if name == "truth" else COLOURS[self.methods.index(name) % len(COLOURS)]

    def marker(self, name: str) -> str:
        return _MARKERS[self.methods.index(name) % len(_MARKERS)]

    def line(self, name: str, *, marked: bool = False) -> dict[str, Any]:
        """Keywords of `Axes.plot`; the truth is a broad line in ink below the others."""
        if name == "truth":
            return {"label": self.label(name), "color": INK, "linewidth": 2.4, "zorder": 1.9}
        style = {
            "label": self.label(name),
            "color": self.colour(name),
            "linewidth": 1.5,
            "linestyle": _DASHES[self.methods.index(name) % len(_DASHES)],
        }
        return style | ({"marker": self.marker(name), "markersize": 5} if marked else {})

    def curves(self, rows: Mapping[str, Curve]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """The truth first, then the methods that have a curve."""
        for name in ("truth", *self.methods):
            if name in rows:
                yield name, _numbers(rows[name])


def _pens(case: CaseRecord, labels: Labels | None, methods: Sequence[str] | None) -> _Pens:
    return _Pens(tuple(case.figures if methods is None else methods), labels or {})


def plot_slices(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """RMSE in the body of each thin slice; marks at the foot are the centres of the thick slices.

    Args:
        case: of an evaluation.
        labels: method -> name for people.
        methods: which, in the order of their colours; all of the case by default.
    """
    curves = case.slices.rmse_body_hu
    return _along_slices(case, curves, labels, methods, "Error of each slice", "RMSE in the body, HU")


def plot_noise(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """Noise in soft tissue of each thin slice, with the truth's: stripes show as teeth. Arguments as `plot_slices`."""
    curves = case.slices.noise_hu
    return _along_slices(case, curves, labels, methods, "Noise of each slice", "noise in soft tissue, HU")


def _along_slices(
    case: CaseRecord,
    curves: Mapping[str, Curve],
    labels: Labels | None,
    methods: Sequence[str] | None,
    title: str,
    unit: str,
) -> Figure:
    figure, (axes,) = _figure(title)
    pens, slices = _pens(case, labels, methods), case.slices
    for name, values in pens.curves(curves):
        axes.plot(slices.position_mm, values, **pens.line(name))
    if curves:
        centres = slices.thick_position_mm
        foot: dict[str, Any] = {
            "transform": axes.get_xaxis_transform(),
            "color": FAINT,
            "marker": "|",
            "markersize": 8,
            "linestyle": "none",
        }
        axes.plot(centres, np.full(len(centres), 0.015), label="thick slices", **foot)
        axes.set_ylim(bottom=0)
    return _finish(figure, "position along the slice axis, mm", unit)


def plot_shifts(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """RMSE of a result moved along the slice axis: a least value away from 0 is a misplaced result."""
    figure, (axes,) = _figure("Error of a result that is moved")
    pens, shifts = _pens(case, labels, methods), case.shifts
    axes.axvline(0.0, color=FAINT, linewidth=0.9)
    for name, values in pens.curves(shifts.rmse_hu):
        axes.plot(shifts.shift_mm, values, **pens.line(name))
        if np.isfinite(values).any():
            best = int(np.nanargmin(values))
            axes.plot(shifts.shift_mm[best], values[best], marker=pens.marker(name), color=pens.colour(name))
    return _finish(figure, "shift along the slice axis, mm", "RMSE, HU")


def plot_spectra(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """Noise power in the slice and along the slice axis, with the truth's."""
    squared = "\N{SUPERSCRIPT TWO}"
    parts = (
        (case.spectra.in_plane, "Noise power in the slice", f"noise power, HU{squared} mm{squared}"),
        (case.spectra.along_z, "Noise power along the slice axis", f"noise power, HU{squared} mm"),
    )
    shown = [(spectrum, title, unit) for spectrum, title, unit in parts if spectrum is not None]
    figure, panels = _figure(*([title for _, title, _ in shown] or ["Noise power"]))
    pens = _pens(case, labels, methods)
    for axes, (spectrum, _, _) in zip(panels, shown, strict=False):
        for name, values in pens.curves(spectrum.power):
            power = np.where(values > 0, values, np.nan)  # a logarithm has no place for 0
            axes.plot(spectrum.frequency_per_mm, power, **pens.line(name))
        axes.set_yscale("log")
    return _finish(figure, "spatial frequency, 1/mm", *[unit for _, _, unit in shown])


def plot_spheres(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """What is left of spheres inserted into the lungs: contrast and volume by diameter, over the truth's."""
    figure, panels = _figure("Contrast of small spheres", "Volume of small spheres")
    pens, spheres = _pens(case, labels, methods), case.spheres
    if spheres:
        for axes, curves in zip(panels, (spheres.contrast, spheres.volume), strict=True):
            axes.axhline(1.0, color=INK, linewidth=1.2)
            for name, values in pens.curves(curves):
                axes.plot(spheres.diameter_mm, values, **pens.line(name, marked=True))
            axes.set_xticks(spheres.diameter_mm)
            axes.set_ylim(bottom=0)
    return _finish(figure, "diameter, mm", "contrast over the truth's", "volume over the truth's")


def plot_coverage(case: CaseRecord, labels: Labels | None = None, methods: Sequence[str] | None = None) -> Figure:
    """Share of errors inside the predicted interval against the share there should be; the diagonal is calibrated."""
    figure, (axes,) = _figure("Is the predicted spread right?")
    pens, coverage = _pens(case, labels, methods), case.coverage
    if coverage:
        axes.plot([0, 100], [0, 100], color=INK, linewidth=1.2)
        for name, values in pens.curves(coverage.found):
            axes.plot(100 * _numbers(coverage.nominal), 100 * values, **pens.line(name, marked=True))
        axes.set_xlim(40, 100)
        axes.set_ylim(40, 100)
        note: dict[str, Any] = {"color": FAINT, "fontsize": 9}
        axes.text(42, 97, "above the line: too cautious", va="top", **note)
        axes.text(98.5, 43, "below: too sure", ha="right", **note)
    return _finish(figure, "predicted interval, % of errors", "errors found inside it, %")


def plot_gains(results: Results, against: str = "cubic", figure_name: str = GAIN_FIGURE) -> Figure:
    """Gain over one method, per case and pooled, with 95 % intervals.

    Args:
        results: of an evaluation.
        against: the method compared with.
        figure_name: the figure that is gained.
    """
    gains = [one for one in results.gains if (one.against, one.figure) == (against, figure_name)]
    titles = {POOLED: "All cases, mean"} | {case.id: case.title for case in results.cases}
    rows = [key for key in titles if any(one.case == key for one in gains)]
    pens = _Pens(tuple(dict.fromkeys(one.method for one in gains)), results.labels)
    lift = 0.66 / max(1, len(pens.methods))
    height = 1.15 + max(1, len(rows)) * (0.2 + 0.17 * max(1, len(pens.methods)))
    figure, (axes,) = _figure(f"Gain over {pens.label(against).lower()} interpolation", size=(9.6, height))
    axes.axvline(0.0, color=INK, linewidth=1.2)
    for n, method in enumerate(pens.methods):
        style: dict[str, Any] = {
            "color": pens.colour(method),
            "marker": pens.marker(method),
            "markersize": 6,
            "linestyle": "none",
        }
        axes.plot([], [], label=pens.label(method), **style)
        for one in (one for one in gains if one.method == method):
            y = rows.index(one.case) + (n - (len(pens.methods) - 1) / 2) * lift
            if one.interval:
                axes.plot(one.interval, [y, y], color=style["color"], linewidth=1.8)
            axes.plot([one.difference], [y], **style)
    axes.set_yticks(range(len(rows)), [titles[key] for key in rows])
    axes.set_ylim(max(1, len(rows)) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    about = results.figures[figure_name]
    return _finish(figure, f"gain in {about.label}, {about.unit} (to the right: better)", "")


def _figure(*titles: str, size: tuple[float, float] | None = None) -> tuple[Figure, list[Axes]]:
    """An empty figure with one panel a title; pyplot is not touched."""
    figure = Figure(figsize=size or (5.4 if len(titles) == 1 else 9.6, 3.2), layout="constrained", facecolor="white")
    panels = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", color=INK, fontsize=11.5, fontweight="bold", pad=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=9.5)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels


def _finish(figure: Figure, across: str, *up: str) -> Figure:
    """Names of the axes, one legend below all panels; words where there is nothing to plot."""
    found: dict[str, Any] = {}
    for axes, name in zip(figure.axes, (*up, *[""] * len(figure.axes)), strict=False):
        axes.set_xlabel(across, color=INK, fontsize=9.5)
        axes.set_ylabel(name, color=INK, fontsize=9.5)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        for axes in figure.axes:
            place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
            axes.text(0.5, 0.5, "not measured in this case", color=FAINT, fontsize=10, **place)
        return figure
    columns = max(1, min(len(found), int(figure.get_figwidth() / (_HANDLE_IN + _LETTER_IN * max(map(len, found))))))
    figure.set_figheight(figure.get_figheight() + _LINE_IN * -(-len(found) // columns))
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        handlelength=2.8,
    )
    return figure


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
