"""The phantom's soft anatomy: outline, fat and muscle, lungs, diaphragm, liver, spleen, stomach, heart.

Every shape is a function of LPS millimetres (signed distance, negative inside), so the same anatomy can be sampled on
any grid and asked about at any point. The patient is supine; the origin lies in the heart.
"""

from __future__ import annotations

import numpy as np

from lamella.phantom.canvas import GAS_HU, Canvas
from lamella.phantom.shapes import Array, Texture, ellipsoid, inside, oval, smooth_max, smooth_min, step

SKIN_HU, FAT_HU, MUSCLE_HU = 15.0, -104.0, 56.0
LIVER_HU, SPLEEN_HU, STOMACH_WALL_HU, STOMACH_FLUID_HU = 108.0, 118.0, 52.0, 14.0
MYOCARDIUM_HU, LEFT_HEART_HU, RIGHT_HEART_HU = 100.0, 185.0, 215.0
LUNG_HU = -858.0

APEX_MM, TOP_MM = 97.0, 137.0
"""Height of the lung apex, and the length over which the cage tapers to it."""

_HEART_AXIS = np.array([[0.76, -0.45, -0.47], [0.51, 0.86, 0.0], [0.404, -0.24, 0.883]], dtype=np.float32)
"""Rows: the heart's long axis (to the left, the front and the feet) and two across it."""


def cage_taper(z: Array) -> Array:
    """Width of the chest cavity at height z, relative to its base."""
    height = np.clip((z - (APEX_MM - TOP_MM)) / TOP_MM, 0.0, 0.9995)
    return np.asarray(np.sqrt(1.0 - height**2.6))


def cage_frame(z: Array) -> tuple[Array, Array, Array]:
    """(half width, half depth, y of the centre) of the chest cavity at height z."""
    taper = cage_taper(z)
    return 125.0 * taper, 83.0 * taper**0.62, -2.0 + 9.0 * (1.0 - taper)


def cage(x: Array, y: Array, z: Array) -> Array:
    """The inner wall of the chest (parietal pleura) and, below, of the upper abdomen."""
    half_x, half_y, centre = cage_frame(z)
    return smooth_max(oval(x, y - centre, half_x, half_y), z - APEX_MM + 2.0, 10.0)


def outline(x: Array, y: Array, z: Array) -> Array:
    """The skin. Slightly hollow over breastbone and spine; the shoulders widen towards the top."""
    shoulder = step((z - 30.0) / 65.0)
    waist = step((-z - 30.0) / 90.0)
    hollow = 1.0 + (0.05 + 0.02 * (y > 0)) * np.exp(-((x / 26.0) ** 2))
    return oval(x, (y - 3.0 - 9.0 * shoulder) * hollow, 158.0 + 13.0 * shoulder - 5.0 * waist, 114.0 - 16.0 * shoulder)


def spine_y(z: Array) -> Array:
    """y of the centres of the vertebral bodies: the thoracic kyphosis."""
    return np.asarray(57.0 - 0.0013 * (z - 5.0) ** 2, dtype=np.float32)


def diaphragm(x: Array, y: Array) -> Array:
    """Height z of the diaphragm: the right dome stands higher than the left; deep recesses behind and at the sides."""
    right = -17.0 - 58.0 * ((x + 60.0) / 78.0) ** 2 - 56.0 * ((y + 8.0) / 84.0) ** 2
    left = -29.0 - 50.0 * ((x - 62.0) / 76.0) ** 2 - 52.0 * ((y + 6.0) / 82.0) ** 2
    centre = -41.0 - 12.0 * ((x - 8.0) / 60.0) ** 2 - 46.0 * ((y + 22.0) / 70.0) ** 2
    return smooth_max(smooth_max(right, left, 12.0), centre, 16.0)


def chambers(x: Array, y: Array, z: Array) -> dict[str, Array]:
    """Blood in the four chambers of the heart."""
    return {
        "left ventricle": ellipsoid(x, y, z, (40.0, -27.0, -23.0), (37.0, 18.5, 19.0), _HEART_AXIS),
        "right ventricle": ellipsoid(x, y, z, (6.0, -50.0, -16.0), (38.0, 15.0, 25.0), _HEART_AXIS),
        "left atrium": ellipsoid(x, y, z, (4.0, 10.0, 3.0), (33.0, 17.0, 19.0)),
        "right atrium": ellipsoid(x, y, z, (-33.0, -20.0, -6.0), (19.0, 24.0, 29.0)),
    }


def heart(x: Array, y: Array, z: Array) -> Array:
    """Outer wall of the heart: thick around the left ventricle, thin elsewhere."""
    parts = chambers(x, y, z)
    wall = smooth_min(parts["left ventricle"] - 10.0, parts["right ventricle"] - 3.5, 14.0)
    wall = smooth_min(wall, parts["left atrium"] - 2.5, 12.0)
    return smooth_min(wall, parts["right atrium"] - 2.5, 14.0)


def mediastinum(x: Array, y: Array, z: Array) -> Array:
    """What keeps the lungs apart: heart and its fat, great vessels, oesophagus, spine."""
    widest = 5.0 + 27.0 * step((y + 62.0) / 50.0) - 7.0 * step((z - 50.0) / 40.0)
    column = np.abs(x - 3.0 - 5.0 * np.sin(z / 28.0)) - widest
    spine = np.sqrt(x**2 + (y - spine_y(z) - 2.0) ** 2) - 23.0
    aorta = np.sqrt((x - 22.0 - 0.05 * z) ** 2 + (y - 41.0) ** 2) - 15.5
    knob = ellipsoid(x, y, z, (16.0, 4.0, 54.0), (27.0, 34.0, 19.0))
    near = smooth_min(smooth_min(column, spine, 8.0), smooth_min(aorta, knob, 8.0), 8.0)
    return smooth_min(near, heart(x, y, z) - 6.0, 12.0)


def lungs(x: Array, y: Array, z: Array) -> Array:
    """Both lungs: the chest without the mediastinum, above the diaphragm."""
    free = smooth_max(cage(x, y, z) + 1.5, -mediastinum(x, y, z), 9.0)
    return smooth_max(free, 0.75 * (diaphragm(x, y) - z), 4.0)


def fissure(x: Array, y: Array, z: Array) -> Array:
    """Distance from the oblique fissure; positive in the lower lobes (behind and below)."""
    bow = 7.0 * np.sin(x / 34.0) + 0.0012 * (y - 10.0) ** 2
    return np.asarray(0.64 * (y - 8.0) - 0.77 * (z - 8.0) + bow)


def horizontal_fissure(x: Array, y: Array, z: Array) -> Array:
    """Distance from the right lung's horizontal fissure."""
    return np.asarray(z - 12.0 - 5.0 * np.cos((y + 40.0) / 30.0) + 0.05 * (x + 60.0))


def muscles(x: Array, y: Array, z: Array, wall: Array) -> Array:
    """Chest wall and shoulder girdle, from the distance `wall` to the cavity."""
    pectoral = 11.0 * step((-y - 25.0) / 35.0) * step((np.abs(x) - 12.0) / 22.0) * step((z + 25.0) / 45.0)
    pectoral = pectoral * (1.0 - 0.8 * step((np.abs(x) - 105.0) / 30.0))
    back = 17.0 * step((y - 12.0) / 45.0) * (1.0 + 0.25 * np.exp(-(((np.abs(x) - 30.0) / 18.0) ** 2)))
    side = 5.0 * step((np.abs(x) - 70.0) / 40.0)
    girdle = 42.0 * step((z - 20.0) / 62.0) * step((np.abs(x) - 20.0) / 70.0)
    return wall - (10.0 + pectoral + back + side + girdle)


def paint_torso(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint all soft anatomy but the heart, a few slices at a time to keep memory small."""
    fine, middle, coarse = (Texture(canvas.grid, scale, rng) for scale in (4.0, 9.0, 26.0))
    for z, slab in canvas.slabs():
        _paint_slab(slab, fine.slab(z), middle.slab(z), coarse.slab(z))


def _paint_slab(canvas: Canvas, fine: Array, middle: Array, coarse: Array) -> None:
    (x, y, z), edge = canvas.grid.mesh, canvas.grid.edge_mm
    _paint_couch(canvas)
    skin = outline(x, y, z) + 1.2 * coarse
    wall = cage(x, y, z) + 0.8 * coarse
    canvas.fill(skin, SKIN_HU)
    canvas.fill(skin + 2.0, FAT_HU + 5.0 * middle)
    muscle = smooth_max(muscles(x, y, z, wall) - 1.8 * coarse, skin + 6.0, 5.0)
    # Fat planes between the layers of muscle, opening and closing as they do in people.
    layer = np.minimum(np.abs(wall - 11.5 - coarse), np.abs(wall - 21.0 - 2.0 * coarse))
    fat_plane = 0.85 * inside(layer - 0.9, edge) * step(0.5 + 0.7 * middle)
    muscle_hu = MUSCLE_HU + 4.0 * fine + 5.0 * middle - 12.0 * step(fine - 1.0)
    canvas.fill(muscle, muscle_hu + fat_plane * (FAT_HU - muscle_hu))
    canvas.fill(wall, FAT_HU + 6.0 + 6.0 * middle)
    _paint_abdomen(canvas, wall, fine, middle)
    _paint_lungs(canvas, wall, fine, middle, coarse)


def _paint_couch(canvas: Canvas) -> None:
    x, y, _ = canvas.grid.mesh
    top = 121.0 - 0.0006 * x**2
    board = np.maximum(np.abs(x) - 195.0, np.maximum(top - y, y - top - 22.0))
    canvas.fill(board, -120.0)
    canvas.fill(board + 2.0, -945.0)


def _paint_abdomen(canvas: Canvas, wall: Array, fine: Array, middle: Array) -> None:
    x, y, z = canvas.grid.mesh
    if float(z.min()) > -5.0:
        return
    below = smooth_max(0.75 * (z - diaphragm(x, y)), wall, 5.0)
    canvas.fill(below, MUSCLE_HU + 4.0 * fine)
    cavity = below + 3.2
    canvas.fill(cavity, FAT_HU + 8.0 * middle)
    spine = np.sqrt(x**2 + (y - spine_y(z) - 2.0) ** 2) - 28.0
    lobe = smooth_max((0.55 * x + 0.75 * y - 24.0) / 0.93, x - 46.0 + 0.2 * (z + 60.0), 8.0)
    liver = smooth_max(smooth_max(cavity - 2.2, lobe, 8.0), -spine, 8.0)
    canvas.fill(liver, LIVER_HU + 3.0 * fine + 3.0 * middle)
    spleen = smooth_max(ellipsoid(x, y, z, (88.0, 38.0, -64.0), (27.0, 40.0, 32.0)), cavity + 1.5, 6.0)
    canvas.fill(spleen, SPLEEN_HU + 4.0 * fine)
    stomach = smooth_max(ellipsoid(x, y, z, (62.0, -12.0, -70.0), (33.0, 42.0, 33.0)), cavity + 1.5, 6.0)
    canvas.fill(stomach, STOMACH_WALL_HU)
    # Supine: the gas lies in front, and its level is flat.
    canvas.fill(stomach + 4.0, STOMACH_FLUID_HU + 6.0 * fine)
    canvas.fill(np.maximum(stomach + 4.0, y + 21.0), GAS_HU + 5.0)


def _paint_lungs(canvas: Canvas, wall: Array, fine: Array, middle: Array, coarse: Array) -> None:
    (x, y, z), edge = canvas.grid.mesh, canvas.grid.edge_mm
    free = smooth_max(wall + 1.5, -(mediastinum(x, y, z) + 1.2 * coarse), 9.0)
    lung = smooth_max(free, 0.75 * (diaphragm(x, y) - z), 4.0)
    # Gravity makes the back of a supine lung denser, by some 0.4 HU a millimetre.
    lung_hu = LUNG_HU + 0.36 * (y - 5.0) - 0.1 * z + 11.0 * fine + 7.0 * middle
    seam = np.exp(-0.5 * (fissure(x, y, z) / (edge + 0.3)) ** 2)
    middle_lobe = (x < 0) * (fissure(x, y, z) < 0)
    seam = np.maximum(seam, middle_lobe * np.exp(-0.5 * (horizontal_fissure(x, y, z) / (edge + 0.3)) ** 2))
    canvas.fill(lung, lung_hu + 85.0 * seam)


def paint_heart(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint the heart over the lung vessels' trees that begin behind it."""
    box = canvas.grid.box(np.array([-70.0, -85.0, -75.0]), np.array([95.0, 45.0, 45.0]))
    if box is None:
        return
    texture, canvas = Texture(canvas.grid, 9.0, rng).slab(slice(None))[box], canvas.part(box)
    x, y, z = canvas.grid.mesh
    wall = heart(x, y, z)
    canvas.fill(np.abs(wall - 5.0) - 0.6, 20.0, 0.7)
    canvas.fill(wall, MYOCARDIUM_HU + 4.0 * texture)
    for name, blood in chambers(x, y, z).items():
        blood_hu = RIGHT_HEART_HU if name.startswith("right") else LEFT_HEART_HU
        canvas.fill(blood + 0.8 * texture, blood_hu)
