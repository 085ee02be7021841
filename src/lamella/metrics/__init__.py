"""Numbers, each a pure function of arrays: errors, noise, edges, foci, calibration, statistics, masks, baselines.

Nothing here plots, reads files or knows a model. What means the same in every metric, and is not said again:

- `hu`, `prediction`, `truth`, `volume`: (z, y, x) HU, any real dtype; `error_hu`: prediction minus truth.
- `mask`: (z, y, x) bool, the voxels that count; None counts every voxel.
- `geometry`, `spacing_mm`, `pixel_mm`: of these volumes; the distance between slice centres; between rows, columns.
- `case`: name of the volume in error messages.
- NonFiniteError is raised where a value in use is not finite, LamellaError where shapes differ or no voxel counts.
"""

# fmt: off
from lamella.metrics.airways import AIRWAY_PLACES_MM, AIRWAY_REACH_MM, Lumen, measure_airway
from lamella.metrics.baseline import (
    INTERPOLATIONS,
    SHIFTS_MM,
    aligned_cubic,
    aligned_interpolation,
    best_shift_mm,
    refined_shift_mm,
)
from lamella.metrics.blobs import Blobs, blobs_of, compare_blobs
from lamella.metrics.calcium import agatston_scores, speck_scores
from lamella.metrics.calibration import coverage_curve, error_detection_auc
from lamella.metrics.coarse_noise import WIDE_MM, coarse_noise_ratio, slices_apart, window_side_px
from lamella.metrics.concordance import concordance
from lamella.metrics.densitometry import MILD_EMPHYSEMA_HU, histogram_distance_hu, laa_percent, perc15_hu
from lamella.metrics.edge_width import EdgeSet, edge_width_z_mm, edge_widths_z_mm, find_edges_z
from lamella.metrics.edges import edge_second_difference_ratio, gradient_error_z, steep_edges
from lamella.metrics.error import PSNR_WINDOWS_HU, mae_hu, mean_error_hu, psnr, psnr_windowed, rmse_hu
from lamella.metrics.fissures import Sheets, SheetsSeen, find_sheets, sheets_seen
from lamella.metrics.flatness import Runs, Steps, band_sd_hu, find_steps, flat_runs, overshoot_percent
from lamella.metrics.floor import noise_correlation_z, noise_floor_hu
from lamella.metrics.foci import DenseParts, compare_foci, dense_parts
from lamella.metrics.masks import (
    body_mask,
    bone_mask,
    box_around,
    lung_mask,
    lung_region,
    shows_lungs,
    shrunk_along_z,
    soft_tissue_mask,
    vessel_mask,
)
from lamella.metrics.nodules import FEWEST_ABSENT, NoduleMatch, compare_nodule, detectability, observer_answer
from lamella.metrics.noise import IN_PLANE_WINDOW_PX, LEAST_NOISE_VOXELS, noise_sd_along_z, noise_sd_in_plane
from lamella.metrics.places import Kind, Place, kind_of, largest_differences
from lamella.metrics.sharpness import sharpness_in_plane
from lamella.metrics.similarity import ssim
from lamella.metrics.spectrum import Spectrum, band_ratio, noise_power_along_z, noise_power_in_plane
from lamella.metrics.sphere_places import empty_places, place_spheres
from lamella.metrics.spheres import (
    SHELL_MM,
    Offsets,
    Sphere,
    insert_spheres,
    sphere_contrast,
    sphere_recovery,
    sphere_volume_ratio,
)
from lamella.metrics.statistics import (
    FEWEST_PAIRS,
    bootstrap_interval,
    paired_test,
    slab_bootstrap_gain_db,
    slab_bootstrap_rmse,
)
from lamella.metrics.stripes import noise_per_slice, stripe_power_ratio
from lamella.metrics.surfaces import Surface, SurfaceMatch, compare_surfaces, near_bone, surface_of
from lamella.metrics.vessel_tree import TreeMatch, VesselTree, compare_trees, vessel_tree

__all__ = [
    "AIRWAY_PLACES_MM", "AIRWAY_REACH_MM", "FEWEST_ABSENT", "FEWEST_PAIRS", "INTERPOLATIONS", "IN_PLANE_WINDOW_PX",
    "LEAST_NOISE_VOXELS", "MILD_EMPHYSEMA_HU", "PSNR_WINDOWS_HU", "SHELL_MM", "SHIFTS_MM", "WIDE_MM", "Blobs",
    "DenseParts", "EdgeSet", "Kind", "Lumen", "NoduleMatch", "Offsets", "Place", "Runs", "Sheets", "SheetsSeen",
    "Spectrum", "Sphere", "Steps", "Surface", "SurfaceMatch", "TreeMatch", "VesselTree", "agatston_scores",
    "aligned_cubic", "aligned_interpolation", "band_ratio", "band_sd_hu", "best_shift_mm", "blobs_of", "body_mask",
    "bone_mask", "bootstrap_interval", "box_around", "coarse_noise_ratio", "compare_blobs", "compare_foci",
    "compare_nodule", "compare_surfaces", "compare_trees", "concordance", "coverage_curve", "dense_parts",
    "detectability", "edge_second_difference_ratio", "edge_width_z_mm", "edge_widths_z_mm", "empty_places",
    "error_detection_auc", "find_edges_z", "find_sheets", "find_steps", "flat_runs", "gradient_error_z",
    "histogram_distance_hu", "insert_spheres", "kind_of", "laa_percent", "largest_differences", "lung_mask",
    "lung_region", "mae_hu", "mean_error_hu", "measure_airway", "near_bone", "noise_correlation_z", "noise_floor_hu",
    "noise_per_slice", "noise_power_along_z", "noise_power_in_plane", "noise_sd_along_z", "noise_sd_in_plane",
    "observer_answer", "overshoot_percent", "paired_test", "perc15_hu", "place_spheres", "psnr", "psnr_windowed",
    "refined_shift_mm", "rmse_hu", "sharpness_in_plane", "sheets_seen", "shows_lungs", "shrunk_along_z",
    "slab_bootstrap_gain_db", "slab_bootstrap_rmse", "slices_apart", "soft_tissue_mask", "speck_scores",
    "sphere_contrast", "sphere_recovery", "sphere_volume_ratio", "ssim", "steep_edges", "stripe_power_ratio",
    "surface_of", "vessel_mask", "vessel_tree", "window_side_px",
]
# fmt: on
