"""A test object whose small parts are known: airways of 2 to 8 mm in lung, calcium-like specks in soft tissue.

A cylinder of soft tissue stands along the slices; its front is lung. Everything is fixed in LPS millimetres; the seed moves
each part along the slices by less than a thick slice, so that no method profits from a lucky place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lamella.phantom.canvas import Branches, Canvas, Vector
from lamella.phantom.settings import PhantomSettings
from lamella.phantom.shapes import smooth_max

TISSUE_HU, LUNG_HU, WALL_HU, LUMEN_HU = 45.0, -860.0, 20.0, -985.0

LUMENS_MM = (2.0, 3.0, 4.0, 6.0, 8.0)
"""Diameters of lumens; a wall is 0.5 mm and a tenth of the lumen thick."""

TILTS_DEGREES = (0.0, 45.0, 90.0)
"""From the slice axis."""

SPECKS_MM = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
SPECKS_HU = (500.0, 900.0)

_RADIUS_MM, _LUNG_RADIUS_MM, _LUNG_BACK_MM = 74.0, 66.0, 14.0
_LENGTH_MM = 10.0
_LAYERS_MM = (-24.0, 24.0)
_PHASE_MM = 5.0


@dataclass(frozen=True)
class Airway:
    """A straight airway.

    Attributes:
        centre_mm: LPS position of its middle.
        axis: unit vector along it.
        lumen_mm: inner diameter.
        wall_mm: thickness of its wall.
    """

    centre_mm: tuple[float, float, float]
    axis: tuple[float, float, float]
    lumen_mm: float
    wall_mm: float


@dataclass(frozen=True)
class Speck:
    """A dense ball in soft tissue, at an LPS position."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float


def phantom_airways(seed: int) -> tuple[Airway, ...]:
    """Every size at every tilt, twice; a small grid may miss some."""
    rng = np.random.default_rng([seed, 51])
    found = []
    for layer_mm in _LAYERS_MM:
        for row, tilt in enumerate(np.deg2rad(TILTS_DEGREES)):
            for column, lumen_mm in enumerate(LUMENS_MM):
                turn = np.deg2rad(rng.uniform(60.0, 120.0))  # nearly along y, where there is room
                axis = (np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt))
                centre = (19.0 * column - 38.0, 21.0 * row - 42.0, layer_mm + rng.uniform(-0.5, 0.5) * _PHASE_MM)
                found.append(Airway(_triple(centre), _triple(axis), lumen_mm, 0.5 + 0.1 * lumen_mm))
    return tuple(found)


def phantom_specks(seed: int) -> tuple[Speck, ...]:
    """Every size at every density, twice; a small grid may miss some."""
    rng = np.random.default_rng([seed, 52])
    found = []
    for layer_mm in _LAYERS_MM:
        for row, hu in enumerate(SPECKS_HU):
            for column, diameter_mm in enumerate(SPECKS_MM):
                centre = (16.0 * column - 40.0, 26.0 + 15.0 * row, layer_mm + rng.uniform(-0.5, 0.5) * _PHASE_MM)
                found.append(Speck(_triple(centre), diameter_mm, hu))
    return tuple(found)


def paint_targets(canvas: Canvas, settings: PhantomSettings) -> None:
    """Paint the test object."""
    x, y, _ = canvas.grid.mesh
    outside = np.sqrt(x**2 + y**2)
    canvas.fill(outside - np.float32(_RADIUS_MM), TISSUE_HU)
    canvas.fill(smooth_max(outside - np.float32(_LUNG_RADIUS_MM), y - np.float32(_LUNG_BACK_MM), 4.0), LUNG_HU)
    airways = phantom_airways(settings.seed)
    for airway in airways:
        canvas.trees([_tube(airway)], WALL_HU, airway.wall_mm)
    canvas.trees([_tube(airway) for airway in airways], LUMEN_HU)
    for speck in phantom_specks(settings.seed):
        canvas.ball(speck.centre_mm, speck.diameter_mm / 2, speck.hu)


def _tube(airway: Airway) -> Branches:
    half: Vector = np.array(airway.axis) * _LENGTH_MM / 2
    centre = np.array(airway.centre_mm)
    return Branches((centre - half)[None], (centre + half)[None], np.full((1, 2), airway.lumen_mm / 2))


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
