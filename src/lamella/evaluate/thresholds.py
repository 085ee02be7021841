"""Thresholds of the figures of tasks and of the search for harm. They were fixed before any result was looked at."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.errors import UsageError
from lamella.metrics.airways import LEAST_HU
from lamella.metrics.blobs import BLOB_HU, BLOB_MM3
from lamella.metrics.calcium import CALCIUM_HU
from lamella.metrics.fissures import PLATE_HU_PER_MM2, SHEET_MM2
from lamella.metrics.foci import FOCUS_HU, FOCUS_MM3
from lamella.metrics.masks import VESSEL_HU
from lamella.metrics.places import EDGE_HU_PER_MM, METAL_HU, MOTION_HU, SMOOTHING_MM
from lamella.metrics.surfaces import NEAR_MM
from lamella.metrics.vessel_tree import SLACK_MM, SMALL_RADIUS_MM


@dataclass(frozen=True)
class TaskSettings:
    """Thresholds of the figures of tasks. Levels that are part of a figure's name (250 HU of bone, -950 HU) are no keys.

    Attributes:
        vessel_hu: lung vessels lie above it.
        small_vessel_mm: radius below which a vessel is a small one.
        vessel_slack_mm: centre lines farther from the truth's vessels are invented.
        bone_near_mm: surfaces count so far around the truth's bone.
        airway_least_hu: a wall of an airway stands out at least so much.
        calcium_hu: lesions of calcium lie at or above it.
        fissure_hu_per_mm2: least curvature across a plate of the truth that counts as a fissure.
        fissure_mm2: least surface of such a plate.
        focus_hu: small dense foci of the lungs lie above it.
        focus_mm3: least and greatest volume of one.
        blob_hu: a blob stands out so much from what is around it, bright or dark; half of it in the other volume is a
            counterpart.
        blob_mm3: least and greatest volume of one.

    Raises:
        UsageError: a length that is not above 0, or volumes that do not rise.
    """

    vessel_hu: float = VESSEL_HU
    small_vessel_mm: float = SMALL_RADIUS_MM
    vessel_slack_mm: float = SLACK_MM
    bone_near_mm: float = NEAR_MM
    airway_least_hu: float = LEAST_HU
    calcium_hu: float = CALCIUM_HU
    fissure_hu_per_mm2: float = PLATE_HU_PER_MM2
    fissure_mm2: float = SHEET_MM2
    focus_hu: float = FOCUS_HU
    focus_mm3: tuple[float, float] = FOCUS_MM3
    blob_hu: float = BLOB_HU
    blob_mm3: tuple[float, float] = BLOB_MM3

    def __post_init__(self) -> None:
        _require_above_0(
            self,
            "tasks",
            *("small_vessel_mm", "vessel_slack_mm", "bone_near_mm", "airway_least_hu"),
            *("fissure_hu_per_mm2", "fissure_mm2", "blob_hu"),
        )
        for name in ("focus_mm3", "blob_mm3"):
            low, high = getattr(self, name)
            if not 0 < low < high:
                raise UsageError(f"tasks: {name} must rise from above 0. Found {low:g} and {high:g}.")


@dataclass(frozen=True)
class HarmSettings:
    """How the places are found where a result is worst, and by what they are sorted into kinds.

    Attributes:
        places: how many, from the truth and from cubic interpolation each.
        smoothing_mm: of the difference, by a Gaussian, before its peaks are looked for.
        size_mm: side of the cubes around the places, which do not overlap, and of their pictures.
        metal_hu: metal is where the truth exceeds it.
        motion_hu: motion is where the truth goes up and down by so much from slice to slice, three times in a row.
        edge_hu_per_mm: an edge is where the truth is at least so steep.

    Raises:
        UsageError: a number that is not above 0.
    """

    places: int = 100
    smoothing_mm: float = SMOOTHING_MM
    size_mm: float = 24.0
    metal_hu: float = METAL_HU
    motion_hu: float = MOTION_HU
    edge_hu_per_mm: float = EDGE_HU_PER_MM

    def __post_init__(self) -> None:
        _require_above_0(self, "harm", "places", "smoothing_mm", "size_mm", "motion_hu", "edge_hu_per_mm")


def _require_above_0(settings: object, where: str, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise UsageError(f"{where}: {name} must be above 0. Found {getattr(settings, name):g}.")
