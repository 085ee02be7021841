"""Pieces of a page as HTML strings: cards, tables, lists, plots. Everything that comes in is escaped here."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import matplotlib
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
    """A row of a table.

    Attributes:
        label: its name.
        cells: one a column.
        unit: of the values.
        about: a sentence that explains the row: shown on hover and focus, read out, printed.
    """

    label: str
    cells: Sequence[Cell]
    unit: str = ""
    about: str = ""


@dataclass
class Ids:
    """Ids that are unique on a page."""

    used: int = field(default=0)

    def next(self) -> str:
        """A new one."""
        self.used += 1
        return f"n{self.used}"


def number(value: float, digits: int, *, plus: bool = False) -> str:
    """With a true minus sign and no negative zero."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return text.lstrip("-")
    return f"{MINUS}{text[1:]}" if value < 0 else f"{'+' if plus else ''}{text}"


def cards(found: Iterable[Card]) -> str:
    """A grid of findings."""
    items = "".join(
        f'<li class="card card-{one.tone}"><strong>{html.escape(one.figure)}</strong>'
        f"<span>{html.escape(one.words)}</span></li>"
        for one in found
    )
    return f'<ul class="cards" aria-label="In short">{items}</ul>'


def warnings(texts: Sequence[str], title: str = "Warnings") -> str:
    """A box of warnings; nothing where there are none."""
    if not texts:
        return ""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f'<aside class="warnings" aria-label="{html.escape(title)}"><h2>{html.escape(title)}</h2><ul>{items}</ul></aside>'


def table(columns: Sequence[str], rows: Sequence[Row], caption: str, ids: Ids) -> str:
    """Rows of figures with the best of each marked by weight, a dot and a word for screen readers."""
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_row_head(row, ids)}{''.join(_cell(cell) for cell in row.cells)}</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}"><table>'
        f'<caption>{html.escape(caption)}</caption><thead><tr><th scope="col">Figure</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row_head(row: Row, ids: Ids) -> str:
    unit = f' <span class="unit">{html.escape(row.unit)}</span>' if row.unit else ""
    if not row.about:
        return f'<th scope="row">{html.escape(row.label)}{unit}</th>'
    name = ids.next()
    return (
        f'<th scope="row"><span class="about" tabindex="0" aria-describedby="{name}">{html.escape(row.label)}</span>{unit}'
        f'<span role="tooltip" class="tip" id="{name}">{html.escape(row.about)}</span></th>'
    )


def _cell(cell: Cell) -> str:
    if not cell.text:
        return '<td class="none"><span aria-label="none">\N{EN DASH}</span></td>'
    under = f"<small>{html.escape(cell.under)}</small>" if cell.under else ""
    if cell.best:
        return f'<td class="best"><b>{html.escape(cell.text)}</b><span class="aloud"> best</span>{under}</td>'
    return f"<td>{html.escape(cell.text)}{under}</td>"


def pairs(entries: Mapping[str, str] | Sequence[tuple[str, str]]) -> str:
    """Names and values, such as settings."""
    listed = list(entries.items()) if isinstance(entries, Mapping) else entries
    items = "".join(f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd></div>" for key, value in listed)
    return f'<dl class="pairs">{items}</dl>'


def section(name: str, title: str, content: str, lead: str = "") -> str:
    """A part of the page with a heading; `lead` is a sentence in plain text."""
    words = f'<p class="lead">{html.escape(lead)}</p>' if lead else ""
    return f'<section id="{name}"><h2>{html.escape(title)}</h2>{words}{content}</section>'


def folded(title: str, content: str, *, opened: bool = False) -> str:
    """Content under a heading that opens and closes."""
    return f"<details{' open' if opened else ''}><summary>{html.escape(title)}</summary>{content}</details>"


def plot(figure: Figure, name: str, words: str) -> str:
    """A figure as inline SVG in the page's own colours and font, with words for those who cannot see it.

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
    wide, told = " wide" if figure.get_figwidth() > 8 else "", html.escape(words)
    return f'<figure class="plot{wide}" role="img" aria-label="{told}">{svg}<figcaption>{told}</figcaption></figure>'
