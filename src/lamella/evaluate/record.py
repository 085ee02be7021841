"""One case as it stands in results.json: what it was, its figures, and the curves that plots need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.evaluate.cases import Case
from lamella.evaluate.reference import Reference
from lamella.evaluate.sheet import Sheet
from lamella.evaluate.summary import block_of, intervals_of_case
from lamella.metrics.catalogue import FIGURES, NOMINAL, SPHERES_MM
from lamella.results.schema import (
    CaseRecord,
    Coverage,
    Curve,
    NoiseFloor,
    NoisePower,
    Shifts,
    SliceCurves,
    Slices,
    Spectra,
    SphereCurves,
    VolumeFiles,
)
from lamella.volume import Geometry

Spheres = Mapping[str, Mapping[float, tuple[float, float]]]
"""Method -> diameter in mm -> (contrast, volume) of inserted spheres, over the truth's."""


def record_of(
    case: Case,
    reference: Reference,
    sheets: Mapping[str, Sheet],
    spheres: Spheres,
    volumes: VolumeFiles,
    notes: tuple[str, ...],
    seed: int,
) -> CaseRecord:
    """The record of a case, but for the time it took.

    Args:
        case: what was asked.
        reference: its truth.
        sheets: method -> figures.
        spheres: what became of the inserted spheres; empty without any.
        volumes: paths of the volumes that were kept.
        notes: of the methods, beside the case's own.
        seed: of the bootstrap.
    """
    thin, thick = case.scan.volume.geometry, case.thick.geometry
    body = case.scan.masks["body"]
    counts = {
        "": np.full(len(body), float(body[0].size)),
        "_body": body.sum(axis=(1, 2)).astype(np.float64),
    }
    block = block_of(thin.spacing_mm, thin.shape[0])
    intervals = {}
    for name, sheet in sheets.items():
        squares = {suffix: np.asarray(sheet.curves[f"squares{suffix}"]) for suffix in counts}
        intervals[name] = intervals_of_case(squares, counts, block, seed)
    return CaseRecord(
        id=case.id,
        title=case.title,
        kind=case.scan.kind,
        group=case.scan.name,
        person=case.scan.person,
        thick=_slices(thick),
        thin=_slices(thin),
        pixel_mm=(round(thin.pixel_mm[0], 4), round(thin.pixel_mm[1], 4)),
        scored_slices=thin.shape[0],
        scored_shape=thin.shape,
        profile=case.profile,
        notes=(*case.notes, *notes),
        regions={name: int(mask.sum()) for name, mask in case.scan.masks.items()},
        truth=reference.figures,
        floor=_floor(reference),
        figures={name: {key: sheet.figures.get(key) for key in FIGURES} for name, sheet in sheets.items()},
        intervals=intervals,
        absent={name: sheet.absent for name, sheet in sheets.items() if sheet.absent},
        slices=_per_slice(case, reference, sheets, counts),
        spectra=Spectra(**{where: _power(where, one, sheets) for where, one in reference.spectra.items() if one}),
        shifts=Shifts(tuple(metrics.SHIFTS_MM), _curves(sheets, "shift_rmse_hu")),
        coverage=_coverage(sheets),
        spheres=_spheres(spheres),
        volumes=volumes,
    )


def _slices(geometry: Geometry) -> Slices:
    return Slices(geometry.shape[0], round(geometry.spacing_mm, 6), round(geometry.thickness_mm, 6))


def _floor(reference: Reference) -> NoiseFloor | None:
    noise, floor = reference.noise, reference.floor
    if noise is None:
        return None
    return NoiseFloor(noise[0], noise[1], None, None) if floor is None else NoiseFloor(floor[2], noise[1], *floor[:2])


def _curves(sheets: Mapping[str, Sheet], key: str) -> dict[str, Any]:
    return {name: tuple(sheet.curves[key]) for name, sheet in sheets.items() if key in sheet.curves}


def _per_slice(
    case: Case, reference: Reference, sheets: Mapping[str, Sheet], counts: Mapping[str, NDArray[np.float64]]
) -> SliceCurves:
    squares, voxels = _curves(sheets, "squares_body"), counts["_body"]

    def rmse(sums: tuple[float, ...]) -> Curve:
        return tuple(
            float(v) if n else None for v, n in zip(np.sqrt(sums / np.maximum(voxels, 1)), voxels, strict=True)
        )

    levels = reference.levels
    return SliceCurves(
        position_mm=tuple(case.scan.volume.geometry.centres_mm.tolist()),
        thick_position_mm=tuple(case.thick.geometry.centres_mm.tolist()),
        rmse_body_hu={name: rmse(sums) for name, sums in squares.items()},
        noise_hu={} if levels is None else {"truth": tuple(levels.tolist()), **_curves(sheets, "noise_hu")},
        squares=_curves(sheets, "squares"),
        squares_body=squares,
        voxels=tuple(counts[""].tolist()),
        voxels_body=tuple(voxels.tolist()),
    )


def _power(where: str, truth: metrics.Spectrum, sheets: Mapping[str, Sheet]) -> NoisePower:
    power = {"truth": tuple(truth.power.tolist()), **_curves(sheets, f"power_{where}")}
    return NoisePower(tuple(truth.frequency_per_mm.tolist()), power)


def _coverage(sheets: Mapping[str, Sheet]) -> Coverage | None:
    found = {
        name: tuple(
            None if (percent := sheet.figures[f"coverage_{round(100 * share)}"]) is None else percent / 100
            for share in NOMINAL
        )
        for name, sheet in sheets.items()
        if sheet.figures.get("coverage_50") is not None
    }
    return Coverage(tuple(NOMINAL), found) if found else None


def _spheres(spheres: Spheres) -> SphereCurves | None:
    if not spheres:
        return None

    def curves(part: int) -> dict[str, Curve]:
        return {name: tuple(row.get(mm, (None, None))[part] for mm in SPHERES_MM) for name, row in spheres.items()}

    return SphereCurves(tuple(SPHERES_MM), curves(0), curves(1))
