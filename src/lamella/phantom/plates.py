"""A test object of flat material: plates, stairs, spheres and rods, each of one density, in a cylinder of one density.

What a model must not do shows here: bands within what is uniform, and overshoot where it ends. Parts are thinner and thicker
than thick slices, level and tilted, at every phase of them, mostly as faint as soft tissue. Everything is fixed in LPS
millimetres and depends on the seed alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lamella.phantom.canvas import Canvas
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.shapes import Array
from lamella.phantom.solids import solid_distance

SOFT_HU, BONE_HU, GAS_OR_FAT_HU = (10.0, 150.0), (200.0, 1200.0), (-1000.0, -60.0)
"""Contrasts to what surrounds a part: soft tissue, to either side; bone; fat to gas, as a density of its own."""

_SHARES = (0.65, 0.25, 0.10)
"""Of parts at these contrasts."""

_PITCH_MM, _LAYER_MM, _RADIUS_MM, _REACH_MM = 24.0, 30.0, 78.0, 105.0
"""Distance of parts in the plane and along the slice axis, and how far from the origin they reach."""

_WIDE, _WIDE_MM = 8, (25.0, 50.0)
"""Wide plates under the parts, and half their width."""

_LEVEL, _NEARLY = 0.25, 0.35
"""Share of parts that are level, and of those that are tilted by a few degrees; the others are turned at random."""

_TILT = 0.08


def paint_plates(canvas: Canvas, settings: PhantomSettings) -> None:
    """Paint the test object: a cylinder of 0 to 60 HU, wide plates in it, and about 270 smaller parts."""
    rng = np.random.default_rng([settings.seed, 61])
    x, y, _ = canvas.grid.mesh
    filling = float(rng.uniform(0.0, 60.0))
    canvas.fill(np.sqrt(x**2 + y**2) - np.float32(rng.uniform(84.0, 95.0)), filling)
    for _ in range(_WIDE):
        centre = np.array([*rng.uniform(-25.0, 25.0, 2), rng.uniform(-_REACH_MM, _REACH_MM)])
        half = np.array([*rng.uniform(*_WIDE_MM, 2), _thickness_mm(rng) / 2])
        _paint_part(canvas, centre, half, _turn(rng), 1, _density(rng, filling))
    steps = np.arange(-_RADIUS_MM, _RADIUS_MM + 1e-6, _PITCH_MM)
    for z in np.arange(-_REACH_MM, _REACH_MM + 1e-6, _LAYER_MM):
        for y_mm in steps:
            for x_mm in steps:
                if x_mm**2 + y_mm**2 < (_RADIUS_MM - 6.0) ** 2:
                    _paint_site(canvas, rng, np.array([x_mm, y_mm, z]) + rng.uniform(-4.0, 4.0, 3), filling)


def _paint_site(canvas: Canvas, rng: np.random.Generator, centre: NDArray[np.float64], filling: float) -> None:
    """Stacked plates, stairs, a sphere or a rod; the same random numbers whether or not the grid reaches it."""
    turn, width = _turn(rng), rng.uniform(5.0, 12.0, 2)
    kind, count = int(rng.integers(4)), int(rng.integers(1, 5))
    density, radius = _density(rng, filling), float(np.exp(rng.uniform(np.log(1.5), np.log(11.0))))
    thick, gaps = [_thickness_mm(rng) for _ in range(count)], rng.uniform(2.0, 12.0, count)
    if kind == 2:
        _paint_part(canvas, centre, np.full(3, radius), turn, 0, density)
        return
    if kind == 3:
        _paint_part(canvas, centre, np.array([min(radius, 5.0)] * 2 + [rng.uniform(6.0, 13.0)]), turn, 2, density)
        return
    at = -min(11.0, (sum(thick) + sum(gaps[1:])) / 2)
    for number, one in enumerate(thick):
        # A stair rises by one step where the last ended; plates lie apart.
        value = density if kind == 0 else filling + (density - filling) * (number + 1) / count
        middle = centre + (at + one / 2) * turn[2].astype(np.float64)
        _paint_part(canvas, middle, np.array([*width, one / 2]), turn, 1, value)
        at += one + (gaps[number] if kind == 0 else 0.0)


def _paint_part(
    canvas: Canvas, centre: NDArray[np.float64], half: NDArray[np.float64], turn: Array, kind: int, value: float
) -> None:
    reach = float(np.linalg.norm(half)) + 3.0 * canvas.grid.edge_mm
    part = canvas.within(centre - reach, centre + reach)
    if part is not None:
        part.fill(solid_distance(part.grid, centre, half, turn, kind), value)


def _turn(rng: np.random.Generator) -> Array:
    """Rotation whose rows are the part's axes."""
    slightly, fully = Rotation.from_rotvec([*rng.normal(0.0, _TILT, 2), 0.0]), Rotation.random(random_state=rng)
    share = rng.random()
    turn = Rotation.identity() if share < _LEVEL else slightly if share < _LEVEL + _NEARLY else fully
    return np.asarray(turn.as_matrix(), dtype=np.float32)


def _thickness_mm(rng: np.random.Generator) -> float:
    """2 to 20 mm, thin ones as often as thick ones."""
    return float(np.exp(rng.uniform(np.log(2.0), np.log(20.0))))


def _density(rng: np.random.Generator, filling: float) -> float:
    """HU of a part within the filling."""
    kind, sign = int(rng.choice(3, p=_SHARES)), rng.choice([-1.0, 1.0])
    soft, bone = (float(np.exp(rng.uniform(*np.log(one)))) for one in (SOFT_HU, BONE_HU))
    return (filling + sign * soft, filling + bone, float(rng.uniform(*GAS_OR_FAT_HU)))[kind]
