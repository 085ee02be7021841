"""The page of a batch: every result with a small picture, every failure with its reason. It runs no script."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from lamella.batch.case import PAGE, REPORT, THUMBNAIL
from lamella.batch.record import BatchRecord, CaseRecord
from lamella.files.atomic import staged_file
from lamella.report.markup import Card, in_words
from lamella.report.page import render, web_file

INDEX = "index.html"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' file:; base-uri 'none'; form-action 'none'"
"""Nothing but the pictures beside the page."""


def write_page(out: Path, record: BatchRecord, name: str = INDEX, places: Mapping[str, Path] | None = None) -> None:
    """Write the page of a batch.

    Args:
        out: folder of the page.
        record: what it shows.
        name: of the page.
        places: where each result's folder is, by series; below `out` if not given.
    """
    done = [one for one in record.cases if one.state == "done"]
    open_cases = [one for one in record.cases if one.state in ("refused", "failed")]
    page = render(
        "batch.html",
        "lamella.batch",
        policy=_POLICY,
        title="Lamella: batch",
        style=Markup(web_file("style.css") + web_file("batch.css", "lamella.batch")),
        data="{}",
        scripts=(),
        blocks={},
        heading="From thick slices to thin ones, many series",
        facts=_facts(record),
        cards=_cards(record),
        open=open_cases,
        done=[_shown(one, out, (places or {}).get(one.series, out / one.folder)) for one in done],
        passed=[one for one in record.cases if one.state == "passed over"],
        thumbnail=THUMBNAIL,
        settings=_pairs(record.settings),
        rules=_pairs(record.rules),
    )
    with staged_file(out / name, overwrite=True) as file:
        file.write_text(page, encoding="utf-8")


def _facts(record: BatchRecord) -> str:
    part = "" if record.part is None else f"Part {record.part}. "
    return f"{part}Lamella {record.lamella}.{'' if record.finished else ' Not finished: run the same command again.'}"


def _cards(record: BatchRecord) -> list[Card]:
    open_cases = record.count("refused", "failed")
    seconds = [one.seconds for one in record.cases if one.state == "done"]
    kept = [one.consistency_rmse_hu for one in record.cases if one.consistency_rmse_hu is not None]
    cards = [Card(f"{record.count('done')} series", "have a thin result", "good" if seconds else "plain")]
    if open_cases:
        cards.append(
            Card(f"{open_cases} series", "have none: refused or failed, each with its reason below", "warning")
        )
    if kept:
        cards.append(Card(f"{max(kept):.2f} HU", "largest RMSE between a result, averaged, and its measured slices"))
    if seconds:
        cards.append(Card(f"{sorted(seconds)[len(seconds) // 2]:.0f} s", "median time of a series"))
    return cards


def _shown(case: CaseRecord, out: Path, folder: Path) -> dict[str, Any]:
    consistency = "" if case.consistency_rmse_hu is None else f"consistent to {case.consistency_rmse_hu:.2f} HU"
    return {
        "series": case.series,
        "place": quote(Path(os.path.relpath(folder, out)).as_posix()),
        "report": PAGE if (folder / PAGE).is_file() else REPORT,
        "consistency": consistency,
        "seconds": f"{case.seconds:.1f} s",
    }


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    flat = {
        **{name: value for name, value in values.items() if not isinstance(value, Mapping)},
        **{name: value for nested in values.values() if isinstance(nested, Mapping) for name, value in nested.items()},
    }
    return [(name, in_words(value)) for name, value in flat.items()]
