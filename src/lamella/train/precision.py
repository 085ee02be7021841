"""The number format of a training run."""

from __future__ import annotations

from typing import Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn

from lamella.machine.processor import native_bf16

Precision = Literal["auto", "bf16-mixed", "32-true"]
"""As a run's settings say it; "auto" is bf16-mixed where the processor multiplies bfloat16 itself, else 32-true."""


def precision_on(asked: Precision, device: str) -> Literal["bf16-mixed", "32-true"]:
    """What is trained in on a device (auto, cpu or cuda). Warns where bfloat16 was asked of a processor that imitates it."""
    native = native_bf16("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if asked == "auto":
        return "bf16-mixed" if native else "32-true"
    if asked == "bf16-mixed" and not native:
        rank_zero_warn(
            "This processor has no bfloat16 products and imitates them, many times slower than float32. "
            "Set the run's precision to auto or 32-true."
        )
    return asked
