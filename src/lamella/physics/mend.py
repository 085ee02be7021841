"""Repairs of a stack of thick slices: a shear along the slices taken out, one missing slice bridged, uneven slices made even.

Each is decided from geometry alone (`note`, `made_of`), and then applied to the voxels by calling it. Nothing here is ever
applied unasked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from lamella.physics.repair import Bridged, Repair
from lamella.volume import AIR_HU, round_hu

SAME_MM = 0.05
"""Displacements below this are none: an in-plane axis that is sheared by less is left as it is."""

_CUBIC = {-2: -1 / 6, -1: 2 / 3, 1: 2 / 3, 2: -1 / 6}
_LINEAR = {-1: 1 / 2, 1: 1 / 2}
"""Weights of the slices so many places beside a missing one: polynomials through them, read in the middle."""

_NEAR_PX = 5
"""The difference of two slices at a pixel is the root mean square over so many pixels a side."""

_BINS_HU = np.geomspace(1.0, 4096.0, 25)
_LEAST_IN_BIN = 100

Hu = NDArray[np.float32] | NDArray[np.int16]


class Mend(Protocol):
    """A repair of one stack."""

    @property
    def note(self) -> str:
        """What is done, for people."""

    @property
    def made_of(self) -> tuple[tuple[int, ...], ...]:
        """For each slice of the repaired stack the measured slices that it is made of, the nearest first."""

    def __call__(self, hu: Hu) -> tuple[Hu, Repair]:
        """(measured slices, y, x) HU -> HU on the repaired grid, of the same dtype, and the record of the repair."""


@dataclass(frozen=True, eq=False)
class Unshear:
    """Shears slices back that were stacked along the table by a tilted gantry, each within its own plane.

    The positions of a tilted series run at an angle to the normal of its planes (PS3.3 C.7.6.2.1.1), so that its grid is
    sheared: slice k lies k times the same vector to the side of the normal through slice 0. The voxels of every slice stay in
    their plane and are interpolated along the sheared axes only, with an interpolating cubic spline; the grid grows as far as
    the slices reach, and is air (-1024 HU) where there was none. Slices are as far apart as their planes: the step along
    the table times the cosine of the tilt. The angle is that of the positions, never GantryDetectorTilt, whose sign scanners
    do not agree on. dcm2niix shears in the same way (`_Tilt`), with linear interpolation.

    Attributes:
        shape: of the repaired grid.
        affine: (4, 4) of the repaired grid, (z, y, x) index -> LPS mm.
        starts_px: (slices, 2) row and column of the repaired grid where the first voxel of each slice lies.
        angle_deg: between the line of the positions and the normal.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    starts_px: NDArray[np.float64]
    angle_deg: float

    @classmethod
    def of(cls, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Unshear:
        """The repair of a sheared grid.

        Args:
            shape: (slices, rows, columns).
            affine: (4, 4) (z, y, x) index -> LPS mm; the columns of rows and columns are perpendicular.
        """
        step, pixels = affine[:3, 0], affine[:3, 1:3]
        lengths = np.linalg.norm(pixels, axis=0)
        normal = np.cross(pixels[:, 1], pixels[:, 0]) / lengths.prod()
        spacing = float(step @ normal)
        lean = step @ pixels / lengths  # mm per slice along rising row, rising column
        lean[np.abs(lean) * (shape[0] - 1) <= SAME_MM] = 0.0
        starts = np.arange(shape[0])[:, None] * lean / lengths
        low, high = np.floor(starts.min(axis=0)), np.ceil(starts.max(axis=0))
        whole = np.array(affine)
        whole[:3, 0] = normal * spacing
        whole[:3, 3] += pixels @ low
        rows, columns = (np.array(shape[1:]) + high - low).astype(int).tolist()
        angle = math.degrees(math.atan2(float(np.linalg.norm(step - spacing * normal)), abs(spacing)))
        return cls((shape[0], rows, columns), whole, starts - low, angle)

    @property
    def note(self) -> str:
        """See `Mend`."""
        spacing = float(np.linalg.norm(self.affine[:3, 0]))
        along = spacing / math.cos(math.radians(self.angle_deg))
        return (
            f"repaired (tilt): slices {self.angle_deg:.2f} degrees off their normal, {along:.4g} mm apart along the table, "
            f"were sheared back within their planes (cubic spline, padded with air) and lie {spacing:.4g} mm apart along "
            "the normal; consistency is that with the slices sheared back"
        )

    @property
    def made_of(self) -> tuple[tuple[int, ...], ...]:
        """See `Mend`."""
        return tuple((k,) for k in range(self.shape[0]))

    def __call__(self, hu: Hu) -> tuple[Hu, Repair]:
        """See `Mend`."""
        out = np.empty(self.shape, hu.dtype)
        for k, start in enumerate(self.starts_px):
            plane = hu[k].astype(np.float64)
            for axis in np.flatnonzero(self.starts_px.any(axis=0)).tolist():
                plane = _shifted(plane, axis, float(start[axis]), self.shape[1 + axis])
            out[k] = _as(hu.dtype, plane[None])[0]
        return out, Repair("tilt", self.note)


@dataclass(frozen=True)
class Bridge:
    """Puts an interpolated slice where one is missing.

    It is the cubic polynomial through the two slices on either side (Lagrange), or the mean of the two beside it where these
    are all there are. It is no measurement: what it errs is learned from the measured slices of the same scan. Each that has
    such neighbours is bridged too; its error, root mean square over pixels whose two neighbours differ alike nearby, is the
    error to be expected where the neighbours of the missing slice differ so.

    Attributes:
        index: place of the missing slice in the repaired stack.
        measured: number of measured slices.
        at_mm: where the missing slice belongs, along the normal.
    """

    index: int
    measured: int
    at_mm: float

    @property
    def known(self) -> bool:
        """Whether there is a measured slice to learn from."""
        return bool(self._alike(_LINEAR))

    @property
    def note(self) -> str:
        """See `Mend`."""
        how = "a cubic through its four neighbours" if self._weights is _CUBIC else "the mean of its two neighbours"
        return (
            f"repaired (gap): the slice missing at {self.at_mm:.2f} mm along the normal was bridged by {how}; the spread "
            "holds what that errs, as found on measured slices, and consistency is that with the "
            f"{self.measured} measured slices"
        )

    @property
    def made_of(self) -> tuple[tuple[int, ...], ...]:
        """See `Mend`."""
        around = tuple(self._beside(self.index, step) for step in sorted(self._weights, key=abs))
        below = [(k,) for k in range(self.index)]
        return (*below, around, *((k,) for k in range(self.index, self.measured)))

    def __call__(self, hu: Hu) -> tuple[Hu, Repair]:
        """See `Mend`."""
        sources = [hu[self._beside(self.index, step)] for step in self._weights]
        plane = _as(hu.dtype, _weighted(sources, self._weights)[None])
        out: Any = np.concatenate([hu[: self.index], plane, hu[self.index :]])
        return out, Repair("gap", self.note, Bridged(self.index, len(out), self._error(hu)))

    @property
    def _weights(self) -> Mapping[int, float]:
        inner = 2 <= self.index <= self.measured - 2
        return _CUBIC if inner and self._alike(_CUBIC) else _LINEAR

    def _beside(self, index: int, step: int) -> int:
        """The measured slice so many places beside a place of the repaired stack."""
        return index + step - (index + step > self.index)

    def _alike(self, weights: Mapping[int, float]) -> list[int]:
        """Measured slices whose neighbours are measured as well, and not beyond the missing one."""
        reach = max(weights)
        inner = range(reach, self.measured - reach)
        return [k for k in inner if k + reach < self.index or k - reach >= self.index]

    def _error(self, hu: Hu) -> NDArray[np.float32]:
        """(y, x) expected error of the bridged slice, by how much its neighbours differ nearby."""
        bins = len(_BINS_HU) + 1
        counts, differences, squares = np.zeros((3, bins))
        for k in self._alike(self._weights):
            difference = _difference(hu[k - 1], hu[k + 1]).ravel()
            error = (_weighted([hu[k + step] for step in self._weights], self._weights) - hu[k]).ravel()
            at = np.digitize(difference, _BINS_HU)
            counts += np.bincount(at, minlength=bins)
            differences += np.bincount(at, difference, bins)
            squares += np.bincount(at, error**2, bins)
        some = counts >= min(_LEAST_IN_BIN, counts.max())
        differences, errors = differences[some] / counts[some], np.sqrt(squares[some] / counts[some])
        here = _difference(hu[self.index - 1], hu[self.index])
        return np.asarray(np.interp(here, differences, errors), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class MakeEven:
    """Reads slices at uneven positions at even ones.

    A slice of thickness T is the average of the object over T about its centre, wherever that lies: all slices are samples of
    one curve along the normal, the object blurred by the slab. So the curve through them (cubic spline, not-a-knot) is read at
    even positions, and the slices found there are T thick as the measured ones are.

    Attributes:
        measured_mm: (n,) positions of the measured slices along the normal.
        even_mm: (n,) the new positions; first and last are the measured ones.
    """

    measured_mm: NDArray[np.float64]
    even_mm: NDArray[np.float64]

    @classmethod
    def of(cls, measured_mm: NDArray[np.float64]) -> MakeEven:
        """As many slices as were measured, over the same length."""
        return cls(measured_mm, np.linspace(measured_mm[0], measured_mm[-1], len(measured_mm)))

    @property
    def spacing_mm(self) -> float:
        """Between the new slices: the mean of the measured distances."""
        return float(self.even_mm[-1] - self.even_mm[0]) / (len(self.even_mm) - 1)

    @property
    def note(self) -> str:
        """See `Mend`."""
        steps = np.diff(self.measured_mm)
        return (
            f"repaired (uneven): slices {steps.min():.4g} to {steps.max():.4g} mm apart were interpolated along the normal "
            f"(cubic spline) to one every {self.spacing_mm:.4g} mm; what that errs is not in the spread, and consistency is "
            "that with the interpolated slices"
        )

    @property
    def made_of(self) -> tuple[tuple[int, ...], ...]:
        """See `Mend`."""
        made = []
        for at in self.even_mm:
            above = int(np.clip(np.searchsorted(self.measured_mm, at), 1, len(self.measured_mm) - 1))
            beside = sorted((above - 1, above), key=lambda k: abs(self.measured_mm[k] - at))
            alone = abs(self.measured_mm[beside[0]] - at) < SAME_MM
            made.append(tuple(beside[:1] if alone else beside))
        return tuple(made)

    def __call__(self, hu: Hu) -> tuple[Hu, Repair]:
        """See `Mend`."""
        weights = CubicSpline(self.measured_mm, np.eye(len(hu)))(self.even_mm)
        out = np.empty_like(hu)
        for row in range(hu.shape[1]):
            out[:, row] = _as(hu.dtype, weights @ hu[:, row])
        return out, Repair("uneven", self.note)


def _shifted(plane: NDArray[np.float64], axis: int, start: float, length: int) -> NDArray[np.float64]:
    """The plane on a longer grid, its first voxel at `start`, along one axis; air where it does not reach."""
    count = plane.shape[axis]
    at = np.arange(length) - start
    inside = (at > -1e-6) & (at < count - 1 + 1e-6)
    whole = np.full((length, plane.shape[1 - axis]), float(AIR_HU))
    whole[inside] = CubicSpline(np.arange(count), np.moveaxis(plane, axis, 0))(np.clip(at[inside], 0, count - 1))
    return np.moveaxis(whole, 0, axis)


def _as(dtype: Any, values: NDArray[np.float64]) -> Hu:
    return round_hu(values) if dtype == np.int16 else np.maximum(values, AIR_HU).astype(np.float32)


def _weighted(slices: Sequence[Hu], weights: Mapping[int, float]) -> NDArray[np.float64]:
    return np.tensordot(np.array([*weights.values()]), np.stack(slices), axes=1)


def _difference(plane: Hu, other: Hu) -> NDArray[np.float64]:
    """(y, x) root mean square difference of two slices around each pixel."""
    squared = (plane.astype(np.float64) - other) ** 2
    return np.asarray(np.sqrt(np.maximum(ndimage.uniform_filter(squared, _NEAR_PX), 0.0)))
