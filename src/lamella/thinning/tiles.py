"""A plane computed tile by tile, with the same result as computed whole.

The networks have no normalisation, so an output pixel depends on a bounded neighbourhood, its network's `reach`. Every
tile is computed with a halo of that reach and only its core is kept: no blending, no seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Tile:
    """One tile of a (y, x) plane.

    Attributes:
        core: what is kept, as slices of the plane.
        halo: what is read, as slices of the plane; clipped at its borders.
        crop: the core within the halo.
    """

    core: tuple[slice, slice]
    halo: tuple[slice, slice]
    crop: tuple[slice, slice]


def _axis(length: int, core: int, reach: int, align: int) -> list[tuple[slice, slice, slice]]:
    parts = []
    even = -(-length // -(-length // core))  # as many parts, of nearly the same size
    even = -(-even // align) * align
    for start in range(0, length, even):
        stop = min(start + even, length)
        # Halos begin on a multiple of `align`, where a strided convolution of the whole would begin too.
        low = max(0, start - reach) // align * align
        high = min(length, -(-(stop + reach) // align) * align)
        parts.append((slice(start, stop), slice(low, high), slice(start - low, stop - low)))
    return parts


def tiles(shape: tuple[int, int], core: int, reach: int, align: int = 1) -> Iterator[Tile]:
    """Cut a plane into tiles.

    Args:
        shape: (y, x) of the plane.
        core: the most rows and columns of a tile; rounded up to a multiple of `align`.
        reach: in-plane reach of the network.
        align: step of the network's strides; y and x of the plane are multiples of it.
    """
    for y, x in product(*(_axis(n, core, reach, align) for n in shape)):
        yield Tile(core=(y[0], x[0]), halo=(y[1], x[1]), crop=(y[2], x[2]))
