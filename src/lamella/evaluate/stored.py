"""Prepared cases (`lamella prepare`) as cases of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.errors import UsageError
from lamella.evaluate.settings import GeometrySettings, SplitCases
from lamella.volume import Volume

if TYPE_CHECKING:
    from lamella.data.cache import CachedVolume


@dataclass(frozen=True)
class StoredCase:
    """One prepared case.

    Attributes:
        index: folder of the data set.
        name: its id there.
        patient: pseudonym: cases of one patient are one in every interval and test.
        geometries: how its thin series is thickened; empty for its own thick series.
        person: a scan of a person.
    """

    index: str
    name: str
    patient: str
    geometries: tuple[GeometrySettings, ...]
    person: bool = True


def stored_cases(splits: Sequence[SplitCases]) -> list[StoredCase]:
    """Every case of the splits, in the order of their index.

    Raises:
        UsageError: a split without cases.
    """
    if not splits:
        return []
    from lamella.data.index import Index

    found = []
    for one in splits:
        index = Index.load(Path(one.index))
        patients = {entry.case_id: entry.patient_id for entry in index.entries}
        names = index.cases(one.split)[: one.most]
        if not names:
            raise UsageError(
                f"splits: the split {one.split} of the prepared data set holds no case. Prepare more cases, or choose "
                "another split."
            )
        found += [StoredCase(one.index, name, patients[name], one.geometries, one.person) for name in names]
    return found


def stored_thin(case: StoredCase) -> Volume:
    """The whole thin series."""
    from lamella.data.index import Index

    return _whole(Index.load(Path(case.index)).open(case.name).thin)


def stored_volumes(case: StoredCase) -> tuple[Volume, Volume]:
    """The thick and the thin series.

    Raises:
        UsageError: there is no thick one.
    """
    from lamella.data.index import Index

    held = Index.load(Path(case.index)).open(case.name)
    if held.thick is None:
        raise UsageError(
            f"splits: case {case.name} has no thick series. Give `geometries`, by which its thin series is thickened."
        )
    return _whole(held.thick), _whole(held.thin)


def _whole(volume: CachedVolume) -> Volume:
    return Volume(volume[(slice(None), slice(None), slice(None))], volume.geometry)
