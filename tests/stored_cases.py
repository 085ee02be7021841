"""Cases in memory that answer like prepared ones, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from lamella.volume import Geometry
from tests.small_model import upright

if TYPE_CHECKING:
    from lamella.data.index import Index


@dataclass
class StoredVolume:
    """`CachedVolume` of an array."""

    hu: NDArray[np.int16]
    geometry: Geometry
    reads: list[tuple[slice, slice, slice]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.geometry.shape

    def __getitem__(self, block: tuple[slice, slice, slice]) -> NDArray[np.int16]:
        self.reads.append(block)
        return self.hu[block]


@dataclass
class StoredCase:
    """`CachedCase`."""

    case_id: str
    thin: StoredVolume
    thick: StoredVolume | None = None
    category: str = "APE"
    patient_id: str = "p1"


@dataclass
class _StoredIndex:
    held: dict[str, StoredCase]

    @property
    def entries(self) -> tuple[StoredCase, ...]:
        return tuple(self.held.values())

    def cases(self, split: str) -> tuple[str, ...]:
        return tuple(self.held) if split in ("train", "validation") else ()

    def open(self, case_id: str) -> StoredCase:
        return self.held[case_id]


def stored_index(*cases: StoredCase) -> Index:
    """An index whose splits `train` and `validation` both hold the cases."""
    return cast("Index", _StoredIndex({c.case_id: c for c in cases}))


def ramp(depth: int, spacing_mm: float, first_mm: float = 120.0, plane: int = 24, slope: float = 2.0) -> StoredVolume:
    """HU = position along z in mm times the slope, and 3 a row, so that mirrored planes are seen; rounded."""
    grid = upright((depth, plane, plane), spacing_mm, spacing_mm).with_slices(
        depth, spacing_mm, first_mm - 120.0, spacing_mm
    )
    hu = np.round(slope * grid.centres_mm[:, None, None] + 3 * np.arange(plane)[:, None] + np.zeros((1, plane, plane)))
    return StoredVolume(hu.astype(np.int16), grid)


def noise(
    depth: int, spacing_mm: float, plane: int = 24, seed: int = 0, values: Sequence[int] = (-500, 500)
) -> StoredVolume:
    """Random HU."""
    rng = np.random.default_rng(seed)
    return StoredVolume(
        rng.integers(values[0], values[1], (depth, plane, plane)).astype(np.int16),
        upright((depth, plane, plane), spacing_mm, spacing_mm),
    )
