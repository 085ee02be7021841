from __future__ import annotations

import numpy as np
import pytest
from tests.small_model import upright

from lamella.errors import LamellaError, RefusedInput
from lamella.physics.simulate import simulate_thick
from lamella.volume import Volume


def test_abutting_boxes_are_means_in_whole_hu() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 4, 4)).astype(np.int16)
    thin = Volume(hu, upright((9, 4, 4), 1.0, 1.0))
    thick = simulate_thick(thin, 3.0, 3.0)
    assert thick.hu.dtype == np.int16
    np.testing.assert_array_equal(thick.hu, np.rint(hu.reshape(3, 3, 4, 4).mean(axis=1, dtype=np.float32)))
    np.testing.assert_allclose(thick.geometry.centres_mm, thin.geometry.centres_mm[1::3])
    assert (thick.geometry.thickness_mm, thick.geometry.spacing_mm) == (3.0, 3.0)


def test_refusals() -> None:
    thin = Volume(np.zeros((9, 4, 4), np.int16), upright((9, 4, 4), 1.0, 1.0))
    with pytest.raises(RefusedInput, match=r"target thickness of 0\.5 mm, the source's is 1 mm"):
        simulate_thick(thin, 0.5, 3.0)
    with pytest.raises(RefusedInput, match=r"target spacing of 0\.5 mm"):
        simulate_thick(thin, 3.0, 0.5)
    with pytest.raises(LamellaError, match="too short to thicken"):
        simulate_thick(thin, 12.0, 12.0)
