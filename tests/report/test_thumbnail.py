"""The small picture of one result."""

from __future__ import annotations

import imagecodecs
import numpy as np
from tests.small_model import upright

from lamella.report.thumbnail import WIDTH_PX, thumbnail
from lamella.volume import Volume
from lamella.window import HuWindow


def test_thick_and_thin_stand_side_by_side_in_one_window() -> None:
    thick = Volume(np.full((4, 20, 30), -100, np.int16), upright((4, 20, 30), 5.0, 5.0))
    hu = np.full((20, 20, 30), 100, np.int16)
    geometry = upright((20, 20, 30), 1.0, 1.0)
    affine = geometry.affine.copy()
    affine[2, 3] = 120.0 - 2.5 + 0.5
    thin = Volume(hu, type(geometry)(geometry.shape, affine, 1.0))
    picture = imagecodecs.png_decode(thumbnail(thick, thin, HuWindow(0.0, 400.0)))
    assert picture.dtype == np.uint8
    height, width = picture.shape
    assert width <= 2 * WIDTH_PX + 4
    half = (width - 4) // 2
    assert set(np.unique(picture[:, :half])) == {64}  # -100 HU: a quarter of the window
    assert set(np.unique(picture[:, -half:])) == {191}  # three quarters
    assert height / half == np.clip(height / half, 0.7, 1.0)  # 20 mm of 24 mm: millimetres are equal both ways
