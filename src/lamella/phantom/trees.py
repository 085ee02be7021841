"""The branching vessels of the lungs and the liver, and the airways beside them.

A tree fills its organ by recursive bisection: a branch grows part of the way towards the centre of the region it has to
serve, the region is cut in two across its longest side, and each half gets a child (Tawhai et al., "Developing
integrated human airway models", J Appl Physiol 97:2310, 2004). Radii follow Murray's law: r^k = r1^k + r2^k.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lamella.phantom.canvas import Branches, Vector
from lamella.phantom.torso import fissure, lungs

_MURRAY = 3.4
_SMALLEST_MM = 0.3

_ARTERY_POINTS, _VEIN_POINTS = 1900, 1300
"""Ends of the arteries' and of the veins' tree in each lung."""

_ARTERY_ROOT = {-1.0: (-38.0, 3.0, 23.0), 1.0: (42.0, 5.0, 33.0)}
_AIRWAY_ROOT = {-1.0: (-32.0, 13.0, 18.0), 1.0: (44.0, 15.0, 20.0)}
_UPPER_VEIN_ROOT = {-1.0: (-46.0, 10.0, 2.0), 1.0: (48.0, 6.0, 12.0)}
_LOWER_VEIN_ROOT = {-1.0: (-40.0, 20.0, -14.0), 1.0: (46.0, 22.0, -12.0)}
"""LPS mm, by side (+1 left): where the trees of the great vessels and main bronchi begin."""


def grow(points: Vector, root: Vector, heading: Vector, radius_mm: float, rng: np.random.Generator) -> Branches:
    """A tree that begins at `root` with this heading and radius, and ends once near each of the (n, 3) points in LPS mm."""
    per_leaf = radius_mm / len(points) ** (1.0 / _MURRAY)
    pieces: list[tuple[Vector, Vector, float, float]] = []
    todo = [(root, heading / np.linalg.norm(heading), points, radius_mm)]
    while todo:
        start, direction, region, radius = todo.pop()
        reach = region.mean(axis=0) - start
        length = float(np.linalg.norm(reach)) * (1.0 if len(region) == 1 else rng.uniform(0.33, 0.48))
        # A branch bends from its parent's direction into its own.
        goal = start + reach / max(float(np.linalg.norm(reach)), 1e-6) * length
        middle = start + 0.5 * length * (0.55 * direction + 0.45 * reach / max(float(np.linalg.norm(reach)), 1e-6))
        middle += rng.normal(0.0, 0.04 * length, 3)
        tip = max(_SMALLEST_MM, (0.5 if len(region) == 1 else 0.92) * radius)
        pieces.append((start, middle, radius, 0.5 * (radius + tip)))
        pieces.append((middle, goal, 0.5 * (radius + tip), tip))
        if len(region) == 1:
            continue
        onward = (goal - middle) / max(float(np.linalg.norm(goal - middle)), 1e-6)
        for half in _bisect(region, onward, rng):
            child = max(_SMALLEST_MM, min(per_leaf * len(half) ** (1.0 / _MURRAY), 0.97 * radius))
            todo.append((goal, onward, half, child))
    return Branches(
        *(np.array(part) for part in ([p[0] for p in pieces], [p[1] for p in pieces], [p[2:] for p in pieces]))
    )


def _bisect(region: Vector, along: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Cut a region in two across its longest extent sideways of the branch."""
    spread = region - region.mean(axis=0)
    sideways = spread - 0.75 * np.outer(spread @ along, along)
    _, _, axes = np.linalg.svd(sideways, full_matrices=False)
    ranked = region[np.argsort(spread @ axes[0], kind="stable")]
    cut = int(np.clip(round(len(ranked) * rng.uniform(0.36, 0.64)), 1, len(ranked) - 1))
    return ranked[:cut], ranked[cut:]


def lung_points(side: float, count: int, rng: np.random.Generator) -> Vector:
    """(about `count`, 3) points spread evenly over one lung (side +1 left, -1 right), 2 mm from its surface."""
    candidates = rng.uniform([6.0, -90.0, -88.0], [128.0, 84.0, 96.0], (count * 6, 3))
    candidates[:, 0] *= side
    x, y, z = candidates.T.astype(np.float32)
    return candidates[np.asarray(lungs(x, y, z)) < -2.0][:count]


@lru_cache(maxsize=2)
def lung_trees(seed: int) -> tuple[tuple[Branches, ...], tuple[Branches, ...], tuple[Branches, ...]]:
    """(arteries, veins, airways) of both lungs. Airways run beside their arteries, as they do in people."""
    arteries: list[Branches] = []
    veins: list[Branches] = []
    airways: list[Branches] = []
    for side in (-1.0, 1.0):
        rng = np.random.default_rng([seed, 11, int(side > 0)])
        for points, upper in _lobes(lung_points(side, _ARTERY_POINTS, rng)):
            root, bronchus = np.array(_ARTERY_ROOT[side]), np.array(_AIRWAY_ROOT[side])
            heading = np.array([side, -0.3 if upper else 0.3, 0.7 if upper else -1.0])
            share = (len(points) / _ARTERY_POINTS) ** (1.0 / _MURRAY)
            tree = grow(points, root, heading, 7.5 * share, rng)
            arteries.append(_in_lung(tree, 22.0))
            airways.append(_in_lung(_airway(tree, root, bronchus), 14.0))
        for points, upper in _lobes(lung_points(side, _VEIN_POINTS, rng)):
            root = np.array((_UPPER_VEIN_ROOT if upper else _LOWER_VEIN_ROOT)[side])
            heading = np.array([side, -0.6, 0.5]) if upper else np.array([side, 0.2, -0.6])
            veins.append(_in_lung(grow(points, root, heading, 5.2, rng), 22.0))
    return tuple(arteries), tuple(veins), tuple(airways)


def _lobes(points: Vector) -> list[tuple[Vector, bool]]:
    """Points before and behind the oblique fissure: no vessel crosses it."""
    behind = np.asarray(fissure(*points.T.astype(np.float32))) > 0
    return [(points[~behind], True), (points[behind], False)]


def _in_lung(tree: Branches, hilum_mm: float) -> Branches:
    """Without the pieces that would cross the heart or the chest wall, save those within `hilum_mm` of the root."""
    middle = 0.5 * (tree.start + tree.end)
    outside = np.asarray(lungs(*middle.T.astype(np.float32))) > -0.5
    return tree.of(~outside | (np.linalg.norm(middle - tree.start[0], axis=1) < hilum_mm))


def _airway(artery: Branches, artery_root: Vector, root: Vector) -> Branches:
    """The airway tree beside an artery tree, down to about a millimetre of lumen radius."""
    part = artery.of(artery.radius[:, 0] > 1.7)
    radius = 0.72 * part.radius
    # From the bronchus's own root the airway closes in until it touches its artery.
    aside = (root - artery_root) / np.linalg.norm(root - artery_root)
    ends = np.stack([part.start, part.end], axis=1)
    gap = 2.55 * radius
    far = np.linalg.norm(ends - artery_root, axis=2)
    joined = np.clip(far / 35.0, 0.0, 1.0)
    distance = (1.0 - joined) * float(np.linalg.norm(root - artery_root)) + joined * gap
    offset = distance[..., None] * aside
    return Branches(part.start + offset[:, 0], part.end + offset[:, 1], radius)


def liver_tree(seed: int) -> Branches:
    """The veins of the liver."""
    rng = np.random.default_rng([seed, 12])
    points = rng.uniform([-105.0, -62.0, -88.0], [10.0, 40.0, -34.0], (90, 3))
    within = ((points - [-52.0, -8.0, -75.0]) / [58.0, 55.0, 42.0]) ** 2
    served = points[within.sum(axis=1) < 1.0]
    return grow(served, np.array([-24.0, 10.0, -44.0]), np.array([-1.0, -0.6, -0.4]), 4.6, rng)
