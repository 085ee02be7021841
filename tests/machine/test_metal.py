"""`device: mps` takes the path of any accelerator. No such device is needed: what is moved to it stays, and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_latent import small_latent_model
from torch.overrides import TorchFunctionMode

from lamella.embedded.model import EmbeddedModel
from lamella.errors import UsageError
from lamella.machine.runtime import free_bytes, runtime
from lamella.thinning.grid import thin_grid
from lamella.thinning.model import ThinModel
from lamella.thinning.settings import Mode, ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Volume

METAL = torch.device("mps")


class Metal(TorchFunctionMode):
    """Counts what goes to the device by its dtype, and keeps it in main memory. Metal has no float64."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: Counter[torch.dtype] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[Any], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        reads_words_only = getattr(func, "__name__", "") == "_parse_to"  # of Module.to, which then moves each weight
        if reads_words_only or METAL not in [one for one in (*args, *kwargs.values()) if isinstance(one, torch.device)]:
            return func(*args, **kwargs)
        here = [torch.device("cpu") if one == METAL and isinstance(one, torch.device) else one for one in args]
        named = {k: torch.device("cpu") if k == "device" else v for k, v in kwargs.items()}
        out = func(*here, **named)
        if isinstance(out, torch.Tensor):
            self.moved[out.dtype] += 1
        return out


@pytest.fixture
def metal(monkeypatch: pytest.MonkeyPatch) -> Metal:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    try:
        torch.autocast("mps", torch.bfloat16, enabled=False)
    except RuntimeError:
        pytest.skip("an older torch asks a real device whether it can be told to use bfloat16")
    return Metal()


def test_metal_is_a_device_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("mps", "auto"):
        found = runtime(name, "auto")
        assert (found.device, found.bf16) == (METAL, False)
        assert found.report == {"device": "mps", "precision": "fp32"}
    assert free_bytes(METAL) == float("inf")  # it shares the main memory, which is planned for
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no Metal device"):
        runtime("mps", "auto")


def thinned(model: ThinModel, thick: Volume, device: str, mode: Mode) -> Volume:
    settings = ThinSettings(mode=mode, steps=2, samples=1, device=device, precision="fp32")
    return thin(thick, model, thin_grid(thick.geometry, spacing_mm=2.5), settings).volume


@pytest.mark.parametrize("mode", ["mean", "texture", "sample"])
def test_the_embedded_model_sends_nothing_that_metal_lacks(
    mode: Mode, small_model: EmbeddedModel, thick_volume: Volume, metal: Metal
) -> None:
    expected = thinned(small_model, thick_volume, "cpu", mode)
    with metal:
        found = thinned(small_model, thick_volume, "mps", mode)
    assert metal.moved[torch.float32] > 20
    assert torch.float64 not in metal.moved
    assert np.array_equal(found.hu, expected.hu)


@pytest.mark.parametrize("mode", ["mean", "sample"])
def test_the_latent_model_sends_nothing_that_metal_lacks(mode: Mode, thick_volume: Volume, metal: Metal) -> None:
    expected = thinned(small_latent_model(), thick_volume, "cpu", mode)
    with metal:
        found = thinned(small_latent_model(), thick_volume, "mps", mode)
    assert metal.moved[torch.float32] > 20
    assert torch.float64 not in metal.moved
    assert np.array_equal(found.hu, expected.hu)
