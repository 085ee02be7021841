"""The packed codec: every 4 x 4 in-plane block of pixels becomes 16 channels. Exact, linear, no parameters.

Because it is a permutation, nothing is lost (no auto-encoder ceiling), and because z is untouched, the slice operator acts
on latents exactly as on images: the measurement can be enforced at every step of a sampler.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lamella.errors import LamellaError


@dataclass(frozen=True)
class PackedCodec:
    """Space to depth in the plane: (b, c, z, y, x) <-> (b, c * side^2, z, y / side, x / side).

    Attributes:
        side: in-plane pixels along y and x in one latent voxel.
    """

    side: int = 4

    @property
    def channels(self) -> int:
        """Latent channels of a one-channel image."""
        return self.side**2

    @property
    def factor(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x) in one latent voxel."""
        return (1, self.side, self.side)

    def encode(self, image: Tensor) -> Tensor:
        """Image to latent.

        Raises:
            LamellaError: rows or columns not divisible by `side`.
        """
        b, c, z, y, x = image.shape
        n = self.side
        if y % n or x % n:
            raise LamellaError(f"Rows and columns must be divisible by {n}. Found {y} x {x}. Pad the image first.")
        return (
            image.view(b, c, z, y // n, n, x // n, n)
            .permute(0, 1, 4, 6, 2, 3, 5)
            .reshape(b, c * n * n, z, y // n, x // n)
        )

    def decode(self, latent: Tensor) -> Tensor:
        """Latent to image."""
        b, c, z, y, x = latent.shape
        n = self.side
        return (
            latent.view(b, c // (n * n), n, n, z, y, x)
            .permute(0, 1, 4, 5, 2, 6, 3)
            .reshape(b, c // (n * n), z, y * n, x * n)
        )
