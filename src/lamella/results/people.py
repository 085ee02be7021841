"""People as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamella.metrics.tables import heading, printed
from lamella.results.compared import Paired


def people_table(pairs: Sequence[Paired], labels: Mapping[str, str]) -> list[str]:
    """Differences person by person, their mean, and its interval where there are enough people."""
    if not pairs:
        return []
    people = list(dict.fromkeys(name for one in pairs for name in one.differences))
    lines = ["| | " + " | ".join(heading(one.figure) for one in pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    rows: dict[str, list[str]] = {
        name: [_printed(one.figure, one.differences.get(name)) for one in pairs] for name in people
    }
    rows["mean"] = [_printed(one.figure, one.mean) for one in pairs]
    if any(one.interval for one in pairs):
        ends = [one.interval or (None, None) for one in pairs]
        rows["95 % interval"] = [
            f"{_printed(one.figure, low)} to {_printed(one.figure, high)}"
            for one, (low, high) in zip(pairs, ends, strict=True)
        ]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    title = f"## People: {labels[pairs[0].method]} minus {labels[pairs[0].against]}"
    return [f"{title}\n\n" + "\n".join(lines) + "\n"]


def _printed(figure: str, difference: float | None) -> str:
    return "-" if difference is None else printed(figure, difference)
