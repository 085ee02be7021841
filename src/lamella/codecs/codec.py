"""What every codec promises."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class LatentCodec(Protocol):
    """Image block (b, 1, z, y, x) <-> latent block (b, channels, z', y', x')."""

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        ...

    @property
    def factor(self) -> tuple[int, int, int]:
        """How many voxels along (z, y, x) one latent voxel stands for.

        Image sizes must be divisible by it, but for a codec that pads (`KlCodec`).
        """
        ...

    def encode(self, image: Tensor) -> Tensor:
        """(b, 1, z, y, x) -> (b, channels, z / fz, y / fy, x / fx)."""
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """The way back."""
        ...
