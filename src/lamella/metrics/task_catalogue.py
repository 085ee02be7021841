"""The figures of tasks: what a reader or a program does with a scan."""

from __future__ import annotations

from lamella.metrics.figure import Best, Figure
from lamella.metrics.sphere_places import DIAMETERS_MM
from lamella.metrics.surfaces import BONE_LEVELS_HU, WITHIN_MM

# fmt: off
_SURFACE: dict[str, tuple[str, str, Best, str]] = {
    "mean_mm": ("mean", "mm", "low", "Mean distance, both ways, of"),
    "p95_mm": ("95 %", "mm", "low", "The larger 95th percentile of the distances, of both ways, of"),
    **{f"within_{mm:g}mm": (f"within {mm:g} mm", "", "high", f"Share, both ways, that lies within {mm:g} mm of the other, of")
       for mm in WITHIN_MM},
}
TASKS = {
    "vessel_found": Figure(
        "Vessels found", "", "high", "tasks",
        "Share of the centre line of the truth's lung vessels that runs inside the result's vessels.", 3),
    "vessel_precision": Figure(
        "Vessels, precision", "", "high", "tasks",
        "Share of the centre line of the result's lung vessels that runs inside the truth's vessels.", 3),
    "vessel_cldice": Figure(
        "Vessels, clDice", "", "high", "tasks", "Harmonic mean of these two shares (clDice).", 3),
    "vessel_small_found": Figure(
        "Small vessels found", "", "high", "tasks",
        "Share found of the centre line of small lung vessels, of a radius below 2 mm unless set otherwise.", 3),
    "vessel_length_ratio": Figure(
        "Vessel length", "", "one", "tasks", "Length of the centre lines of lung vessels over the truth's.", 3),
    "vessel_invented": Figure(
        "Vessels invented", "", "low", "tasks",
        "Length of the result's centre lines far from every vessel of the truth, over the length of the truth's.", 4),
    **{f"bone_{level:g}_{name}": Figure(
        f"Bone {level:g} HU, {label}", unit, best, "tasks",
        f"{words} the surfaces of bone at {level:g} HU in result and truth.", 3)
       for level in BONE_LEVELS_HU for name, (label, unit, best, words) in _SURFACE.items()},
    "fissure_visible": Figure(
        "Fissures visible", "", "high", "tasks",
        "Share of the surface of fissures on which the result is denser than beside it; compare with the truth's own.", 3),
    "fissure_by_chance": Figure(
        "The same elsewhere", "", "none", "tasks", "The same share where there is no fissure: that much is chance.", 3),
    "fissure_contrast_ratio": Figure(
        "Contrast of fissures", "", "one", "tasks", "Median contrast of fissures to the lung beside, over the truth's.", 3),
    "airway_area_error": Figure(
        "Airways, lumen error", "", "low", "tasks",
        "Mean size of the relative error of the area of known lumens of 2 to 8 mm, beside the thin truth's own reading.", 3),
    "airway_wall_error_mm": Figure(
        "Airways, wall error", "mm", "low", "tasks", "Mean size of the error of the thickness of their walls, alike."),
    "airway_lost": Figure(
        "Airways lost", "", "low", "tasks", "Share of the airways whose wall shows in the truth and not in the result.", 3),
    "calcium_score_ratio": Figure(
        "Calcium score", "", "one", "tasks", "Agatston-type score of known specks of 1 to 4 mm, over the truth's.", 3),
    "calcium_found": Figure(
        "Specks found", "", "high", "tasks", "Share of the specks that score in the truth and in the result.", 3),
    "calcium_elsewhere": Figure(
        "Score elsewhere", "", "low", "tasks", "Score of what is no speck, over the truth's score of the specks.", 3),
    "blobs_invented_per_litre": Figure(
        "Blobs invented a litre", "1/l", "low", "tasks",
        "Small bright or dark structure (100 HU, 2 to 10 mm, unless set otherwise) that the truth lacks, a litre of body."),
    "blobs_erased_per_litre": Figure(
        "Blobs erased a litre", "1/l", "low", "tasks", "The same that the truth has and the result lacks, a litre of body."),
}
"""Name of the figure -> what it is."""
NODULES = {
    "nodule_volume_error": Figure(
        "Nodules, volume error", "", "low", "tasks",
        "Mean size of the relative error of the volume of spheres and spiculated shapes inserted into the lungs.", 3),
    "nodule_centre_mm": Figure(
        "Nodules, place", "mm", "low", "tasks", "Mean distance of their centres from those in the truth, lost ones left out."),
    "nodule_lost": Figure(
        "Nodules lost", "", "low", "tasks", "Share of them that fade below half of their contrast in the truth.", 3),
    **{f"nodule_{mm:g}mm_dprime": Figure(
        f"d', {mm:g} mm", "", "high", "tasks",
        f"Detectability of {mm:g} mm spheres in the lungs by a non-prewhitening matched filter; a smooth result can exceed "
        "the truth's own.", 1)
       for mm in DIAMETERS_MM},
}
"""The same of inserted nodules, which are measured on a part of the scan of their own."""
# fmt: on
