from __future__ import annotations

import numpy as np
import pytest

from lamella.errors import LamellaError
from lamella.window import FULL, SOFT_TISSUE, WINDOWS, HuWindow, named_window


def test_the_soft_tissue_window_by_hand() -> None:
    # SPEC A4: centre 40, width 400 -> clip [-160, 240] -> [-1, 1]
    hu = np.array([-1024, -160, -60, 40, 140, 240, 3071], np.int16)
    np.testing.assert_allclose(SOFT_TISSUE.to_unit(hu), [-1, -1, -0.5, 0, 0.5, 1, 1])
    assert (SOFT_TISSUE.low_hu, SOFT_TISSUE.high_hu) == (-160.0, 240.0)


@pytest.mark.parametrize("name", WINDOWS)
def test_the_way_back_is_exact_within_the_window(name: str) -> None:
    window = named_window(name)
    hu = np.linspace(window.low_hu, window.high_hu, 101)
    np.testing.assert_allclose(window.to_hu(window.to_unit(hu)), hu, atol=1e-3)


def test_the_full_window_holds_every_stored_value() -> None:
    # SPEC B14
    hu = np.arange(-1024, 3072, dtype=np.int16)
    assert np.array_equal(np.rint(FULL.to_hu(FULL.to_unit(hu))).astype(np.int16), hu)


def test_windows_that_are_none_are_refused() -> None:
    with pytest.raises(LamellaError, match=r"Unknown window .brain.\. Expected one of soft-tissue"):
        named_window("brain")
    with pytest.raises(LamellaError, match=r"width above 0\. Found 0 HU"):
        HuWindow(40, 0)
