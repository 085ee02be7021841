"""Give drawn noise the noise texture of the scan's own.

A network draws noise as its training scans had it, whatever the kernel of the scan before it. But averaging slices leaves
the spectrum in the slice as it is, so the thick slices show the noise texture that thin ones of their kernel have. Filters
in the slice and operators along z commute: a filtered draw stays within the null space of the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.codecs.packed import PackedCodec
from lamella.embedded.scan_noise import ScanNoise
from lamella.errors import LamellaError
from lamella.metrics import Spectrum, noise_power_in_plane
from lamella.physics.grid_pair import GridPair
from lamella.volume import Volume

_LEAST = 0.03
"""No frequency is weakened to less than this."""

_ROUNDS = 4
"""A small region sees some of each frequency's power in the others, so one comparison does not suffice."""

_SIDES_PX = (16, 8)
"""Sides of the square regions, the first that enough of fit."""

_SLICES = 40
"""So many thick slices, evenly spread, tell a spectrum."""

_ROUNDING_HU2 = 1 / 12
"""Variance that rounding to whole HU adds: weaker noise has no spectrum to be seen."""

NO_NOISE_TEXTURE = (
    "There is too little homogeneous soft tissue, or noise in it, to measure the noise's spectrum; drawn noise keeps the "
    "model's own."
)


@dataclass(frozen=True, eq=False)
class NoiseTexture:
    """What the noise of thick slices looks like.

    Attributes:
        soft: (k, y, x) homogeneous soft tissue of some thick slices.
        nearest: (k,) the thin slice nearest to each.
        power: noise power of those thick slices there.
        side_px: side of the square regions it was measured in.
        pixel_mm: between rows, between columns.
        noise: of the scan.
    """

    soft: NDArray[np.bool_]
    nearest: NDArray[np.intp]
    power: Spectrum
    side_px: int
    pixel_mm: tuple[float, float]
    noise: ScanNoise


def measure_noise_texture(thick: Volume, noise: ScanNoise, grids: GridPair) -> NoiseTexture | None:
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
        return NoiseTexture(soft, np.abs(grids.offsets).argmin(axis=0)[some], power, side, pixel_mm, noise)
    return None


def match_noise_texture(
    residual: Tensor,
    log_scale: Tensor,
    level_hu: Tensor,
    noise_texture: NoiseTexture,
    grids: GridPair,
    codec: PackedCodec,
) -> None:
    """Filter the noise of a draw in the slice, in place: it gets the spectrum of the thick slices' and keeps its strength.

    Of a draw of scale s the share level / s is noise; the rest, structure, is left as it is.

    Args:
        residual: (n, D, y', x') packed draw in HU.
        log_scale: (n, D, y', x') of the draw.
        level_hu: (D, 1, 1) noise level in it.
        noise_texture: of the scan.
        grids: the geometry; a share that varies along z leaves the null space, so what was changed is projected.
        codec: how pixels are packed.
    """

    def noise_of(index: int) -> Tensor:
        share = (level_hu[index] / torch.exp(log_scale[:, index].float())).clamp(max=1)
        return codec.decode((residual[:, index] * share)[None, :, None])[0, 0, 0]

    drawn = torch.stack([noise_of(int(index)) for index in noise_texture.nearest])
    response = _response(drawn, noise_texture)
    for index in range(residual.shape[1]):
        change = _filtered(noise_of(index), response - 1)
        residual[:, index] += codec.encode(change[None, None, None])[0, :, 0]
    for part in residual:
        part.copy_(grids.operator.null(part))


def _response(drawn: Tensor, noise_texture: NoiseTexture) -> Tensor:
    """(y, x // 2 + 1) what each frequency of a plane is multiplied with.

    High frequencies that the kernel does not pass are taken away. None is raised: the coarsest noise of thick slices is
    partly anatomy, so those from 0.2 to 0.4 of the Nyquist frequency stand for what needs no change. Then the strength is
    set right.

    Args:
        drawn: (k, y, x) noise of the draw, padding included.
        noise_texture: of the scan.
    """
    y, x = noise_texture.soft.shape[1:]
    along_y, along_x = (np.fft.fftfreq(n, mm) for n, mm in zip(drawn.shape[1:], noise_texture.pixel_mm, strict=True))
    radius = np.hypot(along_y[:, None], along_x[: drawn.shape[2] // 2 + 1])
    share = noise_texture.power.frequency_per_mm / noise_texture.power.nyquist_per_mm
    coarse = (share > 0.2) & (share < 0.4)
    gains = np.ones_like(noise_texture.power.power)
    response, filtered = torch.ones(radius.shape), drawn
    for _ in range(_ROUNDS):
        found = noise_power_in_plane(
            filtered[:, :y, :x].numpy(), noise_texture.soft, noise_texture.pixel_mm, "draw", noise_texture.side_px
        )
        gains *= np.sqrt(noise_texture.power.power / found.power)
        gains = np.clip(gains / gains[coarse].mean(), _LEAST, 1.0)
        response = torch.from_numpy(np.interp(radius, found.frequency_per_mm, gains)).float()
        filtered = _filtered(drawn, response)
    before, after = (
        noise_texture.noise.drawn_hu(hu[:, :y, :x].numpy(), noise_texture.soft) for hu in (drawn, filtered)
    )
    return response * (before / after)


def _filtered(planes: Tensor, response: Tensor) -> Tensor:
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(planes) * response, s=planes.shape[-2:])
    return filtered
