"""Shrink the mean's correction where it is small beside the network's own error.

The least-error answer is E[thin | thick]; a network's is that and an error of its own. In homogeneous tissue there is nothing
to correct, so that error is most of what it adds. What it adds is weighed as in local Wiener filtering of wavelet
coefficients (Mihcak, Kozintsev, Ramchandran, Moulin, IEEE Signal Processing Letters 6, 1999): by E / (E + e), with E the
local power of the correction and e that of its error, a fixed share of the predicted scale as long as that is small.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lamella.embedded import mean_around
from lamella.passage import Passage
from lamella.slices import along_z
from lamella.thinning.look import View, null_in_place

_WINDOW_PX = 6
"""Power is averaged over squares of about this many pixels: an odd number of packed ones."""

_LIMIT_HU = 50.0
"""Above this the scale says less and less of that error: where lung meets vessel or bone meets tissue, structure is in doubt,
and what the network restores of it is mostly right."""


def shrink_correction(view: View, thick: Tensor, passage: Passage, doubt: float) -> None:
    """Bring the mean nearer to consistent linear interpolation where it hardly differs from it, in place.

    Linear interpolation, projected, is the best answer without a network in homogeneous tissue. What is taken away lies in the
    null space, so the mean stays consistent.

    Args:
        view: its mean is changed; its scale is the network's own, limited where it is largest (`noise.limit_scale`).
        thick: (n, K, y', x') HU, packed.
        passage: the geometry.
        doubt: `Calibration.correction_doubt`.
    """
    if not doubt:
        return
    side = round(len(thick) ** 0.5)
    taken = torch.empty_like(view.mean)
    for part, mean, packed in zip(taken, view.mean, thick, strict=True):
        torch.sub(mean, along_z(passage.linear_matrix, packed), out=part)
    for plane, log_scale in zip(taken.unbind(1), view.log_scale.unbind(1), strict=True):
        power = mean_around(plane.square().mean(0)[None, None], _WINDOW_PX // side // 2 * 2 + 1)[0, 0]
        error = (doubt**2 / (torch.exp(-2 * log_scale.float()) + _LIMIT_HU**-2)).mean(0)
        plane.mul_(error / (power + error))
    inside = np.flatnonzero(passage.operator.matrix.any(axis=0))
    taken[:, : inside[0]], taken[:, inside[-1] + 1 :] = 0, 0  # beyond the outer slabs the lines know nothing
    null_in_place(taken, passage)
    view.mean.sub_(taken)
