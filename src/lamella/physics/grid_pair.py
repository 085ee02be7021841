"""A thick and a thin grid of one scan: every matrix and number that geometry alone decides, made once a series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.physics.slice_operator import Profile, SliceOperator, along_z, cubic_matrix, linear_matrix, profile_matrix
from lamella.volume import Geometry


@dataclass(frozen=True, eq=False)
class GridPair:
    """A thick and a thin grid along z.

    Attributes:
        operator: the measurement, A.
        start_matrix: (D, K) float64: cubic interpolation projected onto the measurement.
        linear_matrix: (D, K) float64: linear interpolation projected onto it; the least noisy answer in homogeneous tissue.
        offsets: (D, K) float64: (thin centre - thick centre) / thick spacing.
        spacing_mm: between thick slices.
        thickness_mm: of a thick slice.
        thin_spacing_mm: between thin slices.
    """

    operator: SliceOperator
    start_matrix: NDArray[np.float64]
    linear_matrix: NDArray[np.float64]
    offsets: NDArray[np.float64]
    spacing_mm: float
    thickness_mm: float
    thin_spacing_mm: float

    @classmethod
    def between(cls, thin: Geometry, thick: Geometry, profile: Profile = "box") -> GridPair:
        """The pair of two grids of one scan; `thin` must cover every slab (`covering_grid`)."""
        return cls.along(
            thin.centres_mm, thin.spacing_mm, thick.centres_mm, thick.spacing_mm, thick.thickness_mm, profile
        )

    @classmethod
    def along(
        cls,
        thin_mm: NDArray[np.float64],
        thin_spacing_mm: float,
        thick_mm: NDArray[np.float64],
        spacing_mm: float,
        thickness_mm: float,
        profile: Profile = "box",
    ) -> GridPair:
        """The same from positions along the slice axis, in mm."""
        operator = SliceOperator.from_matrix(profile_matrix(thin_mm, thin_spacing_mm, thick_mm, thickness_mm, profile))
        start = operator.consistent(cubic_matrix(thick_mm, thin_mm))
        linear = operator.consistent(linear_matrix(thick_mm, thin_mm))
        offsets = (thin_mm[:, None] - thick_mm[None, :]) / spacing_mm
        return cls(operator, start, linear, offsets, spacing_mm, thickness_mm, thin_spacing_mm)

    def start(self, thick_hu: Tensor) -> Tensor:
        """(..., K, y, x) HU -> (..., D, y, x) HU: the starting image without a network, consistent with the measurement."""
        return along_z(self.start_matrix, thick_hu)

    @cached_property
    def ratios(self) -> Tensor:
        """(2,) input of the thin head: log(thin spacing / spacing), log(thickness / spacing)."""
        return torch.tensor(
            [math.log(self.thin_spacing_mm / self.spacing_mm), math.log(self.thickness_mm / self.spacing_mm)]
        )

    @cached_property
    def null_gain(self) -> Tensor:
        """(D, 1, 1) factor that gives unit white noise its unit variance back after the null-space projection."""
        return torch.from_numpy(1.0 / np.sqrt(np.maximum(self.operator.null_fraction, 0.05))).float()[:, None, None]

    @property
    def report(self) -> dict[str, float]:
        """Figures of the measurement in a report."""
        return {"condition_number": round(self.operator.condition, 2), "ridge": self.operator.ridge}

    @property
    def condition(self) -> tuple[float, float, float]:
        """Input of the networks: log(spacing / 5 mm), log(thickness / spacing), log(thin spacing / 1 mm)."""
        return (
            math.log(self.spacing_mm / 5.0),
            math.log(self.thickness_mm / self.spacing_mm),
            math.log(self.thin_spacing_mm),
        )
