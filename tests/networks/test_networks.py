from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.small_model import SMALL, upright

from lamella.embedded.model import EmbeddedModel
from lamella.embedded.networks import noise_level, residual_noise
from lamella.networks.unet import UNet3d, UNetSettings
from lamella.physics.grid_pair import GridPair


def awake(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """No weight is zero, so that every path is seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / max(1, p[0].numel()) ** 0.5)
    return network.eval().double()


@pytest.mark.parametrize(
    "settings",
    [
        UNetSettings(2, 3, channels=(4, 8), blocks=(1, 2), z_kernels=(3, 1), condition=5),
        UNetSettings(2, 3, channels=(4, 6, 8), blocks=(1, 1, 1), z_kernels=(3,), condition=5),
    ],
)
def test_nothing_beyond_the_reach_of_a_unet_changes_its_answer(settings: UNetSettings) -> None:
    network = awake(UNet3d(settings))
    z, plane = network.reach  # type: ignore[misc, operator]
    factor = network.factor  # type: ignore[operator]
    side = 2 * (-(-(plane + 1) // factor)) * factor + factor
    depth = 2 * z + 3
    x = torch.randn(1, 2, depth, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    out = network(x, torch.randn(1, 5, dtype=torch.float64))
    assert out.shape == (1, 3, depth, side, side)
    out[0, :, z + 1, middle, middle].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(dim=0).nonzero()
    assert (touched[:, 0] - (z + 1)).abs().max() == z
    assert (touched[:, 1:] - middle).abs().max() <= plane
    # the reach is not padded either: a halo that is too wide costs time in every tile
    assert (touched[:, 1:] - middle).abs().max() >= plane - 2 * (factor - 1)


def test_answers_without_gradients_are_those_of_training_and_leave_the_input_alone() -> None:
    network = awake(UNet3d(UNetSettings(4, 3, (8, 12), (1, 1), condition=5)))
    x = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64)
    condition, given = torch.randn(2, 5, dtype=torch.float64), x.clone()
    trained = network(x, condition).detach()
    with torch.no_grad():
        torch.testing.assert_close(network(x, condition), trained)
    assert torch.equal(x, given)


def test_the_thin_head_changes_continuously_with_the_target_spacing(small_model: EmbeddedModel) -> None:
    # SPEC C2: 1.00 and 1.001 mm must look alike
    thick = upright((6, 1, 1), 5.0, 5.0)
    hu = torch.randn(1, 1, 6, 8, 8, generator=torch.Generator().manual_seed(1)) * 100
    answers = []
    for count in (30_000, 29_970):  # the middle slices of both lie within a thousandth of a millimetre
        spacing_mm = 30.0 / count
        at = np.array([thick.centres_mm[0] + 11.3])
        whole = GridPair.between(thick.with_slices(count, spacing_mm, (spacing_mm - 5) / 2, spacing_mm), thick)
        centres = thick.centres_mm[0] + (spacing_mm - 5) / 2 + spacing_mm * np.arange(count)
        row = int(np.abs(centres - at).argmin())
        packed = small_model.mean.codec.encode(hu)
        slice_features = small_model.mean.slice_features(small_model.mean.features(hu), torch.tensor([whole.condition]))
        offsets = torch.as_tensor(whole.offsets[row : row + 1], dtype=torch.float32)
        start = torch.einsum("dk,bckyx->bcdyx", torch.as_tensor(whole.start_matrix[row : row + 1]).float(), packed)
        answers.append(small_model.mean.read(slice_features, start, offsets, whole.ratios).correction)
    assert float(answers[0].abs().max()) > 1.0
    torch.testing.assert_close(answers[0], answers[1], atol=0.05, rtol=0.01)


def test_the_mean_is_consistent_with_the_measurement_by_construction(small_model: EmbeddedModel) -> None:
    # SPEC C1
    thick = upright((6, 1, 1), 5.0, 5.0)
    grids = GridPair.between(thick.with_slices(30, 1.0, -2.0, 1.0), thick)
    hu = torch.randn(2, 1, 6, 16, 16, generator=torch.Generator().manual_seed(1)) * 100
    mean, head_output = small_model.mean(hu, grids, torch.tensor([grids.condition]).expand(2, 3))
    assert float(head_output.correction.abs().max()) > 1
    torch.testing.assert_close(grids.operator.blur(small_model.mean.codec.decode(mean)), hu, atol=1e-2, rtol=1e-4)


def test_at_full_noise_the_flow_sees_none_of_it(small_model: EmbeddedModel) -> None:
    """The gate (1 - t) hides the noise from the trunk; only the linear path, whose answer has zero mean, still sees it."""
    flow = small_model.flow
    shape = (1, 16, 4, 4, 4)
    log_scale, hidden = torch.zeros(shape), torch.randn(1, SMALL.head_hidden, 4, 4, 4)
    geometry, t = torch.zeros(1, 3), torch.ones(1)
    noise = torch.randn(shape)
    through_trunk = [
        flow(sign * noise, t, log_scale, hidden, geometry) - flow(0 * noise, t, log_scale, hidden, geometry)
        for sign in (1, -1)
    ]
    torch.testing.assert_close(through_trunk[0], -through_trunk[1], atol=1e-4, rtol=1e-4)


def test_null_space_noise_has_unit_variance_and_no_measured_part() -> None:
    thick = upright((8, 1, 1), 5.0, 5.0)
    grids = GridPair.between(thick.with_slices(40, 1.0, -2.0, 1.0), thick)
    white = torch.randn(40, 200, 200, generator=torch.Generator().manual_seed(0))
    scale = torch.full_like(white, 17.0)
    noise = residual_noise(white, scale, grids)
    np.testing.assert_allclose(noise.std(dim=(1, 2)).numpy(), 1.0, atol=0.02)
    assert float(grids.operator.blur(scale * noise).abs().max()) < 1e-3


@pytest.mark.parametrize("side", [2, 4])
def test_the_noise_level_is_a_plain_mean_over_as_many_pixels_whatever_the_packing(side: int) -> None:
    thick = torch.randn((1, 1, 1, 48, 40), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    levels = torch.exp(noise_level(thick, side)) * 20 - 1
    padded = np.pad(thick[0, 0, 0].numpy(), 1, mode="edge")
    around = sum(padded[i : i + 48, j : j + 40] for i in range(3) for j in range(3)) / 9
    rough = np.abs(thick[0, 0, 0].numpy() - around)
    for index, pixels in enumerate((4, 12, 36)):
        half = pixels // side // 2 * side  # beside the packed pixel that holds (24, 20)
        window = rough[max(0, 24 - half) : 24 + side + half, max(0, 20 - half) : 20 + side + half]
        assert float(levels[0, index, 0, 24 // side, 20 // side]) == pytest.approx(window.mean(), rel=1e-9)


def test_the_noise_level_follows_the_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    white = torch.randn((1, 1, 2, 64, 64), generator=generator)
    quiet, loud = noise_level(5 * white, 4), noise_level(50 * white, 4)
    assert quiet.shape == (1, 3, 2, 16, 16)
    # mean |HU - 3 x 3 mean| of white noise of sd s is s sqrt(8/9) sqrt(2/pi)
    expected = 50 * (8 / 9) ** 0.5 * (2 / np.pi) ** 0.5
    assert float(torch.exp(loud[0, 2].mean()) * 20 - 1) == pytest.approx(expected, rel=0.05)
    assert float((loud - quiet)[0, 2].mean()) == pytest.approx(np.log((expected + 1) / (expected / 10 + 1)), abs=0.05)
