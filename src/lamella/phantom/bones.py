"""The phantom's skeleton: ribs, breastbone, spine, shoulder blades, collar bones.

Bones are painted as distances: a cortical shell of constant thickness around marrow, whatever the bone's shape.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lamella.phantom.canvas import Canvas, Vector
from lamella.phantom.shapes import Array, Grid, Texture, smooth_max, smooth_min, spline_path, step
from lamella.phantom.torso import cage, cage_frame, spine_y

CORTEX_HU, MARROW_HU, CARTILAGE_HU, DISC_HU, CANAL_HU, CORD_HU = 760.0, 185.0, 105.0, 75.0, 12.0, 42.0

_FAR_MM = 99.0
_PITCH_MM = 24.0
"""Distance between neighbouring vertebrae: body and disc."""

VERTEBRAE_MM = tuple(float(z) for z in np.arange(-156.0, 157.0, _PITCH_MM))
"""Heights of the vertebral bodies' centres."""


def paint_bones(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint the skeleton."""
    grid = canvas.grid
    texture = Texture(grid, 5.0, rng)
    bone = np.full(grid.shape, _FAR_MM, dtype=np.float32)
    for z_mm in VERTEBRAE_MM:
        for side in (-1.0, 1.0):
            path, cartilage = rib_paths(z_mm, side)
            add_blade(bone, grid, path, 3.6, 6.4)
            _paint_cartilage(canvas, cartilage)
        _add_vertebra(bone, canvas, z_mm)
    _add_breastbone(bone, grid)
    _add_shoulder(bone, grid)
    for z, slab in canvas.slabs():
        near = bone[z]
        if float(near.min()) > 4.0:
            continue
        slab.fill(near, CORTEX_HU)
        # Marrow is a sponge: brighter and darker patches; the cortex is 1.3 mm thick.
        slab.fill(near + 1.3, MARROW_HU + 45.0 * texture.slab(z))


def rib_paths(z_mm: float, side: float) -> tuple[Vector, Vector]:
    """One rib as (n, 3) points, from its vertebra round the cage and downwards, and its cartilage to the breastbone.

    Args:
        z_mm: height of the vertebra it hangs on.
        side: +1 left, -1 right.
    """
    angle = np.linspace(0.38, 2.36, 56)
    drop = 76.0 * (1.0 - np.cos(0.82 * (angle - 0.38))) / (1.0 - np.cos(0.82 * 1.98))
    z = z_mm + 2.0 - drop
    half_x, half_y, centre = (np.asarray(v, dtype=np.float64) for v in cage_frame(z.astype(np.float32)))
    # The superellipse of the cavity, 6 mm outside its wall.
    ring_x = np.abs(np.sin(angle)) ** 0.8 * (half_x + 6.0)
    ring_y = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.8 * (half_y + 6.0)
    ring = np.stack([side * ring_x, centre + ring_y, z], axis=1)
    spine = float(spine_y(np.array(z_mm)))
    neck = np.array([[side * 16.0, spine + 9.0, z_mm + 4.0], [side * 30.0, spine + 20.0, z_mm + 3.0]])
    path = spline_path(np.concatenate([neck, ring[2:]]), 2.5)
    end = path[-1]
    front = cage_frame(np.array(end[2] + 12.0))
    joint = [side * 16.0, float(front[2] - front[1]) - 5.0, end[2] + 20.0]
    bend = [0.55 * end[0] + 0.45 * joint[0], min(end[1], joint[1]) - 1.0, end[2] + 3.0]
    return path, spline_path(np.array([end, bend, joint]), 3.0)


def add_blade(bone: Array, grid: Grid, path: Vector, thin_mm: float, tall_mm: float) -> None:
    """Lower `bone` to the distance from a chain of flat segments whose broad side follows the body's surface."""
    for start, end in pairwise(path):
        reach = tall_mm + 5.0
        box = grid.box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        if box is None:
            continue
        x, y, z = grid.part(box).mesh
        tangent = (end - start) / np.linalg.norm(end - start)
        outward = np.array([start[0] / 1.5, start[1] + 2.0, 0.0])
        outward -= tangent * (outward @ tangent)
        outward /= np.linalg.norm(outward)
        tall = np.cross(tangent, outward)
        p = (x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2]))
        along, across, up = (sum(float(axis[i]) * p[i] for i in range(3)) for axis in (tangent, outward, tall))
        beyond = along - np.clip(along, 0.0, float(np.linalg.norm(end - start)))
        u, v = across / thin_mm, up / tall_mm
        rho = np.sqrt(u**2 + v**2 + (beyond / thin_mm) ** 2)
        slope = np.sqrt((u / thin_mm) ** 2 + (v / tall_mm) ** 2 + (beyond / thin_mm**2) ** 2)
        distance = rho * (rho - 1.0) / np.maximum(slope, 1e-4)
        np.minimum(bone[box], distance.astype(np.float32), out=bone[box])


def _paint_cartilage(canvas: Canvas, path: Vector) -> None:
    part = canvas.within(path.min(axis=0) - 12.0, path.max(axis=0) + 12.0)
    if part is None:
        return
    near = np.full(part.grid.shape, _FAR_MM, dtype=np.float32)
    add_blade(near, part.grid, path, 4.0, 6.0)
    part.fill(near, CARTILAGE_HU)


def _add_vertebra(bone: Array, canvas: Canvas, z_mm: float) -> None:
    """One vertebra into the bone distances; its disc, canal and cord onto the canvas."""
    middle = float(spine_y(np.array(z_mm)))
    box = canvas.grid.box(np.array([-48.0, middle - 24.0, z_mm - 34.0]), np.array([48.0, middle + 60.0, z_mm + 18.0]))
    if box is None:
        return
    part = canvas.part(box)
    x, y, z = part.grid.mesh
    up = z - z_mm
    y = y - spine_y(z)
    waist = 1.0 - 0.09 * np.cos(np.clip(up / 10.0, -1.0, 1.0) * 1.57)
    half_x, half_y = 17.5 * waist, 13.5 * waist
    hollow = 3.5 * np.exp(-((x / 9.0) ** 2)) * (y > 0)
    u, v = x / half_x, (y + hollow) / half_y
    rho = np.sqrt(u**2 + v**2)
    disc = (rho - 1.0) * 14.5
    body = smooth_max(disc, np.abs(up) - 9.6, 2.5)
    part.fill(smooth_max(disc, np.abs(up - 12.0) - 3.6, 2.0), DISC_HU)
    canal = np.sqrt((x / 1.12) ** 2 + (y - 23.0) ** 2) - 8.3
    ring: Array = np.abs(np.sqrt((x / 1.2) ** 2 + ((y - 23.5) / 1.0) ** 2) - 11.5) - 2.6
    ring = smooth_max(ring, np.abs(up + 0.35 * (y - 23.0) + 1.0) - 8.0 + 2.5 * (y < 20.0), 2.0)
    wing: Array = np.sqrt((y - 25.0 - 0.32 * (np.abs(x) - 12.0)) ** 2 + (up - 3.0) ** 2) - 4.2
    wing = smooth_max(smooth_max(wing, np.abs(x) - 34.0, 3.0), 10.0 - np.abs(x), 2.0)
    # Spinous processes slope to the feet, one vertebra down.
    fin: Array = smooth_max(np.abs(x) - 2.8, np.abs(up + 0.75 * (y - 33.0) + 3.0) - 5.5, 3.0)
    fin = smooth_max(fin, np.maximum(31.0 - y, y - 49.0), 3.0)
    whole = smooth_min(body, smooth_min(smooth_min(ring, wing, 3.0), fin, 3.0), 2.0)
    part.fill(canal, CANAL_HU)
    part.fill(np.sqrt((x / 1.25) ** 2 + (y - 22.5) ** 2) - 4.6, CORD_HU)
    np.minimum(bone[box], smooth_max(whole, -canal, 1.0).astype(np.float32), out=bone[box])


def _add_breastbone(bone: Array, grid: Grid) -> None:
    box = grid.box(np.array([-50.0, -115.0, -45.0]), np.array([50.0, -30.0, 98.0]))
    if box is None:
        return
    x, y, z = grid.part(box).mesh
    _, half_y, centre = cage_frame(z)
    front = centre - half_y - 6.5
    half_x = 14.0 + 3.0 * step((25.0 - z) / 40.0) + 13.0 * step((z - 48.0) / 30.0) - 9.0 * step((-z - 18.0) / 16.0)
    flat = smooth_max(np.abs(x) - half_x, np.abs(y - front) - 4.8, 6.0)
    # Body and handle meet in a joint; the sword-shaped tip ends above the liver.
    flat = smooth_max(flat, np.maximum(-35.0 - z, z - 86.0), 4.0)
    flat = np.maximum(flat, 1.2 - np.abs(z - 50.0))
    np.minimum(bone[box], flat.astype(np.float32), out=bone[box])


def _add_shoulder(bone: Array, grid: Grid) -> None:
    """Shoulder blades, thin plates gliding on the back of the cage, and collar bones."""
    for side in (-1.0, 1.0):
        low, high = sorted((side * 45.0, side * 160.0))
        box = grid.box(np.array([low, 10.0, -22.0]), np.array([high, 118.0, 130.0]))
        if box is not None:
            x, y, z = grid.part(box).mesh
            across = side * x
            inner, lower = 62.0 - across + 0.12 * (z - 40.0), -8.0 - z + 0.9 * np.maximum(across - 82.0, 0.0)
            edges = smooth_max(smooth_max(inner, 0.72 * lower, 6.0), across - 128.0, 8.0)
            lift = 17.0 + 0.09 * (across - 70.0) + 0.0028 * (across - 98.0) ** 2 + 0.0012 * (z - 35.0) ** 2
            plate = np.abs(cage(x, y, np.minimum(z, 70.0)) - lift) - (1.6 + 1.8 * np.exp(-((edges / 6.0) ** 2)))
            plate = smooth_max(plate, edges, 3.0)
            plate = smooth_min(plate, np.sqrt((edges + 2.0) ** 2 + (z - 62.0) ** 2 + (plate - 6.0) ** 2) - 3.0, 2.0)
            np.minimum(bone[box], plate.astype(np.float32), out=bone[box])
        knots = np.array([[14.0, -62.0, 82.0], [55.0, -74.0, 88.0], [100.0, -52.0, 98.0], [150.0, -20.0, 112.0]])
        knots[:, 0] *= side
        add_blade(bone, grid, spline_path(knots, 3.0), 5.0, 6.0)
