"""`lamella inspect` on a prepared case: both series, and whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamella.data.cache import CachedVolume


def of_case(folder: Path) -> tuple[dict[str, Any], str]:
    """(facts, the same for people) of a prepared case.

    Raises:
        LamellaError: a file is missing or altered.
    """
    from lamella.data.cache import verify_case

    case = verify_case(folder)
    series = {"thin": case.thin} | ({"thick": case.thick} if case.thick is not None else {})
    shown = {name: _facts(one) for name, one in series.items()}
    facts = {
        "case_id": case.case_id,
        "category": case.category,
        "patient_id": case.patient_id,
        "series": shown,
        "about": case.about,
    }
    lines = [f"{case.case_id} (prepared case): {case.category or 'no category'}, patient {case.patient_id}"]
    for name, one in shown.items():
        shape = " x ".join(map(str, one["shape"]))
        lines.append(
            f"  {name}: {shape}, {one['thickness_mm']:.4g} mm thick every {one['spacing_mm']:.4g} mm, pixel "
            f"{one['pixel_mm'][0]:.4g} x {one['pixel_mm'][1]:.4g} mm; {one['lowest_hu']} to {one['highest_hu']} HU; "
            f"{one['bytes'] / 1e6:.1f} MB, {one['ratio']:.1f} times smaller than int16"
        )
    lines += [f"  note: {note}" for note in case.about.get("notes", ())]
    return facts, "\n".join([*lines, "  whole, as it was written"])


def _facts(volume: CachedVolume) -> dict[str, Any]:
    z, y, x = volume.shape
    hu = volume[slice(0, z), slice(0, y), slice(0, x)]
    size = volume.path.stat().st_size
    return {
        "shape": list(volume.shape),
        "spacing_mm": volume.geometry.spacing_mm,
        "thickness_mm": volume.geometry.thickness_mm,
        "pixel_mm": list(volume.geometry.pixel_mm),
        "lowest_hu": int(hu.min()),
        "highest_hu": int(hu.max()),
        "bytes": size,
        "ratio": hu.nbytes / size,
    }
