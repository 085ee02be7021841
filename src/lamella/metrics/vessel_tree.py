"""The tree of the lung vessels: how much of its centre line a restoration brings back, and how much it makes up.

Both volumes are thresholded alike inside the truth's lungs, and thinned to centre lines. A vessel counts as found where
the truth's centre line runs inside the restoration's vessels, however thick these are (clDice: Shit et al., CVPR 2021).
Everything is counted in millimetres of centre line; the paper counts voxels, which is the same where these are cubes.
Walls of airways, fissures and nodules above the threshold are in the tree too: it is no segmentation of vessels.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse, spatial
from scipy.sparse.csgraph import minimum_spanning_tree

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite
from lamella.metrics.foci import FOCUS_MM3
from lamella.metrics.masks import VESSEL_HU, box_around, vessel_mask
from lamella.volume import Geometry

SMALL_RADIUS_MM = 2.0
"""Vessels below this radius are small ones: those that thick slices lose."""

SLACK_MM = 1.5
"""A centre line this far outside the truth's vessels is invented; nearer, a vessel is misplaced or too thick."""

_HALF_OF_26 = tuple(step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0))


@dataclass(frozen=True, eq=False)
class VesselTree:
    """The vessels of one volume. Made by `vessel_tree`.

    Attributes:
        vessels: (z, y, x) mask within the region's box.
        line: (n, 3) voxels of its centre line, in array order.
        length_mm: (n,) length of the centre line that each stands for.
        steps_mm: size of a voxel along z, y and x.
    """

    vessels: Mask
    line: NDArray[np.intp]
    length_mm: NDArray[np.float64]
    steps_mm: tuple[float, float, float]

    def inside(self, other: VesselTree) -> NDArray[np.bool_]:
        """(n,) where its centre line runs inside another's vessels."""
        return np.asarray(other.vessels[tuple(self.line.T)])


@dataclass(frozen=True)
class TreeMatch:
    """A restoration's tree beside the truth's; None: there is no such length to take a share of.

    Attributes:
        found: share of the truth's centre line inside the restoration's vessels (topology sensitivity).
        precision: share of the restoration's centre line inside the truth's vessels (topology precision).
        cldice: their harmonic mean.
        small_found: as `found`, of vessels below the radius of a small one alone.
        length_ratio: length of the restoration's centre line over the truth's.
        invented: length of the restoration's centre line far from any vessel of the truth, over the truth's length.
    """

    found: float
    precision: float | None
    cldice: float
    small_found: float | None
    length_ratio: float
    invented: float


def vessel_tree(
    hu: Hu, lung: Mask, region: Mask, geometry: Geometry, threshold_hu: float = VESSEL_HU, case: str = "prediction"
) -> VesselTree:
    """Vessels of a volume (`vessel_mask`, in parts of at least 3.9 mm^3) and their centre lines.

    Centre lines are the skeleton of Lee et al. (CVGIP 56(6), 1994; scikit-image), their length that of the shortest
    graph that joins neighbouring voxels of it.

    Args:
        lung, region: (z, y, x) from `lung_mask` and `lung_region` of the truth, the same for every volume compared.
        threshold_hu: vessels lie above it.

    Raises:
        LamellaError: shapes differ, or there is no lung.
    """
    from skimage.morphology import skeletonize

    for mask in (lung, region):
        check_mask(mask, hu, case)
    if not region.any():
        raise LamellaError(f"There is no lung to look for vessels in. {case}: the region is empty.")
    box = box_around(region, (1, 1, 1))
    steps_mm = (geometry.spacing_mm, *geometry.pixel_mm)
    if not np.issubdtype(hu.dtype, np.integer):
        finite(hu[box], case)
    parts, _ = ndimage.label(vessel_mask(hu[box], lung[box], region[box], threshold_hu), np.ones((3, 3, 3)))
    large = np.bincount(parts.ravel()) * np.prod(steps_mm) >= FOCUS_MM3[0]
    large[0] = False
    vessels = large[parts]
    line = np.argwhere(skeletonize(vessels, method="lee"))  # type: ignore[no-untyped-call]  # typed in part
    return VesselTree(vessels, line, _lengths_mm(line, vessels.shape, steps_mm), steps_mm)


def compare_trees(
    prediction: VesselTree, truth: VesselTree, small_radius_mm: float = SMALL_RADIUS_MM, slack_mm: float = SLACK_MM
) -> TreeMatch:
    """Compare the trees of a restoration and its truth.

    Args:
        small_radius_mm: a vessel of the truth is small where its centre line lies nearer to its wall.
        slack_mm: what lies farther from the truth's vessels is invented.

    Raises:
        LamellaError: the trees come from different regions, or the truth has no vessel.
    """
    if prediction.vessels.shape != truth.vessels.shape:
        raise LamellaError(
            f"The vessels were found in different regions. Found boxes of {prediction.vessels.shape} and "
            f"{truth.vessels.shape} voxels. Use the truth's region for both."
        )
    total = float(truth.length_mm.sum())
    if total == 0.0:
        raise LamellaError("The truth has no vessel in its lungs.")
    own, small = truth.inside(prediction), _radius_mm(truth) < small_radius_mm
    found = float(truth.length_mm[own].sum()) / total
    length, right = float(prediction.length_mm.sum()), prediction.inside(truth)
    precision = float(prediction.length_mm[right].sum()) / length if length else None
    far = _distance_mm(prediction.line[~right], truth) > slack_mm
    few = float(truth.length_mm[small].sum())
    return TreeMatch(
        found=found,
        precision=precision,
        cldice=2 * found * precision / (found + precision) if found and precision else 0.0,
        small_found=float(truth.length_mm[small & own].sum()) / few if few else None,
        length_ratio=length / total,
        invented=float(prediction.length_mm[~right][far].sum()) / total,
    )


def _lengths_mm(
    line: NDArray[np.intp], shape: tuple[int, ...], steps_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(n,) half the length of the edges that meet in each voxel, of the shortest graph that joins neighbours."""
    if not len(line):
        return np.zeros(0)
    number = np.zeros(np.array(shape) + 2, dtype=np.intp)
    number[tuple(line.T + 1)] = np.arange(1, len(line) + 1)
    starts, ends, lengths = [], [], []
    for step in _HALF_OF_26:
        other = number[tuple(line.T + 1 + np.array(step)[:, None])]
        here = np.flatnonzero(other)
        starts.append(here)
        ends.append(other[here] - 1)
        lengths.append(np.full(len(here), np.linalg.norm(np.array(step) * steps_mm)))
    edges = (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends)))
    tree = minimum_spanning_tree(sparse.coo_array(edges, shape=(len(line), len(line)))).tocoo()
    both = np.concatenate([tree.row, tree.col])
    return np.asarray(np.bincount(both, np.concatenate([tree.data, tree.data]) / 2, minlength=len(line)), np.float64)


def _radius_mm(tree: VesselTree) -> NDArray[np.float64]:
    """(n,) distance of each voxel of the centre line from the nearest voxel that is no vessel."""
    wall = ndimage.binary_dilation(tree.vessels) & ~tree.vessels
    return _nearest_mm(tree.line, np.argwhere(wall), tree.steps_mm)


def _distance_mm(line: NDArray[np.intp], tree: VesselTree) -> NDArray[np.float64]:
    """(n,) distance of each voxel of a line from the nearest voxel of a tree's vessels."""
    return _nearest_mm(line, np.argwhere(tree.vessels), tree.steps_mm)


def _nearest_mm(
    points: NDArray[np.intp], others: NDArray[np.intp], steps_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    return np.asarray(spatial.cKDTree(others * steps_mm).query(points * np.array(steps_mm))[0])
