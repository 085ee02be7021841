"""The autoencoder's loss, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as divergence_of

from lamella.codecs.autoencoder_loss import (
    AutoencoderLossSettings,
    autoencoder_loss,
    gradient_l1,
    kl_divergence,
    masked_l1,
    masked_rms,
    spectral_l1,
)
from lamella.errors import LamellaError


def stack(*slices: list[list[float]]) -> Tensor:
    return torch.tensor(slices)[None, None]


def real(*slices: int) -> Tensor:
    return torch.tensor(slices, dtype=torch.float32)[None, None]


def test_the_divergence_is_that_of_two_normals() -> None:
    # SPEC A7
    mean = torch.randn(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    log_var = torch.linspace(-6, 1, mean.numel()).view_as(mean)
    expected = divergence_of(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_divergence(mean, log_var), expected)
    assert float(kl_divergence(torch.zeros(3), torch.zeros(3))) == 0
    # mean 2, variance e: (4 + e - 1 - 1) / 2
    assert float(kl_divergence(torch.tensor([2.0]), torch.tensor([1.0]))) == pytest.approx((2 + math.e) / 2)


def test_an_error_counts_where_the_slice_is_real() -> None:
    # SPEC A13
    answer, truth = stack([[1.0, 2.0]], [[3.0, 3.0]], [[9.0, 9.0]]), torch.zeros(1, 1, 3, 1, 2)
    assert float(masked_l1(answer, truth, real(1, 1, 0))) == pytest.approx((1 + 2 + 3 + 3) / 4)
    assert float(masked_l1(answer, truth, real(0, 0, 0))) == 0


def test_a_stacks_root_mean_square_counts_where_the_slice_is_real() -> None:
    # SPEC A13
    answer = torch.cat(
        [stack([[1.0, 2.0]], [[3.0, 3.0]], [[9.0, 9.0]]), stack([[4.0, 4.0]], [[4.0, 4.0]], [[4.0, 4.0]])]
    )
    mask = torch.cat([real(1, 1, 0), real(1, 1, 1)])
    hand = (math.sqrt((1 + 4 + 9 + 9) / 4) + 4) / 2
    assert float(masked_rms(answer, torch.zeros_like(answer), mask)) == pytest.approx(hand)
    same = answer.clone().requires_grad_(True)
    masked_rms(same, answer, mask).backward()  # type: ignore[no-untyped-call]
    assert same.grad is not None
    assert bool(same.grad.isfinite().all()), "the root of no error has a derivative"
    settings = AutoencoderLossSettings(l1=0, rms=2, kl=0)
    nothing = torch.zeros(2, 1, 1, 1, 1)
    loss, _ = autoencoder_loss(answer, torch.zeros_like(answer), nothing, nothing, mask, settings)
    assert float(loss) == pytest.approx(2 * hand)


def test_differences_between_neighbours() -> None:
    error = stack([[0.0, 1.0], [0.0, 1.0]], [[4.0, 5.0], [4.0, 5.0]], [[99.0, 0.0], [0.0, 7.0]])
    # along z 4 between the real slices, along y 0, along x 1
    assert float(gradient_l1(error, torch.zeros_like(error), real(1, 1, 0))) == pytest.approx((4 + 0 + 1) / 3)
    shifted = error + 7.5
    assert float(gradient_l1(shifted, error, real(1, 1, 1))) == 0
    one = error[:, :, :1]
    assert float(gradient_l1(one, torch.zeros_like(one), real(1))) == pytest.approx(1 / 3)  # nothing along z


@pytest.mark.parametrize(("gradient", "spectral"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.3)])
def test_the_loss_is_the_weighted_sum_of_its_parts(gradient: float, spectral: float) -> None:
    g = torch.Generator().manual_seed(1)
    answer, truth = (torch.rand(2, 1, 4, 4, 4, generator=g) for _ in range(2))
    mean, log_var = (torch.randn(2, 4, 1, 1, 1, generator=g) for _ in range(2))
    mask = torch.ones(2, 1, 4)
    loss, parts = autoencoder_loss(
        answer, truth, mean, log_var, mask, AutoencoderLossSettings(kl=0.1, gradient=gradient, spectral=spectral)
    )
    expected = (answer - truth).abs().mean() + 0.1 * kl_divergence(mean, log_var)
    expected = expected + gradient * gradient_l1(answer, truth, mask) + spectral * spectral_l1(answer, truth, mask)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(parts["l1"], (answer - truth).abs().mean())
    torch.testing.assert_close(parts["latent_std"], mean.std())
    assert not any(part.requires_grad for part in parts.values())
    half = autoencoder_loss(0.5 * truth, truth, mean, log_var, mask, AutoencoderLossSettings())[1]
    assert float(half["detail"]) == pytest.approx(0.5)


def test_spectra_say_how_much_detail_there_is_and_not_where() -> None:
    mask, x = torch.ones(1, 1, 16), torch.arange(16.0)
    wave = torch.cos(2 * math.pi * x / 4).expand(1, 1, 16, 16, 16)
    moved, blurred = wave.roll(1, -1), 0.5 * wave
    assert float(spectral_l1(moved, wave, mask)) == pytest.approx(0, abs=1e-6)
    # a cosine of n^3 voxels is one coefficient of n^1.5 / 2 in an orthonormal half spectrum of n^2 (n / 2 + 1) values (at x's
    # highest frequency, of n = 4, it is none: period 4 is its half)
    expected = sum(n**1.5 / 2 * 0.5 / (n**2 * (n // 2 + 1)) for n in (4, 8, 16)) / 3
    assert float(spectral_l1(blurred, wave, mask)) == pytest.approx(expected, rel=1e-5)
    half = torch.cat([torch.ones(1, 1, 8), torch.zeros(1, 1, 8)], dim=2)
    changed = torch.cat([wave[:, :, :8], wave[:, :, 8:] + 3], dim=2)
    assert float(spectral_l1(changed, wave, half)) == pytest.approx(0, abs=1e-6)  # SPEC A13: padding does not enter
    assert float(spectral_l1(wave[..., :3], wave[..., :3], mask)) == 0


def test_negative_weights_are_refused() -> None:
    with pytest.raises(LamellaError, match=r"cannot be negative.*Found l1 1, rms 0, kl -1, gradient 0, spectral 0"):
        AutoencoderLossSettings(kl=-1.0)
