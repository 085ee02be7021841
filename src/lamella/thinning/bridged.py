"""What a thick slice that was never measured adds to the spread of the thin ones."""

from __future__ import annotations

import numpy as np

from lamella.physics.grid_pair import GridPair
from lamella.physics.repair import Bridged
from lamella.physics.slice_operator import covering_grid
from lamella.volume import Geometry, Volume


def with_bridged(spread: Volume, thick: Geometry, bridged: Bridged) -> Volume:
    """The spread, with the error of a bridged slice passed on to every thin slice that it enters.

    A thin slice takes a bridged one's error times its weight in the starting image (cubic interpolation, projected onto the
    measurement): what a network adds to that averages to nothing over the slab. This error and the model's own are
    independent: variances add.

    Args:
        spread: standard deviation in HU as if all slices had been measured.
        thick: grid of the thick slices, the bridged one among them.
        bridged: which it is, and its own standard deviation.
    """
    longer, wanted = covering_grid(spread.geometry, thick)
    weights = GridPair.between(longer, thick).start_matrix[wanted, bridged.index]
    hu = spread.hu.astype(np.float32)
    for plane, weight in zip(hu, weights, strict=True):
        np.hypot(plane, np.float32(weight) * bridged.error_hu, out=plane)
    return Volume(hu, spread.geometry, spread.header)
