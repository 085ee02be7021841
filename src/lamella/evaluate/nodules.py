"""What is left of nodules that were put into a case: spheres by size, and all shapes as a reader judges nodules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import lamella.metrics as metrics
from lamella.evaluate.spheres import Filled
from lamella.metrics.catalogue import NODULES, SPHERES_MM
from lamella.metrics.checks import Hu


def nodule_figures(hu: Hu, filled: Filled) -> dict[str, float | None]:
    """Every figure of the nodules in an answer on the scored slices of a case with nodules; None where there is none."""
    truth, geometry = filled.case.scan.volume.hu, filled.case.scan.volume.geometry
    shapes = (*filled.spheres, *filled.spiculated)
    found = [metrics.compare_nodule(hu, truth, geometry, one) for one in shapes]
    off_mm = [one.off_mm for one in found if one.off_mm is not None]
    figures: dict[str, float | None] = {
        "nodule_volume_error": float(np.mean([abs(one.volume_ratio - 1) for one in found])),
        "nodule_centre_mm": float(np.mean(off_mm)) if off_mm else None,
        "nodule_lost": 1 - len(off_mm) / len(found),
    }
    for mm in SPHERES_MM:
        present = [metrics.observer_answer(hu, geometry, one) for one in filled.spheres if one.diameter_mm == mm]
        absent = [metrics.observer_answer(hu, geometry, one) for one in filled.empty[mm]]
        enough = present and len(absent) >= metrics.FEWEST_ABSENT
        figures[f"nodule_{mm:g}mm_dprime"] = metrics.detectability(present, absent) if enough else None
    return figures


def inserted_figures(
    recovered: Mapping[float, tuple[float, float]], nodules: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Figures of all that was inserted; every one None where nothing was.

    Args:
        recovered: diameter of spheres -> (contrast, volume) over the truth's.
        nodules: from `nodule_figures`.
    """
    found = {name: nodules.get(name) for name in NODULES}
    for mm in SPHERES_MM:
        found[f"sphere_{mm:g}mm_contrast"], found[f"sphere_{mm:g}mm_volume"] = recovered.get(mm, (None, None))
    return found
