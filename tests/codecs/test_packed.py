from __future__ import annotations

import pytest
import torch

from lamella.codecs.packed import PackedCodec
from lamella.errors import LamellaError


def test_the_round_trip_is_exact_and_nothing_is_lost() -> None:
    codec = PackedCodec(4)
    image = torch.randn(2, 1, 3, 8, 12)
    latent = codec.encode(image)
    assert latent.shape == (2, 16, 3, 2, 3)
    assert codec.factor == (1, 4, 4)
    assert torch.equal(codec.decode(latent), image)
    assert torch.equal(codec.encode(codec.decode(latent)), latent)


def test_a_block_of_pixels_becomes_the_channels_of_one_latent_voxel() -> None:
    image = torch.arange(16.0).view(1, 1, 1, 4, 4)
    assert torch.equal(PackedCodec(4).encode(image).flatten(), torch.arange(16.0))
    assert torch.equal(PackedCodec(2).encode(image)[0, :, 0, 0, 1], torch.tensor([2.0, 3.0, 6.0, 7.0]))


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LamellaError, match=r"divisible by 4\. Found 6 x 8"):
        PackedCodec(4).encode(torch.zeros(1, 1, 1, 6, 8))
