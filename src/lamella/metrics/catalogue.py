"""Every figure an evaluation reports: its name, its unit, which value is best, and one sentence of what it says.

The tables of `lamella evaluate`, the report page and the documents all read this list; a figure that is not in it is not
reported.
"""

from __future__ import annotations

from lamella.metrics.calibration import NOMINAL
from lamella.metrics.error import PSNR_WINDOWS_HU
from lamella.metrics.figure import Best, Figure, Group
from lamella.metrics.sphere_places import DIAMETERS_MM as SPHERES_MM
from lamella.metrics.task_catalogue import NODULES, TASKS

__all__ = [
    "BANDS", "FIGURES", "NODULES", "NOMINAL", "PEOPLE", "REGIONS", "SHORT", "SPHERES_MM", "TASKS", "Best", "Figure",
    "Group",
]  # fmt: skip

REGIONS = {
    "body": "the body",
    "lung": "the lungs, without their vessels",
    "soft": "homogeneous soft tissue",
    "bone": "bone",
    "vessel": "vessel-like structures in the lungs",
}
"""Where errors are measured; every mask is made from the truth."""

BANDS = (("low", 0.0, 1 / 3), ("mid", 1 / 3, 2 / 3), ("high", 2 / 3, 1.0))
"""Bands of the noise power: name, and the part of the Nyquist frequency it spans."""


# fmt: off
_ERROR = {
    "rmse_hu": Figure("RMSE", "HU", "low", "error", "Root mean squared error over all scored voxels.", 1),
    **{f"rmse_{name}_hu": Figure(f"RMSE, {name}", "HU", "low", "error", f"Root mean squared error in {words}.", 1)
       for name, words in REGIONS.items()},
    "mae_body_hu": Figure("MAE, body", "HU", "low", "error", "Mean absolute error in the body.", 1),
    **{f"psnr_{span}_db": Figure(
        f"PSNR {span}", "dB", "high", "error",
        f"Peak signal-to-noise ratio for a range of {span} HU, both images clipped to {low:g} to {high:g} HU. "
        "Figures of different ranges cannot be compared.")
       for span, (low, high) in PSNR_WINDOWS_HU.items()},
    "psnr_body_db": Figure(
        "PSNR, body", "dB", "high", "error", "The same for a range of 4095 HU, over the voxels of the body alone."),
    **{f"ssim_{plane}": Figure(
        f"SSIM {plane}", "", "high", "error", f"Structural similarity of {plane} planes, range 3072 HU from -1024.", 4)
       for plane in ("axial", "coronal", "sagittal")},
}
_STRUCTURE = {
    "gradient_error_z": Figure(
        "Gradient error z", "HU/mm", "low", "structure", "RMSE of the gradient along the slice axis, in the body.", 1),
    "edge_width_z_ratio": Figure(
        "Edge width z", "", "one", "structure",
        "10 to 90 % width along the slice axis of strong edges, over the truth's; above 1 is blurred."),
    "edge_roughness_ratio": Figure(
        "Edge roughness", "", "one", "structure",
        "In-plane second differences at edges steep along the slice axis, over the truth's; above 1 is speckle."),
    "flat_sd_ratio": Figure(
        "Bands in flat material", "", "none", "structure",
        "Deviation along the slice axis inside flat material of a phantom, over the truth's (noise); above 1 is bands."),
    "overshoot_percent": Figure(
        "Overshoot", "%", "low", "structure",
        "Mean excursion beyond either level of a step along the slice axis between flat materials of a phantom.", 1),
}
_NOISE = {
    "noise_in_plane_ratio": Figure(
        "Noise in plane", "", "one", "noise", "Noise in soft tissue in the slice, over the real thin scan's."),
    "noise_along_z_ratio": Figure(
        "Noise along z", "", "one", "noise", "Noise in soft tissue from slice to slice, over the real thin scan's."),
    **{f"noise_power_{where}_{band}": Figure(
        f"Noise power {where.replace('_', ' ')}, {band}", "", "one", "noise",
        f"Noise power {words} between {low:.2g} and {high:.2g} of the highest frequency, over the truth's.")
       for where, words in (("in_plane", "in the slice"), ("along_z", "along the slice axis"))
       for band, low, high in BANDS},
    "stripe_ratio": Figure(
        "Stripes", "", "none", "noise",
        "Periodicity of the noise level at the distance of the thick slices, over that of the neighbouring periods; compare "
        "with the truth's own, which lies about 1 or below: well above it means stripes.", 1),
}
_DENSITOMETRY = {
    **{f"bias_{region}_hu": Figure(
        f"Bias, {region}", "HU", "zero", "densitometry", f"Mean of result minus truth in {REGIONS[region]}.")
       for region in ("body", "lung", "soft", "bone")},
    **{f"laa_{level}_bias_pp": Figure(
        f"LAA-{level} bias", "pp", "zero", "densitometry",
        f"Share of the lungs (with vessels) below -{level} HU minus the truth's, percentage points.")
       for level in (950, 910)},
    "perc15_bias_hu": Figure(
        "Perc15 bias", "HU", "zero", "densitometry", "15th percentile of lung HU (with vessels) minus the truth's.", 1),
    "histogram_distance_lung_hu": Figure(
        "Histogram, lung", "HU", "low", "densitometry",
        "Distance of the lungs' histogram (with vessels) from the truth's (Wasserstein).", 1),
}
_FOCI = {
    **{f"sphere_{mm:g}mm_contrast": Figure(
        f"Contrast, {mm:g} mm", "", "one", "foci",
        f"Contrast of {mm:g} mm spheres inserted into the lungs, over that in the thin truth.")
       for mm in SPHERES_MM},
    **{f"sphere_{mm:g}mm_volume": Figure(
        f"Volume, {mm:g} mm", "", "one", "foci",
        f"Volume above half contrast of {mm:g} mm spheres inserted into the lungs, over that in the thin truth.")
       for mm in SPHERES_MM},
    "foci_fabricated_rate": Figure(
        "Fabricated foci", "", "low", "foci", "Share of the result's small dense foci in lungs that the truth lacks.", 3),
    "foci_fabricated_per_litre": Figure(
        "Fabricated foci a litre", "1/l", "low", "foci", "Small dense foci that the truth lacks, a litre of lung."),
    "foci_erased_rate": Figure(
        "Erased foci", "", "low", "foci", "Share of the truth's small dense foci in the lungs that the result lacks.", 3),
}
_CALIBRATION = {
    **{f"coverage_{percent}": Figure(
        f"Coverage {percent} %", "%", "none", "calibration",
        f"Share of the body's voxels whose error lies in the predicted {percent} % interval; {percent} would be calibrated.",
        1)
       for percent in (round(100 * share) for share in NOMINAL)},
    "spread_soft_ratio": Figure(
        "Spread over error, soft", "", "one", "calibration",
        "Predicted over true error inside soft tissue, both as RMS."),
    "error_detection_auc": Figure(
        "Error detection", "", "high", "calibration",
        "Area under the ROC curve of the predicted spread as a detector of the largest tenth of the errors; 0.5 is chance."),
}
_MEASUREMENT = {
    "consistency_rmse_hu": Figure(
        "Consistency", "HU", "low", "measurement",
        "RMSE of the result averaged over the thick slices against these, on whole HU."),
    "consistency_mean_hu": Figure(
        "Consistency, mean", "HU", "zero", "measurement", "Mean of the same difference: a drift of the HU scale.", 4),
    "best_shift_mm": Figure(
        "Best shift", "mm", "zero", "measurement",
        "Shift along the slice axis at which the result fits best; away from 0 it is misplaced."),
    "best_shift_rmse_hu": Figure(
        "RMSE at best shift", "HU", "low", "measurement", "RMSE once that shift is taken back, inner slices.", 1),
    "floor_soft_ratio": Figure(
        "RMSE over floor", "", "none", "measurement",
        "RMSE inside soft tissue over the least its own noise allows; near 1 nothing is left to gain there."),
    "drawn_floor_db": Figure(
        "Over drawn floor", "dB", "none", "measurement",
        "RMSE inside soft tissue over the least of an answer with the truth's noise, which is the root of 2 times that floor: "
        "its noise is drawn, and another than the truth's. Near 0 texture and sample cost no more than noise must."),
    "seconds": Figure(
        "Seconds", "s", "none", "measurement",
        "Time of the restoration, nothing read or written, while other methods are being scored: for orientation.", 1),
}
FIGURES: dict[str, Figure] = (
    _ERROR | TASKS | NODULES | _STRUCTURE | _NOISE | _DENSITOMETRY | _FOCI | _CALIBRATION | _MEASUREMENT
)
"""Name of the figure -> what it is; the order is that of the tables."""

SHORT = (
    "psnr_4095_db", "rmse_body_hu", "rmse_lung_hu", "rmse_soft_hu", "rmse_bone_hu", "rmse_vessel_hu",
    "gradient_error_z", "edge_width_z_ratio", "edge_roughness_ratio", "noise_in_plane_ratio", "noise_along_z_ratio",
    "stripe_ratio", "vessel_found", "vessel_precision", "bone_250_mean_mm", "laa_950_bias_pp",
    "consistency_rmse_hu", "best_shift_mm",
)
"""The figures of a short table, in its order."""

PEOPLE = (
    "rmse_body_hu", "vessel_found", "vessel_precision", "vessel_small_found", "bone_250_mean_mm", "bone_500_mean_mm",
    "laa_950_bias_pp", "perc15_bias_hu",
)
"""The figures that are given person by person."""
# fmt: on
