"""Tiles: exact without normalisation, no seam with it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamella.codecs.kl import CodecSettings, KlCodec
from lamella.codecs.tiles import run_tiled, spans
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings

PLAIN = AutoencoderSettings(channels=(2, 4, 4), blocks=(1, 1, 1), groups=0)
NORMED = AutoencoderSettings(channels=(4, 8, 8), blocks=(1, 1, 1), groups=4)


def codec(network: AutoencoderSettings, axes: str, tile: tuple[int, int, int] | None) -> KlCodec:
    """A range so wide that nothing is clipped: a clipped difference would hide."""
    wide = CodecSettings(network, -10000.0, 10000.0, axes=axes, tile=tile)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return KlCodec(Autoencoder(network), wide)


def unit_block(*shape: int) -> Tensor:
    """Dark at one end, bright at the other: statistics differ from tile to tile."""
    generator = torch.Generator().manual_seed(5)
    trend = torch.linspace(0.1, 0.9, shape[0]).view(1, 1, -1, 1, 1)
    return trend + 0.05 * torch.randn(1, 1, *shape, generator=generator)


@settings(deadline=None, max_examples=40)
@given(
    cells=st.tuples(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6)),
    tile=st.integers(4, 12),
    halo=st.integers(0, 5),
    blended=st.booleans(),
)
def test_weights_sum_to_one(cells: tuple[int, int, int], tile: int, halo: int, blended: bool) -> None:
    """A constant stays constant and every sample is written, whatever the tiles."""
    axes = tuple(spans(n, tile, halo, tile // 4 if blended else 0) for n in cells)
    double = run_tiled(
        torch.ones(1, 1, *cells),
        lambda x: F.interpolate(x, scale_factor=2.0).expand(-1, 3, -1, -1, -1),
        axes,  # type: ignore[arg-type]  # three axes
        channels=3,
        scale_in=1,
        scale_out=2,
    )
    assert double.shape == (1, 3, *(2 * n for n in cells))
    torch.testing.assert_close(double, torch.ones_like(double), atol=1e-6, rtol=0)


# SPEC A16
@pytest.mark.parametrize("axes", ["zyx", "ras_xyz"])
@pytest.mark.parametrize("shape", [(45, 18, 13), (13, 26, 18)])
def test_without_normalisation_tiles_are_exact(axes: str, shape: tuple[int, int, int]) -> None:
    whole, tiled = codec(PLAIN, axes, None), codec(PLAIN, axes, (16, 16, 16))
    assert tiled.exact_tiles
    hu = 20000 * unit_block(*shape) - 10000
    latent = whole.encode(hu)
    torch.testing.assert_close(tiled.encode(hu), latent, atol=1e-5, rtol=1e-5)
    unit = 1 / 20000
    torch.testing.assert_close(
        unit * tiled.decode(latent, shape), unit * whole.decode(latent, shape), atol=1e-5, rtol=0
    )


# SPEC A16
@pytest.mark.parametrize("half", ["encode", "decode"])
def test_with_normalisation_no_seam_appears(half: str) -> None:
    """Steps from slice to slice stand out nowhere at a border; side by side without a blend they would."""
    whole, tiled = codec(NORMED, "zyx", None), codec(NORMED, "zyx", (32, 32, 32))
    assert not tiled.exact_tiles
    network, cells, tile = tiled.network, (32, 4, 4), 8
    if half == "encode":
        block, scale, apply, reach = unit_block(128, 16, 16), 1, lambda x: network.moments(x)[0], network.encoder_reach
        hu = 20000 * block - 10000  # the codec's range, see `codec`
        untiled, blended = whole.encode(hu), tiled.encode(hu)
    else:
        block = 2 * torch.randn(1, 4, *cells, generator=torch.Generator().manual_seed(6))
        block += torch.linspace(-4, 4, 32).view(1, 1, -1, 1, 1)
        scale, apply, reach = 4, network.decode, network.decoder_reach
        untiled, blended = ((c.decode(block) + 10000) / 20000 for c in (whole, tiled))
    axes = tuple(spans(n, tile, reach, 0) for n in cells)
    channels, scale_in = untiled.shape[1], 4 // scale
    hard = run_tiled(block, apply, axes, channels=channels, scale_in=scale_in, scale_out=scale)  # type: ignore[arg-type]
    borders = torch.tensor([8 * scale - 1, 16 * scale - 1, 24 * scale - 1])

    def steps(image: Tensor) -> Tensor:
        return image.diff(dim=2).mean((0, 3, 4)).abs().amax(0)

    natural = steps(blended)
    elsewhere = torch.ones(len(natural), dtype=torch.bool)
    elsewhere[borders] = False
    assert float(natural[borders].max()) <= float(natural[elsewhere].max())
    assert float(steps(hard - untiled)[borders].max()) > 0.005, "tiles should differ, or this test shows nothing"
    assert float(steps(blended - untiled)[borders].max()) < 0.5 * float(steps(hard - untiled)[borders].max())
