"""A case with spheres in its lungs: what each method leaves of a nodule whose size and place are known."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

import lamella.metrics as metrics
from lamella.evaluate.cases import Case, covered_slices, thickened_case
from lamella.evaluate.scans import Scan
from lamella.evaluate.settings import GeometrySettings
from lamella.metrics.catalogue import SPHERES_MM
from lamella.physics.slice_operator import Profile, thick_grid
from lamella.volume import Volume, round_hu

_LENGTH_MM, _PERIODS = 48.0, 8
"""Length along z of the part of the scan that gets spheres, where most of the lung is; at least so many thick slices."""

_MARGIN_MM = 20.0
"""Kept around the lungs in the plane: soft tissue, from which the scan's noise is measured."""


def with_spheres(case: Case) -> tuple[Case, tuple[metrics.Sphere, ...]] | None:
    """A part of a thickened case with spheres inserted before the thickening; None without lung or for a real pair.

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
    spheres = metrics.place_spheres(lung, geometry, SPHERES_MM, period_mm=thick.spacing_mm)
    if not spheres:
        return None
    filled = round_hu(metrics.insert_spheres(part.volume.hu, geometry, spheres))
    part = replace(part, volume=Volume(filled, geometry))
    return thickened_case(f"{case.id}_spheres", case.title, part, thickening), spheres


def _around_lungs(scan: Scan) -> Scan:
    """The scan's rows and columns around its lungs: spheres need no more, and every method runs once more on it."""
    down, across = (round(_MARGIN_MM / pixel_mm) for pixel_mm in scan.volume.geometry.pixel_mm)
    _, rows, columns = metrics.box_around(scan.lung_region, (0, down, across))
    return scan.part(slice(None), rows, columns)


def _thickening(case: Case) -> GeometrySettings:
    thick = case.thick.geometry
    return GeometrySettings(thick.thickness_mm, thick.spacing_mm, cast(Profile, case.profile))
