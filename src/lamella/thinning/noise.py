"""Bring the predicted scale into line with the noise this scan really has.

A network that has seen a handful of scans pulls its scale towards theirs: too large on quiet scans, too small on loud
ones. But how noise passes through averaging is physics: if the thick slices have noise sigma_y in homogeneous tissue, thin
slices of the same kernel whose noise is white along z have sigma_y / |row of A|, and the part of it that the measurement
leaves open is known too. Real noise is a little correlated along z; `Calibration.noise_share` is the measured ratio.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.latent.packed import PackedCodec
from lamella.metrics import noise_sd_in_plane, soft_tissue_mask
from lamella.passage import Passage
from lamella.thinning.look import View
from lamella.volume import Volume

_LEAST_VOXELS = 1000
"""Fewer voxels of homogeneous soft tissue than this say nothing reliable about noise: some 100 independent ones."""

_RANGE = (0.3, 3.0)
"""The scale is never changed by more than this."""

NO_SOFT_TISSUE = (
    "There is too little homogeneous soft tissue to measure the noise; spread and drawn modes rest on the model alone."
)


def open_noise_hu(thick: Volume, soft: NDArray[np.bool_], passage: Passage) -> float:
    """Standard deviation in HU of what the measurement leaves open in homogeneous tissue, if noise is white along z."""
    measured = noise_sd_in_plane(thick.hu, soft, "thick slices")
    row = float(np.sqrt((passage.operator.matrix**2).sum(axis=1)).mean())
    return measured / row * float(np.sqrt(passage.operator.null_fraction.mean()))


def scale_to_noise(view: View, thick: Volume, passage: Passage, codec: PackedCodec, share: float) -> float | None:
    """Change the noise part of `view.log_scale`, in place, so that it fits the scan.

    Where the scale is s and its median in homogeneous soft tissue m, s^2 becomes s^2 + (f^2 - 1) min(s, m)^2: the noise is
    multiplied by f, what lies above it (doubt about structure) is kept.

    Args:
        view: what the network saw.
        thick: the source.
        passage: the geometry.
        codec: how pixels are packed.
        share: `Calibration.noise_share`.

    Returns:
        The noise level of the new scale in HU, f m; None, and nothing is changed, where there is too little soft tissue.
    """
    soft = soft_tissue_mask(thick.hu, thick.geometry)
    if int(soft.sum()) < _LEAST_VOXELS:
        return None
    nearest = np.abs(passage.offsets).argmin(axis=1)
    predicted = _median_scale(view.log_scale, soft, nearest, codec)
    wanted = share * open_noise_hu(thick, soft, passage)
    factor = float(np.clip(wanted / predicted, *_RANGE))
    for part in view.log_scale:
        squared = torch.exp(2 * part.float())
        squared += (factor**2 - 1) * squared.clamp(max=predicted**2)
        part.copy_(0.5 * torch.log(squared))
    return factor * predicted


def typical_scale(log_scale: Tensor) -> float:
    """Median scale in HU of the whole volume: stands for the noise where that could not be measured."""
    step = max(1, log_scale.numel() // 4_000_000)
    return float(torch.exp(log_scale.flatten()[::step].float().median()))


def cap_structure(log_scale: Tensor, noise_hu: float, cap: float) -> None:
    """Cap the scale, in place, at `cap` times the noise level: what lies above speaks of structure, none of texture's."""
    log_scale.clamp_(max=math.log(cap * noise_hu))


def calm_structure(log_scale: Tensor, noise_hu: float, calm: float) -> None:
    """Multiply what lies above the noise level by `calm`, in place: s^2 -> n^2 + calm^2 (s^2 - n^2) with n = min(s, noise)."""
    for part in log_scale:
        squared = torch.exp(2 * part.float())
        noise = squared.clamp(max=noise_hu**2)
        part.copy_(0.5 * torch.log(noise + calm**2 * (squared - noise)))


def _median_scale(log_scale: Tensor, soft: NDArray[np.bool_], nearest: NDArray[np.intp], codec: PackedCodec) -> float:
    """Median scale in the soft tissue of every third thin slice."""
    y, x = (n * codec.side for n in log_scale.shape[-2:])
    found = []
    for index in range(0, len(nearest), 3):
        mask = np.zeros((y, x), bool)
        plane = soft[nearest[index]]
        mask[: plane.shape[0], : plane.shape[1]] = plane
        packed = codec.encode(torch.from_numpy(mask)[None, None, None])[0, :, 0]
        found.append(log_scale[:, index][packed].float()[::4])
    return float(torch.exp(torch.cat(found).median()))
