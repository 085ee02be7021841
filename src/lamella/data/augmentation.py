"""What makes one scan many: turned, seen closer, through another kernel, at another dose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lamella.physics.slice_operator import cubic_matrix
from lamella.volume import AIR_HU, MAX_HU


@dataclass(frozen=True)
class Turn:
    """A mirroring along each axis, then perhaps a transposition in the plane.

    Attributes:
        mirrored: along z, y, x.
        transposed: rows become columns.
    """

    mirrored: tuple[bool, bool, bool] = (False, False, False)
    transposed: bool = False

    def apply(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(z, y, x) -> the same block, turned, contiguous."""
        for axis in (0, 1, 2):
            if self.mirrored[axis]:
                block = np.flip(block, axis)
        return np.ascontiguousarray(block.transpose(0, 2, 1) if self.transposed else block)


def draw_turn(rng: np.random.Generator) -> Turn:
    """Each axis mirrored, and the plane transposed, with an even chance."""
    z, y, x, transposed = (bool(rng.random() < 0.5) for _ in range(4))
    return Turn((z, y, x), transposed)


def magnified(block: NDArray[np.int16], magnification: float, size: int) -> NDArray[np.float32]:
    """The middle (z, size, size) of a block whose pixels were `magnification` times smaller, by cubic splines."""
    pixels = block.shape[-1]
    wanted = (pixels - 1) / 2 + (np.arange(size) - (size - 1) / 2) / magnification
    matrix = cubic_matrix(np.arange(pixels, dtype=np.float64), wanted).astype(np.float32)
    return np.asarray(matrix @ block.astype(np.float32) @ matrix.T)


def vary(
    rng: np.random.Generator, patch: NDArray[np.float32], kernel: float, noise: float, noise_hu: tuple[float, float]
) -> NDArray[np.float32]:
    """Another kernel, another dose, with the chances of `PatchSettings`."""
    if rng.random() < kernel:
        soft = gaussian_filter(patch, (0, 0.7, 0.7))
        patch = patch + rng.uniform(-0.8, 0.6) * (patch - soft)
    if rng.random() < noise:
        grain = rng.standard_normal(patch.shape, dtype=np.float32)
        width = rng.uniform(0.3, 1.1)
        grain = gaussian_filter(grain, (0, width, width)) - gaussian_filter(grain, (0, 4 * width, 4 * width))
        patch = patch + rng.uniform(*noise_hu) / max(float(grain.std()), 1e-6) * grain
    return np.clip(patch, AIR_HU, MAX_HU).astype(np.float32)
