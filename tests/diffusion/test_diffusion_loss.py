from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from tests.head_targets import target
from torch import Tensor
from torch.nn import functional

from lamella.diffusion import (
    Denoiser,
    FlowSchedule,
    Head,
    LossSettings,
    VpSchedule,
    latent_mask,
    min_snr_weight,
    sample_losses,
)
from lamella.diffusion.schedule import cosine, zero_terminal_snr
from lamella.errors import LamellaError, NonFiniteError

HEADS: tuple[Head, ...] = get_args(Head)
TABLE = VpSchedule((0.96, 0.75, 0.1))  # SNR 24, 3, 1/9


def diffusion_loss(*args: Any, **options: Any) -> Tensor:
    return sample_losses(*args, **options).mean()


def _zero(x: Tensor, t: Tensor, condition: None) -> Tensor:
    return torch.zeros_like(x)


def _slices(*values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, :, None, None]


def test_noise_head_by_hand() -> None:  # SPEC A13: masked mean squared error of the noise
    x0, noise = torch.randn(2, 1, 2, 1, 1), _slices([1, 2], [3, 100])
    mask = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    losses = sample_losses(Denoiser(_zero, TABLE, "noise"), x0, None, torch.tensor([0, 2]), noise, mask=mask)
    torch.testing.assert_close(losses, torch.tensor([(1 + 4) / 2, 9.0]))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("schedule", [cosine(), FlowSchedule()])
def test_default_is_the_mean_squared_error_of_the_heads_own_target(head: Head, schedule: VpSchedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x0, noise, raw = (torch.randn(4, 2, 3, 4, 4, generator=generator) for _ in range(3))
    t = schedule.draw_times(4, generator)
    alpha, sigma = (level(t).float().view(-1, 1, 1, 1, 1) for level in (schedule.alpha, schedule.sigma))
    expected = functional.mse_loss(raw, target(head, x0, noise, alpha, sigma))
    loss = diffusion_loss(Denoiser(lambda x, t, condition: raw, schedule, head), x0, None, t, noise)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


def test_min_snr_weights_by_hand() -> None:  # SPEC B4, gamma 5 at SNR 24, 3, 1/9
    t = torch.arange(3)
    alpha, sigma = TABLE.alpha(t), TABLE.sigma(t)
    expected: dict[Head, list[float]] = {
        "noise": [5 / 24, 1, 1],
        "x0": [5, 3, 1 / 9],
        "v": [5 / 25, 3 / 4, 1 / 10],
        "preconditioned": [5 / 25, 3 / 4, 1 / 10],  # for such a table it is -v
    }
    for head, weights in expected.items():
        assert min_snr_weight(head, alpha, sigma, 5).tolist() == pytest.approx(weights)


@pytest.mark.parametrize("head", HEADS)
def test_min_snr_weight_is_one_without_signal_and_finite_without_noise(head: Head) -> None:  # SPEC B4
    ends = torch.tensor([1.0, 0.0]).double()
    first, last = min_snr_weight(head, 1 - ends, ends, 5).tolist()
    assert first == 1
    assert last == (5 if head == "x0" else 0)


def test_min_snr_is_the_same_objective_for_every_head() -> None:
    # one estimate of x0, spoken by each head: min(SNR, gamma) |x0 error|^2 every time
    generator = torch.Generator().manual_seed(0)
    x0, noise, estimate = (torch.randn(3, 1, 4, 2, 2, generator=generator).double() for _ in range(3))
    t = torch.arange(3)
    alpha, sigma = (level(t).view(-1, 1, 1, 1, 1) for level in (TABLE.alpha, TABLE.sigma))
    implied = (TABLE.mix(x0, noise, t) - alpha * estimate) / sigma
    snr = (TABLE.alpha(t) / TABLE.sigma(t)).square()
    expected = snr.clamp(max=5) * (estimate - x0).square().flatten(1).mean(1)
    for head in HEADS:
        raw = target(head, estimate, implied, alpha, sigma)
        denoiser = Denoiser(lambda x, t, condition: condition, TABLE, head)
        losses = sample_losses(denoiser, x0, raw, t, noise, settings=LossSettings(min_snr_gamma=5))
        torch.testing.assert_close(losses, expected)


def test_weights_are_per_sample_and_not_their_mean() -> None:  # SPEC B5
    noise = _slices([2, 2], [10, 0])
    denoiser = Denoiser(_zero, TABLE, "noise")
    mask = torch.tensor([[[1, 1]], [[0, 1]]])
    args = (denoiser, torch.zeros_like(noise), None, torch.tensor([0, 1]), noise)
    # sample 1 weighs 1 but has no error in its valid slice: only sample 0's 4 x 5/24 counts
    assert float(diffusion_loss(*args, mask=mask, settings=LossSettings(min_snr_gamma=5))) == pytest.approx(
        (4 * 5 / 24 + 0) / 2
    )


def test_valid_elements_are_counted_not_slices() -> None:  # SPEC B5
    # 2 channels of 1 x 2 voxels: 4 elements a slice, all errors 3
    noise = torch.full((1, 2, 3, 1, 2), 3.0)
    mask = torch.tensor([[[1.0, 1.0, 0.0]]])
    args = (Denoiser(_zero, TABLE, "noise"), torch.zeros_like(noise), None, torch.tensor([1]), noise)
    assert float(diffusion_loss(*args, mask=mask)) == pytest.approx(9)
    assert float(diffusion_loss(*args)) == pytest.approx(9)


def test_padding_carries_no_error_and_no_gradient() -> None:
    x0 = torch.zeros(1, 1, 2, 1, 1)
    raw = torch.tensor([1.0, 1e30]).view(1, 1, 2, 1, 1).requires_grad_()  # 1e30 squared is infinite in float32
    denoiser = Denoiser(lambda x, t, condition: raw, TABLE, "x0")
    loss = diffusion_loss(denoiser, x0, None, torch.tensor([1]), x0, mask=torch.tensor([[[1, 0]]]))
    loss.backward()
    assert loss.item() == 1
    assert raw.grad is not None
    assert raw.grad.flatten().tolist() == [2, 0]


def test_pseudo_huber_by_hand() -> None:
    denoiser = Denoiser(lambda x, t, condition: condition, TABLE, "x0")
    x0, t = torch.zeros(3, 1), torch.arange(3)
    raw = torch.tensor([[3**0.5], [1e-2], [1000.0]])
    losses = sample_losses(denoiser, x0, raw, t, x0, settings=LossSettings(pseudo_huber_delta=1.0))
    # 2 (sqrt(1 + 3) - 1); about e^2; about 2 e
    torch.testing.assert_close(losses, torch.tensor([2.0, 1e-4, 2 * 999.0005]), rtol=2e-3, atol=0)


def test_projection_is_applied_to_the_estimate() -> None:
    denoiser = Denoiser(_zero, TABLE, "x0")
    x0 = torch.full((1, 1, 2, 1, 1), 4.0)
    args = (denoiser, x0, None, torch.tensor([1]), x0)
    assert float(diffusion_loss(*args, project=lambda x: x + 3)) == pytest.approx(1)
    assert float(diffusion_loss(*args)) == pytest.approx(16)


@pytest.mark.parametrize("head", HEADS)
def test_bf16_network_trains_finitely_at_every_time(head: Head) -> None:  # SPEC A20
    torch.manual_seed(0)
    schedule = cosine() if head == "noise" else zero_terminal_snr(cosine())
    layer = torch.nn.Conv3d(1, 1, 3, padding=1)

    def network(x: Tensor, t: Tensor, condition: None) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(x)

    x0, noise = torch.randn(1000, 1, 2, 2, 2), torch.randn(1000, 1, 2, 2, 2)
    args = (Denoiser(network, schedule, head), x0, None, torch.arange(1000), noise)
    loss = diffusion_loss(*args, settings=LossSettings(min_snr_gamma=5, pseudo_huber_delta=1.0))
    loss.backward()
    assert loss.dtype == torch.float32
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.isfinite().all())


def test_latent_mask() -> None:  # SPEC A13, B10
    mask = torch.tensor([[[1, 1, 1, 1, 1, 0, 0, 0]], [[1, 1, 1, 1, 0, 0, 0, 0]]])
    assert latent_mask(mask, 4).tolist() == [[[1, 1]], [[1, 0]]]  # one real slice in four still counts
    assert latent_mask(mask[..., :6], 4).tolist() == [[[1, 1]], [[1, 0]]]  # depth rounds up, as the padded codec does
    assert torch.equal(latent_mask(mask, 1), mask)
    for depth in (4, 12, 40):
        random = (torch.rand(3, 1, depth, generator=torch.Generator().manual_seed(depth)) > 0.5).float()
        assert torch.equal(latent_mask(random, 4), functional.interpolate(random, depth // 4, mode="nearest"))
    with pytest.raises(LamellaError, match="found 0 slices"):
        latent_mask(mask, 0)


def test_non_finite_loss_names_sample_and_time() -> None:
    raw = torch.tensor([[0.0], [float("nan")]])
    denoiser = Denoiser(lambda x, t, condition: raw, TABLE, "v")
    with pytest.raises(NonFiniteError, match="sample 1 of the batch of 2 at t = 2 has loss nan"):
        diffusion_loss(denoiser, torch.zeros(2, 1), None, torch.tensor([0, 2]), torch.zeros(2, 1))


def test_refusals() -> None:
    x0 = torch.zeros(2, 1, 2, 1, 1)
    mask = torch.tensor([[[1, 1]], [[0, 0]]])
    with pytest.raises(LamellaError, match="sample 1 of the batch has no valid element"):
        diffusion_loss(Denoiser(_zero, TABLE, "v"), x0, None, torch.tensor([0, 1]), x0, mask=mask)
    with pytest.raises(LamellaError, match="without noise"):
        diffusion_loss(Denoiser(_zero, FlowSchedule(), "preconditioned"), x0, None, torch.tensor([0.0, 0.5]), x0)
    with pytest.raises(LamellaError, match="SNR 0"):
        diffusion_loss(Denoiser(_zero, FlowSchedule(), "noise"), x0, None, torch.tensor([0.5, 1.0]), x0)
    for name in ("min_snr_gamma", "pseudo_huber_delta"):
        with pytest.raises(LamellaError, match=f"found {name} = 0, expected a number above 0"):
            LossSettings(**{name: 0.0})
