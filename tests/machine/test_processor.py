from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import lamella
from lamella.machine.processor import Conv3d, native_bf16

SHAPES = [((4, 8, 3), {"padding": 1}), ((8, 4, 1), {}), ((6, 6, (1, 2, 2)), {"stride": (1, 2, 2), "bias": False})]


def kernels(conv: nn.Conv3d, x: torch.Tensor) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        conv(x)
    return {str(event.key) for event in seen.key_averages() if "conv3d" in event.key or "mkldnn" in event.key}


@pytest.mark.parametrize(("shape", "how"), SHAPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_answers_are_those_of_torch(shape: tuple[int, ...], how: dict[str, int], layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    ours = Conv3d(*shape, **how).to(memory_format=layout)  # type: ignore[arg-type, call-overload]
    theirs = nn.Conv3d(*shape, **how)  # type: ignore[arg-type]
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, shape[0], 5, 12, 14).to(memory_format=layout)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch was built without oneDNN")
def test_a_small_float32_block_is_not_left_to_the_slow_loop() -> None:
    x, conv = torch.randn(1, 4, 5, 12, 14), Conv3d(4, 8, 3, padding=1)
    with torch.inference_mode():
        assert "aten::mkldnn_convolution" in kernels(conv, x)
        assert "aten::slow_conv3d" in kernels(nn.Conv3d(4, 8, 3, padding=1), x), "torch no longer needs our class"


@pytest.mark.filterwarnings("ignore")  # tracing, which OpenVINO goes by, is deprecated
def test_training_and_compilation_use_what_torch_can_follow() -> None:
    x, conv = torch.randn(1, 4, 5, 12, 14), Conv3d(4, 8, 3, padding=1)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    with torch.no_grad():
        graph = torch.jit.trace(conv, x)
        torch.testing.assert_close(graph(x), conv(x))
        assert "mkldnn_convolution" not in str(graph.graph)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert conv(x).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("owner", "name"),
    [(torch.cpu, "_is_avx512_bf16_supported"), (torch.jit, "is_tracing"), (torch, "mkldnn_convolution")],
)
def test_a_torch_without_its_private_names_gives_the_same_answers(
    owner: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, conv = torch.randn(1, 4, 5, 12, 14), Conv3d(4, 8, 3, padding=1)
    with torch.inference_mode():
        expected = conv(x)
        monkeypatch.delattr(owner, name, raising=False)
        torch.testing.assert_close(conv(x), expected)
    if owner is torch.cpu:
        assert native_bf16("cpu") is False


@pytest.mark.parametrize(("capability", "expected"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_kernels_that_are_held_back_imitate_bf16(
    capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert native_bf16("cpu") is expected


def test_no_other_private_name_of_torch_is_used() -> None:
    """Those allowed are the memory planner's, which only `lamella info` needs."""
    private = re.compile(r"\btorch(\.\w+)*\._(?!_)\w+")
    found = {
        (file.name, one.group())
        for file in Path(lamella.__file__).parent.rglob("*.py")
        for one in private.finditer(file.read_text(encoding="utf-8"))
    }
    allowed = {"torch._subclasses", "torch.utils._python_dispatch", "torch.utils._pytree", "torch.ops.aten._to_copy"}
    assert {one for one in found if one[0] != "cost.py" or one[1] not in allowed} == set()
