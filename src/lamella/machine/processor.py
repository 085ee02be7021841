"""What this machine's processors multiply well."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# torch's documentation promises none of the names that are asked for by getattr. A torch that lacks one takes the safe
# way: float32, and torch's own convolution.


def native_bf16(device_type: str) -> bool:
    """Whether a device multiplies bfloat16 itself. A CPU that does not imitates it, 10 to 100 times slower than float32."""
    if device_type == "cuda":
        return bool(torch.cuda.get_device_capability() >= (8, 0))  # older ones imitate it, too
    if device_type != "cpu":
        return False  # of Metal devices nothing is known
    # Kernels may be held back from what the processor has (ATEN_CPU_CAPABILITY).
    held_back = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    return not held_back and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` whose answers on a CPU always come from oneDNN.

    torch (`use_mkldnn` in ATen/native/Convolution.cpp) leaves one float32 block to a loop several times slower if
    channels * z * y is 20,480 or less: a few slices, or few channels. In training and in bfloat16 it does not.
    """

    def inside(self, x: Tensor) -> Tensor:
        """Without padding along z: (b, c, z, y, x) -> (b, c', z - kernel + 1, y', x')."""
        return self._padded(x, self.weight, self.bias, (0, *self.padding[1:]))

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        assert not isinstance(self.padding, str), "padding is given in voxels"
        return self._padded(input, weight, bias, self.padding)

    def _padded(self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
        learning = torch.is_grad_enabled() or torch.is_autocast_enabled(input.device.type)
        # Neither a compiler nor a tracer knows the call below.
        followed = torch.compiler.is_compiling() or getattr(torch.jit, "is_tracing", bool)()
        plain = input.device.type == "cpu" and input.dtype == torch.float32
        one_dnn: Any = torch.backends.mkldnn
        convolution: Any = getattr(torch, "mkldnn_convolution", None) if one_dnn.is_available() else None
        if learning or followed or not plain or convolution is None:
            return F.conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        answer: Tensor = convolution(input, weight, bias, padding, self.stride, self.dilation, self.groups)
        return answer
