"""A head: scalp, brain with its ventricles and vessels, eyes; skull, teeth and air spaces are `skull.py`'s.

Every shape is a function of LPS millimetres with the origin in the middle of the brain; the seed chooses the size, how
the brain is folded, where its vessels run and whether they hold contrast medium.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lamella.phantom.canvas import Branches, Canvas, Knots, Vector, mirrored
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.shapes import Array, Grid, Texture, ellipsoid, smooth_max, smooth_min, step
from lamella.phantom.skull import cavity, orbit, paint_air, paint_skull
from lamella.phantom.trees import grow

SKIN_HU, FAT_HU, MUSCLE_HU, GLAND_HU = 30.0, -95.0, 58.0, 15.0
WHITE_HU, GREY_HU, CSF_HU, CORD_HU = 27.0, 38.0, 6.0, 34.0
BLOOD_HU, CONTRAST_HU = 48.0, 310.0
VITREOUS_HU, LENS_HU, SCLERA_HU, CALCIFIED_HU = 9.0, 95.0, 52.0, 240.0

_VESSEL_POINTS = 110
_MM_A_UNIT = 5.0
"""Distance from the surface where the folding field is 0, for each unit of the field."""

# fmt: off
_VENTRICLES: tuple[Knots, ...] = (
    ((9, -34, 12, 3.5), (11, -20, 22, 6), (13, 4, 27, 5.5), (18, 26, 22, 7), (25, 40, 16, 5.5), (22, 58, 14, 2.5)),
    ((25, 38, 14, 6), (32, 20, -4, 3.5), (33, -2, -16, 2.5)),
    ((0, -8, 8, 2), (0, 6, 2, 2.4), (0, 14, -6, 1.2), (0, 24, -22, 1.2), (0, 30, -34, 5), (0, 33, -48, 2)),
)
"""Left lateral ventricle, its temporal horn (both mirrored to the right), third and fourth ventricle with what joins them."""

_ARTERIES: tuple[Knots, ...] = (
    ((28, 2, -120, 2.9), (27, 0, -75, 2.6), (24, -2, -60, 2.5), (12, -8, -48, 2.4), (11, -16, -38, 2.3), (14, -14, -28, 2)),
    ((14, -14, -28, 1.6), (28, -16, -24, 1.5), (40, -10, -18, 1.3)),
    ((14, -14, -28, 1.4), (3, -26, -22, 1.2), (2, -44, 2, 1.1), (2, -34, 28, 1)),
    ((20, 44, -120, 2), (18, 46, -78, 2), (4, 22, -62, 1.9), (0, 8, -40, 1.8), (0, 3, -26, 1.6)),
    ((0, 3, -26, 1.4), (18, 12, -18, 1.2), (20, 40, -8, 1)),
)
"""Left carotid, middle, anterior, vertebral with basilar, and posterior cerebral artery; mirrored to the right."""

_SINUSES: tuple[Knots, ...] = (
    ((0, -60, 48, 1.5), (0, -20, 78, 2.5), (0, 30, 79, 3.5), (0, 76, 44, 4), (0, 84, 6, 4.5)),
    ((0, 84, 4, 4), (34, 70, -2, 4), (53, 36, -20, 4), (40, 30, -50, 4), (34, 18, -120, 5)),
)
"""Sagittal sinus; left transverse sinus and jugular vein, mirrored to the right."""

_EYE_MUSCLES: tuple[Knots, ...] = tuple(
    ((18, -30, -40, 1.2), (33 + 9 * dx, -52, -42 + 9 * dz, 2.4), (33 + 11.5 * dx, -66, -42 + 11.5 * dz, 1.2))
    for dx, dz in ((1, 0), (-1, 0), (0, 1), (0, -1))
)
_OPTIC_NERVE: Knots = ((9, -22, -32, 2.2), (19, -34, -38, 2), (33, -62, -42, 2))
# fmt: on


def paint_head(canvas: Canvas, settings: PhantomSettings) -> None:
    """Paint a head.

    Scalp, muscles and fat; skull with its two tables, sutures left out, base, petrous bones with air cells and the inner
    ear; jaws and teeth; sinuses, nose, throat and ear canals; brain with folded cortex, ventricles, calcified pineal and
    choroid; arteries and venous sinuses; eyes; head rest.
    """
    seed = settings.seed
    size, contrast = head_build(seed)
    # A larger head is the same head seen on a finer grid.
    grid = canvas.grid
    scaled = Canvas(canvas.hu, Grid(grid.z / size[2], grid.y / size[1], grid.x / size[0], grid.edge_mm))
    fields = {
        name: Texture(scaled.grid, scale_mm, np.random.default_rng([seed, 32, number]))
        for number, (name, scale_mm) in enumerate({"folds": 8.0, "coarse": 20.0, "cells": 4.0, "sponge": 2.5}.items())
    }
    for z, slab in scaled.slabs():
        texture = {name: field.slab(z) for name, field in fields.items()}
        _paint_soft(slab, texture)
        _paint_brain(slab, texture)
        _paint_vessels(slab, seed, CONTRAST_HU if contrast else BLOOD_HU)
        _paint_eyes(slab)
        paint_skull(slab, texture)
        paint_air(slab, texture)


def head_build(seed: int) -> tuple[NDArray[np.float32], bool]:
    """(size along x, y and z relative to the usual, whether the vessels hold contrast medium)."""
    rng = np.random.default_rng([seed, 31])
    return rng.uniform(0.94, 1.06, 3).astype(np.float32), bool(rng.random() < 0.5)


def outline(x: Array, y: Array, z: Array) -> Array:
    """The skin of head and neck."""
    vault = ellipsoid(x, y, z, (0.0, 2.0, 12.0), (77.0, 96.0, 83.0))
    face = ellipsoid(x, y, z, (0.0, -38.0, -62.0), (62.0, 62.0, 70.0))
    nose = ellipsoid(x, y, z, (0.0, -100.0, -58.0), (13.0, 16.0, 20.0))
    neck = smooth_max(np.sqrt((x / 1.05) ** 2 + (y - 22.0 - 0.12 * (z + 80.0)) ** 2) - 58.0, z + 30.0, 20.0)
    ears = ellipsoid(np.abs(x), y, z, (77.0, 16.0, -42.0), (4.5, 13.0, 28.0))
    whole = smooth_min(smooth_min(vault, face, 25.0), neck, 25.0)
    return smooth_min(smooth_min(whole, nose, 10.0), ears, 4.0)


def _paint_soft(canvas: Canvas, texture: dict[str, Array]) -> None:
    """Skin, fat, muscle and glands; beside them the head rest."""
    x, y, z = canvas.grid.mesh
    skin = outline(x, y, z)
    rest = np.abs(np.sqrt(x**2 + (y + 15.0) ** 2) - 122.0) - 2.0
    canvas.fill(smooth_max(rest, 40.0 - y, 4.0), 60.0)
    canvas.fill(skin, SKIN_HU)
    canvas.fill(skin + 2.2, FAT_HU + 6.0 * texture["coarse"])
    # Below the vault muscle fills most of what bone leaves, in bundles with fat between.
    deep = smooth_max(skin + 7.0, 0.8 * (z + 12.0 + 0.35 * y), 10.0)
    temporal = smooth_max(np.abs(np.abs(x) - 69.0 + 0.08 * (z + 40.0)) - 6.0, np.abs(y + 22.0) - 30.0, 8.0)
    temporal = smooth_max(temporal, np.maximum(z - 30.0, -70.0 - z), 8.0)
    bundles = smooth_max(smooth_min(deep, temporal, 4.0), 3.0 * (0.22 - np.abs(texture["coarse"])), 2.0)
    canvas.fill(smooth_max(bundles, skin + 4.0, 2.0), MUSCLE_HU + 3.0 * texture["folds"])
    tongue = ellipsoid(x, y, z, (0.0, -50.0, -98.0), (20.0, 30.0, 17.0))
    parotid = ellipsoid(np.abs(x), y, z, (56.0, 6.0, -76.0), (10.0, 15.0, 22.0))
    canvas.fill(tongue, MUSCLE_HU + 6.0 * texture["cells"])
    canvas.fill(parotid, GLAND_HU + 14.0 * texture["cells"])


def _paint_brain(canvas: Canvas, texture: dict[str, Array]) -> None:
    """Everything within the skull but vessels."""
    x, y, z = canvas.grid.mesh
    room = cavity(x, y, z)
    canvas.fill(room, CSF_HU)
    depth = -room - 1.5
    across = np.abs(x)
    # The hemispheres: apart at the midline, cut from the cerebellum by the tentorium, folded where the field is near 0.
    tentorium = z + 18.0 - 0.25 * np.maximum(y - 10.0, 0.0) + 0.012 * x**2
    half = smooth_max(np.maximum(-depth, 1.3 - across), -smooth_max(tentorium, -8.0 - y, 14.0), 3.0)
    fold = _MM_A_UNIT * np.abs(texture["folds"]) - (1.5 - 0.075 * np.clip(-half, 0.0, 20.0))
    brain = smooth_max(half, -np.where(half > -22.0, fold, 9.0), 0.8)
    canvas.fill(brain, GREY_HU + 1.5 * texture["coarse"])
    canvas.fill(brain + 3.2, WHITE_HU + 1.5 * texture["coarse"])
    for centre, radii in (
        ((12.0, -14.0, 14.0), (6.0, 12.0, 10.0)),
        ((22.0, -6.0, 4.0), (9.0, 18.0, 11.0)),
        ((11.0, 12.0, 6.0), (9.0, 14.0, 9.0)),
    ):
        canvas.fill(ellipsoid(across, y, z, centre, radii), GREY_HU + 1.0)
    # Leaves of the cerebellum run nearly level; the brain stem lies before it.
    cerebellum = smooth_max(ellipsoid(x, y, z, (0.0, 46.0, -36.0), (47.0, 31.0, 23.0)), -depth, 2.0)
    cerebellum = smooth_max(cerebellum, 3.0 - np.abs(y - 79.0) - 0.4 * across, 3.0)
    leaves = 5.0 * np.sin((z + 0.3 * y + 2.0 * texture["folds"]) * 1.3) * step((cerebellum + 12.0) / 8.0)
    canvas.fill(cerebellum, GREY_HU - 3.0 + leaves)
    stem = np.sqrt((x / 1.25) ** 2 + (y - 12.0 + 0.45 * (z + 22.0)) ** 2) - 11.0 + 0.07 * np.abs(z + 34.0)
    canvas.fill(smooth_max(smooth_max(stem, z + 8.0, 4.0), -112.0 - z, 4.0), CORD_HU)
    # Sheets of dura.
    canvas.fill(np.maximum(np.abs(x) - 0.6, np.maximum(room, 30.0 - z - 0.4 * y)), 52.0, 0.8)
    for knots in _both_sides(_VENTRICLES):
        canvas.tube(knots, CSF_HU)
    for place, radius_mm in (((0.0, 22.0, 2.0), 2.2), ((21.0, 37.0, 17.0), 2.6), ((-22.0, 38.0, 16.0), 2.2)):
        canvas.ball(place, radius_mm, CALCIFIED_HU)


def _paint_vessels(canvas: Canvas, seed: int, blood_hu: float) -> None:
    for knots in _both_sides(_SINUSES):
        canvas.tube(knots, BLOOD_HU + 0.5 * (blood_hu - BLOOD_HU), 0.4)
    canvas.trees(_brain_trees(seed), blood_hu)
    for knots in _both_sides(_ARTERIES):
        canvas.tube(knots, blood_hu)


@lru_cache(maxsize=2)
def _brain_trees(seed: int) -> tuple[Branches, ...]:
    """Arteries that end in the outer centimetre and a half of the brain: middle, anterior and posterior, left and right."""
    rng = np.random.default_rng([seed, 33])
    points = rng.uniform([-66.0, -82.0, -42.0], [66.0, 86.0, 80.0], (12_000, 3))
    room = np.asarray(cavity(*points.T.astype(np.float32)))
    points = points[(room < -3.0) & (room > -16.0)]
    trees = []
    for side in (-1.0, 1.0):
        own: Vector = points[side * points[:, 0] > 2.0]
        inner, behind = np.abs(own[:, 0]) < 20.0, own[:, 1] > 46.0
        for root, heading, served in (
            ((40.0, -10.0, -18.0), (1.0, 0.3, 0.6), own[~inner & ~behind]),
            ((2.0, -34.0, 28.0), (0.1, 0.8, 0.6), own[inner & ~behind]),
            ((20.0, 40.0, -8.0), (0.2, 1.0, 0.2), own[behind]),
        ):
            mirror = np.array([side, 1.0, 1.0])
            trees.append(grow(served[:_VESSEL_POINTS], np.array(root) * mirror, np.array(heading) * mirror, 1.2, rng))
    return tuple(trees)


def _paint_eyes(canvas: Canvas) -> None:
    x, y, z = canvas.grid.mesh
    across = np.abs(x)
    cone = orbit(across, y, z)
    canvas.fill(cone, FAT_HU)
    for knots in _both_sides((*_EYE_MUSCLES, _OPTIC_NERVE)):
        canvas.tube(knots, MUSCLE_HU - 8.0)
    for side in (-1.0, 1.0):
        canvas.ball((side * 33.0, -74.0, -42.0), 12.6, SCLERA_HU)
        canvas.ball((side * 33.0, -74.0, -42.0), 11.4, VITREOUS_HU)
    canvas.fill(ellipsoid(across, y, z, (33.0, -81.5, -42.0), (4.8, 2.2, 4.8)), LENS_HU)


def _both_sides(tubes: tuple[Knots, ...]) -> list[Knots]:
    """The tubes and, of those that leave the midline, their mirror images."""
    return [*tubes, *(mirrored(knots) for knots in tubes if any(knot[0] for knot in knots))]
