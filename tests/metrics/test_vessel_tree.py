from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.morphology import skeletonize
from tests.small_model import upright

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import VesselTree, compare_trees, vessel_tree

SHAPE = (21, 25, 25)
LUNG = np.ones(SHAPE, dtype=np.bool_)


def tree_of(mask: NDArray[np.bool_], spacing_mm: float = 1.0) -> VesselTree:
    """The tree of a drawn mask: 40 HU on -900, against a threshold so high that smoothing adds nothing."""
    hu = np.where(mask, 4000, -900).astype(np.int16)
    return vessel_tree(hu, LUNG, LUNG, upright(SHAPE, spacing_mm, spacing_mm, 1.0), 1900.0)


def rods(*rows: int, top: int = 20) -> NDArray[np.bool_]:
    """Straight vessels of 3 x 3 voxels along z, from slice 0 up to `top`, centred on column 12 of each row."""
    mask = np.zeros(SHAPE, dtype=np.bool_)
    for row in rows:
        mask[: top + 1, row - 1 : row + 2, 11:14] = True
    return mask


@pytest.mark.parametrize("spacing_mm", [1.0, 2.5])
def test_the_length_of_a_straight_vessel_is_in_millimetres(spacing_mm: float) -> None:
    tree = tree_of(rods(12), spacing_mm)
    assert tree.length_mm.sum() == pytest.approx((tree.line[:, 0].max() - tree.line[:, 0].min()) * spacing_mm)
    assert tree.length_mm.sum() == pytest.approx(20 * spacing_mm, abs=2 * spacing_mm)  # ends are thinned a little


def test_half_of_a_vessel_lost_and_another_invented_by_hand() -> None:
    truth, prediction = tree_of(rods(6, 12)), tree_of(rods(6, 20) & (rods(6, top=9) | rods(20)))
    found = compare_trees(prediction, truth)
    assert found.found == pytest.approx(0.25, abs=0.03)  # half of one of two vessels
    assert found.precision == pytest.approx(1 / 3, abs=0.04)  # 10 of 30 mm
    assert found.cldice == pytest.approx(2 * found.found * found.precision / (found.found + found.precision))
    assert found.length_ratio == pytest.approx(0.75, abs=0.05)
    assert found.invented == pytest.approx(0.5, abs=0.03)  # 20 mm of 40


def test_the_truth_is_found_whole_and_a_neighbour_is_not_invented() -> None:
    truth = tree_of(rods(12))
    same, beside = compare_trees(truth, truth), compare_trees(tree_of(rods(14)), truth)
    assert (same.found, same.precision, same.cldice, same.length_ratio, same.invented) == (1, 1, 1, 1, 0)
    assert beside.found == beside.precision == 0.0
    assert beside.invented == 0.0  # one voxel beside the wall is less than 1.5 mm
    assert compare_trees(tree_of(rods(14)), truth, slack_mm=0.5).invented == pytest.approx(1.0)


def test_small_vessels_are_told_by_their_radius() -> None:
    thick, thin = np.zeros(SHAPE, dtype=np.bool_), rods(20)
    y, x = np.mgrid[:25, :25]
    thick[:, (y - 8) ** 2 + (x - 12) ** 2 <= 4.0**2] = True
    truth = tree_of(thick | thin)
    assert compare_trees(tree_of(thick), truth).small_found == 0.0
    assert compare_trees(tree_of(thin), truth).small_found == pytest.approx(1.0)
    assert compare_trees(tree_of(thin), truth, small_radius_mm=1.0).small_found is None


def test_an_empty_result_finds_nothing_and_has_no_precision() -> None:
    found = compare_trees(tree_of(np.zeros(SHAPE, dtype=np.bool_)), tree_of(rods(12)))
    assert (found.found, found.precision, found.cldice, found.length_ratio, found.invented) == (0, None, 0, 0, 0)
    with pytest.raises(LamellaError, match="no vessel"):
        compare_trees(tree_of(rods(12)), tree_of(np.zeros(SHAPE, dtype=np.bool_)))


def test_specks_of_noise_are_no_vessels() -> None:
    speck = np.zeros(SHAPE, dtype=np.bool_)
    speck[10, 10, 10:13] = True
    assert len(tree_of(speck).line) == 0


def test_parity_with_cldice_as_published() -> None:
    """The formula of the paper, which counts voxels: alike where these are cubes and lines are long."""
    rng = np.random.default_rng(3)
    masks = []
    for keep in (1.0, 0.7):
        mask = np.zeros(SHAPE, dtype=np.bool_)
        for row, column in ((5, 5), (5, 18), (18, 5), (18, 18)):
            heights = np.flatnonzero(np.arange(21) < keep * 21)
            for z in heights:
                y, x = row + round(2 * np.sin(z / 4)), column + int(rng.integers(0, 2))
                mask[z, y - 1 : y + 2, x - 1 : x + 2] = True
        masks.append(mask)
    truth, prediction = masks
    lines = [skeletonize(mask, method="lee") for mask in (truth, prediction)]
    tsens, tprec = prediction[lines[0]].mean(), truth[lines[1]].mean()
    ours = compare_trees(tree_of(prediction), tree_of(truth))
    assert ours.cldice == pytest.approx(2 * tsens * tprec / (tsens + tprec), abs=0.03)
    assert 0.6 < ours.cldice < 0.95


def test_refusals() -> None:
    geometry = upright(SHAPE, 1.0, 1.0, 1.0)
    hu = np.full(SHAPE, -900.0)
    with pytest.raises(LamellaError, match="no lung"):
        vessel_tree(hu, LUNG, ~LUNG, geometry)
    with pytest.raises(NonFiniteError):
        vessel_tree(hu * np.nan, LUNG, LUNG, geometry)
    small = vessel_tree(hu[:, :20], LUNG[:, :20], LUNG[:, :20], upright((21, 20, 25), 1.0, 1.0, 1.0))
    with pytest.raises(LamellaError, match="different regions"):
        compare_trees(small, tree_of(rods(12)))
