"""The physics: a thick slice is a profile-weighted average of thin ones. The only code that averages slices.

Everything acts along z alone, so each rule is one small matrix applied to every (y, x) column. `A` (thick x thin) is the
measurement; its rows sum to 1. The thin volume counts as constant within each thin slice's cell, `spacing_mm` wide, and each
weight is the exact integral of the slice profile over that cell, for any two grids.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import erf
from torch import Tensor

from lamella.errors import LamellaError
from lamella.volume import Geometry

Profile = Literal["box", "gaussian", "trapezoid"]

_SUM_TOLERANCE = 1e-6
"""How far a row of A may be from 1 before the slab counts as reaching past the thin grid."""

_GAUSSIAN_CUT = 3.0
"""The Gaussian profile ends at this many standard deviations (0.27 % of its mass lies beyond; the rest is rescaled)."""

_SLOPE = 0.5
"""Trapezoid: the ramps are this fraction of the full width at half maximum, so top 0.5 and base 1.5 thicknesses."""

SAFE_CONDITION = 50.0
"""Condition number of A A^T up to which the exact projection (ridge 0) hardly amplifies noise."""

OVERLAP_RIDGE = 0.02
"""Ridge, relative to the mean diagonal of A A^T, where slabs overlap so much that the condition number is above that."""


def _box_cdf(u: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(u + 0.5, 0.0, 1.0)


def _gaussian_cdf(u: NDArray[np.float64]) -> NDArray[np.float64]:
    sigma = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
    whole = erf(_GAUSSIAN_CUT / math.sqrt(2.0))
    clipped = np.clip(u / sigma, -_GAUSSIAN_CUT, _GAUSSIAN_CUT)
    return np.asarray(0.5 + 0.5 * erf(clipped / math.sqrt(2.0)) / whole)


def _trapezoid_cdf(u: NDArray[np.float64]) -> NDArray[np.float64]:
    def ramp_integral(v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of a ramp that rises from 0 to 1 over [-_SLOPE / 2, _SLOPE / 2]."""
        w = np.clip(v + _SLOPE / 2, 0.0, _SLOPE)
        return w * w / (2 * _SLOPE) + np.maximum(v - _SLOPE / 2, 0.0)

    return ramp_integral(u + 0.5) - ramp_integral(u - 0.5)


_PROFILES: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "box": (_box_cdf, 0.5),
    "gaussian": (_gaussian_cdf, _GAUSSIAN_CUT / (2.0 * math.sqrt(2.0 * math.log(2.0)))),
    "trapezoid": (_trapezoid_cdf, 0.5 + _SLOPE / 2),
}
"""Name -> (cumulative profile, half support); both in units of the thickness, which is the full width at half maximum."""


def _profile(name: str) -> tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]:
    if name not in _PROFILES:
        raise LamellaError(f"Unknown slice profile {name!r}. Expected one of {', '.join(_PROFILES)}.")
    return _PROFILES[name]


def profile_matrix(
    thin_mm: NDArray[np.float64],
    spacing_mm: float,
    thick_mm: NDArray[np.float64],
    thickness_mm: float,
    profile: Profile = "box",
) -> NDArray[np.float64]:
    """The measurement matrix A (thick x thin): share of each thin cell in each thick slab.

    Args:
        thin_mm: (D,) centres of the thin slices.
        spacing_mm: width of a thin cell.
        thick_mm: (K,) centres of the thick slices.
        thickness_mm: full width at half maximum of the slab.
        profile: shape of the slab.

    Returns:
        (K, D) float64; a row sums to 1 where the thin grid covers the whole slab, to less where it does not.
    """
    cdf, _ = _profile(profile)
    edges = np.concatenate([thin_mm - spacing_mm / 2, thin_mm[-1:] + spacing_mm / 2])
    return np.diff(cdf((edges[None, :] - thick_mm[:, None]) / thickness_mm), axis=1)


def cubic_matrix(thick_mm: NDArray[np.floating], thin_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """(D, K) cubic spline (not-a-knot) along z, read at the thin centres; constant beyond the outer thick centres.

    This is the interpolation every gain in this project is measured against: aligned by position, never by index.
    """
    if len(thick_mm) == 1:
        return np.ones((len(thin_mm), 1))
    inside = np.clip(thin_mm, thick_mm[0], thick_mm[-1])
    return np.asarray(CubicSpline(thick_mm, np.eye(len(thick_mm)), axis=0)(inside))


def linear_matrix(thick_mm: NDArray[np.floating], thin_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """(D, K) linear interpolation along z, read at the thin centres; constant beyond the outer thick centres."""
    return np.stack([np.interp(thin_mm, thick_mm, unit) for unit in np.eye(len(thick_mm))], axis=1)


def covering_grid(thin: Geometry, thick: Geometry, profile: Profile = "box") -> tuple[Geometry, slice]:
    """Extend a thin grid until it covers every thick slab.

    Overlapping slabs and smooth profiles reach past the grid's ends. Renormalised rows would claim a measurement that was
    never made; so a longer grid is computed and the wanted slices are cut out afterwards.

    Returns:
        The longer grid, and the slice that cuts the wanted slices out of it.
    """
    _, reach = _profile(profile)
    spacing_mm = thin.spacing_mm
    low = thick.centres_mm[0] - reach * thick.thickness_mm
    high = thick.centres_mm[-1] + reach * thick.thickness_mm
    first, last = thin.centres_mm[0] - spacing_mm / 2, thin.centres_mm[-1] + spacing_mm / 2
    before = max(0, math.ceil((first - low) / spacing_mm - 1e-6))
    after = max(0, math.ceil((high - last) / spacing_mm - 1e-6))
    count = thin.shape[0]
    longer = thin.with_slices(before + count + after, spacing_mm, -before * spacing_mm, thin.thickness_mm)
    return longer, slice(before, before + count)


def thick_grid(thin: Geometry, thickness_mm: float, spacing_mm: float, profile: Profile = "box") -> Geometry:
    """Thick slices every `spacing_mm` whose slabs all lie within the thin grid, centred in it.

    Raises:
        LamellaError: not even one slab fits.
    """
    _, reach = _profile(profile)
    extent = thin.shape[0] * thin.spacing_mm
    room = extent - 2 * reach * thickness_mm
    if room < -1e-6:
        raise LamellaError(
            f"The series is too short to thicken: it covers {extent:g} mm, one slab needs {2 * reach * thickness_mm:g} mm. "
            "Choose a smaller thickness."
        )
    count = math.floor(room / spacing_mm + 1e-6) + 1
    start = (extent - (count - 1) * spacing_mm) / 2 - thin.spacing_mm / 2
    return thin.with_slices(count, spacing_mm, start, thickness_mm)


@dataclass(frozen=True, eq=False)
class SliceOperator:
    """Measurement along z: `blur` (A x), `project` onto {x : A x = y}, `residual` (y - A x).

    Tensors have z as their third axis from the end, (..., z, y, x). The matrix is float64; products run in the tensor's
    own precision.

    Attributes:
        matrix: (K, D) float64, rows sum to 1.
        ridge: Tikhonov term of `project`, in the units of A A^T (see `default_ridge`).
    """

    matrix: NDArray[np.float64]
    ridge: float = 0.0

    @classmethod
    def between(
        cls, thin: Geometry, thick: Geometry, profile: Profile = "box", ridge: float | None = None
    ) -> SliceOperator:
        """The operator that takes a volume on the thin grid to the thick grid; ridge None means `default_ridge`.

        Raises:
            LamellaError: the grids differ in direction, or a slab reaches past the thin grid (use `covering_grid`).
        """
        if not np.allclose(thin.axes, thick.axes, atol=1e-4):
            raise LamellaError(
                "The thin and the thick grid have different orientations. Both must come from the same scan."
            )
        matrix = profile_matrix(thin.centres_mm, thin.spacing_mm, thick.centres_mm, thick.thickness_mm, profile)
        return cls.from_matrix(matrix, ridge)

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float64], ridge: float | None = None) -> SliceOperator:
        """The operator of a given (K, D) matrix whose rows sum to 1."""
        short = np.flatnonzero(np.abs(matrix.sum(axis=1) - 1.0) > _SUM_TOLERANCE)
        if len(short):
            k = int(short[0])
            raise LamellaError(
                f"{len(short)} thick slabs reach past the thin grid, the first is slice {k} with "
                f"{100 * matrix[k].sum():.1f} % of its profile inside. Extend the thin grid (covering_grid)."
            )
        return cls(matrix, default_ridge(matrix) if ridge is None else ridge)

    @cached_property
    def condition(self) -> float:
        """Condition number of A A^T: 1 for abutting or gapped slabs; large where slabs overlap."""
        return float(np.linalg.cond(self.matrix @ self.matrix.T))

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """(D, K) float64 regularised pseudo-inverse A^T (A A^T + ridge I)^-1."""
        gram = self.matrix @ self.matrix.T + self.ridge * np.eye(len(self.matrix))
        return np.asarray(np.linalg.solve(gram, self.matrix).T)

    @cached_property
    def null_matrix(self) -> NDArray[np.float64]:
        """(D, D) float64 I - A^+ A: what the measurement cannot see of each thin slice."""
        return np.asarray(np.eye(self.matrix.shape[1]) - self.inverse @ self.matrix)

    @cached_property
    def null_fraction(self) -> NDArray[np.float64]:
        """(D,) variance that unit white noise keeps at each thin slice once its measured part is removed."""
        return np.asarray((self.null_matrix**2).sum(axis=1))

    def consistent(self, interpolation: NDArray[np.float64]) -> NDArray[np.float64]:
        """(D, K) matrix of an interpolation -> of the same, projected onto the measurement."""
        return np.asarray(interpolation + self.inverse @ (np.eye(interpolation.shape[1]) - self.matrix @ interpolation))

    def blur(self, x: Tensor) -> Tensor:
        """A x: (..., D, y, x) -> (..., K, y, x)."""
        return along_z(self.matrix, x)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """y - A x, in HU: (..., K, y, x)."""
        return y - self.blur(x)

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """The smallest change of x that reproduces the measurement: x + A^T (A A^T + ridge I)^-1 (y - A x).

        Exact, and idempotent, for ridge 0 (Wang et al., DDNM, arXiv 2212.00490, eq. 12, with this A).
        """
        return x + along_z(self.inverse, self.residual(x, y))

    def null(self, x: Tensor) -> Tensor:
        """The part of x the measurement cannot see: (I - A^+ A) x."""
        return x - along_z(self.inverse, self.blur(x))


def default_ridge(matrix: NDArray[np.float64]) -> float:
    """0 where the exact projection is harmless; else a share of the mean diagonal of A A^T (see SAFE_CONDITION)."""
    gram = matrix @ matrix.T
    return 0.0 if np.linalg.cond(gram) <= SAFE_CONDITION else OVERLAP_RIDGE * float(np.trace(gram)) / len(gram)


def along_z(matrix: NDArray[np.float64], x: Tensor) -> Tensor:
    """Apply an (m, n) matrix along z: (..., n, y, x) -> (..., m, y, x)."""
    m = torch.as_tensor(matrix, dtype=x.dtype, device=x.device)
    out: Tensor = torch.matmul(m, x.flatten(-2))
    return out.reshape(*out.shape[:-1], *x.shape[-2:])
