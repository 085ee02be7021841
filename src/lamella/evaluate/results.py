"""results.json and the short table, built from the records of the cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lamella
from lamella.evaluate.people import concordances, paired_figures
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.summary import gains_of_case, pooled_figures, pooled_gains
from lamella.files.atomic import staged_file
from lamella.metrics.catalogue import FIGURES, SHORT
from lamella.metrics.tables import markdown_table
from lamella.results.people import people_table
from lamella.results.schema import CaseRecord, Failure, Method, ModelUsed, Results
from lamella.thinning.model import ThinModel

TABLE = "table.md"


def assemble(
    records: Sequence[CaseRecord],
    methods: Sequence[Method],
    models: Mapping[str, ThinModel],
    settings: EvaluationSettings,
    failures: Sequence[Failure],
    seconds: float,
) -> Results:
    """Everything of an evaluation."""
    kinds = {one.name: one.kind for one in methods}
    gains = [gain for case in records for gain in gains_of_case(case, kinds, settings.seed)]
    return Results(
        lamella=lamella.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        settings=_without_paths(dataclasses.asdict(settings)),
        model=tuple(ModelUsed(m.name, m.sha256, m.licence) for m in models.values()),
        methods=tuple(methods),
        figures=FIGURES,
        cases=tuple(records),
        pooled=pooled_figures(records, [one.name for one in methods], settings.seed),
        gains=(*gains, *pooled_gains(gains, records, settings.seed)),
        failures=tuple(failures),
        paired=tuple(paired_figures(records, kinds, settings.seed)),
        concordance=concordances(records, [one.name for one in methods]),
    )


def _without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings but for paths, whose folders may be called after patients, and UIDs; settings.yaml has them."""
    paths = {"path", "series_uid", "thick", "thin", "index", "model", "record"}
    for name in ("series", "pairs", "splits", "outside", "models"):
        settings[name] = [{key: value for key, value in one.items() if key not in paths} for one in settings[name]]
    return {key: value for key, value in settings.items() if key not in ("out", "outside_folder")}


def write_table(path: Path, results: Results) -> None:
    """The short table of every case as Markdown."""
    with staged_file(path, overwrite=True) as file:
        file.write_text(table_text(results), encoding="utf-8")


def table_text(results: Results) -> str:
    """One table a case, the best of each column bold; then people, where there are any."""
    tables = [f"## {case.title}\n\n{markdown_table(SHORT, results.labels, case.figures)}\n" for case in results.cases]
    return "\n".join([*tables, *people_table(results.pairs_shown(), results.labels)])
