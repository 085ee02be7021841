"""The last touches: nothing below air, and the measurement kept wherever tissue meets air."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.small_model import upright

from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import covering_grid
from lamella.thinning.consistency import misfit_warnings, to_stored_hu
from lamella.thinning.grid import thin_grid
from lamella.volume import AIR_HU, Geometry


def tissue_below_air() -> torch.Tensor:
    """(10, 6, 6) HU: five thick slices of tissue with noise, five of the lowest value."""
    hu = torch.full((10, 6, 6), float(AIR_HU))
    hu[:5] = (40 + 10 * torch.randn((5, 6, 6), generator=torch.Generator().manual_seed(0))).round()
    return hu


def finished(thick: torch.Tensor, geometry: Geometry, **wanted: Any) -> tuple[np.ndarray, np.ndarray]:
    """(thin HU, misfit of each thick voxel); interpolation stands for a network's answer."""
    longer, _ = covering_grid(thin_grid(geometry, **wanted), geometry)
    grids = GridPair.between(longer, geometry)
    hu = to_stored_hu(grids.start(thick).contiguous(), thick, grids)
    return hu, grids.operator.residual(torch.from_numpy(hu.astype(np.float32)), thick).numpy()


@pytest.mark.parametrize(
    ("origin_mm", "spacing_mm", "wanted"),
    [
        (-123.7, 5.0, {"spacing_mm": 1.0}),
        (481.295, 5.0, {"spacing_mm": 1.0}),  # cells and slabs overlap by the rounding of float64
        (120.0, 4.99999, {"spacing_mm": 1.0}),  # positions in a file are rounded, too
        (120.0, 4.999, {"spacing_mm": 1.0}),
        (120.0, 5.0, {"slices": 37}),
        (120.0, 5.0, {"spacing_mm": 0.7}),
        (120.0, 5.0, {"spacing_mm": 1.5}),
        (120.0, 7.0, {"spacing_mm": 1.25}),
    ],
)
def test_tissue_beside_air_keeps_its_measurement(origin_mm: float, spacing_mm: float, wanted: dict[str, Any]) -> None:
    # SPEC C1
    thick = tissue_below_air()
    at = upright((10, 6, 6), spacing_mm, 5.0)
    affine = np.array(at.affine)
    affine[2, 3] = origin_mm
    hu, misfit = finished(thick, Geometry(at.shape, affine, 5.0), **wanted)
    assert hu.min() >= AIR_HU
    assert np.abs(misfit).max() <= 1.0  # whole numbers cost up to 0.5, the end of the alternation up to 0.25 a slice
    assert np.abs(misfit[6:]).max() < 1e-3


def test_metal_at_the_top_of_the_range_keeps_its_measurement() -> None:
    # SPEC B14: int16 ends at 32767, and interpolation overshoots
    thick = torch.full((10, 6, 6), 0.0)
    thick[4:6] = 32000.0
    hu, misfit = finished(thick, upright((10, 6, 6), 5.0, 5.0), spacing_mm=1.0)
    assert hu.max() == 32767
    assert np.abs(misfit).max() <= 1.0


def test_what_lies_in_a_gap_is_not_taken_for_air() -> None:
    hu, _ = finished(tissue_below_air(), upright((10, 6, 6), 7.0, 5.0), spacing_mm=1.0)
    assert hu[:25].min() > -200  # every seventh slice was measured by no slab


def test_a_result_that_does_not_give_the_measurement_back_says_so() -> None:
    # SPEC C1: never silently
    def said(rmse_hu: float, worst_hu: float) -> list[str]:
        return misfit_warnings({"consistency_rmse_hu": rmse_hu, "consistency_worst_hu": worst_hu}, ridge=0.0)

    assert said(0.54, 12.0) == said(float("nan"), float("nan")) == []
    assert "differs from them by 33.6 HU (root mean square; 150 HU in the worst voxel)" in said(33.6, 150.0)[0]
    assert len(said(0.3, 40.0)) == 1
