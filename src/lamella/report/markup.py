"""What the templates of pages are given: findings, tables, plots, and values as people read them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from lamella.report.plots import COLOURS, FAINT, GRID, INK

Tone = Literal["plain", "good", "warning"]

MINUS = "\N{MINUS SIGN}"

_VARIABLES = {INK: "ink", FAINT: "muted", GRID: "line", "#ffffff": "surface"} | {
    colour: f"curve-{n}" for n, colour in enumerate(COLOURS)
}
"""Colour of a plot -> custom property of style.css, which knows light and dark."""


@dataclass(frozen=True)
class Card:
    """One finding.

    Attributes:
        figure: the number, short and with its unit.
        words: a sentence that can be read without it.
        tone: good news, a warning, or neither.
    """

    figure: str
    words: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Cell:
    """A value of a table.

    Attributes:
        text: as shown; empty where there is none.
        best: the best of its row.
        under: a smaller second line, such as an interval.
    """

    text: str
    best: bool = False
    under: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table: its name, its cells, their unit, and a sentence that explains it on hover and focus."""

    label: str
    cells: Sequence[Cell]
    unit: str
    about: str


@dataclass(frozen=True)
class Table:
    """A table under a heading that opens and closes.

    Attributes:
        id: unique on the page.
        title: its heading.
        caption: what it is of.
        columns: their names.
        rows: its rows.
        opened: whether it is open at first.
    """

    id: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    opened: bool


@dataclass(frozen=True)
class Plot:
    """A plot as inline SVG, with words for those who cannot see it."""

    svg: Markup
    words: str
    wide: bool


def number(value: float, digits: int, *, plus: bool = False) -> str:
    """With a true minus sign and no negative zero."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return f"{MINUS}{text[1:]}" if value < 0 else f"{'+' if plus else ''}{text}"


def in_words(value: Any) -> str:
    """A setting as people read it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value)) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {in_words(one)}" for key, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not given" if value is None else str(value)


def plot_of(figure: Figure, name: str, words: str) -> Plot:
    """A figure as inline SVG in the page's own colours and font.

    Args:
        figure: from `lamella.report.plots`.
        name: unique on the page: ids inside the picture are made from it.
        words: what it shows.
    """
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    # Ids that nothing refers to repeat from plot to plot; those of clips and markers are hashes.
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    for colour, variable in _VARIABLES.items():
        svg = re.sub(re.escape(colour), f"var(--{variable})", svg, flags=re.IGNORECASE)
    svg = re.sub(r'(?<= )(width|height)="[^"]*pt" ', "", svg, count=2)
    return Plot(Markup(svg), words, figure.get_figwidth() > 8)
