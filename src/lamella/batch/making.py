"""What a worker is told once, and what it tells of each case."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.batch.record import CaseRecord
from lamella.workflow.thin_study import ONE_STUDY, ThinRequest


@dataclass(frozen=True)
class Making:
    """How every case of a batch is made.

    Attributes:
        out: folder of all results.
        thin: how to thin; the fields of `ONE_STUDY` do not count.
        spread: also spread.nii.gz in each folder.
        page: also report.html.
        preview: also preview.png.
        overwrite: results of other settings, or of other content, are replaced.
    """

    out: Path
    thin: ThinRequest
    spread: bool = False
    page: bool = False
    preview: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Finished:
    """A case that ended; `kept`: its result was there, whole, from an earlier run."""

    record: CaseRecord
    kept: bool = False


def settings_of(request: ThinRequest) -> dict[str, Any]:
    """What a request asks of every case."""
    return {name: value for name, value in dataclasses.asdict(request).items() if name not in ONE_STUDY}
