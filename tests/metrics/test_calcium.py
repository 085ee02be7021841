from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label, regionprops
from tests.small_model import upright

from lamella.errors import LamellaError
from lamella.metrics import Sphere, agatston_scores, speck_scores

GEOMETRY = upright((6, 20, 20), 1.5, 1.5, 0.5)
EVERYWHERE = np.ones(GEOMETRY.shape, dtype=np.bool_)


def test_scores_by_hand() -> None:
    hu = np.full(GEOMETRY.shape, 40, dtype=np.int16)
    hu[2, 3:5, 3:5] = 130  # 4 pixels of 0.25 mm^2: 1 mm^2, the least, counts once
    hu[3, 3, 3:6] = 900  # 0.75 mm^2: too small
    hu[4, 10:14, 10:12] = 250  # 2 mm^2, counts twice
    hu[4, 14, 12] = 400  # touches at a corner: 2.25 mm^2, four times
    scores = agatston_scores(hu, EVERYWHERE, GEOMETRY)
    assert scores[2].sum() == pytest.approx(1.0 * 1 * 0.5)  # 1.5 mm over 3 mm
    assert scores[3].sum() == 0.0
    assert scores[4].sum() == pytest.approx(2.25 * 4 * 0.5)
    nowhere = agatston_scores(hu, EVERYWHERE & (np.arange(6) < 3)[:, None, None], GEOMETRY)
    assert nowhere.sum() == pytest.approx(0.5)


def test_parity_with_regions_of_scikit_image() -> None:
    hu = np.random.default_rng(0).normal(60, 120, GEOMETRY.shape).astype(np.float32)
    expected = 0.0
    for plane in hu:
        for region in regionprops(label(plane >= 130, connectivity=2), intensity_image=plane):
            if region.area * 0.25 >= 1.0:
                peak = float(region.intensity_max)
                expected += region.area * 0.25 * (1 + (peak >= 200) + (peak >= 300) + (peak >= 400)) * 1.5 / 3.0
    assert agatston_scores(hu, EVERYWHERE, GEOMETRY).sum() == pytest.approx(expected)


def test_what_lies_away_from_every_speck_is_told_apart() -> None:
    hu = np.zeros(GEOMETRY.shape, dtype=np.int16)
    hu[2, 4:8, 4:8] = hu[3, 15:18, 15:18] = 150
    lps = GEOMETRY.position(2.0, 5.5, 5.5)
    scores = agatston_scores(hu, EVERYWHERE, GEOMETRY)
    own, elsewhere = speck_scores(scores, GEOMETRY, [Sphere((float(lps[0]), float(lps[1]), float(lps[2])), 1.0)])
    assert own.tolist() == pytest.approx([4.0 * 0.5])
    assert elsewhere == pytest.approx(2.25 * 0.5)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(LamellaError, match="mask does not fit"):
        agatston_scores(np.zeros((6, 20, 20)), EVERYWHERE[:5], GEOMETRY)
