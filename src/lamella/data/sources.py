"""What training blocks are cut from: prepared cases, or thin views of series that were never prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamella.data.patches import Stack
from lamella.data.views import SeriesSettings, ThinView, reformatted_bytes, views_of
from lamella.errors import LamellaError, UsageError
from lamella.machine.memory import available_bytes
from lamella.volume import SAME_GRID_MM, Volume

if TYPE_CHECKING:
    from lamella.data.index import Index


@dataclass(frozen=True, eq=False)
class BlockSource:
    """A volume to cut from, with its real thick slices where there are any.

    Attributes:
        name: case or view, for logs.
        thin: (z, y, x) HU.
        thin_mm: (z,) centres along the slice axis, rising and evenly spaced.
        thick: (k, y, x) HU on the same in-plane grid, or None.
        thick_mm: (k,) centres on the same axis, or None.
        weight: share in training.
    """

    name: str
    thin: Stack
    thin_mm: NDArray[np.float64]
    thick: Stack | None = None
    thick_mm: NDArray[np.float64] | None = None
    weight: float = 1.0

    @property
    def spacing_mm(self) -> float:
        """Distance between the thin centres."""
        return float(self.thin_mm[1] - self.thin_mm[0])


def case_sources(index: Index, split: str) -> list[BlockSource]:
    """The cases of a split ("train", "validation" or "test"), each with a weight of its slices a millimetre.

    Raises:
        LamellaError: the thin and the thick series of a case lie on different in-plane grids.
    """
    sources = []
    for case_id in index.cases(split):
        case = index.open(case_id)
        thin = case.thin.geometry
        if case.thick is None:
            sources.append(BlockSource(case_id, case.thin, thin.centres_mm, weight=1 / thin.spacing_mm))
            continue
        thick = case.thick.geometry
        if thin.apart_mm(thick, in_plane=True) > SAME_GRID_MM:
            raise LamellaError(
                f"The thin and the thick series of case {case_id} lie on different in-plane grids. Found "
                f"{thin.shape[1:]} and {thick.shape[1:]} pixels, expected one grid as `lamella prepare` demands it. "
                "Remove the case's folder and run `lamella prepare` again."
            )
        sources.append(
            BlockSource(case_id, case.thin, thin.centres_mm, case.thick, thick.centres_mm, weight=1 / thin.spacing_mm)
        )
    return sources


def reformatted_sources(index: Index, split: str, weight: float) -> list[BlockSource]:
    """The cases of a split seen along their rows and columns (`lamella.data.views`), each view with this weight.

    The views are held in memory: interpolated to square pixels they are not what lies on disk.

    Raises:
        UsageError: they would take more than half of what is free.
    """
    cases = [(case_id, index.open(case_id).thin) for case_id in index.cases(split)]
    needed = sum(reformatted_bytes(thin.geometry) for _, thin in cases)
    free = available_bytes()
    if needed > free / 2:
        raise UsageError(
            f"data.reformat: the {len(cases)} cases seen along rows and columns need {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free. Set data.reformat=0, or train where there is more than twice that."
        )
    sources: list[BlockSource] = []
    for case_id, thin in cases:
        z, y, x = thin.shape
        volume = Volume(thin[slice(0, z), slice(0, y), slice(0, x)], thin.geometry)
        sources += view_sources(views_of(case_id, volume, SeriesSettings(case_id, reformat=weight)))
    return sources


def view_sources(views: Sequence[ThinView]) -> list[BlockSource]:
    """Thin views of series that were never prepared into a cache."""
    return [
        BlockSource(v.name, v.hu, v.spacing_mm * np.arange(len(v.hu), dtype=np.float64), weight=v.weight) for v in views
    ]
