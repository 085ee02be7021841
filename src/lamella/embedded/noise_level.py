"""Bring the predicted scale into line with the noise this scan really has.

A network trained on a handful of scans pulls its scale towards theirs: too large on quiet scans, too small on noisy ones. But
how noise passes through averaging is physics: if the thick slices have noise sigma_y in homogeneous tissue, thin slices of
the same kernel whose noise is white along z have sigma_y / |row of A|, and the part of it that the measurement leaves open is
known too. Real noise is a little correlated along z; `Calibration.noise_share` is the measured ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from lamella.embedded.predict import Prediction
from lamella.embedded.scan_noise import ScanNoise
from lamella.embedded.weights import Calibration
from lamella.physics.grid_pair import GridPair

_RANGE = (0.3, 3.0)
"""The scale is never changed by more than this, except for samples on a scan quieter than predicted."""

_DRAWN_LEAST = 0.1
"""The least factor for samples: 28 HU were predicted where there were 3."""

_DRAWN_REACH = 2.0
"""So many medians of the scale count as noise in a sample on a scan quieter than predicted."""

_LEAST_IN_SLICE = 200
"""A thin slice with fewer voxels of soft tissue takes its noise from its neighbours."""

_SLICES = 40
"""A figure of the whole volume is measured in so many slices, evenly spread."""

_EVENNESS = 0.1
"""Weight of even levels beside even noise: where two slices share one unknown, noise alone does not say whose it is."""

NO_SOFT_TISSUE = (
    "There is too little homogeneous soft tissue to measure the noise; spread and sampled modes rest on the model "
    "alone."
)


def limit_scale(log_scale: Tensor, limit_hu: float) -> None:
    """Let the scale approach `limit_hu`, in place: 1 / s^2 -> 1 / s^2 + 1 / limit^2.

    The likelihood that the scale is trained with hardly penalises a scale far too large, so the largest ones are too large.
    """
    for part in log_scale:
        part.sub_(0.5 * torch.log1p(torch.exp(2 * part.float()) / limit_hu**2))


@dataclass(frozen=True)
class NoiseFit:
    """The scale that was predicted for homogeneous soft tissue, and the one that fits this scan.

    Attributes:
        predicted_hu: median of the prediction.
        measured_hu: error to be expected there: the open noise and, independent of it, the noise of the mean beyond that of
            the measurement.
    """

    predicted_hu: float
    measured_hu: float


def fit_noise(prediction: Prediction, noise: ScanNoise, figures: Calibration) -> NoiseFit:
    """Compare the predicted scale with the noise of the scan."""
    some = range(0, len(noise.nearest), max(1, len(noise.nearest) // _SLICES))
    measured = _with_tissue(noise, some)
    has = np.array([_noise_of_slice(prediction, d, noise) for d in measured])
    added = max(0.0, float((has**2).mean()) - noise.passed_hu**2)
    predicted = float(np.median([_scale_of_slice(prediction, d, noise) for d in measured]))
    return NoiseFit(predicted, math.hypot(noise.open_hu(figures.noise_share), math.sqrt(added)))


def scale_to_noise(log_scale: Tensor, fit: NoiseFit, *, sampled: bool) -> None:
    """Change the noise part of the scale, in place, so that it fits the scan.

    Where the scale is s and its median in homogeneous soft tissue m, s^2 becomes s^2 + (f^2 - 1) min(s, m)^2: the noise is
    multiplied by f, the rest (uncertain structure) is kept. On a scan much quieter than predicted the guesses around m are
    as wrong as m itself. A spread keeps them, to err on the side of doubt; a sample would show them as noise that the scan
    does not have, so for samples (`sampled`) min(s, 2 m) is multiplied.
    """
    factor = fit.measured_hu / fit.predicted_hu
    if sampled and factor < 1:
        least, reach = _DRAWN_LEAST, _DRAWN_REACH
    else:
        least, reach = _RANGE[0], 1.0
    for part in log_scale:
        _multiply_noise(part, float(np.clip(factor, least, _RANGE[1])), reach * fit.predicted_hu)


def level_noise(prediction: Prediction, noise: ScanNoise, figures: Calibration) -> Tensor:
    """Change the noise part of `prediction.log_scale`, in place, so that a sample has the same noise in every slice.

    The mean is noisier where it lies on a thick slice than between two, and its noise differs from what the measurement
    passes on: interpolation carries some of it into the null space. So the noise of the mean is measured in every slice, and
    the sample adds what the mean lacks of the noise of a thin slice. A sample is projected after it is scaled, so the levels
    that give these variances solve a least-squares problem; they are not negative (Lawson and Hanson 1974, chapter 23).

    Args:
        prediction: its scale fits the scan (`scale_to_noise`, sampled).
        noise: of the scan.
        figures: chosen after training.

    Returns:
        (D, 1, 1) the noise level of the new scale in HU.
    """
    has = _in_slices(lambda d: _noise_of_slice(prediction, d, noise), noise)
    wanted = noise.passed_hu**2 + noise.open_hu(figures.noise_share) ** 2
    levels = _levels(np.maximum(wanted - has**2, 0.01 * wanted), noise.grids)
    guessed = _in_slices(lambda d: _scale_of_slice(prediction, d, noise), noise)
    factors = np.clip(levels / guessed, *_RANGE)
    for index, (factor, guess) in enumerate(zip(factors, guessed, strict=True)):
        _multiply_noise(prediction.log_scale[:, index], float(factor), float(guess))
    return torch.from_numpy(factors * guessed).float()[:, None, None]


def _levels(variances: NDArray[np.float64], grids: GridPair) -> NDArray[np.float64]:
    """(D,) levels at which projected noise has the given variance in each slice, as nearly as can be."""
    passes = grids.operator.null_matrix**2 * grids.null_gain.double().numpy().ravel() ** 2
    even = _EVENNESS * np.eye(len(variances))
    squared, _ = nnls(np.vstack([passes, even]), np.concatenate([variances, _EVENNESS * variances]))
    return np.asarray(np.sqrt(np.maximum(squared, 0.01 * variances)))


def typical_scale(log_scale: Tensor) -> Tensor:
    """Median scale in HU of the whole volume: replaces the noise level where that could not be measured."""
    step = max(1, log_scale.numel() // 4_000_000)
    return torch.exp(log_scale.flatten()[::step].float().median())


def temper_structure(log_scale: Tensor, noise_hu: Tensor, temperature: float) -> None:
    """Multiply what lies above the noise level, in place: s^2 -> n^2 + temperature^2 (s^2 - n^2) with n = min(s, noise).

    Mode `texture` leaves that structure out: its temperature is 0.
    """
    for part in log_scale:
        squared = torch.exp(2 * part.float())
        noise = torch.minimum(squared, noise_hu**2)
        part.copy_(0.5 * torch.log(noise + temperature**2 * (squared - noise)))


def _multiply_noise(log_scale: Tensor, factor: float, noise_hu: float) -> None:
    """s^2 -> s^2 + (factor^2 - 1) min(s, noise)^2, in place."""
    squared = torch.exp(2 * log_scale.float())
    squared += (factor**2 - 1) * squared.clamp(max=noise_hu**2)
    log_scale.copy_(0.5 * torch.log(squared))


def _with_tissue(noise: ScanNoise, asked: Iterable[int]) -> list[int]:
    """The thin slices asked for that have enough soft tissue to be measured; at least one."""
    counts = noise.counts()[noise.nearest]
    return [index for index in asked if counts[index] >= min(_LEAST_IN_SLICE, counts.max())] or [int(counts.argmax())]


def _in_slices(measure: Callable[[int], float], noise: ScanNoise) -> NDArray[np.float64]:
    """(D,) a figure of each thin slice.

    It is interpolated in slices with too little soft tissue, and the median beyond the last slice with enough: the outermost
    hold the least tissue, so their figures do not stand for all slices above them.
    """
    measured = _with_tissue(noise, range(len(noise.nearest)))
    figures = [measure(index) for index in measured]
    middle = float(np.median(figures))
    return np.interp(np.arange(len(noise.nearest)), measured, figures, left=middle, right=middle)


def _noise_of_slice(prediction: Prediction, index: int, noise: ScanNoise) -> float:
    """Noise of a slice of the mean in HU."""
    soft = noise.soft[noise.nearest[index]]
    mean = prediction.mean[None, :, index : index + 1]
    plane = prediction.codec.decode(mean)[0, 0, :, : soft.shape[0], : soft.shape[1]]
    return noise.in_plane_hu(plane.numpy(), soft[None], "mean")


def _scale_of_slice(prediction: Prediction, index: int, noise: ScanNoise) -> float:
    """Median scale in HU of a slice's soft tissue."""
    soft, codec = noise.soft[noise.nearest[index]], prediction.codec
    mask = np.zeros([n * codec.side for n in prediction.log_scale.shape[-2:]], bool)
    mask[: soft.shape[0], : soft.shape[1]] = soft
    packed = codec.encode(torch.from_numpy(mask)[None, None, None])[0, :, 0]
    return float(torch.exp(prediction.log_scale[:, index][packed].float()[::4].median()))
