from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.small_model import SUMMARISED, awake, upright

from lamella.codecs.packed import PackedCodec
from lamella.embedded.predict import Prediction
from lamella.embedded.wiener import shrink_correction
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Volume

THICK = upright((6, 10, 14), 5.0, 5.0)
GRIDS = GridPair.between(thin_grid(THICK, spacing_mm=1.0), THICK)
THICK_HU = 30 * torch.randn((4, 6, 5, 7), generator=torch.Generator().manual_seed(0))


def prediction_of(correction_hu: float, scale_hu: float, grids: GridPair = GRIDS) -> Prediction:
    """Consistent linear interpolation plus a random correction, within the null space."""
    generator = torch.Generator().manual_seed(1)
    line = along_z(grids.linear_matrix, THICK_HU)
    away = grids.operator.null(correction_hu * torch.randn(line.shape, generator=generator))
    log_scale = np.log(scale_hu) + 0.2 * torch.randn(line.shape, generator=generator)
    return Prediction(line + away, log_scale.half(), torch.empty((0, *line.shape[1:])), PackedCodec(2))


def test_a_correction_is_weighed_by_its_local_power_beside_its_error() -> None:
    prediction = prediction_of(20.0, 50.0)
    away = (prediction.mean - along_z(GRIDS.linear_matrix, THICK_HU)).double().numpy()
    error = (0.4**2 / (np.exp(-2 * prediction.log_scale.double().numpy()) + 1 / 50**2)).mean(axis=0)
    taken = np.empty_like(away)
    for z, y, x in np.ndindex(away.shape[1:]):
        around = away[:, z, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        taken[:, z, y, x] = away[:, z, y, x] * error[z, y, x] / (np.mean(around**2) + error[z, y, x])
    expected = prediction.mean.double().numpy() - np.einsum("ij,njyx->niyx", GRIDS.operator.null_matrix, taken)
    shrink_correction(prediction, THICK_HU, GRIDS, 0.4)
    np.testing.assert_allclose(prediction.mean.numpy(), expected, atol=1e-3)
    assert np.abs(taken).max() > 5


@pytest.mark.parametrize(("correction_hu", "kept"), [(500.0, 0.99), (0.5, 0.01)])
def test_a_large_correction_stays_and_a_small_one_goes(correction_hu: float, kept: float) -> None:
    prediction = prediction_of(correction_hu, 50.0)
    line = along_z(GRIDS.linear_matrix, THICK_HU)
    before = (prediction.mean - line).norm()
    shrink_correction(prediction, THICK_HU, GRIDS, 0.4)
    assert float((prediction.mean - line).norm() / before) == pytest.approx(kept, abs=0.01)


def test_what_was_measured_stays_and_no_share_changes_nothing() -> None:
    prediction = prediction_of(20.0, 50.0)
    before = prediction.mean.clone()
    shrink_correction(prediction, THICK_HU, GRIDS, 0.0)
    assert torch.equal(prediction.mean, before)
    shrink_correction(prediction, THICK_HU, GRIDS, 0.4)
    assert not torch.equal(prediction.mean, before)
    torch.testing.assert_close(GRIDS.operator.blur(prediction.mean), THICK_HU, rtol=0, atol=1e-3)  # SPEC C1


def test_slices_beyond_the_outer_slabs_stay() -> None:
    thin = thin_grid(THICK, spacing_mm=1.0)
    longer = thin.with_slices(thin.shape[0] + 5, 1.0, -2.0, 1.0)
    grids = GridPair.between(longer, THICK)
    prediction = prediction_of(20.0, 50.0, grids)
    before = prediction.mean.clone()
    shrink_correction(prediction, THICK_HU, grids, 0.4)
    changed = (prediction.mean != before).any(dim=3).any(dim=2).any(dim=0)
    assert changed.tolist() == [False] * 2 + [True] * 30 + [False] * 3


@pytest.mark.parametrize("mode", ["mean", "sample"])
def test_the_cards_figure_shrinks_the_mean_and_no_sample(mode: str) -> None:
    geometry = upright((6, 16, 16), 5.0, 5.0)
    rng = np.random.default_rng(0)
    hu = (40 + 25 * rng.standard_normal(geometry.shape)).astype(np.int16)
    model = awake(SUMMARISED)
    shrinking = dataclasses.replace(model, calibration=dataclasses.replace(model.calibration, wiener_share=0.5))
    settings = ThinSettings(mode=mode, steps=None if mode == "mean" else 2)  # type: ignore[arg-type]
    plain, shrunk = (
        thin(Volume(hu, geometry), one, thin_grid(geometry, spacing_mm=1.0), settings) for one in (model, shrinking)
    )
    assert np.array_equal(plain.volume.hu, shrunk.volume.hu) == (mode != "mean")
    assert shrunk.report["consistency_rmse_hu"] < 0.5
