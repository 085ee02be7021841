"""Where a result is worst: furthest from the truth, and furthest from cubic interpolation, which nobody need fear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lamella.metrics as metrics
from lamella.evaluate.cases import Case
from lamella.evaluate.thresholds import HarmSettings
from lamella.metrics.checks import Hu
from lamella.nifti.image import read_nifti
from lamella.results.evidence import Harm, WorstPlace
from lamella.results.schema import VolumeFiles

REFERENCE = "cubic"


def harm_of(
    case: Case, asked: HarmSettings | None, judged: Sequence[str], folder: Path, volumes: VolumeFiles
) -> Harm | None:
    """The worst places of the first method of `judged` whose volume was kept; None without one, or where nobody asks.

    Args:
        case: whose truth.
        asked: how to look.
        judged: models and outside results, in the order of the tables.
        folder: of the results.
        volumes: those that were kept in it.
    """
    method = next((name for name in judged if name in volumes.methods), None)
    if asked is None or method is None or not case.scan.masks["body"].any():
        return None
    hu = read_nifti(folder / volumes.methods[method]).hu
    cubic = volumes.methods.get(REFERENCE)
    return Harm(
        method,
        asked.size_mm,
        worst_places(hu, case.scan.volume.hu, case, asked),
        () if cubic is None else worst_places(hu, read_nifti(folder / cubic).hu, case, asked),
    )


def worst_places(hu: Hu, other: Hu, case: Case, asked: HarmSettings) -> tuple[WorstPlace, ...]:
    """The places in the body where two volumes differ most, each with what the truth shows there."""
    scan = case.scan
    geometry, body, vessels = scan.volume.geometry, scan.masks["body"], scan.masks["vessel"]
    found = metrics.largest_differences(hu, other, body, geometry, asked.places, asked.size_mm, asked.smoothing_mm)
    limits = asked.metal_hu, asked.motion_hu, asked.edge_hu_per_mm
    places = []
    for one in found:
        x, y, z = (round(float(mm), 2) for mm in geometry.position(*one.at))
        kind = metrics.kind_of(scan.volume.hu, vessels, geometry, one.at, *limits)
        places.append(WorstPlace((x, y, z), round(one.difference_hu, 1), kind))
    return tuple(places)
