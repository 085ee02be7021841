"""A network fed along z answers as if it had the whole volume. (SPEC A16)"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_model import SUMMARISED, awake
from torch import Tensor

from lamella.embedded.predict import prepare
from lamella.machine.runtime import Runtime
from lamella.networks.feed import Feed, pieces


@settings(max_examples=200, deadline=None)
@given(length=st.integers(1, 40), most=st.integers(1, 9), late=st.integers(0, 6))
def test_every_slice_is_fed_once_and_answered_once_and_in_time(length: int, most: int, late: int) -> None:
    fed_until = answered_until = 0
    for fed, answered in pieces(length, most, late):
        assert (fed.start, answered.start) == (fed_until, answered_until)
        assert fed.stop > fed.start
        assert answered.stop > answered.start
        fed_until, answered_until = fed.stop, answered.stop
        assert answered_until == (length if fed_until == length else fed_until - late)
        assert fed.stop - fed.start <= most + (late if not fed.start else 0)
    assert (fed_until, answered_until) == (length, length)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("most", [1, 2, 5, 40])
@pytest.mark.parametrize("which", ["trunk", "flow"])
def test_a_network_answers_a_feed_as_it_answers_the_whole_bit_for_bit(
    which: str, most: int, dtype: torch.dtype
) -> None:
    model, generator = awake(SUMMARISED), torch.Generator().manual_seed(0)
    trunk, flow = model.mean.trunk, model.flow
    for network in (trunk, flow):
        prepare(network, Runtime(torch.device("cpu"), bf16=False))
    late = (trunk if which == "trunk" else flow.unet).reach[0]

    def drawn(channels: int) -> Tensor:
        return torch.randn((1, channels, 13, 16, 24), generator=generator)

    features, noisy, level = (drawn(n) for n in (trunk.settings.in_channels, flow.side**2, flow.side**2))
    summary = drawn(flow.read_channels).to(dtype)
    condition, t, geometry = model.mean.embed(torch.ones(1, 3)), torch.full((1,), 0.4), torch.zeros(1, 3)

    def answer(z: slice, feed: Feed | None) -> Tensor:
        if which == "trunk":
            return torch.as_tensor(trunk(features[:, :, z], condition, feed))
        return torch.as_tensor(flow(noisy[:, :, z], t, level[:, :, z], summary[:, :, z], geometry, feed))

    feed, found = Feed(), []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        for fed, answered in pieces(13, most, late):
            feed.last = fed.stop == 13
            found.append(answer(fed, feed))
            assert found[-1].shape[2] == answered.stop - answered.start
        assert torch.equal(torch.cat(found, dim=2), answer(slice(None), None))
