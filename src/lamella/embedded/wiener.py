"""Shrink the mean's correction where it is small beside the network's own error.

The least-error answer is E[thin | thick]; a network's answer is that plus an error of its own. In homogeneous tissue there is
nothing to correct, so that error is most of what it adds. The correction is weighed as in local Wiener filtering of wavelet
coefficients (Mihcak, Kozintsev, Ramchandran, Moulin, IEEE Signal Processing Letters 6, 1999): by E / (E + e), with E the
local power of the correction and e that of its error, a fixed share of the predicted scale as long as that is small.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lamella.embedded.networks import mean_around
from lamella.embedded.predict import Prediction, null_in_place
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import along_z

_WINDOW_PX = 6
"""Power is averaged over squares of about this many pixels: an odd number of packed ones."""

_LIMIT_HU = 50.0
"""Above this the scale says less and less about that error: where lung meets vessel or bone meets tissue, the structure is
uncertain, and what the network restores of it is mostly right."""


def shrink_correction(prediction: Prediction, thick: Tensor, grids: GridPair, share: float) -> None:
    """Move the mean towards consistent linear interpolation where the two hardly differ, in place.

    Projected linear interpolation is the best answer without a network in homogeneous tissue. What is taken away lies in the
    null space, so the mean stays consistent.

    Args:
        prediction: its mean is changed; its scale is the network's own, limited where it is largest (`limit_scale`).
        thick: (n, K, y', x') HU, packed.
        grids: the geometry.
        share: `Calibration.wiener_share`.
    """
    if not share:
        return
    side = prediction.codec.side
    taken = torch.empty_like(prediction.mean)
    for part, mean, packed in zip(taken, prediction.mean, thick, strict=True):
        torch.sub(mean, along_z(grids.linear_matrix, packed), out=part)
    for plane, log_scale in zip(taken.unbind(1), prediction.log_scale.unbind(1), strict=True):
        power = mean_around(plane.square().mean(0)[None, None], _WINDOW_PX // side // 2 * 2 + 1)[0, 0]
        error = (share**2 / (torch.exp(-2 * log_scale.float()) + _LIMIT_HU**-2)).mean(0)
        plane.mul_(error / (power + error))
    inside = np.flatnonzero(grids.operator.matrix.any(axis=0))
    taken[:, : inside[0]], taken[:, inside[-1] + 1 :] = 0, 0  # beyond the outer slabs the lines know nothing
    null_in_place(taken, grids)
    prediction.mean.sub_(taken)
