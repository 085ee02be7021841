"""What became of one series: the record that stands in its folder, in batch.json and in batch.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["done", "refused", "failed"]


@dataclass(frozen=True)
class CaseRecord:
    """The end of one case. It holds UIDs, numbers and reasons, nothing of a patient and no path.

    Attributes:
        series: `FoundSeries.id`: SeriesInstanceUID, or a name made of the content.
        study: StudyInstanceUID, or the same as `series`.
        folder: name of its folder; empty where there is no result.
        state: "done", "refused" (the input cannot be treated rightly) or "failed" (everything else).
        reason: why it is not done.
        seconds: of reading, computing and writing.
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
