"""A case with spheres and spiculated shapes in its lungs: nodules whose size and place are known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

import lamella.metrics as metrics
from lamella.evaluate.cases import Case, covered_slices, thickened_case
from lamella.evaluate.scans import Scan
from lamella.evaluate.settings import GeometrySettings
from lamella.metrics.catalogue import SPHERES_MM
from lamella.phantom.shapes import Grid, add_tube, ball
from lamella.physics.slice_operator import Profile, thick_grid
from lamella.volume import Geometry, Volume, round_hu

_LENGTH_MM, _PERIODS = 48.0, 8
"""Length along z of the part of the scan that gets spheres, where most of the lung is; at least so many thick slices."""

_CORE, _SPIKE = 0.6, (0.24, 0.08)
"""Radius of a spiculated shape's core, and of a spike at its root and tip, over that of the sphere around it."""

_MARGIN_MM = 20.0
"""Kept around the lungs in the plane: soft tissue, from which the scan's noise is measured."""


@dataclass(frozen=True, eq=False)
class Filled:
    """A part of a case with nodules inserted before the thickening.

    Attributes:
        case: the part.
        spheres: those in it.
        spiculated: spheres around the spiculated shapes in it.
        empty: diameter -> places where there is none.
    """

    case: Case
    spheres: tuple[metrics.Sphere, ...]
    spiculated: tuple[metrics.Sphere, ...]
    empty: Mapping[float, tuple[metrics.Sphere, ...]]


def with_spheres(case: Case) -> Filled | None:
    """A part of a thickened case with nodules inserted before the thickening; None without lung or for a real pair.

    Real thick slices cannot be given spheres that were never scanned.
    """
    scan = case.scan
    if case.profile == "unknown" or not scan.lung_region.any():
        return None
    thick, thin = case.thick.geometry, scan.volume.geometry
    length = min(thin.shape[0], round(max(_LENGTH_MM, _PERIODS * thick.spacing_mm) / thin.spacing_mm))
    area = np.convolve(scan.lung_region.sum(axis=(1, 2)), np.ones(length), mode="valid")
    first = int(area.argmax())
    part = _around_lungs(scan.part(slice(first, first + length)))
    geometry, thickening = part.volume.geometry, _thickening(case)
    touched, scored = covered_slices(
        geometry, thick_grid(geometry, thickening.thickness_mm, thickening.spacing_mm, thickening.profile)
    )
    kept = slice(touched.start + scored.start, touched.start + scored.stop)
    lung = np.zeros_like(part.masks["lung"])
    lung[kept] = part.masks["lung"][kept]
    period_mm = thick.spacing_mm
    spheres = metrics.place_spheres(lung, geometry, SPHERES_MM, period_mm=period_mm)
    if not spheres:
        return None
    spiculated = metrics.place_spheres(lung, geometry, SPHERES_MM, period_mm=period_mm, taken=spheres)
    every = (*spheres, *spiculated)
    filled = metrics.insert_spheres(part.volume.hu, geometry, spheres)
    filled = round_hu(metrics.insert_spheres(filled, geometry, spiculated, share_of=spiculated_share))
    part = replace(part, volume=Volume(filled, geometry))
    return Filled(
        thickened_case(f"{case.id}_spheres", case.title, part, thickening),
        spheres,
        spiculated,
        {mm: metrics.empty_places(lung, geometry, mm, every) for mm in SPHERES_MM},
    )


def spiculated_share(offsets: metrics.Offsets, geometry: Geometry, radius_mm: float) -> NDArray[Any]:
    """(z, y, x) share of each voxel in a ball of 0.6 of the radius with eight tapering spikes out to the radius.

    The edges are as soft as a thin scan's (`lamella.phantom.shapes`); the spikes of different sizes point elsewhere.
    """
    steps_mm = (geometry.spacing_mm, *geometry.pixel_mm)
    z, y, x = (along.astype(np.float32) for along in offsets)
    grid = Grid(z, y, x, 0.5 * max(steps_mm))
    share = np.zeros(grid.shape, dtype=np.float32)
    centre = np.zeros(3)
    found = ball(grid, centre, _CORE * radius_mm)
    if found is not None:
        share[found[0]] = found[1]
    turn = Rotation.random(random_state=round(10 * radius_mm)).as_matrix()
    for corner in itertools.product((-1.0, 1.0), repeat=3):
        tip = turn @ np.array(corner) / np.sqrt(3.0) * radius_mm
        add_tube(share, grid, centre, tip, (_SPIKE[0] * radius_mm, _SPIKE[1] * radius_mm))
    return share


def _around_lungs(scan: Scan) -> Scan:
    """The scan's rows and columns around its lungs: spheres need no more, and every method runs once more on it."""
    down, across = (round(_MARGIN_MM / pixel_mm) for pixel_mm in scan.volume.geometry.pixel_mm)
    _, rows, columns = metrics.box_around(scan.lung_region, (0, down, across))
    return scan.part(slice(None), rows, columns)


def _thickening(case: Case) -> GeometrySettings:
    thick = case.thick.geometry
    return GeometrySettings(thick.thickness_mm, thick.spacing_mm, cast(Profile, case.profile))
