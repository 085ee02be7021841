"""A test object of metal: rods in water beside tissue and bone, with the streaks that a scanner leaves around metal.

The rays that metal hardens are measured as too weak: the error of a projection falls with the square of the path through
metal, and filtered back projection smears it into dark bands between rods and bright rims beside them (De Man et al., "Metal
streak artifacts in X-ray computed tomography", IEEE Trans. Nucl. Sci. 46, 691, 1999). Photons are few behind metal, too:
`noise` makes noise there stronger by itself, along the rays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lamella.phantom.canvas import Canvas
from lamella.phantom.settings import PhantomSettings

METAL_HU = 20_000.0

RODS = ((-24.0, 6.0, 4.0, -30.0, 18.0), (26.0, -4.0, 3.0, -12.0, 34.0), (4.0, 38.0, 2.0, -60.0, 60.0))
"""x, y, radius, lower and upper end in mm."""

_HARDENING = 0.02
"""Share of the squared attenuation by metal that a projection lacks."""

_METAL_PER_MM = 0.42
_WATER_PER_MM = 0.02
_ANGLES, _STEP_MM = 240, 0.4


def paint_metal(canvas: Canvas, settings: PhantomSettings) -> None:
    """A cylinder of water with a ring of bone, spheres of tissue and three rods of metal that end at different heights."""
    x, y, z = canvas.grid.mesh
    radius = np.sqrt(x**2 + y**2)
    canvas.fill(radius - np.float32(80.0), 0.0)
    canvas.fill(np.abs(radius - np.float32(66.0)) - np.float32(3.0), 700.0)
    rng = np.random.default_rng([settings.seed, 71])
    for _ in range(40):
        centre = (*rng.uniform(-44.0, 44.0, 2), rng.uniform(-60.0, 60.0))
        canvas.ball(centre, float(rng.uniform(3.0, 9.0)), float(rng.uniform(-100.0, 150.0)))
    seen: dict[tuple[bool, ...], NDArray[np.float32]] = {}
    for index, height in enumerate(canvas.grid.z):
        present = tuple(bool(low < height < high) for *_, low, high in RODS)
        if present not in seen:
            seen[present] = streaks(canvas, [rod for rod, there in zip(RODS, present, strict=True) if there])
        canvas.hu[index] += seen[present]
    for rod_x, rod_y, rod_radius, low, high in RODS:
        side = np.sqrt((x - np.float32(rod_x)) ** 2 + (y - np.float32(rod_y)) ** 2) - np.float32(rod_radius)
        ends = np.abs(z - np.float32((low + high) / 2)) - np.float32((high - low) / 2)
        canvas.fill(np.maximum(side, ends), METAL_HU)


def streaks(canvas: Canvas, rods: list[tuple[float, ...]]) -> NDArray[np.float32]:
    """(y, x) HU that hardening adds to a slice with these rods: the error of each projection, filtered and smeared back."""
    x, y = canvas.grid.x[None, :], canvas.grid.y[:, None]
    reach = 1.5 * float(max(np.abs(canvas.grid.x).max(), np.abs(canvas.grid.y).max())) + 10.0
    across = np.arange(-reach, reach, _STEP_MM)
    ramp = np.abs(fft.rfftfreq(2 * len(across), _STEP_MM)) * 2 * np.pi
    found = np.zeros((len(canvas.grid.y), len(canvas.grid.x)))
    for angle in np.arange(_ANGLES) * np.pi / _ANGLES:
        turn = np.cos(angle), np.sin(angle)
        path = np.zeros_like(across)
        for rod_x, rod_y, radius, *_ in rods:
            path += 2 * np.sqrt(np.maximum(radius**2 - (across - rod_x * turn[0] - rod_y * turn[1]) ** 2, 0.0))
        error = -_HARDENING * (_METAL_PER_MM * path) ** 2
        filtered = fft.irfft(fft.rfft(error, 2 * len(across)) * ramp)[: len(across)]
        found += np.interp(x * turn[0] + y * turn[1], across, filtered)
    return np.asarray(found / (2 * _ANGLES) / _WATER_PER_MM * 1000.0, dtype=np.float32)
