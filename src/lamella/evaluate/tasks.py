"""What a reader does with a scan, as figures: vessels followed, bone outlined, airways and specks measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

import lamella.metrics as metrics
from lamella.errors import LamellaError, NonFiniteError
from lamella.evaluate.cases import Case
from lamella.evaluate.methods import Answer
from lamella.evaluate.scans import Scan
from lamella.evaluate.sheet import Sheet
from lamella.evaluate.targets import Targets, airway_figures, calcium_figures, sheets_of, targets_of
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics.checks import Hu, Mask
from lamella.metrics.surfaces import BONE_LEVELS_HU, WITHIN_MM
from lamella.metrics.task_catalogue import TASKS

LEAST_LUNG_ML = 100.0
"""Less gas than this in a body is no lung, but bowel or a sinus."""

_NOT_ASKED = "No tasks were asked for."


@dataclass(frozen=True, eq=False)
class TaskTruth:
    """What task figures need of the truth of a case, measured once for all methods.

    Attributes:
        case: whose truth.
        asked: thresholds.
        tree: the lung vessels; None without lungs.
        near_bone: where surfaces count.
        surfaces: level -> the truth's surface of bone; None without bone.
        sheets: fissures, and how the truth shows them; None where there is none to judge.
        targets: airways and specks of known size; None but for the test object that has them.
        blobs: small structure anywhere in the body; None without a body.
    """

    case: Case
    asked: TaskSettings
    tree: metrics.VesselTree | None
    near_bone: Mask
    surfaces: Mapping[float, metrics.Surface] | None
    sheets: tuple[metrics.Sheets, metrics.SheetsSeen] | None
    targets: Targets | None
    blobs: metrics.Blobs | None


def task_truth(case: Case, asked: TaskSettings) -> TaskTruth:
    """Measure what tasks need of a case's truth."""
    scan = case.scan
    hu, geometry, lung = scan.volume.hu, scan.volume.geometry, scan.masks["lung"]
    has_lungs = _millilitres(lung, scan) >= LEAST_LUNG_ML
    near = metrics.near_bone(scan.masks["bone"], geometry, asked.bone_near_mm)
    return TaskTruth(
        case,
        asked,
        metrics.vessel_tree(hu, lung, scan.lung_region, geometry, asked.vessel_hu, "truth") if has_lungs else None,
        near,
        {level: metrics.surface_of(hu, near, geometry, level, "truth") for level in BONE_LEVELS_HU}
        if near.any()
        else None,
        _sheets(scan, asked) if has_lungs else None,
        targets_of(scan, asked),
        _blobs_of(hu, scan, asked, "truth") if scan.masks["body"].any() else None,
    )


def _millilitres(mask: Mask, scan: Scan) -> float:
    geometry = scan.volume.geometry
    return np.count_nonzero(mask) * geometry.spacing_mm * math.prod(geometry.pixel_mm) / 1000.0


def task_figures(sheet: Sheet, answer: Answer, truth: TaskTruth | None) -> None:
    """Add the figures of every task to a sheet; `truth` None: no tasks were asked for."""
    if truth is None:
        sheet.figures |= dict.fromkeys(TASKS)
        sheet.absent |= dict.fromkeys(TASKS, _NOT_ASKED)
        return
    vessels = [name for name in TASKS if name.startswith("vessel_")]
    sheet.add(partial(_vessels, answer, truth), *vessels)
    for level in BONE_LEVELS_HU:
        names = [name for name in TASKS if name.startswith(f"bone_{level:g}_")]
        sheet.add(partial(_bone, answer, truth, level), *names)
    sheet.add(partial(_fissures, answer, truth), *(name for name in TASKS if name.startswith("fissure_")))
    sheet.add(partial(_blobs, answer, truth), *(name for name in TASKS if name.startswith("blobs_")))
    for prefix, measure in (("airway_", airway_figures), ("calcium_", calcium_figures)):
        names = [name for name in TASKS if name.startswith(prefix)]
        sheet.add(partial(_known, measure, answer, truth), *names)


def _vessels(answer: Answer, truth: TaskTruth) -> dict[str, float]:
    if truth.tree is None:
        raise LamellaError(f"The scan has less than {LEAST_LUNG_ML:g} ml of lung.")
    scan, asked = truth.case.scan, truth.asked
    tree = metrics.vessel_tree(
        answer.hu, scan.masks["lung"], scan.lung_region, scan.volume.geometry, asked.vessel_hu, answer.method
    )
    found = metrics.compare_trees(tree, truth.tree, asked.small_vessel_mm, asked.vessel_slack_mm)
    figures = {
        "vessel_found": found.found,
        "vessel_precision": found.precision,
        "vessel_cldice": found.cldice,
        "vessel_small_found": found.small_found,
        "vessel_length_ratio": found.length_ratio,
        "vessel_invented": found.invented,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _sheets(scan: Scan, asked: TaskSettings) -> tuple[metrics.Sheets, metrics.SheetsSeen] | None:
    sheets = sheets_of(scan, asked)
    try:
        return sheets, metrics.sheets_seen(scan.volume.hu, scan.lung_region, scan.volume.geometry, sheets, "truth")
    except NonFiniteError:
        raise
    except LamellaError:
        return None


def _fissures(answer: Answer, truth: TaskTruth) -> dict[str, float]:
    if truth.sheets is None:
        raise LamellaError("The truth has no lungs, or no fissure with lung around it.")
    scan, (sheets, true) = truth.case.scan, truth.sheets
    seen = metrics.sheets_seen(answer.hu, scan.lung_region, scan.volume.geometry, sheets, answer.method)
    return {
        "fissure_visible": seen.visible,
        "fissure_by_chance": seen.by_chance,
        "fissure_contrast_ratio": seen.contrast_hu / true.contrast_hu,
    }


def _blobs_of(hu: Hu, scan: Scan, asked: TaskSettings, name: str) -> metrics.Blobs:
    return metrics.blobs_of(hu, scan.masks["body"], scan.volume.geometry, asked.blob_hu, asked.blob_mm3, name)


def _blobs(answer: Answer, truth: TaskTruth) -> dict[str, float]:
    if truth.blobs is None:
        raise LamellaError("The scan shows no body.")
    scan = truth.case.scan
    invented, erased = metrics.compare_blobs(_blobs_of(answer.hu, scan, truth.asked, answer.method), truth.blobs)
    litres = _millilitres(scan.masks["body"], scan) / 1000.0
    return {"blobs_invented_per_litre": invented / litres, "blobs_erased_per_litre": erased / litres}


def _known(measure: Callable[[Hu, Targets], dict[str, float]], answer: Answer, truth: TaskTruth) -> dict[str, float]:
    if truth.targets is None:
        raise LamellaError("Airways and specks of known size are in the test object `targets` alone.")
    return measure(answer.hu, truth.targets)


def _bone(answer: Answer, truth: TaskTruth, level_hu: float) -> dict[str, float]:
    if truth.surfaces is None:
        raise LamellaError("The scan has no bone.")
    surface = metrics.surface_of(answer.hu, truth.near_bone, truth.case.scan.volume.geometry, level_hu, answer.method)
    found = metrics.compare_surfaces(surface, truth.surfaces[level_hu])
    name = f"bone_{level_hu:g}"
    shares = {f"{name}_within_{mm:g}mm": share for mm, share in zip(WITHIN_MM, found.within, strict=True)}
    return {f"{name}_mean_mm": found.mean_mm, f"{name}_p95_mm": found.p95_mm, **shares}
