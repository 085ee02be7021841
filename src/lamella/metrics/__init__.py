"""Numbers, each a pure function of arrays: errors, noise, edges, calibration, masks, and the cubic baseline.

Arrays are (z, y, x) in HU, positions and spacings in mm. Nothing here draws, reads files or knows a model.
"""

from lamella.metrics.baseline import SHIFTS_MM, aligned_cubic, best_shift_mm, refined_shift_mm
from lamella.metrics.calibration import coverage
from lamella.metrics.edges import edge_second_difference_ratio, gradient_error_z, steep_edges
from lamella.metrics.error import mean_error_hu, psnr, rmse_hu, ssim
from lamella.metrics.masks import body_mask, lung_mask, soft_tissue_mask
from lamella.metrics.noise import noise_floor_rmse_hu, noise_sd_along_z, noise_sd_in_plane

__all__ = [
    "SHIFTS_MM",
    "aligned_cubic",
    "best_shift_mm",
    "body_mask",
    "coverage",
    "edge_second_difference_ratio",
    "gradient_error_z",
    "lung_mask",
    "mean_error_hu",
    "noise_floor_rmse_hu",
    "noise_sd_along_z",
    "noise_sd_in_plane",
    "psnr",
    "refined_shift_mm",
    "rmse_hu",
    "soft_tissue_mask",
    "ssim",
    "steep_edges",
]
