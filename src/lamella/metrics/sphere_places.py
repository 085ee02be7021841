"""Where spheres may go: inside the lung, clear of its border, of vessels and of each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.metrics.checks import Mask, check_mask
from lamella.metrics.spheres import SHELL_MM, Sphere
from lamella.volume import Geometry

DIAMETERS_MM = (3.0, 5.0, 8.0, 12.0)
"""On either side of the sizes that decide on follow-up (6 and 8 mm), down to less than a thick slice."""

CLEARANCE_MM = SHELL_MM[1]
"""Least lung around a sphere, and between the shells of two: its surroundings are lung."""

_COARSE_MM = 2.5
_LUNG_SHARE = 0.95

Points = NDArray[np.float64]
"""(n, 3) LPS positions in mm."""


def place_spheres(
    lung: Mask,
    geometry: Geometry,
    diameters_mm: Iterable[float] = DIAMETERS_MM,
    each: int = 3,
    period_mm: float = 5.0,
    taken: Iterable[Sphere] = (),
) -> tuple[Sphere, ...]:
    """Places for spheres inside the lung, away from its border and from each other; the mask alone decides.

    Along z the spheres of one size lie at (i + 1/4) / each of `period_mm`, evenly over the thick slices wherever these
    begin, so that no method profits from a lucky place. Places are taken for the largest first, each as far as it can
    be from those before; of the cube around it at least 95 % is lung, which leaves room for hardly any vessel.

    Args:
        lung: (z, y, x) lung parenchyma (`lung_mask`); clear what will not be scored.
        diameters_mm: sizes.
        each: how many of each size.
        period_mm: distance between the thick slices to come.
        taken: spheres that are there already.

    Returns:
        The new spheres, largest first. A size that has no room for all of its spheres is left out whole: a part of them
        would not lie evenly.

    Raises:
        LamellaError: the mask does not fit the geometry.
    """
    check_mask(lung, np.empty(geometry.shape, dtype=np.bool_), "lung")
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    before = list(taken)
    placed = list(before)
    for diameter in sorted(diameters_mm, reverse=True):
        block, fits = _room(lung, steps_mm, diameter)
        here = list(placed)
        for index in range(each):
            heights_mm = np.arange((index + 0.25) / each * period_mm, lung.shape[0] * geometry.spacing_mm, period_mm)
            sphere = _farthest(_points(fits, block, geometry, heights_mm), diameter, here)
            if sphere is None:
                break
            here.append(sphere)
        else:
            placed = here
    return tuple(placed[len(before) :])


def empty_places(
    lung: Mask, geometry: Geometry, diameter_mm: float, taken: Iterable[Sphere], count: int = 40, seed: int = 0
) -> tuple[Sphere, ...]:
    """Places of a size where there is no sphere, by the rules of `place_spheres`, chosen at random; they may overlap.

    Args:
        lung, geometry, taken: as for `place_spheres`; no place reaches into the surroundings of a sphere that is taken.
        count: how many at most.
        seed: of the choice.
    """
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    block, fits = _room(lung, steps_mm, diameter_mm)
    heights_mm = (np.arange(len(fits)) + 0.5) * block[0] * geometry.spacing_mm
    points = _points(fits, block, geometry, heights_mm)
    gap_mm = _gaps_mm(points, diameter_mm, list(taken))
    free = np.flatnonzero(gap_mm >= SHELL_MM[1] + CLEARANCE_MM)
    chosen = np.random.default_rng(seed).permutation(free)[:count]
    return tuple(Sphere((float(x), float(y), float(z)), diameter_mm) for x, y, z in points[chosen])


def _room(lung: Mask, steps_mm: NDArray[np.float64], diameter_mm: float) -> tuple[NDArray[np.int_], Mask]:
    """Voxels of a coarse block, and the blocks around whose middle a sphere of a size has room."""
    block = np.maximum(1, np.floor(_COARSE_MM / steps_mm + 1e-6)).astype(int)
    share = _coarse_share(lung, block)
    width = np.ceil(diameter_mm / (block * steps_mm)).astype(int)
    clear = ndimage.uniform_filter(share, tuple(width | 1), mode="constant") >= _LUNG_SHARE
    return block, np.asarray(clear & (_room_mm(share, block * steps_mm) >= diameter_mm / 2 + CLEARANCE_MM))


def _coarse_share(lung: Mask, block: NDArray[np.int_]) -> NDArray[np.float64]:
    """Share of lung in each block of voxels; a rest that fills no block is dropped."""
    counts = np.array(lung.shape) // block
    whole = lung[tuple(slice(int(size)) for size in counts * block)]
    return np.asarray(
        whole.reshape([int(n) for pair in zip(counts, block, strict=True) for n in pair]).mean(axis=(1, 3, 5))
    )


def _room_mm(share: NDArray[np.float64], block_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of the middle of each block from the nearest block that is less than half lung, less half a block.

    The coarse grid closes over small vessels, so that the border is that of the lung, and makes the transform cheap.
    """
    padded = np.pad(share >= 0.5, 1)
    room_mm = ndimage.distance_transform_edt(padded, sampling=block_mm)[1:-1, 1:-1, 1:-1]
    return np.asarray(room_mm - block_mm.max() / 2)


def _points(fits: Mask, block: NDArray[np.int_], geometry: Geometry, heights_mm: NDArray[np.float64]) -> Points:
    """The middle of the rows and columns of each block that fits, at each height, mm above the image's lower face."""
    at = heights_mm / geometry.spacing_mm
    layers = np.floor(at / block[0]).astype(int)
    at, layers = at[layers < len(fits)], layers[layers < len(fits)]
    k, y, x = np.nonzero(fits[layers])
    index = np.stack([at[k], (y + 0.5) * block[1], (x + 0.5) * block[2]], axis=1) - 0.5
    return np.asarray(index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3])


def _farthest(points: Points, diameter_mm: float, taken: list[Sphere]) -> Sphere | None:
    """A sphere at the point farthest from those taken, the first of equals; None where their shells would meet."""
    gap_mm = _gaps_mm(points, diameter_mm, taken)
    if gap_mm.max(initial=0.0) < SHELL_MM[1] + CLEARANCE_MM:
        return None
    x, y, z = (float(value) for value in points[gap_mm.argmax()])
    return Sphere((x, y, z), diameter_mm)


def _gaps_mm(points: Points, diameter_mm: float, taken: list[Sphere]) -> NDArray[np.float64]:
    """(n,) distance of a sphere at each point from the nearest that is taken, between their surfaces."""
    gap_mm = np.full(len(points), np.inf)
    for other in taken:
        distance = np.linalg.norm(points - np.array(other.centre_mm), axis=1)
        np.minimum(gap_mm, distance - (other.diameter_mm + diameter_mm) / 2, out=gap_mm)
    return gap_mm
