"""Nodules of known size, put into a real scan: how much of their contrast and volume does a restoration recover?

Spheres are inserted into the thin truth before it is thickened, so every method sees them through the same thick
slices. All measures work in small boxes around each sphere and compare with the truth that has the spheres in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, check_grid, finite
from lamella.volume import Geometry

SHELL_MM = (2.0, 5.0)
"""The surroundings begin and end this far outside the sphere: past the reach of its own blur, before its neighbours."""

_SUB_PIXELS = 5
_SMOOTHING_MM = 1.5
_NOISE_HU = 120.0
_LEAK_MM = 2.0


Offsets = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""mm from a sphere's centre along z, y and x, of each slice, row and column of a box."""


@dataclass(frozen=True)
class Sphere:
    """A ball of one HU value.

    Attributes:
        centre_mm: LPS position.
        diameter_mm: its size.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float


def insert_spheres(
    hu: Hu,
    geometry: Geometry,
    spheres: Iterable[Sphere],
    hu_inside: float = 40.0,
    share_of: Callable[[Offsets, Geometry, float], NDArray[Any]] | None = None,
) -> Hu:
    """A copy of the scan with the spheres in it, or with other shapes within them.

    Each voxel changes by the share of it that lies in the sphere, times what is missing to `hu_inside` from a smooth
    copy of the scan (Gaussian of 1.5 mm): the lung is replaced, the noise on it stays. What differs from the smooth
    copy by more than 120 HU is a vessel and goes too. The share is the mean over 5 x 5 points of the pixel of the exact
    share of the slab, `thickness_mm` wide.

    Args:
        spheres: what to insert.
        hu_inside: HU of the spheres.
        share_of: share of each voxel that a shape takes, from the offsets, the geometry and the sphere's radius; None for
            the sphere itself (`sphere_share`).

    Returns:
        (z, y, x) HU, the dtype of `hu`; integers are rounded.

    Raises:
        LamellaError: array and geometry differ, or a sphere reaches past the image.
    """
    _check_shape(hu, geometry, "scan")
    steps_mm = (geometry.spacing_mm, *geometry.pixel_mm)
    out = hu.copy()
    for sphere in spheres:
        radius = sphere.diameter_mm / 2
        box, offsets = sphere_box(geometry, sphere, radius + geometry.thickness_mm / 2 + 3 * _SMOOTHING_MM)
        share = (share_of or sphere_share)(offsets, geometry, radius)
        smooth = out[box].astype(np.float64)
        for axis, step_mm in enumerate(steps_mm):
            smooth = ndimage.gaussian_filter1d(smooth, _SMOOTHING_MM / step_mm, axis=axis, mode="nearest")
        noise = np.clip(out[box] - smooth, -_NOISE_HU, _NOISE_HU)
        changed = out[box] + share * (hu_inside + noise - out[box])
        out[box] = np.rint(changed) if np.issubdtype(hu.dtype, np.integer) else changed
    return out


def sphere_contrast(volume: Hu, geometry: Geometry, sphere: Sphere, case: str = "prediction") -> float:
    """Contrast in HU: the mean of the sphere's inner half (by radius) minus the mean of the shell around it.

    Args:
        sphere: where to look.

    Raises:
        LamellaError: array and geometry differ, or the sphere reaches past the image.
    """
    core, shell = _core_and_shell(volume, geometry, sphere, case)
    return core - shell


def sphere_volume_ratio(volume: Hu, truth: Hu, geometry: Geometry, sphere: Sphere, case: str = "prediction") -> float:
    """Volume of the sphere in `volume` over that in the truth with spheres.

    The volume is that of the voxels above the middle between core and shell of the truth, connected with the sphere's
    core, within 2 mm of the sphere. One threshold for both: a nodule that has faded below half its contrast is lost
    (0), however large its remains.

    Args:
        truth: (z, y, x) HU of the truth with spheres.
        sphere: where to look.

    Raises:
        LamellaError: shapes differ, the sphere reaches past the image, or the truth has no sphere there.
    """
    check_grid(volume, truth, case)
    level = sphere_half_level(truth, geometry, sphere, f"truth of {case}")
    radius = sphere.diameter_mm / 2
    box, offsets = sphere_box(geometry, sphere, radius + _LEAK_MM)
    near = distance_mm(offsets) <= radius + _LEAK_MM
    inner = sphere_share(offsets, geometry, radius / 2) > 0
    counts = []
    for image, name in ((volume, case), (truth, f"truth of {case}")):
        labels, _ = ndimage.label(near & (finite(image[box].astype(np.float64), name) >= level))
        own = np.unique(labels[inner])
        counts.append(np.count_nonzero(np.isin(labels, own[own > 0])))
    return counts[0] / counts[1]


def sphere_half_level(truth: Hu, geometry: Geometry, sphere: Sphere, case: str = "truth") -> float:
    """HU in the middle between the sphere's inner half and the shell around it.

    Raises:
        LamellaError: the sphere reaches past the image, or there is none in it.
    """
    core, shell = _core_and_shell(truth, geometry, sphere, case)
    _check_present(core - shell, sphere, case)
    return (core + shell) / 2


def sphere_recovery(
    volume: Hu, truth: Hu, geometry: Geometry, spheres: Iterable[Sphere], case: str = "prediction"
) -> dict[float, tuple[float, float]]:
    """Share of contrast and of volume that is recovered, by diameter: means over the spheres of one size.

    Args:
        truth: (z, y, x) HU of the truth with spheres.
        spheres: those that were inserted.

    Returns:
        Diameter in mm -> (contrast over the truth's, volume over the truth's), smallest first. 1 and 1 for the truth.

    Raises:
        LamellaError: shapes differ, a sphere reaches past the image, or the truth has no sphere there.
    """
    ratios: dict[float, list[tuple[float, float]]] = {}
    for sphere in sorted(spheres, key=lambda one: one.diameter_mm):
        expected = sphere_contrast(truth, geometry, sphere, f"truth of {case}")
        _check_present(expected, sphere, case)
        contrast = sphere_contrast(volume, geometry, sphere, case) / expected
        volume_ratio = sphere_volume_ratio(volume, truth, geometry, sphere, case)
        ratios.setdefault(sphere.diameter_mm, []).append((contrast, volume_ratio))
    return {diameter: tuple(np.mean(pairs, axis=0).tolist()) for diameter, pairs in ratios.items()}


def sphere_box(geometry: Geometry, sphere: Sphere, reach_mm: float) -> tuple[tuple[slice, slice, slice], Offsets]:
    """The voxels within `reach_mm` of the sphere's centre along each axis, cut at the image.

    Returns:
        (z, y, x) slices of the box, and the offsets of its voxels from the centre.

    Raises:
        LamellaError: the sphere itself reaches past the image.
    """
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    at = geometry.axes.T @ (np.array(sphere.centre_mm) - geometry.affine[:3, 3]) / steps_mm
    radius = sphere.diameter_mm / 2 / steps_mm
    if (at - radius < -0.5).any() or (at + radius > np.array(geometry.shape) - 0.5).any():
        raise LamellaError(
            f"A sphere of {sphere.diameter_mm:g} mm at {np.round(sphere.centre_mm, 1)} mm (LPS) reaches past the image. "
            "Place spheres inside it (place_spheres)."
        )
    low = np.maximum(np.floor(at - reach_mm / steps_mm).astype(int), 0)
    high = np.minimum(np.ceil(at + reach_mm / steps_mm).astype(int) + 1, geometry.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    dz, dy, dx = ((np.arange(a, b) - centre) * step for a, b, centre, step in zip(low, high, at, steps_mm, strict=True))
    return (z, y, x), (dz, dy, dx)


def sphere_share(offsets: Offsets, geometry: Geometry, radius_mm: float) -> NDArray[np.float64]:
    """(z, y, x) share of each voxel of a box that lies in a sphere about its centre: exact along z, 5 x 5 points in it."""
    fine = (np.arange(_SUB_PIXELS) + 0.5) / _SUB_PIXELS - 0.5
    y, x = (
        (offset[:, None] + fine * step).ravel() for offset, step in zip(offsets[1:], geometry.pixel_mm, strict=True)
    )
    half_chord = np.sqrt(np.maximum(radius_mm**2 - y[:, None] ** 2 - x**2, 0.0))
    top = offsets[0][:, None, None] + geometry.thickness_mm / 2
    inside = np.minimum(top, half_chord) - np.maximum(top - geometry.thickness_mm, -half_chord)
    points = np.maximum(inside, 0.0) / geometry.thickness_mm
    shape = (len(offsets[0]), len(offsets[1]), _SUB_PIXELS, len(offsets[2]), _SUB_PIXELS)
    return np.asarray(points.reshape(shape).mean(axis=(2, 4)))


def distance_mm(offsets: Offsets) -> NDArray[np.float64]:
    """(z, y, x) distance of each voxel of a box from the sphere's centre."""
    z, y, x = offsets
    return np.asarray(np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2))


def _core_and_shell(volume: Hu, geometry: Geometry, sphere: Sphere, case: str) -> tuple[float, float]:
    """(mean of the inner half, by radius; mean of the shell), HU."""
    _check_shape(volume, geometry, case)
    radius = sphere.diameter_mm / 2
    box, offsets = sphere_box(geometry, sphere, radius + SHELL_MM[1])
    values = finite(volume[box].astype(np.float64), case)
    distance = distance_mm(offsets)
    shell = (distance >= radius + SHELL_MM[0]) & (distance <= radius + SHELL_MM[1])
    return float(np.average(values, weights=sphere_share(offsets, geometry, radius / 2))), float(values[shell].mean())


def _check_shape(volume: Hu, geometry: Geometry, case: str) -> None:
    if volume.shape != geometry.shape:
        raise LamellaError(f"Array and geometry differ. {case}: found {volume.shape}, expected {geometry.shape}.")


def _check_present(contrast_hu: float, sphere: Sphere, case: str) -> None:
    if contrast_hu <= 0.0:
        raise LamellaError(
            f"There is no sphere in the truth. {case}: found a contrast of {contrast_hu:.0f} HU at "
            f"{np.round(sphere.centre_mm, 1)} mm (LPS). Insert the spheres into the truth first (insert_spheres)."
        )
