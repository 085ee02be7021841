"""Where networks run, in which number format, and how much memory may be planned for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lamella.errors import UsageError
from lamella.machine.memory import available_bytes
from lamella.machine.processor import native_bf16

GIB = 2**30
RESERVE = 0.85
"""Share of the free memory that may be planned for."""

BASE_BYTES = int(0.6 * GIB)
"""Python, torch and the weights."""


@dataclass(frozen=True)
class Runtime:
    """Device and number format of the networks.

    Attributes:
        device: where blocks are computed; volumes stay in main memory.
        bf16: whether convolutions multiply in bfloat16 (sums in float32).
    """

    device: torch.device
    bf16: bool

    @property
    def report(self) -> dict[str, str]:
        """What a report says of it."""
        return {"device": str(self.device), "precision": "bf16" if self.bf16 else "fp32"}


def runtime(device_name: str, precision: Literal["auto", "bf16", "fp32"]) -> Runtime:
    """Resolve device (auto, cpu, mps, cuda or cuda:N) and number format.

    Raises:
        UsageError: a device that is not there; nothing is moved to another one in silence.
    """
    name = _best_device() if device_name == "auto" else device_name
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {name!r} is not there: {torch.cuda.device_count()} CUDA devices found. Use device cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"Device {name!r} is not there: this torch has no Metal device. Use device cpu.")
    return Runtime(device, native_bf16(device.type) if precision == "auto" else precision == "bf16")


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_bytes(memory_gb: float | None) -> float:
    """Main memory that may be planned for, in bytes; at most `memory_gb` GiB."""
    available = float(RESERVE * available_bytes())
    return available if memory_gb is None else min(available, memory_gb * GIB)


def free_bytes(device: torch.device) -> float:
    """Bytes that may be planned for on an accelerator of its own memory, torch's cache among them; infinite elsewhere."""
    if device.type != "cuda":
        return float("inf")
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return RESERVE * float(torch.cuda.mem_get_info(device)[0] + cached)
