"""Whole cases as a network's input and target (SPEC A5): both grids of one scan, windowed to [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lamella.data.patches import draw_slab
from lamella.errors import LamellaError, UsageError
from lamella.physics.slice_operator import Profile, SliceOperator, thick_grid
from lamella.volume import Geometry
from lamella.window import named_window

if TYPE_CHECKING:
    from lamella.data.cache import CachedCase
    from lamella.data.index import Index


@dataclass(frozen=True)
class ItemSettings:
    """How cases become items.

    Attributes:
        window: name of the HU window (`lamella.window.WINDOWS`).
        crop_px: rows and columns of a central square; None keeps the whole plane.
        spacing_mm: distance between made thick slices, for cases with a thin series only.
        thickness_mm: their width.
        profile: their profile.
        other_profile: chance of another profile in the split `train`; None makes its slices like those of other splits.
        spacings_mm: smallest and largest spacing in the split `train`.
        seed: of what is drawn for a case of the split `train`.
    """

    window: str = "soft-tissue"
    crop_px: int | None = None
    spacing_mm: float = 5.0
    thickness_mm: float = 5.0
    profile: Profile = "box"
    other_profile: float | None = 0.2
    spacings_mm: tuple[float, float] = (2.0, 6.0)
    seed: int = 42


class Item(TypedDict):
    """One case; its keys are SPEC A5's.

    Attributes:
        input: (1, D_thick, H, W) float32 in [-1, 1].
        target: (1, D_thin, H, W) the same.
        category: folder the case came from, as "APE".
        patient_id: pseudonym.
        num_thick_slices: D_thick.
        num_thin_slices: D_thin.
    """

    input: Tensor
    target: Tensor
    category: str
    patient_id: str
    num_thick_slices: int
    num_thin_slices: int


@dataclass(frozen=True, eq=False)
class Grids:
    """Where the slices of an item are along the normal, in mm, rising: (D_thin,) and (D_thick,) float64."""

    thin_mm: NDArray[np.float64]
    thick_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Plan:
    """The grids of an item, known before any pixel is read.

    Attributes:
        thick: grid of the input.
        kept: slices of the thin volume that are the target.
        profile: shape of the slabs where the thick slices are made; None where they are real.
    """

    thick: Geometry
    kept: slice
    profile: Profile | None


class CaseItems(Dataset[Item]):
    """i -> `Item`, the cases of a split in the index's order; the same item whenever it is asked for.

    Cases with a thin series only get thick slices from `slices.py`, and as target the thin slices that these answer for.

    Args:
        index: the prepared data set.
        split: "train", "validation" or "test".
        settings: window, crop, and how thick slices are made.
    """

    def __init__(self, index: Index, split: str, settings: ItemSettings) -> None:
        self._window = named_window(settings.window)
        if settings.crop_px is not None and settings.crop_px < 1:
            raise UsageError(f"crop_px must be at least 1, or left out for the whole plane. Found {settings.crop_px}.")
        self._index, self._settings, self._split = index, settings, split
        self.case_ids = tuple(index.cases(split))

    def __len__(self) -> int:
        return len(self.case_ids)

    def __getitem__(self, i: int) -> Item:
        """The item.

        Raises:
            LamellaError: the plane is smaller than the crop, or the volume too short for one slab.
        """
        case, plan = self._planned(i)
        rows, columns = self._crop(case)
        thin = case.thin[slice(0, case.thin.shape[0]), rows, columns]
        thick: NDArray[np.int16] | NDArray[np.float32]
        if plan.profile is None:
            assert case.thick is not None, "a plan without a profile is of a case with a thick series"
            thick = case.thick[slice(0, case.thick.shape[0]), rows, columns]
        else:
            operator = SliceOperator.between(case.thin.geometry, plan.thick, plan.profile, ridge=0.0)
            # whole HU, as a scanner would have stored them
            thick = operator.blur(torch.from_numpy(thin.astype(np.float32))).round().numpy()
        target = thin[plan.kept]
        return Item(
            input=torch.from_numpy(self._window.to_unit(thick))[None],
            target=torch.from_numpy(self._window.to_unit(target))[None],
            category=case.category,
            patient_id=case.patient_id,
            num_thick_slices=len(thick),
            num_thin_slices=len(target),
        )

    def grids(self, i: int) -> Grids:
        """Where the slices of item i are, without reading its pixels."""
        case, plan = self._planned(i)
        return Grids(case.thin.geometry.centres_mm[plan.kept], plan.thick.centres_mm)

    def _planned(self, i: int) -> tuple[CachedCase, _Plan]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        case = self._index.open(self.case_ids[i])
        thin = case.thin.geometry
        if case.thick is not None:
            return case, _Plan(case.thick.geometry, slice(0, thin.shape[0]), None)
        spacing_mm, thickness_mm, profile = self._slab(i, thin.spacing_mm)
        try:
            thick = thick_grid(thin, thickness_mm, spacing_mm, profile)
        except LamellaError as error:
            raise LamellaError(f"Case {case.case_id}: {error}") from error
        # the answer covers half a spacing beyond the outer centres, as a thin grid asked for would
        low, high = thick.centres_mm[0] - spacing_mm / 2, thick.centres_mm[-1] + spacing_mm / 2
        first, last = np.searchsorted(thin.centres_mm, (low - 1e-6, high - 1e-6))
        return case, _Plan(thick, slice(int(first), int(last)), profile)

    def _slab(self, i: int, thin_mm: float) -> tuple[float, float, Profile]:
        """Spacing and thickness in mm, and profile, of the slices made for item i."""
        settings = self._settings
        if self._split != "train" or settings.other_profile is None:
            return settings.spacing_mm, settings.thickness_mm, settings.profile
        low, high = (max(mm / thin_mm, 1.0) for mm in settings.spacings_mm)
        rng = np.random.default_rng([settings.seed, i])
        slab = draw_slab(rng, (low, high), settings.other_profile, thicknesses=(1.0, 1.5 * high))
        return slab.factor * thin_mm, slab.thickness * thin_mm, slab.profile

    def _crop(self, case: CachedCase) -> tuple[slice, slice]:
        rows, columns = case.thin.shape[1:]
        size = self._settings.crop_px
        if size is None:
            return slice(0, rows), slice(0, columns)
        if size > min(rows, columns):
            raise LamellaError(
                f"Case {case.case_id} is too small to crop. Found planes of {rows} x {columns} pixels, expected at least "
                f"{size} x {size}. Choose a smaller crop_px."
            )
        y, x = (rows - size) // 2, (columns - size) // 2
        return slice(y, y + size), slice(x, x + size)
