"""A network fed some slices at a time along z: the answer is that of the whole, and no slice is computed twice.

A block with a halo computes its halo again in the next block. Here a convolution of three slices keeps the last two it was
given until the next arrive, so its answer is one slice late, and what joins it later waits as long. Shapes: (b, c, z, y, x).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import torch
from torch import Tensor

from lamella.machine.processor import Conv3d


class Feed:
    """What one network keeps of the slices that it was fed.

    Attributes:
        last: whether the piece that is being fed is the last.
    """

    def __init__(self) -> None:
        self.last = False
        self._kept: dict[Hashable, Tensor] = {}

    def around(self, place: Hashable, x: Tensor) -> Tensor:
        """`x` behind the two slices before it; beyond both ends of the volume lies one of zeros, as in a padded convolution."""
        beyond = torch.zeros_like(x[:, :, :1])
        joined = _join([self._kept.get(place, beyond), x, *([beyond] if self.last else [])])
        self._kept[place] = joined[:, :, -2:].clone()
        return joined

    def conv(self, conv: Conv3d, x: Tensor) -> Tensor:
        """The answer of a convolution of three slices, one slice late."""
        return conv.inside(self.around(conv, x))

    def late(self, place: Hashable, x: Tensor, count: int) -> Tensor:
        """The first `count` slices of what was kept and `x`; the others are kept."""
        joined = _join([self._kept[place], x]) if place in self._kept else x
        self._kept[place] = joined[:, :, count:].clone()
        return joined[:, :, :count]


def _join(parts: list[Tensor]) -> Tensor:
    """Along z, with the channels side by side in memory, as convolutions are fastest."""
    return torch.cat([part.permute(0, 2, 3, 4, 1) for part in parts], dim=1).permute(0, 4, 1, 2, 3)


def pieces(length: int, most: int, late: int) -> Iterator[tuple[slice, slice]]:
    """What is fed, and what is answered then, of a volume of so many slices.

    Args:
        length: slices of the volume.
        most: slices fed at a time; the first piece is longer, so that something is answered.
        late: slices by which the answer is late (`UNet3d.reach`); the last piece has them all.
    """
    start = answered = 0
    while start < length:
        stop = min(length, start + most + (0 if start else late))
        done = length if stop == length else stop - late
        yield slice(start, stop), slice(answered, done)
        start, answered = stop, done
