"""A decoder that is shown the interpolated thick slices: range, axes, padding, tiles, depth."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.codecs.maisi import maisi_settings
from lamella.errors import LamellaError
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings


def codec(groups: int = 0, axes: str = "zyx", tile: tuple[int, int, int] | None = None, learnt: bool = True) -> KlCodec:
    shape = AutoencoderSettings(
        (2, 4, 4),
        (1, 1, 1),
        4,
        groups,
        side_information="interpolated_thick",
        side_channels=(3, 5, 4),
        side_blocks=(2, 1, 1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Autoencoder(shape)
        assert network.adapter is not None
        if learnt:
            torch.nn.init.normal_(network.adapter.correction.weight, std=0.3)
    return KlCodec(network, CodecSettings(shape, -10000.0, 10000.0, axes=axes, tile=tile))  # type: ignore[arg-type]


def block(*shape: int, seed: int = 2) -> Tensor:
    return 3000 * torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


# SPEC A15 A16 B9
@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 37), st.integers(1, 9), st.integers(1, 9)),
    tiled=st.booleans(),
    groups=st.sampled_from([0, 2]),
    axes=st.sampled_from(["zyx", "ras_xyz"]),
)
def test_untrained_it_gives_the_interpolation_back(
    shape: tuple[int, int, int], tiled: bool, groups: int, axes: str
) -> None:
    own = codec(groups, axes, (16, 16, 16) if tiled else None, learnt=False)
    beside = block(*shape)
    back = own.decode(own.encode(block(*shape, seed=3)), shape, beside)
    torch.testing.assert_close(back, beside.clamp(-10000, 10000), atol=0.05, rtol=0)


# SPEC A16
@pytest.mark.parametrize("axes", ["zyx", "ras_xyz"])
@pytest.mark.parametrize("shape", [(45, 18, 13), (13, 26, 18)])
def test_tiles_are_exact_with_side_information(axes: str, shape: tuple[int, int, int]) -> None:
    whole, tiled = codec(axes=axes), codec(axes=axes, tile=(16, 16, 16))
    assert tiled.exact_tiles
    beside, latent = block(*shape), whole.encode(block(*shape, seed=3))
    image = whole.decode(latent, shape, beside)
    assert float((image - beside).abs().mean()) > 10, "the adapter should add something, or this test shows nothing"
    torch.testing.assert_close(tiled.decode(latent, shape, beside), image, atol=0.1, rtol=0)


def test_the_reach_holds_all_that_a_cell_reads() -> None:
    # SPEC A16
    network = codec().network
    z = torch.zeros(1, 4, 25, 1, 1, requires_grad=True)
    beside = torch.zeros(1, 1, 100, 4, 4, requires_grad=True)
    network.requires_grad_(True)
    network.decode(z, beside)[:, :, 48:52].sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert beside.grad is not None
    read = z.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten()
    assert 12 - network.decoder_reach <= int(read.min()) <= int(read.max()) <= 12 + network.decoder_reach
    shown = beside.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten() // 4
    assert 12 - network.decoder_reach <= int(shown.min()) <= int(shown.max()) <= 12 + network.decoder_reach


def test_missing_side_information_is_refused() -> None:
    own = codec()
    latent = own.encode(block(6, 8, 8))
    for beside, found in ((None, "none"), (block(8, 8, 8), r"\(1, 1, 8, 8, 8\)")):
        with pytest.raises(
            LamellaError, match=rf"shown the interpolated thick slices.*Found {found}, expected \(1, 1, 6, 8"
        ):
            own.decode(latent, (6, 8, 8), beside)
    with pytest.raises(LamellaError, match="Side information is missing"):
        own.network.decode(torch.zeros(1, 4, 1, 1, 1))
    with pytest.raises(LamellaError, match=r"information 'thick'\. Expected one of none, interpolated_thick"):
        AutoencoderSettings(side_information="thick")  # type: ignore[arg-type]
    for channels, blocks in (((), ()), ((4, 4), (1,)), ((4, 0), (1, 1)), ((4,) * 4, (1,) * 4)):
        with pytest.raises(LamellaError, match="read on 1 to 3 levels, with at least 1 channel"):
            AutoencoderSettings(side_information="interpolated_thick", side_channels=channels, side_blocks=blocks)


def test_maisis_own_tensors_are_the_same_with_and_without_it() -> None:
    # SPEC A7, B1: 130 tensors, and those of the adapter beside them
    from dataclasses import replace

    with torch.device("meta"):
        plain = Autoencoder(maisi_settings().network)
        shown = Autoencoder(replace(maisi_settings().network, side_information="interpolated_thick"))
    own = {name for name in shown.state_dict() if not name.startswith("adapter.")}
    assert own == set(plain.state_dict())
    assert len(own) == 130
    assert sum(p.numel() for p in plain.parameters()) == 20_944_897
