from __future__ import annotations

import warnings

import pytest
import torch

from lamella.train import precision
from lamella.train.precision import Precision, precision_on


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_the_format_the_processor_is_fast_in(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # SPEC A17
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert precision_on("auto", "cpu") == ("bf16-mixed" if native else "32-true")
        assert precision_on("32-true", "cpu") == "32-true"


def test_what_was_asked_for_is_taken_but_slow_products_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.warns(UserWarning, match="precision to auto or 32-true"):
        assert precision_on("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize("asked", ["auto", "bf16-mixed"])
def test_a_gpu_multiplies_bfloat16(asked: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert precision_on(asked, "auto") == "bf16-mixed"


def test_an_older_gpu_imitates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert precision_on("auto", "auto") == "32-true"
