"""The walls of airways whose place is known: lumen and wall, as a program for airways measures them.

From points of the airway's axis, rays run outwards in the plane across it. The wall is where HU lie above the middle between
its peak and the lumen, and between its peak and what lies outside: the full width at half maximum (Reinhardt et al., IEEE
Trans Med Imaging 16:820, 1997). Blur makes thin walls read too thick, in a thin scan too: compare with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, finite
from lamella.volume import Geometry

RAYS = 48
AIRWAY_PLACES_MM = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Along the axis, from its middle."""

AIRWAY_REACH_MM = 3.0
"""A ray runs so far beyond the outer wall: past its blur, before the next structure."""

LEAST_HU = 100.0
"""A wall that stands out less from the lumen cannot be measured."""

FOUND = 0.5
"""At least this share of the rays must find the wall."""

_STEP_MM = 0.1


@dataclass(frozen=True)
class Lumen:
    """What is read off one airway.

    Attributes:
        area_mm2: of the lumen.
        wall_mm: thickness of the wall.
    """

    area_mm2: float
    wall_mm: float


def measure_airway(
    hu: Hu,
    geometry: Geometry,
    centre_mm: ArrayLike,
    axis: ArrayLike,
    outer_mm: float,
    least_hu: float = LEAST_HU,
    case: str = "prediction",
) -> Lumen | None:
    """Lumen and wall of a straight airway.

    Args:
        centre_mm: (3,) LPS position of the middle of its axis.
        axis: (3,) unit vector along it.
        outer_mm: its outer radius.
        least_hu: a wall stands out at least so much from the lumen and from what lies outside.

    Returns:
        Mean area over `AIRWAY_PLACES_MM` and median wall over the rays; None where too few rays find a wall.

    Raises:
        LamellaError: array and geometry differ, or the rays leave the image.
    """
    if hu.shape != geometry.shape:
        raise LamellaError(f"Array and geometry differ. {case}: found {hu.shape}, expected {geometry.shape}.")
    centre, along = np.asarray(centre_mm, dtype=np.float64), np.asarray(axis, dtype=np.float64)
    across = _across(along)
    radius_mm = np.arange(0.0, outer_mm + AIRWAY_REACH_MM, _STEP_MM)
    starts = centre + np.array(AIRWAY_PLACES_MM)[:, None] * along
    points = starts[:, None, None] + across[None, :, None] * radius_mm[:, None]
    profiles = _sampled(hu, geometry, points, case).reshape(-1, len(radius_mm))
    inner, outer = _walls(profiles, least_hu)
    known = np.isfinite(inner)
    if known.mean() < FOUND:
        return None
    areas = np.pi * (inner[known] * _STEP_MM) ** 2
    return Lumen(float(areas.mean()), float(np.median((outer - inner)[known])) * _STEP_MM)


def _across(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rays, 3) unit vectors across an axis, evenly around it."""
    helper = np.eye(3)[np.abs(axis).argmin()]
    one = np.cross(axis, helper)
    one /= np.linalg.norm(one)
    angle = 2 * np.pi * np.arange(RAYS) / RAYS
    return np.asarray(np.cos(angle)[:, None] * one + np.sin(angle)[:, None] * np.cross(axis, one))


def _sampled(hu: Hu, geometry: Geometry, points_mm: NDArray[np.float64], case: str) -> NDArray[np.float64]:
    """HU at LPS points, linear between voxels."""
    index = (points_mm - geometry.affine[:3, 3]) @ np.linalg.inv(geometry.affine[:3, :3]).T
    flat = index.reshape(-1, 3).T
    if (flat < 0).any() or (flat > np.array(geometry.shape)[:, None] - 1).any():
        raise LamellaError(f"An airway reaches past the image. {case}: measure those that lie inside it.")
    low = np.floor(flat.min(axis=1)).astype(int)
    high = np.ceil(flat.max(axis=1)).astype(int) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = finite(hu[box].astype(np.float64), case)
    return np.asarray(ndimage.map_coordinates(part, flat - low[:, None], order=1, mode="nearest"))


def _walls(profiles: NDArray[np.float64], least_hu: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rays,) inner and outer border in steps of a ray, by the half maximum on either side of the peak; NaN: no wall."""
    inner, outer = np.full(len(profiles), np.nan), np.full(len(profiles), np.nan)
    for number, ray in enumerate(profiles):
        peak = int(ray.argmax())
        if peak in (0, len(ray) - 1):
            continue
        lumen, beyond = float(ray[:peak].min()), float(ray[peak:].min())
        if min(ray[peak] - lumen, ray[peak] - beyond) < least_hu:
            continue
        inner[number] = _crossing(ray[: peak + 1][::-1], (ray[peak] + lumen) / 2, peak, -1)
        outer[number] = _crossing(ray[peak:], (ray[peak] + beyond) / 2, peak, 1)
    return inner, outer


def _crossing(falling: NDArray[np.float64], level: float, start: int, sign: int) -> float:
    """Where a profile that begins at its peak first falls below a level, in steps from the ray's origin."""
    below = int((falling < level).argmax())
    part = (falling[below - 1] - level) / (falling[below - 1] - falling[below])
    return start + sign * (below - 1 + float(part))
