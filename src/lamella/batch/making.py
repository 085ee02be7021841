"""What a worker is told once, and what it tells of each case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.batch.record import CaseRecord
from lamella.dicom.deidentify import check_one_key, keyed_uid, read_key
from lamella.files.config import plain
from lamella.thinning.settings import ThinSettings
from lamella.workflow.thin_study import ONE_STUDY, ThinRequest


@dataclass(frozen=True)
class CaseThin(ThinSettings):
    """How to thin any study, as the options of `lamella thin`, for settings that a file or another program fills.

    Attributes:
        spacing_mm: distance between thin slices.
        model: name of a shipped model, or a model folder.
        deidentify: remove the patient from the result's header, as `--deidentify` of `lamella thin` does.
        deidentify_key: file with the key for new UIDs and pseudonyms; required with `deidentify`.

    Raises:
        UsageError: `deidentify` without a key.
    """

    spacing_mm: float = 1.0
    model: str = "embedded"
    deidentify: bool = False
    deidentify_key: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_key(self.deidentify, self.deidentify_key)


@dataclass(frozen=True)
class Making:
    """How every case of a batch is made.

    Attributes:
        out: folder of all results.
        thin: how to thin; the fields of `ONE_STUDY` do not count.
        spread: also spread.nii.gz in each folder.
        page: also report.html.
        preview: also preview.png.
        bids: results of files that BIDS names also stand where BIDS has them.
        overwrite: results of other settings, or of other content, are replaced.

    Raises:
        UsageError: the results shall be de-identified, without a key.
    """

    out: Path
    thin: ThinRequest
    spread: bool = False
    page: bool = False
    preview: bool = False
    bids: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_one_key(self.thin.deidentify, self.thin.deidentify_key)


@dataclass(frozen=True)
class Finished:
    """A case that ended; `kept`: its result was there, whole, from an earlier run."""

    record: CaseRecord
    kept: bool = False


def settings_of(request: ThinRequest) -> dict[str, Any]:
    """What a request asks of every case; of a key what it is, not where it lies."""
    asked = {name: value for name, value in plain(request).items() if name not in ONE_STUDY}
    if request.deidentify_key is not None:
        asked["deidentify_key"] = keyed_uid(read_key(request.deidentify_key), "this key")
    return asked
