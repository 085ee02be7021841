from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.thinning.tiles import blocks


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 8), st.integers(1, 8)),
    core=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12)),
    reach=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    align=st.sampled_from([1, 2, 4]),
)
def test_cores_tile_the_grid_once_and_halos_hold_the_reach(
    shape: tuple[int, int, int], core: tuple[int, int, int], reach: tuple[int, int], align: int
) -> None:
    shape = (shape[0], shape[1] * align, shape[2] * align)
    visits = np.zeros(shape, int)
    index = np.arange(np.prod(shape)).reshape(shape)
    for block in blocks(shape, core, reach, align):
        visits[block.core] += 1
        # the crop of what was read is the core
        assert np.array_equal(index[block.halo][block.crop], index[block.core])
        for axis, need in enumerate((reach[0], reach[1], reach[1])):
            inner, outer = block.core[axis], block.halo[axis]
            assert outer.start <= max(0, inner.start - need)
            assert outer.stop >= min(shape[axis], inner.stop + need)
            if axis:
                assert outer.start % align == 0
                assert (outer.stop - outer.start) % align == 0
    assert (visits == 1).all()
