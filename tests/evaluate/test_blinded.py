"""The blinded test without readers (issue: identical distributions 50 %, blurred results near 100 %)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from tests.phantom_case import FIVE, settings_of
from tests.test_benchmark_scripts import script

from lamella.errors import LamellaError
from lamella.evaluate import evaluate
from lamella.evaluate.blinded import Judge, Sight, judged, patches_of, points_of, trained_judge
from lamella.evaluate.settings import PhantomCase
from lamella.metrics import body_mask
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.results.files import read_blinded, write_json

POINTS, EPOCHS = 500, 6


@cache
def chest(seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    hu = paint_phantom(PhantomSettings((48, 112, 112), pixel_mm=3.0, seed=seed, noise_hu=0.0)).hu
    return hu, body_mask(hu)


def noisy(hu: NDArray[np.float32], seed: int) -> NDArray[np.int16]:
    return np.rint(hu + np.random.default_rng(seed).normal(0, 15, hu.shape)).astype(np.int16)


def alike(seed: int) -> Sight:
    """A phantom, and the same with other noise of the same kind."""
    hu, body = chest(seed)
    return Sight(f"chest {seed}", noisy(hu, 10 + seed), noisy(hu, 20 + seed), body, (1.0, 3.0, 3.0))


def blurred(seed: int) -> Sight:
    one = alike(seed)
    soft = np.rint(ndimage.gaussian_filter1d(one.truth.astype(np.float32), 1.5, axis=0)).astype(np.int16)
    return Sight(one.person, one.truth, soft, one.body, one.voxel_mm)


@pytest.mark.slow
def test_identical_distributions_cannot_be_told() -> None:
    found = judged("same", trained_judge([alike(0)], POINTS, EPOCHS, 0), [alike(1), alike(2)], 1000, 0)
    for value, interval in ((found.side_by_side, found.side_by_side_interval), (found.alone, found.alone_interval)):
        assert value == pytest.approx(0.5, abs=0.06)
        assert interval is not None
        assert interval[0] < 0.5 < interval[1]
    assert (found.points, found.people, found.over_people) == (1000, 2, False)


def test_blurred_slices_are_told() -> None:
    found = judged("blurred", trained_judge([blurred(0)], POINTS, EPOCHS, 0), [blurred(1)], 400, 0)
    assert found.side_by_side > 0.98
    assert found.alone > 0.9


def test_the_same_seed_gives_the_same_judge() -> None:
    one, same, other = (trained_judge([blurred(0)], 100, 1, seed) for seed in (0, 0, 1))
    at = points_of(blurred(1), 50, np.random.default_rng(0))
    patches = patches_of(blurred(1).truth, at)
    with torch.no_grad():
        assert torch.equal(one(patches), same(patches))
        assert not torch.equal(one(patches), other(patches))
    assert 2e4 < sum(weight.numel() for weight in Judge().parameters()) < 5e4


def test_patches_lie_in_the_two_planes_through_a_point() -> None:
    grid = np.indices((40, 50, 60))
    at = np.array([[24, 25, 30]])
    coronal, sagittal = (
        [(200 * patches_of(axis, at)[0, plane] + 40).round().unique().tolist() for axis in grid] for plane in (0, 1)
    )  # the window of soft tissue is 40 +- 200 HU
    rows, columns = list(range(9, 41)), list(range(14, 46))
    assert coronal == [list(range(12, 36)), [25], columns]
    assert sagittal == [list(range(12, 36)), rows, [30]]


def test_a_scan_without_room_is_told() -> None:
    flat = Sight("flat", *(np.zeros((10, 40, 40)),) * 2, np.ones((10, 40, 40), dtype=np.bool_), (1.0, 1.0, 1.0))
    with pytest.raises(LamellaError, match="nothing to learn from"):
        trained_judge([flat], 10, 1, 0)
    with pytest.raises(LamellaError, match="nothing to judge"):
        judged("flat", Judge(), [flat], 10, 0)


@pytest.mark.slow
def test_from_two_evaluations_to_a_record(tmp_path: Path) -> None:
    for seed, name in enumerate(("school", "exam")):
        case = PhantomCase((FIVE,), name=name, slices=50, rows=112, pixel_mm=3.0, seed=seed)
        settings = settings_of(
            tmp_path / name, phantoms=(case,), volumes=("linear", "cubic"), spheres=False, tasks=None
        )
        evaluate(settings)
    blinded = script("blinded")
    found = blinded.blinded(tmp_path / "school", tmp_path / "exam", points=200, epochs=4)
    assert [one.method for one in found.judged] == ["linear", "cubic"]
    assert all(one.side_by_side > 0.9 for one in found.judged)
    write_json(tmp_path / "exam" / "blinded.json", found)
    assert read_blinded(tmp_path / "exam") == found
    assert read_blinded(tmp_path / "school") is None
    with pytest.raises(LamellaError, match="Found in both evaluations: exam"):
        blinded.blinded(tmp_path / "exam", tmp_path / "exam")
    (tmp_path / "exam" / "blinded.json").write_text("{")
    with pytest.raises(LamellaError, match=r"blinded.json is damaged"):
        read_blinded(tmp_path / "exam")
