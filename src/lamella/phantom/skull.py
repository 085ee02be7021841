"""The head's skull, jaws, teeth and neck bones, and the air in and around them.

Bone is painted as distances, like the chest's: a cortical shell around marrow. The skull is what lies within a few
millimetres around the brain's room, so its base follows the three fossae.
"""

from __future__ import annotations

import numpy as np

from lamella.phantom.bones import add_blade
from lamella.phantom.canvas import GAS_HU, Canvas, Knots, mirrored
from lamella.phantom.shapes import Array, ellipsoid, smooth_max, smooth_min, spline_path

CORTEX_HU, DIPLOE_HU, PETROUS_HU, TOOTH_HU, ENAMEL_HU = 1250.0, 520.0, 1750.0, 1500.0, 2500.0
MUCOSA_HU, PERILYMPH_HU, DISC_HU = 35.0, 30.0, 80.0

_CORTEX_MM = 1.4
_FAR_MM = 99.0

# fmt: off
_CHEEK = ((56, -58, -58), (66, -40, -56), (71, -18, -54), (66, 0, -50))
_RAMUS = ((50, 2, -56), (51, -2, -72), (49, -12, -100), (44, -26, -112), (30, -62, -118), (14, -84, -120), (0, -89, -120))
_NASAL = ((0, -78, -24), (0, -94, -40), (0, -99, -48))
_ATLAS = ((0, 22, -84), (22, 32, -84), (24, 46, -84), (0, 62, -82))
"""Left halves of long bones, as points in mm."""

_EAR_CANAL: Knots = ((82, 12, -44, 4), (66, 10, -46, 3.2), (54, 8, -46, 3))
_INNER_CANAL: Knots = ((34, 12, -42, 1.6), (22, 14, -40, 2.6), (14, 16, -40, 3.4))
_COCHLEA: Knots = ((36, 6, -44, 1.1), (33, 2, -46, 1.1), (36, 0, -43, 1), (38, 4, -45, 0.9), (36, 5, -46, 0.8))
_HALF_CIRCLES: tuple[Knots, ...] = (
    ((40, 12, -42, 0.7), (44, 12, -37, 0.7), (42, 15, -33, 0.7), (38, 17, -37, 0.7), (40, 14, -42, 0.7)),
    ((41, 12, -43, 0.7), (46, 15, -42, 0.7), (46, 20, -42, 0.7), (41, 18, -43, 0.7)),
)
_THROAT: Knots = ((0, -28, -70, 8), (0, -16, -84, 8), (0, -14, -112, 7), (0, -12, -130, 7))
_NOSTRILS: Knots = ((5, -104, -68, 4), (6, -86, -62, 4), (7, -60, -60, 4.5), (6, -34, -66, 5))
_TURBINATES: tuple[Knots, ...] = (
    ((9, -82, -66, 1.5), (10, -62, -68, 3), (9, -42, -68, 2)),
    ((8, -76, -54, 1.2), (9, -60, -54, 2.4), (8, -44, -55, 1.6)),
)
_SINUSES = (
    ((30, -56, -66), (15, 17, 17)), ((10, -85, -2), (9, 3, 11)), ((23, -82, -8), (8, 3, 6)), ((9, -10, -52), (9, 11, 8)),
)
"""Left maxillary, frontal (two) and sphenoid sinus: centre and radii in mm."""
# fmt: on


def cavity(x: Array, y: Array, z: Array) -> Array:
    """The brain's room: the vault and the three pairs of fossae."""
    across = np.abs(x)
    vault = ellipsoid(x, y, z, (0.0, 2.0, 16.0), (67.0, 85.0, 62.0))
    middle = ellipsoid(across, y, z, (36.0, -16.0, -24.0), (26.0, 28.0, 22.0))
    posterior = ellipsoid(x, y, z, (0.0, 44.0, -34.0), (53.0, 38.0, 32.0))
    return smooth_min(smooth_min(vault, middle, 8.0), posterior, 10.0)


def orbit(across: Array, y: Array, z: Array) -> Array:
    """The left eye's socket, open to the front; `across` is |x|."""
    inwards = across - 33.0 + 0.3 * (y + 74.0)
    return ellipsoid(inwards, y, z, (0.0, -66.0, -42.0), (19.0, 34.0, 18.0))


def paint_skull(canvas: Canvas, texture: dict[str, Array]) -> None:
    """Paint skull, jaws, teeth and upper neck."""
    x, y, z = canvas.grid.mesh
    across = np.abs(x)
    room = cavity(x, y, z)
    thick = 5.6 + 1.3 * texture["coarse"] + 2.0 * np.exp(-(((y - 84.0) / 18.0) ** 2))
    thick = thick + 6.0 * np.exp(-(((y + 86.0) / 9.0) ** 2) - ((z + 4.0) / 16.0) ** 2)
    bone = smooth_max(0.4 - room, room - np.clip(thick, 2.2, 11.0), 1.0)
    # Walls a millimetre thick around the sockets and the sinuses.
    socket = orbit(across, y, z)
    wall = np.abs(socket) - 0.9
    bone = smooth_min(bone, smooth_max(wall, -84.0 - y, 2.0), 1.5)
    rim = np.sqrt((np.sqrt((across - 35.0) ** 2 + (z + 42.0) ** 2) - 20.0) ** 2 + (y + 80.0 - 0.25 * across) ** 2) - 3.5
    bone = smooth_min(bone, rim, 3.0)
    for centre, radii in _SINUSES:
        walls = np.abs(ellipsoid(across, y, z, centre, radii)) - 0.8
        bone = np.minimum(bone, walls)
    palate = smooth_max(np.abs(z + 86.0) - 2.0, ellipsoid(x, y, z, (0.0, -56.0, -86.0), (25.0, 34.0, 9.0)), 2.0)
    arch = np.sqrt((across / 0.8) ** 2 + (y + 56.0) ** 2)
    gums = smooth_max(np.abs(arch - 32.0) - 4.0, np.maximum(np.abs(z + 90.0) - 6.0, y + 44.0), 3.0)
    septum = smooth_max(np.abs(x) - 0.7, np.maximum(np.abs(z + 58.0) - 22.0, np.abs(y + 62.0) - 26.0), 1.0)
    bone = np.minimum(smooth_min(bone, smooth_min(palate, gums, 2.0), 2.0), septum)
    petrous = _petrous(across, y, z)
    mastoid = ellipsoid(across, y, z, (57.0, 30.0, -56.0), (13.0, 17.0, 21.0))
    bone = smooth_min(bone, smooth_min(petrous, mastoid, 4.0), 3.0)
    bone = np.asarray(bone, dtype=np.float32)
    for path, thin_mm, tall_mm in ((_CHEEK, 2.6, 5.0), (_RAMUS, 4.5, 9.0), (_NASAL, 2.0, 4.0), (_ATLAS, 5.0, 6.0)):
        for side in (-1.0, 1.0):
            knots = np.array(path, dtype=np.float64) * [side, 1.0, 1.0]
            add_blade(bone, canvas.grid, spline_path(knots, 3.0), thin_mm, tall_mm)
    _add_neck(bone, canvas)
    # The great hole, and those of the jugular veins.
    hole = smooth_max(np.sqrt((x / 0.9) ** 2 + (y - 38.0) ** 2) - 16.0, z + 50.0, 3.0)
    side_hole = smooth_max(np.sqrt((across - 27.0) ** 2 + (y - 22.0) ** 2) - 4.0, z + 46.0, 2.0)
    bone = smooth_max(smooth_max(bone, -hole, 2.0), -side_hole, 1.0)
    canvas.fill(bone, CORTEX_HU + 60.0 * texture["cells"])
    canvas.fill(bone + _CORTEX_MM, DIPLOE_HU + 150.0 * texture["sponge"])
    canvas.fill(petrous + 0.5, PETROUS_HU + 60.0 * texture["cells"])
    # Air cells honeycomb the mastoid and the ethmoid bone between the sockets.
    ethmoid = smooth_max(ellipsoid(across, y, z, (7.0, -54.0, -38.0), (9.0, 24.0, 14.0)), 1.2 - across, 1.0)
    for region, full_of in ((mastoid + 1.8, 0.15), (ethmoid + 0.8, -0.25)):
        cells = smooth_max(region, 2.6 * (full_of - texture["cells"]), 1.0)
        canvas.fill(np.maximum(region, -9.0), 250.0, 0.9)
        canvas.fill(cells, GAS_HU)
    _paint_inner_ear(canvas)
    _paint_teeth(canvas)


def paint_air(canvas: Canvas, texture: dict[str, Array]) -> None:
    """Paint sinuses, nose, throat and ear canals, and what stands in them."""
    x, y, z = canvas.grid.mesh
    across = np.abs(x)
    for centre, radii in _SINUSES:
        room = ellipsoid(across, y, z, centre, radii) + 0.9
        canvas.fill(room, MUCOSA_HU)
        # Mucosa swells here and there, more in some heads than in others.
        canvas.fill(room + 1.0 + 1.5 * np.maximum(texture["coarse"], 0.0), GAS_HU)
    for side in (-1, 1):
        for knots in (_NOSTRILS, _EAR_CANAL):
            canvas.tube(mirrored(knots, side), GAS_HU)
        for knots in _TURBINATES:
            canvas.tube(mirrored(knots, side), MUCOSA_HU)
        # The drum's cavity and its bonelets.
        canvas.ball((49 * side, 8, -45), 5.0, GAS_HU)
        canvas.ball((50 * side, 7, -42), 1.5, 1300.0)
        canvas.ball((48 * side, 8, -43), 1.2, 1200.0)
    canvas.tube(_THROAT, MUCOSA_HU, 1.5)
    canvas.tube(_THROAT, GAS_HU)


def _petrous(across: Array, y: Array, z: Array) -> Array:
    """The pyramid from the ear to the middle of the base: a cone to first order."""
    t = np.clip((60.0 - across) / 46.0, 0.0, 1.0)
    beyond = np.maximum(np.maximum(14.0 - across, across - 60.0), 0.0)
    return np.asarray(np.sqrt((y - 16.0 + 14.0 * t) ** 2 + (z + 45.0) ** 2 + beyond**2) - 11.0 + 6.0 * t)


def _paint_inner_ear(canvas: Canvas) -> None:
    for side in (-1, 1):
        for knots in (_INNER_CANAL, _COCHLEA, *_HALF_CIRCLES):
            canvas.tube(mirrored(knots, side), PERILYMPH_HU)
        canvas.ball((side * 39.0, 9.0, -44.0), 2.2, PERILYMPH_HU)


def _paint_teeth(canvas: Canvas) -> None:
    """Sixteen above, sixteen below; roots of dentine, crowns of enamel."""
    for angle in np.linspace(-1.25, 1.25, 16):
        x, y = 25.5 * np.sin(angle), -56.0 - 32.0 * np.cos(angle)
        wide = 2.2 + 1.6 * abs(angle)
        for root, crown in ((-88.0, -100.0), (-116.0, -104.0)):
            middle = 0.5 * (root + crown)
            canvas.tube(((x, y, root, 0.6 * wide), (x, y, middle, wide)), TOOTH_HU)
            canvas.tube(((x, y, middle, wide), (x, y, crown, wide)), ENAMEL_HU)
            canvas.tube(((x, y, root, 0.5), (x, y, middle, 0.7)), MUCOSA_HU)


def _add_neck(bone: Array, canvas: Canvas) -> None:
    """Axis with its tooth and two vertebrae below, simple: body, arch and disc."""
    x, y, z = canvas.grid.mesh
    tooth = smooth_max(np.sqrt(x**2 + (y - 28.0) ** 2) - 5.0, np.abs(z + 88.0) - 14.0, 3.0)
    np.minimum(bone, tooth, out=bone)
    for middle_mm in (-104.0, -122.0):
        body = smooth_max(np.sqrt((x / 1.25) ** 2 + (y - 26.0) ** 2) - 9.0, np.abs(z - middle_mm) - 7.0, 2.5)
        arch = smooth_max(
            np.abs(np.sqrt((x / 1.2) ** 2 + (y - 44.0) ** 2) - 13.0) - 2.5, np.abs(z - middle_mm) - 5.0, 2.0
        )
        np.minimum(bone, smooth_min(body, arch, 2.0), out=bone)
        disc = smooth_max(np.sqrt((x / 1.25) ** 2 + (y - 26.0) ** 2) - 8.5, np.abs(z - middle_mm - 9.0) - 2.5, 1.5)
        canvas.fill(disc, DISC_HU)
