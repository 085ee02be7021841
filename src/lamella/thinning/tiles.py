"""A volume computed block by block, with the same result as computed whole.

The networks have no normalisation, so an output voxel depends on a bounded neighbourhood, its network's `reach`. Every
block is computed with a halo of that reach and only its core is kept: no blending, no seam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Block:
    """One block of a (z, y, x) grid.

    Attributes:
        core: what is kept, as slices of the grid.
        halo: what is read, as slices of the grid; clipped at its borders.
        crop: the core within the halo.
    """

    core: tuple[slice, slice, slice]
    halo: tuple[slice, slice, slice]
    crop: tuple[slice, slice, slice]


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


def blocks(
    shape: tuple[int, int, int], core: tuple[int, int, int], reach: tuple[int, int], align: int = 1
) -> Iterator[Block]:
    """Cut a grid into blocks.

    Args:
        shape: (z, y, x) of the grid.
        core: the most (slices, rows, columns) of a block; rows and columns are rounded up to a multiple of `align`.
        reach: (along z, in the plane) reach of the network.
        align: in-plane step of the network's strides; y and x of the grid are multiples of it.
    """
    z_axis = _axis(shape[0], core[0], reach[0], 1)
    y_axis, x_axis = (_axis(n, most, reach[1], align) for n, most in zip(shape[1:], core[1:], strict=True))
    for z, y, x in product(z_axis, y_axis, x_axis):
        yield Block(core=(z[0], y[0], x[0]), halo=(z[1], y[1], x[1]), crop=(z[2], y[2], x[2]))
