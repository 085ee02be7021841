"""The autoencoder against MONAI's, and its reach. MONAI is an oracle of tests only."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lamella.errors import LamellaError
from lamella.networks.autoencoder import FIRST_LOG_VAR, LOG_VAR_RANGE, Autoencoder, ResidualBlock
from lamella.networks.autoencoder_settings import AutoencoderSettings, SideInformation

NARROW = AutoencoderSettings(channels=(8, 16, 24), groups=8)
PLAIN = AutoencoderSettings(channels=(4, 6, 8), blocks=(1, 1, 1), groups=0)


def monai_autoencoder(settings: AutoencoderSettings) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own, on import
        from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
    network: nn.Module = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=settings.latent_channels,
        num_channels=settings.channels,
        num_res_blocks=settings.blocks,
        norm_num_groups=settings.groups,
        norm_eps=settings.epsilon,
        attention_levels=(False,) * len(settings.channels),
        num_splits=1,
        save_mem=False,
    )
    return network.eval()


# SPEC B1 A7
def test_it_has_maisis_tensors() -> None:
    with torch.device("meta"):
        own = Autoencoder(AutoencoderSettings()).state_dict()
        theirs = monai_autoencoder(AutoencoderSettings()).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in theirs.items()}
    assert len(own) == 130
    assert sum(v.numel() for v in own.values()) == 20_944_897


# SPEC A7
@pytest.mark.parametrize(("settings", "shape"), [(NARROW, (16, 20, 12)), (AutoencoderSettings(), (8, 12, 8))])
def test_it_computes_what_monai_computes(settings: AutoencoderSettings, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    theirs = monai_autoencoder(settings)
    own = Autoencoder(settings).eval()
    own.load_state_dict(theirs.state_dict(), strict=True)
    image = torch.rand(2, 1, *shape)
    with torch.no_grad():
        mean, sigma = theirs.encode(image)
        own_mean, own_log_var = own.moments(image)
        torch.testing.assert_close(own_mean, mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own_log_var, 2 * sigma.log(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own.decode(mean), theirs.decode(mean), atol=1e-5, rtol=1e-5)


def test_the_log_variance_is_clipped() -> None:
    network = Autoencoder(NARROW)
    with torch.no_grad():
        for p in network.quant_conv_log_sigma.parameters():
            p.mul_(1e6)
        _, log_var = network.moments(torch.rand(1, 1, 8, 8, 8))
    assert (float(log_var.min()), float(log_var.max())) == LOG_VAR_RANGE


@pytest.mark.parametrize(
    "settings", [PLAIN, AutoencoderSettings(channels=(4, 4), blocks=(2, 1), groups=0), AutoencoderSettings(groups=0)]
)
def test_the_reach_is_what_gradients_show(settings: AutoencoderSettings) -> None:
    """Along z on narrow blocks: which image cells a latent cell reads, and the other way round."""
    torch.manual_seed(0)
    settings = AutoencoderSettings((4,) * len(settings.channels), settings.blocks, 4, 0)
    network, f = Autoencoder(settings), settings.factor
    middle = 16
    image = torch.rand(1, 1, 2 * middle * f, f, f, requires_grad=True)
    latent = torch.rand(1, 4, 2 * middle, 1, 1, requires_grad=True)

    def farthest(output: Tensor, given: Tensor, cell: int) -> int:
        (gradient,) = torch.autograd.grad(output.sum(), given)
        touched = gradient.abs().sum((0, 1, 3, 4)).view(2 * middle, -1).sum(1).nonzero().flatten()
        return max(middle - int(touched.min()), int(touched.max()) - middle)

    seen = farthest(network.moments(image)[0][:, :, middle], image, f)
    assert seen <= network.encoder_reach <= seen + 1
    seen = farthest(network.decode(latent)[:, :, middle * f : (middle + 1) * f], latent, 1)
    assert seen <= network.decoder_reach <= seen + 1


def test_without_normalisation_residual_blocks_start_near_the_identity() -> None:
    torch.manual_seed(0)
    network = Autoencoder(PLAIN)
    blocks = [b for b in network.modules() if isinstance(b, ResidualBlock)]
    assert len(blocks) == 6
    assert not any(isinstance(m, nn.GroupNorm) for m in network.modules())
    x = torch.randn(1, 4, 8, 8, 8)
    change = (blocks[0](x) - x).detach().std()
    assert 0 < change < 0.1 * x.std()
    _, log_var = network.moments(torch.rand(1, 1, 8, 8, 8))
    assert float((log_var.detach() - FIRST_LOG_VAR).abs().max()) < 0.5


def test_a_training_step_reaches_every_parameter() -> None:
    network = Autoencoder(PLAIN)
    noise = torch.randn(2, 4, 2, 3, 2)
    decoded, mean, log_var = network(torch.rand(2, 1, 8, 12, 8), noise)
    assert decoded.shape == (2, 1, 8, 12, 8)
    assert mean.shape == log_var.shape == noise.shape
    decoded.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": (8, 16), "blocks": (1,)}, r"one number of blocks a level. Found channels \(8, 16\)"),
        ({"channels": (8, 0), "blocks": (1, 1), "groups": 0}, "must be positive"),
        ({"channels": (8, 12), "blocks": (1, 1), "groups": 8}, r"divisible by the groups.*\(8, 12\) and 8"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(LamellaError, match=message):
        AutoencoderSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_block_that_is_not_whole_cells_is_refused() -> None:
    with pytest.raises(LamellaError, match=r"divisible by 4. Found \(8, 10, 8\)"):
        Autoencoder(PLAIN).moments(torch.zeros(1, 1, 8, 10, 8))


@pytest.mark.parametrize("side_information", ["none", "interpolated_thick"])
def test_layers_at_the_latent_are_exact_where_the_rest_is_bfloat16(side_information: SideInformation) -> None:
    # SPEC A7
    settings = replace(PLAIN, side_information=side_information, side_channels=(4, 8), side_blocks=(1, 1))
    network, x = Autoencoder(settings), torch.rand(1, 1, 8, 16, 16)
    kinds: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda _, __, out, name=name: kinds.update({name: out.dtype}))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer, mean, log_var = network(x, None, x)
    latent = {name for name, kind in kinds.items() if kind == torch.float32}
    last = f"encoder.blocks.{len(network.encoder[0]) - 1}.conv.conv"
    ends = (
        last,
        "decoder.blocks.0.conv.conv",
        "quant_conv_mu.conv",
        "quant_conv_log_sigma.conv",
        "post_quant_conv.conv",
    )
    assert latent == set(ends)
    assert mean.dtype == log_var.dtype == torch.float32
    (answer.float() - x).abs().mean().backward()  # type: ignore[no-untyped-call]
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)
