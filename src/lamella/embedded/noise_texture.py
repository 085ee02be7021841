"""Give sampled noise the texture of the scan's own noise.

A network samples noise as its training scans had it, whatever the kernel of the scan. But averaging slices leaves the spectrum
in the slice as it is, so the thick slices show the noise texture that thin ones of their kernel have. Filters in the slice
and operators along z commute: a filtered sample stays within the null space of the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.embedded.predict import Prediction, null_in_place
from lamella.embedded.scan_noise import ScanNoise
from lamella.errors import LamellaError
from lamella.metrics import Spectrum, noise_power_in_plane
from lamella.volume import Volume

_LEAST = 0.03
"""No frequency is weakened to less than this."""

_ROUNDS = 4
"""A small region sees some of each frequency's power in the others, so one comparison does not suffice."""

_SIDES_PX = (16, 8)
"""Sides of the square regions, the first that enough of fit."""

_SLICES = 40
"""The spectrum is measured in so many thick slices, evenly spread."""

_ROUNDING_HU2 = 1 / 12
"""Variance that rounding to whole HU adds: the spectrum of weaker noise cannot be measured."""

NO_NOISE_TEXTURE = (
    "There is too little homogeneous soft tissue, or noise in it, to measure the noise's spectrum; sampled noise keeps "
    "the model's own."
)


@dataclass(frozen=True, eq=False)
class NoiseTexture:
    """The spectrum of the noise of thick slices.

    Attributes:
        soft: (k, y, x) homogeneous soft tissue of some thick slices.
        nearest: (k,) the thin slice nearest to each.
        power: noise power of those thick slices there.
        side_px: side of the square regions it was measured in.
        pixel_mm: between rows, between columns.
        noise: of the scan, with the geometry.
    """

    soft: NDArray[np.bool_]
    nearest: NDArray[np.intp]
    power: Spectrum
    side_px: int
    pixel_mm: tuple[float, float]
    noise: ScanNoise


def measure_noise_texture(thick: Volume, noise: ScanNoise) -> NoiseTexture | None:
    """The noise texture of thick slices; None where there is too little homogeneous soft tissue, or noise in it."""
    some = np.unique(np.linspace(0, len(thick.hu) - 1, _SLICES).round().astype(int))
    soft, pixel_mm = noise.soft[some], thick.geometry.pixel_mm
    for side in _SIDES_PX:
        try:
            power = noise_power_in_plane(thick.hu[some], soft, pixel_mm, "thick slices", side)
        except LamellaError:
            continue
        if power.variance_hu2 <= _ROUNDING_HU2:
            return None
        return NoiseTexture(soft, np.abs(noise.grids.offsets).argmin(axis=0)[some], power, side, pixel_mm, noise)
    return None


def match_noise_texture(residual: Tensor, prediction: Prediction, level_hu: Tensor, texture: NoiseTexture) -> None:
    """Filter the noise of a sample in the slice, in place: it gets the thick slices' spectrum and keeps its strength.

    Of a sample of scale s the share level / s is noise; the rest, structure, is left as it is. A share that varies along z
    leaves the null space, so the result is projected.

    Args:
        residual: (n, D, y', x') packed sample in HU.
        prediction: with the scale that the residual was sampled at.
        level_hu: (D, 1, 1) noise level in it.
        texture: of the scan.
    """
    codec = prediction.codec

    def noise_of(index: int) -> Tensor:
        share = (level_hu[index] / torch.exp(prediction.log_scale[:, index].float())).clamp(max=1)
        return codec.decode((residual[:, index] * share)[None, :, None])[0, 0, 0]

    sampled = torch.stack([noise_of(int(index)) for index in texture.nearest])
    response = _response(sampled, texture)
    for index in range(residual.shape[1]):
        change = _filtered(noise_of(index), response - 1)
        residual[:, index] += codec.encode(change[None, None, None])[0, :, 0]
    null_in_place(residual, texture.noise.grids)


def _response(sampled: Tensor, texture: NoiseTexture) -> Tensor:
    """(y, x // 2 + 1) what each frequency of a plane is multiplied with, from (k, y, x) noise of a sample, padding included.

    High frequencies that the kernel does not pass are taken away. None is raised: the coarsest noise of thick slices is
    partly anatomy, so those from 0.2 to 0.4 of the Nyquist frequency set what needs no change. Then the strength is restored.
    """
    y, x = texture.soft.shape[1:]
    power = texture.power
    along_y, along_x = (np.fft.fftfreq(n, mm) for n, mm in zip(sampled.shape[1:], texture.pixel_mm, strict=True))
    radius = np.hypot(along_y[:, None], along_x[: sampled.shape[2] // 2 + 1])
    share = power.frequency_per_mm / power.nyquist_per_mm
    coarse = (share > 0.2) & (share < 0.4)
    gains = np.ones_like(power.power)
    filtered = sampled
    for _ in range(_ROUNDS):
        planes = filtered[:, :y, :x].numpy()
        found = noise_power_in_plane(planes, texture.soft, texture.pixel_mm, "sample", texture.side_px)
        gains *= np.sqrt(power.power / found.power)
        gains = np.clip(gains / gains[coarse].mean(), _LEAST, 1.0)
        response = torch.from_numpy(np.interp(radius, found.frequency_per_mm, gains)).float()
        filtered = _filtered(sampled, response)
    before, after = (texture.noise.sampled_hu(hu[:, :y, :x].numpy(), texture.soft) for hu in (sampled, filtered))
    return response * (before / after)


def _filtered(planes: Tensor, response: Tensor) -> Tensor:
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes) * response, s=planes.shape[-2:])
    return filtered
