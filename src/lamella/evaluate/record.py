"""One case as it stands in results.json: what it was, its figures, and the curves that plots need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.evaluate.cases import Case
from lamella.evaluate.reference import Reference
from lamella.evaluate.score import Sheet
from lamella.evaluate.summary import block_of, intervals_of_case
from lamella.metrics.catalogue import FIGURES, NOMINAL, SPHERES_MM
from lamella.volume import Geometry

Spheres = Mapping[str, Mapping[float, tuple[float, float]]]
"""Method -> diameter in mm -> (contrast, volume) of inserted spheres, over the truth's."""


def record_of(
    case: Case,
    reference: Reference,
    sheets: Mapping[str, Sheet],
    spheres: Spheres,
    volumes: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The record of a case as JSON types.

    Args:
        case: what was asked.
        reference: its truth.
        sheets: method -> figures.
        spheres: what became of the inserted spheres; empty without any.
        volumes: paths of the volumes that were kept.
        seed: of the bootstrap.
    """
    return {
        **_about(case, reference),
        **_figures(case, sheets, seed),
        **_curves(case, reference, sheets),
        "spheres": _sphere_curves(spheres),
        "volumes": dict(volumes),
    }


def _about(case: Case, reference: Reference) -> dict[str, Any]:
    thin, thick, noise, floor = case.scan.volume.geometry, case.thick.geometry, reference.noise, reference.floor
    return {
        "id": case.id,
        "title": case.title,
        "kind": case.scan.kind,
        "group": case.scan.name,
        "person": case.scan.person,
        "thick": _grid(thick),
        "thin": _grid(thin),
        "pixel_mm": [round(mm, 4) for mm in thin.pixel_mm],
        "scored_slices": thin.shape[0],
        "scored_shape": list(thin.shape),
        "profile": case.profile,
        "notes": list(case.notes),
        "regions": {name: int(mask.sum()) for name, mask in case.scan.masks.items()},
        "truth": reference.figures,
        "floor": None
        if noise is None
        else {
            "sd_in_plane_hu": noise[0] if floor is None else floor[2],
            "sd_along_z_hu": noise[1],
            "floor_soft_hu": None if floor is None else floor[0],
            "white_floor_soft_hu": None if floor is None else floor[1],
        },
    }


def _grid(geometry: Geometry) -> dict[str, float]:
    return {
        "slices": geometry.shape[0],
        "spacing_mm": round(geometry.spacing_mm, 6),
        "thickness_mm": round(geometry.thickness_mm, 6),
    }


def _figures(case: Case, sheets: Mapping[str, Sheet], seed: int) -> dict[str, Any]:
    counts = _counts(case)
    block = block_of(case.scan.volume.geometry.spacing_mm, case.scan.volume.geometry.shape[0])
    intervals = {}
    for name, sheet in sheets.items():
        squares = {suffix: np.asarray(sheet.curves[f"squares{suffix}"]) for suffix in counts}
        intervals[name] = intervals_of_case(squares, counts, block, seed)
    return {
        "figures": {name: {key: sheet.figures.get(key) for key in FIGURES} for name, sheet in sheets.items()},
        "intervals": intervals,
        "absent": {name: sheet.absent for name, sheet in sheets.items() if sheet.absent},
    }


def _counts(case: Case) -> dict[str, NDArray[np.float64]]:
    body = case.scan.masks["body"]
    return {
        "": np.full(len(body), float(body[0].size)),
        "_body": body.sum(axis=(1, 2)).astype(np.float64),
    }


def _curves(case: Case, reference: Reference, sheets: Mapping[str, Sheet]) -> dict[str, Any]:
    counts = _counts(case)
    body = np.maximum(counts["_body"], 1)

    def collected(key: str) -> dict[str, Any]:
        return {name: sheet.curves[key] for name, sheet in sheets.items() if key in sheet.curves}

    rmse = {
        name: [float(v) if n else None for v, n in zip(np.sqrt(np.asarray(s) / body), counts["_body"], strict=True)]
        for name, s in collected("squares_body").items()
    }
    noise = {} if reference.levels is None else {"truth": reference.levels.tolist(), **collected("noise_hu")}
    spectra = {
        where: {
            "frequency_per_mm": one.frequency_per_mm.tolist(),
            "truth": one.power.tolist(),
            **collected(f"power_{where}"),
        }
        for where, one in reference.spectra.items()
        if one is not None
    }
    coverage = {
        name: [sheet.figures[f"coverage_{round(100 * share)}"] for share in NOMINAL]
        for name, sheet in sheets.items()
        if sheet.figures.get("coverage_50") is not None
    }
    return {
        "slices": {
            "position_mm": case.scan.volume.geometry.centres_mm.tolist(),
            "thick_position_mm": case.thick.geometry.centres_mm.tolist(),
            "rmse_body_hu": rmse,
            "noise_hu": noise,
            "squares": {key: collected(key) for key in ("squares", "squares_body")},
            "counts": {f"voxels{suffix}": values.tolist() for suffix, values in counts.items()},
        },
        "spectra": spectra or None,
        "shifts": {"shift_mm": list(metrics.SHIFTS_MM), "rmse_hu": collected("shift_rmse_hu")},
        "coverage": {
            "nominal": list(NOMINAL),
            "found": {name: [None if v is None else v / 100 for v in row] for name, row in coverage.items()},
        }
        if coverage
        else None,
    }


def _sphere_curves(spheres: Spheres) -> dict[str, Any] | None:
    if not spheres:
        return None
    return {
        "diameter_mm": list(SPHERES_MM),
        "contrast": {name: [row.get(mm, (None, None))[0] for mm in SPHERES_MM] for name, row in spheres.items()},
        "volume": {name: [row.get(mm, (None, None))[1] for mm in SPHERES_MM] for name, row in spheres.items()},
    }
