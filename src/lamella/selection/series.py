"""One series that was found, as rules see it and as messages may name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lamella.dicom.read import SeriesSummary

Kind = Literal["dicom", "zip", "nifti"]


@dataclass(frozen=True)
class FoundSeries:
    """A series and where its files are. Its `repr` holds nothing of a patient.

    Attributes:
        summary: what it is, in codes and numbers; where nothing could be read, only `refusal` counts.
        id: SeriesInstanceUID; "series-", "nifti-" or "unreadable-" and a hash where there is none. A name for a folder.
        study: StudyInstanceUID, or "study-" and a hash; `id` where there is none.
        kind: of its files: loose DICOM, a ZIP, NIfTI.
        content: SHA-256 over its files, whatever their names and order.
        ct: it holds CT slices, or is NIfTI, which does not say what it is.
        own: Lamella wrote it.
        image_type, body_part, description: ImageType, BodyPartExamined and SeriesDescription as they stand, for rules only.
        derived: where BIDS has the thin series, below the folder of a data set; empty where the name is none of BIDS.
        files: its loose files in the order of their paths; one ZIP, one NIfTI.
    """

    summary: SeriesSummary
    id: str
    study: str
    kind: Kind
    content: str
    ct: bool
    own: bool = False
    image_type: str = field(default="", repr=False)
    body_part: str = field(default="", repr=False)
    description: str = field(default="", repr=False)
    derived: str = field(default="", repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def source(self) -> Path | tuple[Path, ...]:
        """What `lamella.sources.source.read_source` takes."""
        return self.files if self.kind == "dicom" else self.files[0]

    @property
    def series_uid(self) -> str | None:
        """What `read_source` takes with it."""
        return self.summary.uid or None

    def discreet(self, message: object) -> str:
        """A message with `id` in place of the series UID, which may be none."""
        return str(message).replace(self.summary.uid, self.id) if self.summary.uid else str(message)

    def called(self, name: Callable[[str], str]) -> FoundSeries:
        """The same with `name` of its `id` and `study` instead of these, in its refusal, too."""
        named = replace(self, id=name(self.id), study=name(self.study))
        refusal = None if self.summary.refusal is None else named.discreet(self.summary.refusal)
        return replace(named, summary=replace(self.summary, refusal=refusal))
