"""Figures as people read them: rounded, with the best marked, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lamella.metrics.catalogue import FIGURES, Best


def printed(figure: str, value: float) -> str:
    """The value with the figure's decimals, and no negative zero."""
    text = f"{value:.{FIGURES[figure].digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def heading(figure: str) -> str:
    """Label and unit."""
    about = FIGURES[figure]
    return f"{about.label}, {about.unit}" if about.unit else about.label


def markdown_table(
    figures: Sequence[str], methods: Mapping[str, str], rows: Mapping[str, Mapping[str, float | None]]
) -> str:
    """Methods down, figures across, the best of each column bold; figures that no method has are left out.

    Args:
        figures: columns.
        methods: name -> label, in the order of the lines.
        rows: method -> figure -> value.
    """
    shown = [name for name in figures if any(row.get(name) is not None for row in rows.values())]
    best = {name: best_methods(name, rows) for name in shown}
    lines = ["| | " + " | ".join(heading(name) for name in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for method, label in methods.items():
        if method in rows:
            cells = [markdown_cell(name, rows[method].get(name), method in best[name]) for name in shown]
            lines.append(f"| {label.replace('|', '/')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown_cell(figure: str, value: float | None, best: bool) -> str:
    """One cell; a dash where there is no value."""
    if value is None:
        return "-"
    return f"**{printed(figure, value)}**" if best else printed(figure, value)


def best_methods(figure: str, rows: Mapping[str, Mapping[str, float | None]]) -> set[str]:
    """The methods with the best value of a figure, equal as printed; none where no value is better than another."""
    about = FIGURES[figure]
    known = {name: float(row[figure]) for name, row in rows.items() if row.get(figure) is not None}  # type: ignore[arg-type]  # None was left out
    if about.best == "none" or len(known) < 2:
        return set()
    least = min(_distance(about.best, value) for value in known.values())
    winners = {printed(figure, value) for value in known.values() if _distance(about.best, value) == least}
    return {name for name, value in known.items() if printed(figure, value) in winners}


def _distance(best: Best, value: float) -> float:
    """How far a value is from the best there could be; ratios count by their logarithm."""
    if best == "one":
        return abs(math.log(value)) if value > 0 else math.inf
    return -value if best == "high" else value if best == "low" else abs(value)
