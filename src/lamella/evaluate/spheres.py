"""A case with spheres in its lungs: what each method leaves of a nodule whose size and place are known."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

import lamella.metrics as metrics
from lamella.evaluate.cases import Case, thickened_case
from lamella.evaluate.scans import stored
from lamella.evaluate.settings import GeometrySettings
from lamella.metrics.catalogue import SPHERES_MM
from lamella.slices import Profile
from lamella.volume import Volume

_LENGTH_MM = 60.0
"""Length along z of the part of the scan that gets spheres: where most of the lung is."""


def with_spheres(case: Case) -> tuple[Case, tuple[metrics.Sphere, ...]] | None:
    """A part of a thickened case with spheres inserted before the thickening; None without lung or for a real pair.

    Real thick slices cannot be given spheres that were never scanned.
    """
    scan = case.scan
    if case.profile == "unknown" or not scan.lung_region.any():
        return None
    thick, thin = case.thick.geometry, scan.volume.geometry
    length = min(thin.shape[0], round(max(_LENGTH_MM, 8 * thick.spacing_mm) / thin.spacing_mm))
    area = np.convolve(scan.lung_region.sum(axis=(1, 2)), np.ones(length), mode="valid")
    first = int(area.argmax())
    part = scan.cut(slice(first, first + length))
    geometry, thickening = part.volume.geometry, _thickening(case)
    scored = thickened_case("", "", part, thickening).scan.volume.geometry.centres_mm
    lung = part.masks["lung"].copy()
    lung[(geometry.centres_mm < scored[0] - 1e-6) | (geometry.centres_mm > scored[-1] + 1e-6)] = False
    spheres = metrics.place_spheres(lung, geometry, SPHERES_MM, period_mm=thick.spacing_mm)
    if not spheres:
        return None
    filled = stored(metrics.insert_spheres(part.volume.hu, geometry, spheres))
    part = replace(part, volume=Volume(filled, geometry))
    return thickened_case(f"{case.id}_spheres", case.title, part, thickening), spheres


def _thickening(case: Case) -> GeometrySettings:
    thick = case.thick.geometry
    return GeometrySettings(thick.thickness_mm, thick.spacing_mm, cast(Profile, case.profile))
