"""Shape of an `Autoencoder`, checked before there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lamella.errors import LamellaError

SideInformation = Literal["none", "interpolated_thick"]


@dataclass(frozen=True)
class AutoencoderSettings:
    """Shape of an `Autoencoder`.

    Attributes:
        channels: width of each level; level i is 2^i times coarser in z, y and x.
        blocks: residual blocks of each level, the same number on the way down and up.
        latent_channels: channels of the latent.
        groups: of the group normalisation before each convolution of a residual block; 0 means no normalisation.
        epsilon: added to the variance by the normalisation.
        side_information: what the decoder is shown besides the latent.
        side_channels, side_blocks: width and residual blocks of each level of the adapter that reads it.

    Raises:
        LamellaError: lengths differ, a number is not positive, the groups do not divide the channels, unknown information.
    """

    channels: tuple[int, ...] = (64, 128, 256)
    blocks: tuple[int, ...] = (2, 2, 2)
    latent_channels: int = 4
    groups: int = 32
    epsilon: float = 1e-6
    side_information: SideInformation = "none"
    side_channels: tuple[int, ...] = (16, 48, 96)
    side_blocks: tuple[int, ...] = (1, 1, 3)

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.blocks):
            raise LamellaError(
                f"An autoencoder needs one number of blocks a level. Found channels {self.channels} and blocks "
                f"{self.blocks}."
            )
        if min(*self.channels, *self.blocks, self.latent_channels) < 1 or self.groups < 0:
            raise LamellaError(
                f"Channels and blocks must be positive. Found channels {self.channels}, blocks {self.blocks}, latent "
                f"channels {self.latent_channels}, groups {self.groups}."
            )
        if self.groups and any(n % self.groups for n in self.channels):
            raise LamellaError(
                f"Channels must be divisible by the groups of the normalisation. Found channels {self.channels} and "
                f"{self.groups} groups. groups=0 means no normalisation."
            )
        if self.side_information not in get_args(SideInformation):
            raise LamellaError(
                f"Unknown side information {self.side_information!r}. Expected one of "
                f"{', '.join(get_args(SideInformation))}."
            )
        levels = (len(self.side_channels), len(self.side_blocks))
        if self.side_information != "none" and (
            levels[0] != levels[1]
            or not 0 < levels[0] <= len(self.channels)
            or min(*self.side_channels, *self.side_blocks) < 1
        ):
            raise LamellaError(
                f"Side information is read on 1 to {len(self.channels)} levels, with at least 1 channel and 1 block on each. "
                f"Found side_channels {self.side_channels} and side_blocks {self.side_blocks}."
            )

    @property
    def factor(self) -> int:
        """Voxels along each axis in one latent cell."""
        return 1 << (len(self.channels) - 1)
