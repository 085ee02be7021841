"""What is known of phantoms: airways and specks of the test object `targets`, fissures of the chest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.scans import Scan
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics.checks import Hu
from lamella.phantom.targets import Airway, phantom_airways, phantom_specks
from lamella.phantom.torso import fissure, horizontal_fissure, lungs

_NEAR_MM, _DEEP_MM, _EVERY = 1.0, 6.0, 3
"""Voxels this near to a known fissure are moved onto it, this deep in the lung; every n-th of them."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The known parts of a test object, and what its truth reads of them.

    Attributes:
        scan: of the test object.
        asked: thresholds.
        airways: those that the thin truth itself can measure, with its measures.
        specks: those inside the scored slices.
        scores: of the specks in the truth.
    """

    scan: Scan
    asked: TaskSettings
    airways: tuple[tuple[Airway, metrics.Lumen], ...]
    specks: tuple[metrics.Sphere, ...]
    scores: NDArray[np.float64]


def targets_of(scan: Scan, asked: TaskSettings) -> Targets | None:
    """The known parts of a scan; None where it is no test object of this kind."""
    if scan.phantom is None or scan.phantom.region != "targets":
        return None
    hu, seed = scan.volume.hu, scan.phantom.seed
    measured = ((one, _measured(hu, scan, asked, one)) for one in phantom_airways(seed))
    specks = tuple(
        speck
        for one in phantom_specks(seed)
        if _inside(scan, (speck := metrics.Sphere(one.centre_mm, one.diameter_mm)).centre_mm, speck.diameter_mm)
    )
    scores, _ = metrics.speck_scores(_scores(hu, scan, asked), scan.volume.geometry, specks)
    return Targets(scan, asked, tuple((one, lumen) for one, lumen in measured if lumen is not None), specks, scores)


def airway_figures(hu: Hu, targets: Targets) -> dict[str, float]:
    """Lumen and wall beside the truth's.

    Raises:
        LamellaError: the truth has no airway to measure.
    """
    if not targets.airways:
        raise LamellaError("No airway of the test object lies inside the scored slices.")
    pairs = [(_measured(hu, targets.scan, targets.asked, one), true) for one, true in targets.airways]
    found = [(one, true) for one, true in pairs if one is not None]
    figures = {"airway_lost": 1 - len(found) / len(pairs)}
    if found:
        areas = [abs(one.area_mm2 / true.area_mm2 - 1) for one, true in found]
        walls = [abs(one.wall_mm - true.wall_mm) for one, true in found]
        figures |= {"airway_area_error": float(np.mean(areas)), "airway_wall_error_mm": float(np.mean(walls))}
    return figures


def calcium_figures(hu: Hu, targets: Targets) -> dict[str, float]:
    """Score of the specks, how many have one, and what is scored elsewhere.

    Raises:
        LamellaError: the truth scores nothing.
    """
    total, there = float(targets.scores.sum()), targets.scores > 0
    if not there.any():
        raise LamellaError("No speck of the test object scores in the truth.")
    scores = _scores(hu, targets.scan, targets.asked)
    own, elsewhere = metrics.speck_scores(scores, targets.scan.volume.geometry, targets.specks)
    return {
        "calcium_score_ratio": float(own.sum()) / total,
        "calcium_found": float((own[there] > 0).mean()),
        "calcium_elsewhere": elsewhere / total,
    }


def _measured(hu: Hu, scan: Scan, asked: TaskSettings, one: Airway) -> metrics.Lumen | None:
    outer_mm = one.lumen_mm / 2 + one.wall_mm
    if not _inside(scan, one.centre_mm, 2 * (outer_mm + metrics.AIRWAY_REACH_MM)):
        return None
    return metrics.measure_airway(hu, scan.volume.geometry, one.centre_mm, one.axis, outer_mm, asked.airway_least_hu)


def _scores(hu: Hu, scan: Scan, asked: TaskSettings) -> NDArray[np.float64]:
    return metrics.agatston_scores(hu, scan.masks["body"], scan.volume.geometry, asked.calcium_hu)


def _inside(scan: Scan, centre_mm: tuple[float, float, float], diameter_mm: float) -> bool:
    """Whether a ball lies inside the scan, with room for what is looked at around it."""
    geometry = scan.volume.geometry
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    at = geometry.axes.T @ (np.array(centre_mm) - geometry.affine[:3, 3]) / steps_mm
    reach = (diameter_mm / 2 + max(abs(one) for one in metrics.AIRWAY_PLACES_MM)) / steps_mm
    return bool((at - reach >= 0).all() and (at + reach <= np.array(geometry.shape) - 1).all())


def sheets_of(scan: Scan, asked: TaskSettings) -> metrics.Sheets:
    """The fissures: known ones of a phantom chest, else the plates that the truth shows in its lungs."""
    if scan.phantom is None or scan.phantom.region != "chest":
        vessels, geometry = scan.masks["vessel"], scan.volume.geometry
        limits = asked.fissure_hu_per_mm2, asked.fissure_mm2
        return metrics.find_sheets(scan.volume.hu, scan.lung_region, vessels, geometry, *limits)
    geometry = scan.volume.geometry
    index = np.argwhere(scan.lung_region)[::_EVERY]
    points = index @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    deep = lungs(*points.T) < -_DEEP_MM
    points = points[deep]
    oblique = _onto(fissure, points)
    right = points[(points[:, 0] < 0) & (fissure(*points.T) < -_DEEP_MM)]
    sheets = (oblique, _onto(horizontal_fissure, right))
    return metrics.Sheets(*(np.concatenate([one[part] for one in sheets]) for part in (0, 1)))


def _onto(distance: Callable[..., Any], points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points within a voxel or two of a sheet moved onto it, and its normals there."""
    near = points[np.abs(distance(*points.T)) < _NEAR_MM]
    slope = np.stack([(distance(*(near + one).T) - distance(*(near - one).T)) for one in 0.1 * np.eye(3)], axis=1) / 0.2
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    return near - distance(*near.T)[:, None] * slope / length**2, slope / length
