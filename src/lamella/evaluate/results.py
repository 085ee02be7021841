"""results.json: built from the records of the cases, read back with a check of its keys."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lamella
from lamella.evaluate.methods import Method
from lamella.evaluate.settings import EvaluationSettings
from lamella.evaluate.summary import Record, gains_of_case, pooled_figures, pooled_gains
from lamella.files.atomic import staged_file
from lamella.metrics.catalogue import FIGURES, SHORT
from lamella.metrics.tables import markdown_table
from lamella.thinning.model import ThinModel

RESULTS, TABLE = "results.json", "table.md"


def assemble(
    records: Sequence[Record],
    methods: Sequence[Method],
    models: Mapping[str, ThinModel],
    settings: EvaluationSettings,
    failures: Sequence[Mapping[str, str]],
    seconds: float,
) -> dict[str, Any]:
    """Everything of an evaluation as JSON types."""
    kinds = {one.name: one.kind for one in methods}
    gains = [gain for case in records for gain in gains_of_case(case, kinds, settings.seed)]
    return {
        "lamella": lamella.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "settings": _without_paths(dataclasses.asdict(settings)),
        "model": [{"name": m.name, "sha256": m.sha256, "licence": m.licence} for m in models.values()],
        "methods": [dataclasses.asdict(one) for one in methods],
        "figures": {name: dataclasses.asdict(figure) for name, figure in FIGURES.items()},
        "cases": list(records),
        "pooled": pooled_figures(records, [one.name for one in methods], settings.seed),
        "gains": gains + pooled_gains(gains, records, settings.seed),
        "failures": list(failures),
    }


def _without_paths(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings but for paths, whose folders may be called after patients; settings.yaml has them."""
    paths = {"path", "thick", "thin", "index", "model"}
    for name in ("series", "pairs", "splits", "outside", "models"):
        settings[name] = [{key: value for key, value in one.items() if key not in paths} for one in settings[name]]
    return {key: value for key, value in settings.items() if key != "out"}


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; a number that is not finite is a mistake of ours, not a null."""
    with staged_file(path, overwrite=True) as file:
        file.write_text(json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n", encoding="utf-8")


def fingerprint(content: Any) -> str:
    """A hash of JSON types: two records are of one question where it is equal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_table(path: Path, results: Mapping[str, Any]) -> None:
    """The short table of every case as Markdown."""
    with staged_file(path, overwrite=True) as file:
        file.write_text(table_text(results), encoding="utf-8")


def table_text(results: Mapping[str, Any]) -> str:
    """One table a case; the best of each column is bold."""
    methods = {one["name"]: one["label"] for one in results["methods"]}
    cases = results["cases"]
    return "\n".join(f"## {case['title']}\n\n{markdown_table(SHORT, methods, case['figures'])}\n" for case in cases)
