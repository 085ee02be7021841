from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.thinning.tiles import tiles


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    core=st.integers(1, 12),
    reach=st.integers(0, 5),
    align=st.sampled_from([1, 2, 4]),
)
def test_cores_tile_the_plane_once_and_halos_hold_the_reach(
    shape: tuple[int, int], core: int, reach: int, align: int
) -> None:
    shape = (shape[0] * align, shape[1] * align)
    visits = np.zeros(shape, int)
    index = np.arange(np.prod(shape)).reshape(shape)
    for tile in tiles(shape, core, reach, align):
        visits[tile.core] += 1
        # the crop of what was read is the core
        assert np.array_equal(index[tile.halo][tile.crop], index[tile.core])
        for length, inner, outer in zip(shape, tile.core, tile.halo, strict=True):
            assert outer.start <= max(0, inner.start - reach)
            assert outer.stop >= min(length, inner.stop + reach)
            assert outer.start % align == 0
            assert (outer.stop - outer.start) % align == 0
    assert (visits == 1).all()
