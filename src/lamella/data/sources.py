"""What training samples are cut from: a thin volume, with its real thick slices where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Stack(Protocol):
    """A (z, y, x) array, or a volume that reads only the block asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(slices, rows, columns)."""

    def __getitem__(self, block: tuple[slice, slice, slice], /) -> NDArray[np.int16]:
        """The HU of a block."""


@dataclass(frozen=True, eq=False)
class TrainingSource:
    """A prepared case, or a scan seen along one of its axes.

    Attributes:
        name: case, or series and axis, for messages.
        thin: (z, y, x) HU; its first axis plays the slice axis.
        thin_mm: (z,) centres along it, rising and evenly spaced.
        thick: (k, y, x) HU on the same in-plane grid, or None.
        thick_mm: (k,) centres on the same axis, or None.
        weight: share in training.
        category: folder that the case came from, as "APE"; empty for a series by its path.
        patient_id: pseudonym; empty for a series by its path.
    """

    name: str
    thin: Stack
    thin_mm: NDArray[np.float64]
    thick: Stack | None = None
    thick_mm: NDArray[np.float64] | None = None
    weight: float = 1.0
    category: str = ""
    patient_id: str = ""

    @classmethod
    def of_array(cls, name: str, hu: NDArray[np.int16], spacing_mm: float, weight: float = 1.0) -> TrainingSource:
        """A thin volume alone, its first slice at 0 mm."""
        return cls(name, hu, spacing_mm * np.arange(len(hu), dtype=np.float64), weight=weight)

    @property
    def spacing_mm(self) -> float:
        """Distance between the thin centres."""
        return float(self.thin_mm[1] - self.thin_mm[0])


def choose(rng: np.random.Generator, sources: Sequence[TrainingSource]) -> TrainingSource:
    """One of them, with chances as their weights."""
    weights = np.array([source.weight for source in sources])
    return sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
