"""A test object: solids of many shapes and densities, turned all ways.

People hold rounded shapes alone; test objects, implants and couches have flat faces and sharp corners, which a network
that knows only people gets wrong. Everything is fixed in LPS millimetres and depends on the seed alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lamella.phantom.canvas import GAS_HU, Canvas
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.shapes import Array, Grid, ellipsoid, inside, smooth_max

DENSITIES_HU = (-1000.0, -190.0, -95.0, -35.0, 5.0, 45.0, 60.0, 120.0, 340.0, 900.0, 1300.0)
"""Air, plastics from polymethylpentene to PTFE, water, tissue and bone, as test objects have them."""

_COUNT = 110
_REACH_MM = 100.0
_LEAST_MM, _MOST_MM = 1.5, 36.0
_NEARLY_LEVEL, _TILT = 0.35, 0.12
"""Share of solids whose faces nearly follow the slices, which a thick slice blurs most, and their tilt in radians."""


def paint_solids(canvas: Canvas, settings: PhantomSettings) -> None:
    """Paint the test object.

    A cylinder of water or an empty shell; in it ellipsoids, boxes and rods of 3 to 72 mm, solid or hollow, some hardly
    denser than what surrounds them.
    """
    rng = np.random.default_rng([settings.seed, 41])
    x, y, _ = canvas.grid.mesh
    radius_mm, filling = rng.uniform(85.0, 110.0), float(rng.choice([GAS_HU, 0.0, 40.0]))
    wall = np.sqrt(x**2 + y**2) - np.float32(radius_mm)
    canvas.fill(wall, 120.0)
    canvas.fill(wall + 6.0, filling)
    for _ in range(_COUNT):
        _paint_solid(canvas, rng)


def _paint_solid(canvas: Canvas, rng: np.random.Generator) -> None:
    """One solid; it takes the same random numbers whether or not the grid reaches it."""
    centre = rng.uniform(-_REACH_MM, _REACH_MM, 3) * [0.75, 0.75, 1.0]
    half = np.exp(rng.uniform(np.log(_LEAST_MM), np.log(_MOST_MM), 3))
    slightly, fully = Rotation.from_rotvec(rng.normal(0.0, _TILT, 3)), Rotation.random(random_state=rng)
    turn = (slightly if rng.random() < _NEARLY_LEVEL else fully).as_matrix().astype(np.float32)
    kind, hollow, faint = int(rng.integers(3)), rng.random() < 0.25, rng.random() < 0.25
    value, within, contrast = rng.choice(DENSITIES_HU), rng.choice(DENSITIES_HU), rng.uniform(-25.0, 25.0)
    wall_mm = rng.uniform(0.8, 4.0)
    reach = float(np.linalg.norm(half)) + 3.0 * canvas.grid.edge_mm
    part = canvas.within(centre - reach, centre + reach)
    if part is None:
        return
    distance = solid_distance(part.grid, centre, half, turn, kind)
    if faint:
        hu = part.hu
        hu += inside(distance, part.grid.edge_mm) * np.float32(contrast)
        return
    part.fill(distance, float(value))
    if hollow:
        part.fill(distance + np.float32(wall_mm), float(within))


def solid_distance(grid: Grid, centre: NDArray[np.float64], half: NDArray[np.float64], turn: Array, kind: int) -> Array:
    """Signed distance, to first order, from an ellipsoid (0), a box (1) or a rod with flat ends (2)."""
    x, y, z = grid.mesh
    h = half.astype(np.float32)
    if kind == 0:
        return ellipsoid(x, y, z, tuple(centre), tuple(h), turn)
    p = [x - np.float32(centre[0]), y - np.float32(centre[1]), z - np.float32(centre[2])]
    q = [turn[i, 0] * p[0] + turn[i, 1] * p[1] + turn[i, 2] * p[2] for i in range(3)]
    if kind == 1:
        faces = [np.abs(a) - b for a, b in zip(q, h, strict=True)]
        return smooth_max(smooth_max(faces[0], faces[1], 0.3), faces[2], 0.3)
    return smooth_max(np.sqrt(q[0] ** 2 + q[1] ** 2) - h[0], np.abs(q[2]) - h[2], 0.3)
