"""Pictures that a validation logs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LOW_HU, _HIGH_HU = -1000.0, 400.0
"""Black and white: lung, soft tissue and the edge of bone in one."""


def across(*stacks: Tensor) -> NDArray[np.float32]:
    """(D, y, x) HU each -> (D, columns) in [0, 1]: their middle rows across the slice axis, the first slice lowest."""
    row = torch.cat([hu[:, hu.shape[1] // 2].detach() for hu in stacks], dim=1).float()
    shown: NDArray[np.float32] = ((row - _LOW_HU) / (_HIGH_HU - _LOW_HU)).clamp(0, 1).flip(0).cpu().numpy()
    return shown
