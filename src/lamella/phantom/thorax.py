"""The whole chest: nodules, and the order in which the parts are painted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lamella.phantom.bones import paint_bones
from lamella.phantom.canvas import Canvas
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.torso import fissure, lungs, paint_heart, paint_torso
from lamella.phantom.trees import lung_points, lung_trees
from lamella.phantom.vessels import paint_great_vessels, paint_lung_trees

_LARGEST_NODULE_MM, _SMALLEST_NODULE_MM = 12.0, 3.0
_NODULE_GAP_MM = 16.0
_WITHIN_MM = 62.0
"""Nodules lie within this height above and below the origin, where the default grid sees all of them."""


@dataclass(frozen=True)
class Nodule:
    """A ball of tissue in the lung, at an LPS position; lung still shows through ground glass."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float
    kind: Literal["solid", "ground-glass"]


def phantom_nodules(settings: PhantomSettings) -> tuple[Nodule, ...]:
    """The phantom's nodules, largest first. They depend on seed and number alone, so a small grid may miss some.

    Each lies in a lung, clear of its wall, of the fissures, of vessels above a millimetre and of the other nodules.
    """
    return _nodules(settings.seed, settings.nodules)


@lru_cache(maxsize=8)
def _nodules(seed: int, count: int) -> tuple[Nodule, ...]:
    rng = np.random.default_rng([seed, 21])
    candidates = np.concatenate([lung_points(side, 450, rng) for side in (-1.0, 1.0)])
    candidates = rng.permutation(candidates[np.abs(candidates[:, 2]) < _WITHIN_MM])
    x, y, z = candidates.T.astype(np.float32)
    room = np.minimum(-lungs(x, y, z), np.abs(fissure(x, y, z)))
    room = np.minimum(room - 2.0, _vessel_clearance(candidates, seed) - 1.0)
    diameters = np.linspace(_LARGEST_NODULE_MM, _SMALLEST_NODULE_MM, count)
    placed: list[Nodule] = []
    for index, diameter in enumerate(diameters):
        others = np.array([n.centre_mm for n in placed]).reshape(-1, 1, 3)
        apart = np.linalg.norm(candidates - others, axis=2).min(axis=0, initial=np.inf)
        fits = np.flatnonzero((room > diameter / 2) & (apart > _NODULE_GAP_MM))
        # Where nothing is clear, the roomiest place will do: the nodule then touches a vessel, as nodules may.
        choice = int(fits[0]) if len(fits) else int(np.argmax(np.where(apart > _NODULE_GAP_MM, room, -np.inf)))
        glass = index % 3 == 1
        hu = round(float(rng.uniform(-640.0, -540.0) if glass else rng.uniform(20.0, 70.0)), 1)
        centre = (float(candidates[choice, 0]), float(candidates[choice, 1]), float(candidates[choice, 2]))
        placed.append(Nodule(centre, float(diameter), hu, "ground-glass" if glass else "solid"))
    return tuple(placed)


def _vessel_clearance(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """(n,) mm from each point to the nearest vessel or airway thicker than a millimetre."""
    clearance = np.full(len(points), np.inf)
    for tree in (tree for kind in lung_trees(seed) for tree in kind):
        wide = tree.radius[:, 0] >= 1.0
        for start, end, radius in zip(tree.start[wide], tree.end[wide], tree.radius[wide], strict=True):
            axis = end - start
            t = np.clip((points - start) @ axis / max(float(axis @ axis), 1e-9), 0.0, 1.0)
            distance = np.linalg.norm(points - start - t[:, None] * axis, axis=1) - radius[0]
            np.minimum(clearance, distance, out=clearance)
    return clearance


def paint_chest(canvas: Canvas, settings: PhantomSettings) -> None:
    """Paint a contrast-enhanced chest.

    Body with skin, fat and muscle; lungs with branching vessels, airways, fissures and nodules; heart and great vessels
    (with a small embolus in the right pulmonary artery); diaphragm, liver, spleen, stomach; ribs, spine, breastbone,
    shoulder blades; couch.
    """
    seed = settings.seed
    paint_torso(canvas, np.random.default_rng([seed, 1]))
    paint_bones(canvas, np.random.default_rng([seed, 2]))
    paint_lung_trees(canvas, seed)
    paint_heart(canvas, np.random.default_rng([seed, 3]))
    paint_great_vessels(canvas)
    for nodule in phantom_nodules(settings):
        canvas.ball(nodule.centre_mm, nodule.diameter_mm / 2, nodule.hu)
