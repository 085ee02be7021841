"""Nodules put into a scan: are they as large, where they were, and seen at all?

Volume and place are those of the voxels above the middle between a nodule and its surroundings in the truth, as in
`sphere_volume_ratio`. Seen is what a stated observer sees: the non-prewhitening matched filter (ICRU Report 54, 1996;
Barrett and Myers, Foundations of Image Science, 2004), which knows size, shape and place, and sums the image over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_grid, finite
from lamella.metrics.spheres import SHELL_MM, Offsets, Sphere, distance_mm, sphere_box, sphere_half_level, sphere_share
from lamella.volume import Geometry

LEAK_MM = 2.0
"""A nodule is looked for this far outside its size."""

FEWEST_ABSENT = 10
"""Places without a nodule that the spread of the observer's answers is taken from, at least."""


@dataclass(frozen=True)
class NoduleMatch:
    """One nodule in a restoration beside the truth.

    Attributes:
        volume_ratio: over the truth's; 0 where it is lost.
        off_mm: distance of its centre from the truth's; None where it is lost.
    """

    volume_ratio: float
    off_mm: float | None


def compare_nodule(volume: Hu, truth: Hu, geometry: Geometry, nodule: Sphere, case: str = "prediction") -> NoduleMatch:
    """Volume and centre of an inserted nodule of any shape within a sphere.

    The centre is that of the voxels, each weighted by what it is above the threshold.

    Args:
        truth: (z, y, x) HU of the truth with nodules.
        nodule: the sphere around it.

    Raises:
        LamellaError: shapes differ, the nodule reaches past the image, or the truth has none there.
    """
    check_grid(volume, truth, case)
    level = sphere_half_level(truth, geometry, nodule, f"truth of {case}")
    radius = nodule.diameter_mm / 2
    box, offsets = sphere_box(geometry, nodule, radius + LEAK_MM)
    near = distance_mm(offsets) <= radius + LEAK_MM
    core = sphere_share(offsets, geometry, radius / 2) > 0
    own, true = (
        _weights(finite(image[box].astype(np.float64), name) - level, near, core)
        for image, name in ((volume, case), (truth, f"truth of {case}"))
    )
    ratio = np.count_nonzero(own) / np.count_nonzero(true)
    return NoduleMatch(ratio, float(np.linalg.norm(_centre(own, offsets) - _centre(true, offsets))) if ratio else None)


def observer_answer(volume: Hu, geometry: Geometry, sphere: Sphere, case: str = "prediction") -> float:
    """What the observer sums up at one place: the image times the sphere's own share of each voxel, less its surroundings.

    The surroundings are the mean over the shell from 2 to 5 mm outside, so that the density of the lung does not matter.

    Raises:
        LamellaError: the sphere reaches past the image.
    """
    radius = sphere.diameter_mm / 2
    box, offsets = sphere_box(geometry, sphere, radius + SHELL_MM[1])
    values = finite(volume[box].astype(np.float64), case)
    away = distance_mm(offsets)
    shell = (away >= radius + SHELL_MM[0]) & (away <= radius + SHELL_MM[1])
    return float((sphere_share(offsets, geometry, radius) * (values - values[shell].mean())).sum())


def detectability(present: Sequence[float], absent: Sequence[float]) -> float:
    """d': how many standard deviations of the answers without a nodule lie between the means with and without one.

    The spread is that without a nodule alone: nodules are few, and their answers differ by their places.

    Args:
        present: answers where a nodule is.
        absent: answers where there is none, at least `FEWEST_ABSENT`.

    Raises:
        LamellaError: too few answers, or answers without spread.
    """
    if not present or len(absent) < FEWEST_ABSENT:
        raise LamellaError(
            f"Too few places to tell what an observer sees. Found {len(present)} with and {len(absent)} without a nodule, "
            f"expected 1 and {FEWEST_ABSENT}."
        )
    spread = float(np.std(absent, ddof=1))
    if spread == 0.0:
        raise LamellaError("Places without a nodule are all alike: detectability has no bound.")
    return float(np.mean(present) - np.mean(absent)) / spread


def _weights(above: NDArray[np.float64], near: Mask, core: Mask) -> NDArray[np.float64]:
    """What the voxels of the part that is connected with the core are above the threshold; 1 HU for those at it, else 0."""
    labels, _ = ndimage.label(near & (above >= 0))
    own = np.unique(labels[core])
    return np.asarray(np.where(np.isin(labels, own[own > 0]), np.maximum(above, 1.0), 0.0))


def _centre(weights: NDArray[np.float64], offsets: Offsets) -> NDArray[np.float64]:
    """(3,) mm along z, y and x."""
    sums = [weights.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    return np.array([one @ along for one, along in zip(sums, offsets, strict=True)]) / float(weights.sum())
