"""How far positions and cosines may be wrong because of the decimals that they are written with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.dicom.elements import value_of
from lamella.dicom.header import Slice

_LEAST_DECIMALS = 3
"""Cosines of fewer decimals leave places in the plane wrong by millimetres; only exact ones (0, 1, 0.8) are read then."""


@dataclass(frozen=True)
class Rounding:
    """Largest errors by rounding; zero where numbers are whole or finely written.

    Attributes:
        position_mm: of each component of ImagePositionPatient: half its last decimal.
        cosine: of each component of ImageOrientationPatient.
        decimals: of the cosines; None where all are 0 or +-1.
    """

    position_mm: float
    cosine: float
    decimals: int | None

    @property
    def angle(self) -> float:
        """Largest error of a direction, a length or a product of two unit vectors (radians)."""
        return 2 * math.sqrt(3) * self.cosine

    @property
    def sideways_mm(self) -> float:
        """Largest distance that rounding puts between a position and the line through the others."""
        return 2 * math.sqrt(3) * self.position_mm

    @property
    def remark(self) -> str:
        """A sentence on cosines with too few decimals; or empty."""
        if self.decimals is None or self.decimals >= _LEAST_DECIMALS:
            return ""
        return (
            f" Its cosines have {self.decimals} decimals; expected at least {_LEAST_DECIMALS}: export the series again."
        )

    def along(self, normal: NDArray[np.float64]) -> float:
        """Largest error of a step between two slices, mm."""
        return 2 * self.position_mm * float(np.abs(normal).sum())


def rounding_of(slices: Sequence[Slice]) -> Rounding:
    """Reads the decimals off the texts of the headers; the most of any component counts, for zeros at the end are often cut."""
    places = max(max(_decimals(one, "ImagePositionPatient"), default=0) for one in slices)
    cosines = [
        count
        for one in slices[:1]
        for count, value in zip(_decimals(one, "ImageOrientationPatient"), one.orientation, strict=True)
        if abs(value) not in (0.0, 1.0)
    ]
    decimals = max(cosines, default=None)
    return Rounding(
        position_mm=0.5 * 10.0**-places if places else 0.0,
        cosine=0.5 * 10.0**-decimals if decimals is not None and decimals >= _LEAST_DECIMALS else 0.0,
        decimals=decimals,
    )


def turned(
    row: NDArray[np.float64], column: NDArray[np.float64], lean: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same directions with their normal turned to normal + lean."""
    normal = np.cross(row, column) + lean
    normal /= np.linalg.norm(normal)
    row = row - (row @ normal) * normal
    row /= np.linalg.norm(row)
    return row, np.cross(normal, row)


def _decimals(one: Slice, keyword: str) -> list[int]:
    """Decimals of each number as it is written; PS3.5 table 6.2-1 allows an exponent."""
    found = []
    for value in value_of(one.header, keyword):
        mantissa, _, exponent = str(value).strip().lower().partition("e")
        found.append(max(0, len(mantissa.partition(".")[2]) - int(exponent or 0)))
    return found
