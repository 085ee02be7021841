"""What became of each series: the record in its folder, and all of them in batch.json and batch.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lamella.errors import LamellaError, UsageError
from lamella.files.atomic import staged_file
from lamella.files.config import fill

RECORD = "record.json"
"""In the folder of a case."""

State = Literal["done", "refused", "failed", "passed over"]

BATCH = "batch"
"""Records of a whole batch are batch.json and batch.csv; of part 2 of 4, batch-2-of-4.json and batch-2-of-4.csv."""


@dataclass(frozen=True)
class CaseRecord:
    """The end of one case. It holds UIDs, numbers and reasons, nothing of a patient and no path.

    Attributes:
        series: `FoundSeries.id`: SeriesInstanceUID, or a name made of the content.
        study: StudyInstanceUID, or a name made of the content.
        folder: name of its folder; empty where there is no result.
        state: "done"; "refused" (the input cannot be treated rightly); "failed" (everything else); or "passed over", since
            the rules do not want it.
        reason: why it is not done.
        seconds: of computing and writing, and of reading that was not done ahead.
        consistency_rmse_hu: of the report.
        sha256: of the result; see `lamella.batch.digest`.
        key: of the series' content and all settings that change the result.
    """

    series: str
    study: str
    folder: str = ""
    state: State = "done"
    reason: str = ""
    seconds: float = 0.0
    consistency_rmse_hu: float | None = None
    sha256: str = ""
    key: str = ""


@dataclass(frozen=True)
class BatchRecord:
    """All that a batch, or a part of one, came to.

    Attributes:
        lamella: version.
        finished: False while it runs, and where it was interrupted.
        part: "I/N", or null for the whole.
        rules: which series were wanted.
        settings: how they were thinned.
        cases: sorted by study and series.
    """

    lamella: str
    finished: bool
    part: str | None
    rules: dict[str, Any]
    settings: dict[str, Any]
    cases: tuple[CaseRecord, ...]

    def count(self, *states: State) -> int:
        """Cases in these states."""
        return sum(one.state in states for one in self.cases)


def stem_of(part: object) -> str:
    """Name of the records of a part ("I/N"), or of the whole (None)."""
    return BATCH if part is None else f"{BATCH}-{str(part).replace('/', '-of-')}"


def write_records(out: Path, record: BatchRecord) -> None:
    """Replace the JSON and the CSV file of a batch, or of its part, in `out`."""
    stem = stem_of(record.part)
    with staged_file(out / f"{stem}.json", overwrite=True) as file:
        file.write_text(json.dumps(asdict(record), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with (
        staged_file(out / f"{stem}.csv", overwrite=True) as path,
        path.open("w", encoding="utf-8", newline="") as table,
    ):
        writer = csv.DictWriter(table, [one.name for one in fields(CaseRecord)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, record.cases))


def read_records(path: Path) -> BatchRecord:
    """A JSON file that `write_records` wrote.

    Raises:
        LamellaError: it is not there, or something else.
    """
    try:
        return fill(BatchRecord, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        found = str(error) if isinstance(error, UsageError) else type(error).__name__
        raise LamellaError(f"{path} is no record of a batch ({found}). Run the batch again.") from None


def in_order(cases: Iterable[CaseRecord]) -> tuple[CaseRecord, ...]:
    """Sorted by study and series."""
    return tuple(sorted(cases, key=lambda one: (one.study, one.series)))
