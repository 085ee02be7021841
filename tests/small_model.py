"""A small geometry and a small model's shape, for tests."""

from __future__ import annotations

import numpy as np

from lamella.embedded import EmbeddedSettings
from lamella.volume import Geometry

SMALL = EmbeddedSettings(
    trunk_channels=(8, 16), trunk_blocks=(1, 2), head_hidden=8, head_basis=2, flow_channels=(8, 16), flow_blocks=(1, 1)
)


def upright(shape: tuple[int, int, int], spacing_mm: float, thickness_mm: float, pixel_mm: float = 0.8) -> Geometry:
    """A supine axial grid: slices to the head, rows to the back, columns to the left."""
    affine = np.zeros((4, 4))
    affine[:3, 0] = (0, 0, spacing_mm)
    affine[:3, 1] = (0, pixel_mm, 0)
    affine[:3, 2] = (pixel_mm, 0, 0)
    affine[:, 3] = (-50.0, -40.0, 120.0, 1.0)
    return Geometry(shape, affine, thickness_mm)
