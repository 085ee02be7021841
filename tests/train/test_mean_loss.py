"""What the first network and the flow of the embedded model are penalised for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_model import SMALL

from lamella.data.patches import Pairs, PatchBatches, PatchSettings
from lamella.data.views import SeriesSettings, load_views
from lamella.diffusion.denoiser import Denoiser
from lamella.diffusion.loss import LossSettings, sample_losses
from lamella.diffusion.schedule import FlowSchedule
from lamella.embedded.loss import HUBER, MeanLossSettings, counted_mean, mean_scale_loss
from lamella.embedded.networks import RESIDUAL_HU, SCALE_HU, MeanScaleNet
from lamella.errors import LamellaError

PATCHES = PatchSettings(batch=2, size_px=16, depth=16)


def pairs_of(folder: Path) -> Pairs:
    return PatchBatches(load_views(folder, (SeriesSettings("a.nii", axial=1.0),)), PATCHES, 1)[0]


def test_the_mean_is_penalised_before_or_after_its_projection(data_folder: Path) -> None:
    pairs = pairs_of(data_folder)
    network = MeanScaleNet(SMALL)
    off_hu = 250.0
    with torch.no_grad():
        network.head.out.weight.zero_()
        network.head.out.bias.zero_()
        network.head.out.bias[: network.codec.channels] = off_hu / RESIDUAL_HU
    found = {
        projected: float(
            mean_scale_loss(network, pairs, pairs.condition, MeanLossSettings(1e4, projected=projected))[1]["mean_loss"]
        )
        for projected in (True, False)
    }
    error = network.codec.encode(pairs.thin_hu) - pairs.grids.start(network.codec.encode(pairs.thick_hu))
    turned = pairs.grids.operator.null(torch.full_like(error, off_hu))
    for projected, off in ((True, turned), (False, torch.full_like(error, off_hu))):
        expected = float(counted_mean((error - off).square(), pairs.counted)) / 30.0**2
        assert found[projected] == pytest.approx(expected, rel=1e-3)
    assert found[False] > 2 * found[True]


def test_a_balance_weighs_squared_errors_by_the_predicted_scale(data_folder: Path) -> None:
    pairs = pairs_of(data_folder)
    network = MeanScaleNet(SMALL)
    n = network.codec.channels
    scale_hu = torch.linspace(5.0, 80.0, n)
    with torch.no_grad():
        network.head.out.weight.zero_()
        network.head.out.bias.zero_()
        network.head.out.bias[n:] = torch.log(scale_hu / SCALE_HU)
    error = network.codec.encode(pairs.thin_hu) - pairs.grids.start(network.codec.encode(pairs.thick_hu))
    for balance in (0.0, 0.7):
        settings = MeanLossSettings(1e4, balance=balance)
        found = float(mean_scale_loss(network, pairs, pairs.condition, settings)[1]["mean_loss"])
        weighed = error.square() / scale_hu[:, None, None, None] ** balance
        expected = float(counted_mean(weighed, pairs.counted)) / 30.0 ** (2 - balance)
        assert found == pytest.approx(expected, rel=1e-3)
    with pytest.raises(LamellaError, match="balance"):
        MeanLossSettings(balance=-1.0)


def test_the_gradient_counts_what_the_error_changes_by_between_slices(data_folder: Path) -> None:
    pairs = pairs_of(data_folder)
    network = MeanScaleNet(SMALL)
    found = {
        weight: float(
            mean_scale_loss(network, pairs, pairs.condition, MeanLossSettings(1e4, gradient=weight))[1]["mean_loss"]
        )
        for weight in (0.0, 0.5)
    }
    mean, _ = network(pairs.thick_hu, pairs.grids, pairs.condition)
    error = (network.codec.encode(pairs.thin_hu) - mean).detach()
    changes = torch.zeros_like(error)
    changes[:, :, :-1] = error[:, :, 1:] - error[:, :, :-1]
    expected = 0.5 * float(counted_mean(changes.square(), pairs.counted)) / 30.0**2
    assert found[0.5] - found[0.0] == pytest.approx(expected, rel=1e-3)
    with pytest.raises(LamellaError, match="gradient"):
        MeanLossSettings(gradient=-0.1)


def test_a_large_turning_point_makes_the_penalty_a_square(data_folder: Path) -> None:
    pairs = pairs_of(data_folder)
    network = MeanScaleNet(SMALL)
    _, figures = mean_scale_loss(network, pairs, pairs.condition, MeanLossSettings(charbonnier_hu=1e4))
    assert float(figures["mean_loss"]) == pytest.approx(float(figures["mse_hu2"]) / 30.0**2, rel=1e-3)
    _, rounder = mean_scale_loss(network, pairs, pairs.condition, MeanLossSettings(charbonnier_hu=10.0))
    assert float(rounder["mean_loss"]) < float(figures["mean_loss"])


def test_the_flow_learns_the_mean_of_skewed_residuals_and_not_their_median() -> None:
    residual = torch.full((1, 1, 1, 10, 10), -1 / 3)
    residual[..., 0] = 3.0  # mean 0, standard deviation 1, median -1/3
    guesses = torch.linspace(-0.4, 0.2, 61)

    def loss(guess: float) -> float:
        constant: Denoiser[None] = Denoiser(lambda z_t, t, _: torch.full_like(z_t, guess), FlowSchedule(), "x0")
        t, settings = torch.tensor([0.5]), LossSettings(pseudo_huber_delta=HUBER)
        return float(sample_losses(constant, residual, None, t, torch.zeros_like(residual), settings=settings).mean())

    found = float(guesses[int(np.argmin([loss(float(guess)) for guess in guesses]))])
    assert abs(found) < 0.06
