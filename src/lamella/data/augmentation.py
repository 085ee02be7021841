"""What makes one scan many: mirrored, magnified, with another reconstruction kernel, at another dose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lamella.physics.slice_operator import cubic_matrix
from lamella.volume import AIR_HU, MAX_HU


@dataclass(frozen=True)
class Orientation:
    """A mirroring along each axis, then perhaps a transposition in the plane.

    Attributes:
        mirrored: along z, y, x.
        transposed: rows become columns.
    """

    mirrored: tuple[bool, bool, bool] = (False, False, False)
    transposed: bool = False

    def apply(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(z, y, x) -> the same block in this orientation, contiguous."""
        block = np.flip(block, tuple(axis for axis in (0, 1, 2) if self.mirrored[axis]))
        return np.ascontiguousarray(block.transpose(0, 2, 1) if self.transposed else block)


def random_orientation(rng: np.random.Generator) -> Orientation:
    """Each axis mirrored, and the plane transposed, with an even chance."""
    z, y, x, transposed = (bool(rng.random() < 0.5) for _ in range(4))
    return Orientation((z, y, x), transposed)


def magnified(block: NDArray[np.int16], magnification: float, size: int) -> NDArray[np.float32]:
    """The middle (z, size, size) of a block whose pixels were `magnification` times smaller, by cubic splines."""
    pixels = block.shape[-1]
    wanted = (pixels - 1) / 2 + (np.arange(size) - (size - 1) / 2) / magnification
    matrix = cubic_matrix(np.arange(pixels, dtype=np.float64), wanted).astype(np.float32)
    return np.asarray(matrix @ block.astype(np.float32) @ matrix.T)


def augment(
    rng: np.random.Generator, block: NDArray[np.float32], kernel: float, noise: float, noise_hu: tuple[float, float]
) -> NDArray[np.float32]:
    """Another kernel, another dose, with the chances of `SampleSettings`."""
    if rng.random() < kernel:
        soft = gaussian_filter(block, (0, 0.7, 0.7))
        block = block + rng.uniform(-0.8, 0.6) * (block - soft)
    if rng.random() < noise:
        white = rng.standard_normal(block.shape, dtype=np.float32)
        width = rng.uniform(0.3, 1.1)
        added = gaussian_filter(white, (0, width, width)) - gaussian_filter(white, (0, 4 * width, 4 * width))
        block = block + rng.uniform(*noise_hu) / max(float(added.std()), 1e-6) * added
    return np.clip(block, AIR_HU, MAX_HU).astype(np.float32)
