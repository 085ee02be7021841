"""Thick slices made of thin ones: what a scanner would have stored had it averaged over wider slabs."""

from __future__ import annotations

import numpy as np
import torch

from lamella.errors import RefusedInput
from lamella.physics.slice_operator import Profile, SliceOperator, thick_grid
from lamella.volume import Volume, round_hu


def simulate_thick(thin: Volume, thickness_mm: float, spacing_mm: float, profile: Profile = "box") -> Volume:
    """Average thin slices into thick ones, in whole HU. All thick slices lie within the thin series, and are centred in it.

    `thickness_mm` is the full width at half maximum of the slice profile.

    Raises:
        RefusedInput: the slices asked for are thinner or closer than the scan's.
        LamellaError: not even one slab fits.
    """
    for name, asked, has in (
        ("thickness", thickness_mm, thin.geometry.thickness_mm),
        ("spacing", spacing_mm, thin.geometry.spacing_mm),
    ):
        if asked < has - 1e-6:
            raise RefusedInput(
                f"Averaging cannot make slices finer. Found a target {name} of {asked:g} mm, the source's is "
                f"{has:.4g} mm. Ask for that or more."
            )
    grid = thick_grid(thin.geometry, thickness_mm, spacing_mm, profile)
    operator = SliceOperator.between(thin.geometry, grid, profile, ridge=0.0)
    return Volume(round_hu(operator.blur(torch.from_numpy(thin.hu.astype(np.float32))).numpy()), grid)
