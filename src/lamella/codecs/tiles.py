"""A network on a block too large for it: tile by tile, without a seam and without changing the depth.

Everything is counted in latent cells, so a tile always begins on a whole cell. Along each axis a tile has three ranges:
its *core* (cores share out the axis), what it *keeps* (the core and a blend on either side) and what the network *reads*
(what is kept and a halo as wide as the network's reach). A halo reaches farther than any zero that a convolution adds
at the edge of a block, so that edge never shows.

- Without normalisation: no blend. Tiled equals untiled, up to the rounding of float arithmetic.
- With group normalisation: statistics belong to the block they were taken from, so neighbouring tiles differ by a
  smooth offset and gain. Where two tiles meet they are mixed by weights that sum to 1 (sin^2 and cos^2 ramps), so the
  answer is close to the untiled one, not equal to it, and has no step. MAISI's own programs tile in this way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in latent cells; each range is [first, end).

    Attributes:
        core: shares out the axis with the other tiles' cores.
        keep: the core and the blend.
        read: what is kept and the halo.
    """

    core: tuple[int, int]
    keep: tuple[int, int]
    read: tuple[int, int]

    def weights(self, scale: int) -> Tensor:
        """(kept samples,) weights that sum to 1 over all tiles; `scale` samples stand for one cell."""
        weights = torch.ones((self.keep[1] - self.keep[0]) * scale)
        low, high = 2 * (self.core[0] - self.keep[0]) * scale, 2 * (self.keep[1] - self.core[1]) * scale
        if low:
            weights[:low] = _ramp(low)
        if high:
            weights[-high:] = _ramp(high).flip(0)
        return weights


def spans(cells: int, tile: int, halo: int, blend: int) -> tuple[Span, ...]:
    """Share out an axis.

    Args:
        cells: length of the axis.
        tile: largest core.
        halo: cells read beyond what is kept.
        blend: cells kept beyond the core, to be mixed with the neighbour's; at most a quarter of `tile`.
    """
    count = math.ceil(cells / tile)
    edges = [round(i * cells / count) for i in range(count + 1)]
    shared = []
    for first, end in itertools.pairwise(edges):
        keep = max(0, first - blend), min(cells, end + blend)
        shared.append(Span((first, end), keep, (max(0, keep[0] - halo), min(cells, keep[1] + halo))))
    return tuple(shared)


def run_tiled(
    block: Tensor,
    network: Callable[..., Tensor],
    axes: tuple[tuple[Span, ...], ...],
    *,
    channels: int,
    scale_in: int,
    scale_out: int,
    beside: Tensor | None = None,
) -> Tensor:
    """Apply a network to each tile and put the answers together, in float32, on the block's device.

    Args:
        block: (b, c, z, y, x).
        network: (b, c, z, y, x) -> (b, `channels`, z', y', x'), all axes changed by `scale_out / scale_in`.
        axes: spans along z, y and x.
        channels: of the answer.
        scale_in: samples of the block along each axis in one cell.
        scale_out: the same of the answer.
        beside: of the answer's size; its tiles are the network's second argument. None: it has one.
    """
    cells = [axis[-1].core[1] for axis in axes]
    answer = torch.zeros(block.shape[0], channels, *(n * scale_out for n in cells), device=block.device)
    for tile in itertools.product(*axes):
        read = [s.read for s in tile]
        given = [block[_box(read, scale_in)]] + ([] if beside is None else [beside[_box(read, scale_out)]])
        part = network(*given).to(answer)
        part = part[_box([(s.keep[0] - s.read[0], s.keep[1] - s.read[0]) for s in tile], scale_out)]
        for axis, span in enumerate(tile):
            if span.keep != span.core:
                weights = span.weights(scale_out).to(answer)
                part = part * weights.view([-1 if axis == i else 1 for i in range(3)])
        answer[_box([s.keep for s in tile], scale_out)] += part
    return answer


def _box(ranges: list[tuple[int, int]], scale: int) -> tuple[slice, ...]:
    """Index of a block (b, c, z, y, x) by its ranges in cells."""
    return (slice(None), slice(None), *(slice(first * scale, end * scale) for first, end in ranges))


def _ramp(length: int) -> Tensor:
    """0 to 1, and `ramp + reversed ramp = 1`."""
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    return torch.sin(0.5 * math.pi * centres).square().float()
