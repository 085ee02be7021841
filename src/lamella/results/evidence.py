"""What results.json says beside figures: how other tools ran, where a result is worst, and whether it can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from lamella.metrics.places import Kind
from lamella.results.compared import Interval

KINDS: tuple[Kind, ...] = get_args(Kind)
"""What the truth can show at a place, in the order in which it is asked."""


@dataclass(frozen=True)
class ToolRun:
    """How another tool made its result; whoever hands it in says so.

    Attributes:
        versions: package or program -> version.
        command: as it was run, without paths that name a patient.
        seconds: wall time of the run.
        memory_mb: largest resident set, in MB of 10^6 bytes.
        notes: what a reader should know, such as a shorter training.
        could_not: why there is no result; empty where there is one.
    """

    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    seconds: float | None = None
    memory_mb: float | None = None
    notes: str = ""
    could_not: str = ""


@dataclass(frozen=True)
class WorstPlace:
    """A place where a result differs most.

    Attributes:
        position_mm: LPS.
        difference_hu: result minus the other there, smoothed.
        kind: what the truth shows there.
    """

    position_mm: tuple[float, float, float]
    difference_hu: float
    kind: Kind


@dataclass(frozen=True)
class Harm:
    """Where a result is worst in a case; the largest differences first.

    Attributes:
        method: whose result.
        size_mm: side of the cubes around the places, which do not overlap.
        from_truth: places where it is furthest from the truth.
        from_cubic: places where it differs most from cubic interpolation; empty where that was not kept.
    """

    method: str
    size_mm: float
    from_truth: tuple[WorstPlace, ...]
    from_cubic: tuple[WorstPlace, ...]


def by_kind(places: tuple[WorstPlace, ...]) -> dict[Kind, list[WorstPlace]]:
    """The places of every kind, in the order of `KINDS`; a kind without a place is there, too."""
    return {kind: [one for one in places if one.kind == kind] for kind in KINDS}


@dataclass(frozen=True)
class Judged:
    """How often a small classifier tells a method's results from real thin scans; 0.5 is chance.

    Attributes:
        method: whose results.
        alone: share of right answers on single patches.
        side_by_side: share of pairs, of one place, in which it knows the real one.
        alone_interval, side_by_side_interval: 95 %, bootstrap over persons, or over parts of the scans with fewer than six.
        points: places judged.
        people: persons or scans judged.
        over_people: whether the intervals are over persons.
    """

    method: str
    alone: float
    side_by_side: float
    alone_interval: Interval | None
    side_by_side_interval: Interval | None
    points: int
    people: int
    over_people: bool


@dataclass(frozen=True)
class BlindedTest:
    """A blinded test without readers.

    Attributes:
        lamella: version that made it.
        learned: scans that the classifiers learned on.
        points, epochs, seed: of their training.
        seconds: of the whole test.
        judged: one a method.
    """

    lamella: str
    learned: tuple[str, ...]
    points: int
    epochs: int
    seed: int
    seconds: float
    judged: tuple[Judged, ...]
