"""Where the thin slices of a slab lie, and what lies between thick slices: shared by the networks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lamella.physics.slice_operator import linear_matrix

SCALE_HU = 1000.0
"""HU of 1 within TVSRN and I3Net."""


def offsets(ratio: int) -> list[float]:
    """Centres of the thin slices of a slab, as shares of the thick spacing from its own centre."""
    return [(n - (ratio - 1) / 2) / ratio for n in range(ratio)]


def linear(thick: Tensor, ratio: int) -> Tensor:
    """(b, K, y, x) -> (b, K * ratio, y, x): straight lines between slices, constant beyond the last ones."""
    count = thick.shape[1]
    thin = np.array([slab + at for slab in range(count) for at in offsets(ratio)])
    matrix = linear_matrix(np.arange(count, dtype=np.float64), thin.clip(0, count - 1))
    return torch.einsum("dk,bkyx->bdyx", torch.as_tensor(matrix, dtype=thick.dtype), thick)
