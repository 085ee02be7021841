"""Muon: momentum whose matrices are made orthogonal, so that every direction of a layer learns at the same pace.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale of the update that lets it share
AdamW's rates is that of Liu et al., arXiv 2502.16982, section 2.2. torch.optim.Muon takes two-dimensional weights alone; a
convolution is here the matrix (output channels, all else).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
_COEFFICIENTS, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5
"""Of the quintic Newton-Schulz iteration; singular values end between about 0.7 and 1.2."""
_ADAMW_RMS = 0.2
"""Root mean square of AdamW's updates, which Muon's are scaled to."""
_LEAST_SIDE = 16
"""Smaller matrices, such as the last layer's, stay with AdamW, and so do vectors."""


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all near 1: (rows, columns) -> the same shape, float32."""
    a, b, c = _COEFFICIENTS
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return torch.as_tensor(x.T if tall else x).float()


def learns_by_muon(weight: nn.Parameter) -> bool:
    """Whether a weight is a matrix large enough, as the layers inside a network have them."""
    return weight.ndim > 1 and min(weight.shape[0], weight.numel() // weight.shape[0]) >= _LEAST_SIDE


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon` true learn by Muon."""

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, ratio: float, **adamw: Any) -> None:
        """Args:
        weights: what learns.
        lr: AdamW's rate.
        ratio: Muon's rate over AdamW's.
        adamw: its other settings.
        """
        listed = list(weights)
        groups = [
            {"params": [w for w in listed if learns_by_muon(w)], "muon": True, "lr": lr * ratio},
            {"params": [w for w in listed if not learns_by_muon(w)], "muon": False},
        ]
        super().__init__([group for group in groups if group["params"]], lr=lr, **adamw)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in (one for one in groups if one["muon"]):
            for weight in (one for one in group["params"] if one.grad is not None):
                self._muon(weight, group["lr"], group["weight_decay"])
        self.param_groups = [one for one in groups if not one["muon"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _muon(self, weight: Tensor, rate: float, decay: float) -> None:
        """Nesterov momentum, made orthogonal."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            # AdamW loads no state without a step
            state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weight)}
        state["step"] += 1
        momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        matrix = weight.grad.lerp(momentum, MOMENTUM).flatten(1)
        scale = _ADAMW_RMS * math.sqrt(max(matrix.shape))
        weight.mul_(1 - rate * decay).add_(orthogonal(matrix).view(weight.shape), alpha=-rate * scale)
