"""HU, axes, scale, padding and depth of the autoencoder's codec."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamella.codecs.codec import LatentCodec
from lamella.codecs.kl import CodecSettings, KlCodec, measure_scale
from lamella.codecs.packed import PackedCodec
from lamella.errors import LamellaError, NonFiniteError
from lamella.networks.autoencoder import Autoencoder
from lamella.networks.autoencoder_settings import AutoencoderSettings

PLAIN = AutoencoderSettings(channels=(2, 4, 4), blocks=(1, 1, 1), groups=0)
NORMED = AutoencoderSettings(channels=(2, 4, 4), blocks=(1, 1, 1), groups=2)


def codec(network: AutoencoderSettings = PLAIN, **fields: object) -> KlCodec:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return KlCodec(Autoencoder(network), CodecSettings(network, **fields))  # type: ignore[arg-type]


def block(*shape: int) -> Tensor:
    return 600 * torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(2)) - 300


# SPEC B9 B10 A15 A16
@settings(deadline=None, max_examples=25)
@given(
    depth=st.integers(1, 37),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    tiled=st.booleans(),
    network=st.sampled_from([PLAIN, NORMED]),
    axes=st.sampled_from(["zyx", "ras_xyz"]),
)
def test_the_depth_given_is_the_depth_returned(
    depth: int, size: tuple[int, int], tiled: bool, network: AutoencoderSettings, axes: str
) -> None:
    own = codec(network, axes=axes, tile=(16, 16, 16) if tiled else None)
    hu = block(depth, *size)
    latent = own.encode(hu)
    assert latent.shape == (1, 4, -(-depth // 4), -(-size[0] // 4), -(-size[1] // 4))
    assert own.decode(latent, (depth, *size)).shape == hu.shape


# SPEC B8 B9 B10
@pytest.mark.parametrize(("depth", "cells"), [(50, 13), (300, 75), (24, 6), (1, 1)])
@pytest.mark.parametrize("tile", [None, (64, 16, 16)])
def test_fifty_slices_are_thirteen_latents_and_come_back(
    depth: int, cells: int, tile: tuple[int, int, int] | None
) -> None:
    own = codec(tile=tile)
    latent = own.encode(block(depth, 4, 4))
    assert latent.shape[2] == cells == own.latent_shape((depth, 4, 4))[0]
    assert own.decode(latent, (depth, 4, 4)).shape[2] == depth


# SPEC B10
@pytest.mark.parametrize("axes", ["zyx", "ras_xyz"])
def test_the_end_is_padded_by_repetition(axes: str) -> None:
    own, hu = codec(axes=axes), block(6, 5, 7)
    repeated = torch.cat([hu, hu[:, :, -1:], hu[:, :, -1:]], 2)
    repeated = torch.cat([repeated, *[repeated[:, :, :, -1:]] * 3], 3)
    repeated = torch.cat([repeated, repeated[..., -1:]], 4)
    torch.testing.assert_close(own.encode(hu), own.encode(repeated), rtol=0, atol=0)


# SPEC B12
def test_maisis_axes_are_nibabels_ras() -> None:
    """The block as an LPS image, turned to RAS by nibabel, through the bare network."""
    own, hu = codec(axes="ras_xyz"), block(8, 12, 16)
    image = nib.Nifti1Image(hu[0, 0].numpy().transpose(2, 1, 0), np.diag([-0.7, -0.7, 1.0, 1.0]))  # x to L, y to P
    ras = nib.as_closest_canonical(image)
    assert nib.aff2axcodes(ras.affine) == ("R", "A", "S")
    given_hu = torch.from_numpy(np.ascontiguousarray(ras.get_fdata(dtype=np.float32)))[None, None]
    mean = own.network.moments(((given_hu + 1000) / 2000).clamp(0, 1))[0]
    back = mean.flip(2, 3).permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(own.encode(hu), back, atol=1e-6, rtol=1e-5)
    decoded = (own.network.decode(mean).clamp(0, 1) * 2000 - 1000).flip(2, 3).permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(own.decode(back), decoded, atol=1e-2, rtol=1e-5)


# SPEC B12
@pytest.mark.parametrize(("unit", "expected"), [((0.0, 1.0), (0, 0, 0.25, 1, 1)), ((-1.0, 1.0), (-1, -1, -0.5, 1, 1))])
def test_the_range_is_mapped_and_clipped(unit: tuple[float, float], expected: tuple[float, ...]) -> None:
    own, seen = codec(unit=unit), []
    own.network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    hu = torch.tensor([-3000.0, -1000.0, -500.0, 1000.0, 3071.0])
    own.encode(hu.view(1, 1, 5, 1, 1).to(torch.int16))
    assert seen[0][0, 0, :5, 0, 0].tolist() == pytest.approx(expected)
    decoded = own.decode(100 * torch.randn(1, 4, 2, 2, 2))
    assert decoded.min() >= -1000
    assert decoded.max() <= 1000


# SPEC A8 B11
def test_the_scale_is_taken_out_again() -> None:
    plain, scaled, hu = codec(), codec(scale=0.18215), block(8, 8, 8)
    latent = plain.encode(hu)
    torch.testing.assert_close(scaled.encode(hu), 0.18215 * latent)
    torch.testing.assert_close(scaled.decode(0.18215 * latent), plain.decode(latent), atol=1e-3, rtol=1e-5)


# SPEC B11
def test_the_measured_scale_makes_latents_of_deviation_one() -> None:
    own, blocks = codec(scale=3.0), [block(8, 8, 8), block(4, 12, 8) + 200]
    measured = own.with_settings(scale=measure_scale(own, blocks))
    latents = torch.cat([measured.encode(b).flatten() for b in blocks])
    assert float(latents.std(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(LamellaError, match=r"cannot be measured\. Found 0 latent values"):
        measure_scale(own, [])
    with pytest.raises(NonFiniteError, match="latents are not finite"):
        measure_scale(own, [torch.full((1, 1, 4, 4, 4), torch.nan)])


# SPEC A7
def test_the_network_is_frozen() -> None:
    network = Autoencoder(NORMED).train()
    own = KlCodec(network, CodecSettings(NORMED))
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert not own.encode(block(4, 4, 4).requires_grad_()).requires_grad


def test_both_codecs_keep_the_promise() -> None:
    codecs: list[LatentCodec] = [PackedCodec(), codec()]
    for own in codecs:
        hu = block(8, 8, 8)
        latent = own.encode(hu)
        assert latent.shape[1] == own.channels
        assert latent.shape[2:] == tuple(n // f for n, f in zip(hu.shape[2:], own.factor, strict=True))
        assert own.decode(latent).shape == hu.shape


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"low_hu": 5.0, "high_hu": -5.0}, "HU range of a codec must rise. Found 5 to -5"),
        ({"unit": (1.0, 1.0)}, "unit range of a codec must rise"),
        ({"axes": "xyz"}, "Unknown axes of a codec: 'xyz'. Expected one of zyx, ras_xyz"),
        ({"scale": 0.0}, "latent scale must be a positive number"),
        ({"tile": (16, 16, 18)}, r"whole latent cells of 4 voxels.*Found \(16, 16, 18\)"),
        ({"tile": (8, 16, 16)}, "at least 4 of them"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(LamellaError, match=message):
        codec(**wrong)


def test_latents_of_another_image_are_refused() -> None:
    with pytest.raises(LamellaError, match=r"do not belong to an image of \(9, 8, 8\).*Found \(2, 2, 2\).*\(3, 2, 2\)"):
        codec().decode(torch.zeros(1, 4, 2, 2, 2), (9, 8, 8))
    with pytest.raises(LamellaError, match="describe another network"):
        KlCodec(Autoencoder(PLAIN), CodecSettings(NORMED))
