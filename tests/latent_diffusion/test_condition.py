"""Where latents lie, and what a latent diffusion model is conditioned on; worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.small_latent import SMALL_UNET, small_codec
from torch import Tensor

from lamella.diffusion import ScheduleSettings, ddim
from lamella.errors import LamellaError, UsageError
from lamella.latent_diffusion.condition import (
    LatentDiffusionSettings,
    condition_latents,
    denoiser,
    first_state,
    latent_centres_mm,
)
from lamella.networks.diffusion_unet import DiffusionUNetSettings
from lamella.physics.slice_operator import linear_matrix


class MeanOfFour:
    """A codec whose latent is the mean of a cell's four slices, padded as `KlCodec` pads; one pixel, one latent."""

    channels, factor = 1, (4, 1, 1)

    def encode(self, image: Tensor) -> Tensor:
        last = image[:, :, -1:].expand(-1, -1, -image.shape[2] % 4, -1, -1)
        padded = torch.cat([image, last], dim=2)
        return padded.unflatten(2, (-1, 4)).mean(dim=3)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.repeat_interleave(4, dim=2)


def stack(values: list[float]) -> Tensor:
    return torch.tensor(values).view(1, 1, -1, 1, 1)


def test_fifty_slices_are_thirteen_latents_and_nothing_is_lost() -> None:  # SPEC B9, B10
    at = latent_centres_mm(np.arange(50) * 6.0, 4)
    assert len(at) == 13  # not 12.5, not 12
    # cell k holds slices 4 k to 4 k + 3, whose mean position is (4 k + 1.5) 6 mm; the last two of cell 12 are padding
    np.testing.assert_allclose(at, 9.0 + 24.0 * np.arange(13))
    assert at[-1] - 12 >= 48 * 6.0 - 3.0  # the last cell reaches over slices 48 and 49


@pytest.mark.parametrize(("count", "cells"), [(1, 1), (3, 1), (4, 1), (5, 2), (75, 19), (300, 75)])
def test_every_count_is_rounded_up(count: int, cells: int) -> None:
    assert len(latent_centres_mm(np.arange(count) * 1.0, 4)) == cells


def test_linear_interpolation_goes_by_position_and_is_clamped() -> None:
    matrix = linear_matrix(np.array([10.0, 20.0, 40.0]), np.array([0.0, 10.0, 15.0, 35.0, 99.0]))
    expected = [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected)


def test_thick_latents_move_to_where_the_thin_ones_are() -> None:  # SPEC A11, B10
    # 8 thick slices every 4 mm, value = position: two latents, at 6 and 22 mm, of values 6 and 22
    thick_mm = torch.arange(8.0)[None] * 4
    thin_mm = -1.5 + torch.arange(32.0)[None]  # eight latents, at 0, 4, ..., 28 mm
    found = condition_latents(MeanOfFour(), stack((thick_mm[0]).tolist()), thick_mm, thin_mm)
    # in between a latent's value is its position; before 6 and after 22 mm there is nothing to interpolate
    assert found.flatten().tolist() == pytest.approx([6, 6, 8, 12, 16, 20, 22, 22])


def test_shifting_both_grids_changes_nothing_and_shifting_one_does() -> None:
    thick = torch.randn(1, 1, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    thick_mm, thin_mm = torch.arange(8.0)[None] * 4, torch.arange(32.0)[None]
    first = condition_latents(MeanOfFour(), thick, thick_mm, thin_mm)
    torch.testing.assert_close(condition_latents(MeanOfFour(), thick, thick_mm + 100, thin_mm + 100), first)
    assert not torch.allclose(condition_latents(MeanOfFour(), thick, thick_mm, thin_mm + 3), first)


def test_thin_grid_encodes_what_cubic_interpolation_gives() -> None:
    # values on a line: cubic interpolation gives the line back, so each latent is its own mean position
    thick_mm, thin_mm = torch.arange(8.0)[None] * 4, torch.arange(24.0)[None] + 2.0
    found = condition_latents(MeanOfFour(), stack((thick_mm[0] * 10).tolist()), thick_mm, thin_mm, "thin_grid")
    assert found.flatten().tolist() == pytest.approx([35, 75, 115, 155, 195, 235], abs=1e-3)


@pytest.mark.parametrize("how", ["thick_latents", "thin_grid"])
@pytest.mark.parametrize("depth", [297, 298, 299, 300])
def test_the_condition_fits_the_thin_latents_for_every_depth(how: str, depth: int) -> None:  # SPEC B9
    thick = torch.randn(2, 1, 50, 8, 6, generator=torch.Generator().manual_seed(0)) * 100
    thick_mm, thin_mm = (torch.arange(float(n)).expand(2, -1) for n in (50, depth))
    found = condition_latents(small_codec(), thick, thick_mm * 6, thin_mm, how)  # type: ignore[arg-type]
    assert found.shape == (2, 4, 75, 2, 2)


def test_samples_of_a_batch_have_geometries_of_their_own() -> None:
    thick = torch.randn(2, 1, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    thick_mm = torch.arange(8.0) * torch.tensor([[4.0], [5.0]])
    thin_mm = torch.arange(32.0) * torch.tensor([[1.0], [1.25]])
    both = condition_latents(MeanOfFour(), thick, thick_mm, thin_mm)
    for i in range(2):
        one = condition_latents(MeanOfFour(), thick[i : i + 1], thick_mm[i : i + 1], thin_mm[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], one)


def test_positions_that_do_not_rise_or_do_not_fit_are_refused() -> None:
    thick, at = stack([1.0, 2.0, 3.0]), torch.tensor([[0.0, 1.0, 2.0]])
    with pytest.raises(LamellaError, match="the thick slices' positions must be"):
        condition_latents(MeanOfFour(), thick, at.flip(1), at)
    with pytest.raises(LamellaError, match="found thick slices of shape"):
        condition_latents(MeanOfFour(), thick, at[:, :2], at)
    with pytest.raises(LamellaError, match="Found 0 slice positions"):
        latent_centres_mm(np.array([]), 4)
    with pytest.raises(LamellaError, match="Unknown condition"):
        condition_latents(MeanOfFour(), thick, at, at, "resized")  # type: ignore[arg-type]


def test_settings_whose_channels_do_not_fit_are_refused() -> None:
    with pytest.raises(LamellaError, match="Found 4 channels in and 4 out, expected 8 in"):
        LatentDiffusionSettings(DiffusionUNetSettings(in_channels=4, out_channels=4))
    with pytest.raises(LamellaError, match="Unknown condition 'resized'"):
        LatentDiffusionSettings(SMALL_UNET, condition="resized")  # type: ignore[arg-type]


def test_the_network_is_given_the_noisy_latent_and_then_the_condition() -> None:  # SPEC A11
    seen: list[Tensor] = []

    def network(block: Tensor, t: Tensor) -> Tensor:
        seen.append(block)
        return block[:, 4:]

    settings = LatentDiffusionSettings(SMALL_UNET, ScheduleSettings("cosine", zero_terminal_snr=True), head="x0")
    noise, condition = torch.randn(1, 4, 3, 2, 2), torch.randn(1, 4, 3, 2, 2)
    answer = ddim(denoiser(network, settings), noise, condition, 5)
    torch.testing.assert_close(answer, condition)  # the network said that the condition is the clean latent
    assert len(seen) == 5
    torch.testing.assert_close(seen[0], torch.cat([noise, condition], dim=1))


def test_noise_is_not_predicted_where_there_is_nothing_else() -> None:
    # SPEC A12, B4
    with pytest.raises(LamellaError, match="zero_terminal_snr"):
        LatentDiffusionSettings(schedule=ScheduleSettings("cosine", zero_terminal_snr=True), head="noise")


@pytest.mark.parametrize(
    ("head", "schedule", "steps", "gain"),
    [
        ("noise", ScheduleSettings("cosine"), 20, "1.58e\\+03"),
        ("noise", ScheduleSettings("cosine", least_alpha=0.1), 2, "6.58"),
    ],
)
def test_a_head_that_cannot_be_sampled_is_refused(head: Any, schedule: ScheduleSettings, steps: int, gain: str) -> None:
    # SPEC B6, A14
    with pytest.raises(
        UsageError, match=f"Head noise cannot be sampled in {steps} steps.*{gain}.*times; expected.*head v"
    ):
        LatentDiffusionSettings(schedule=schedule, head=head).require_samplable(steps)


@pytest.mark.parametrize(
    ("head", "schedule"),
    [
        ("noise", ScheduleSettings("cosine", least_alpha=0.1)),
        ("noise", ScheduleSettings("scaled_linear")),
        ("v", ScheduleSettings("cosine", zero_terminal_snr=True)),
        ("velocity", ScheduleSettings("flow")),
    ],
)
def test_samplers_begin_with_what_the_condition_knows(head: Any, schedule: ScheduleSettings) -> None:
    # SPEC B6: alpha c + sigma noise, which is noise alone where the first time holds nothing
    settings = LatentDiffusionSettings(SMALL_UNET, schedule, head=head)
    settings.require_samplable(20)
    predict = denoiser(lambda block, t: block[:, :4], settings)
    draw = torch.Generator().manual_seed(0)
    condition, noise = (torch.randn(2, 4, 3, 2, 2, generator=draw) for _ in range(2))
    first = torch.tensor(predict.schedule.times(20)[0])
    alpha, sigma = (float(level(first)) for level in (predict.schedule.alpha, predict.schedule.sigma))
    state = first_state(predict, condition, noise, 20)
    torch.testing.assert_close(state, alpha * condition + sigma * noise)
    assert torch.equal(state, noise) == (alpha == 0)


def test_a_flows_time_reaches_the_network_as_steps_of_a_table() -> None:
    seen: list[float] = []

    def network(block: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t))
        return block[:, :4]

    settings = LatentDiffusionSettings(SMALL_UNET, ScheduleSettings("flow"), head="velocity")
    ddim(denoiser(network, settings), torch.randn(1, 4, 2, 2, 2), torch.zeros(1, 4, 2, 2, 2), 4)
    assert seen == [1000, 750, 500, 250]
