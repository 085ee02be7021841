"""What a preparation is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from lamella.data.find_pair import PairSettings
from lamella.data.index import SplitSettings
from lamella.errors import UsageError


@dataclass(frozen=True)
class CategorySettings:
    """A folder of ZIPs, one a patient.

    Attributes:
        name: the category, as "APE".
        zips: pattern below `PrepareSettings.data`.
    """

    name: str
    zips: str


@dataclass(frozen=True)
class SeriesEntry:
    """A single thin series, or a source with a pair, named by itself.

    Attributes:
        path: DICOM folder, ZIP or file below `PrepareSettings.data`; where it holds several series, the pair is found in it.
        thick: of its thick series, where that lies elsewhere.
        category: of the case.
        split: "train", "validation" or "test"; empty to draw it.
        slices: [first, end) thin slices used; null for all. Parts of one scan are cases of their own, and may be in
            different splits because the configuration says so; hence they need a split.
        thickness_mm, thick_thickness_mm: of the slices of `path` and of `thick`, where they do not say it.
        any_thickness: keep it though its slices are thicker than `pairs.thin_mm` (its planes are thin data in y and x).
    """

    path: str
    thick: str = ""
    category: str = ""
    split: str = ""
    slices: tuple[int, int] | None = None
    thickness_mm: float | None = None
    thick_thickness_mm: float | None = None
    any_thickness: bool = False

    def __post_init__(self) -> None:
        if self.slices is not None and not 0 <= self.slices[0] < self.slices[1]:
            raise UsageError(
                f"series {self.path}: slices must rise from 0 or above. Found {self.slices[0]} to {self.slices[1]}."
            )
        if self.slices is not None and not self.split:
            raise UsageError(
                f"series {self.path}: a part of a scan needs a split, or parts of one patient would be drawn apart. Set split."
            )


@dataclass(frozen=True)
class PrepareSettings:
    """A whole preparation.

    Attributes:
        data: folder of the raw data.
        out: folder of the prepared data set.
        categories: folders of ZIPs.
        series: scans named one by one.
        pairs: what counts as thin and thick.
        split: how patients are shared out.
        workers: processes.
        share, shares: this run does every `shares`-th job, beginning at `share`; for jobs of a cluster.
        retry: try rejected sources again.
        strict: reject series that lack parts which their headers promise.

    Raises:
        UsageError: numbers out of their range.
    """

    data: str
    out: str
    categories: tuple[CategorySettings, ...] = ()
    series: tuple[SeriesEntry, ...] = ()
    pairs: PairSettings = field(default_factory=PairSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    workers: int = 2
    share: int = 0
    shares: int = 1
    retry: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1 or self.shares < 1 or not 0 <= self.share < self.shares:
            raise UsageError(
                f"workers and shares must be at least 1, share from 0 to shares - 1. Found workers {self.workers}, share "
                f"{self.share} of {self.shares}."
            )
