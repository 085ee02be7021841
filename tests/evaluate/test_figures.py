from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.linalg import toeplitz
from tests.phantom_case import answers
from tests.small_model import upright

from lamella.errors import NonFiniteError
from lamella.evaluate.cases import Case, thickened_case
from lamella.evaluate.methods import Answer, crop_answer
from lamella.evaluate.nodules import inserted_figures
from lamella.evaluate.reference import Reference, reference_of
from lamella.evaluate.scans import scan_of
from lamella.evaluate.score import score
from lamella.evaluate.settings import EvaluationSettings, GeometrySettings
from lamella.evaluate.sheet import Sheet
from lamella.evaluate.spheres import with_spheres
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics import LEAST_NOISE_VOXELS
from lamella.metrics.catalogue import FIGURES, SPHERES_MM
from lamella.physics.slice_operator import SliceOperator
from lamella.volume import Volume, round_hu


@pytest.fixture(scope="module")
def reference(chest: Case) -> Reference:
    return reference_of(chest, TaskSettings())


@pytest.mark.slow
def test_the_truth_is_perfect_in_every_figure(chest: Case, reference: Reference) -> None:
    # SPEC A19, C8
    truth = chest.scan.volume.hu
    spread = np.full(truth.shape, 10.0, np.float32)
    sheet = score(Answer("truth", truth, spread, 0.0), reference)
    # No error, nothing to detect; the small chest has too little even tissue for spectra.
    missing = {name for name in FIGURES if name.startswith("noise_power")} | {"stripe_ratio", "error_detection_auc"}
    missing |= {"spread_soft_ratio", "overshoot_percent", "drawn_floor_db"} | {
        name for name in FIGURES if name.startswith(("airway_", "calcium_"))
    }
    assert set(sheet.absent) == missing
    for name, value in sheet.figures.items():
        if value is None:
            assert name in missing
        elif FIGURES[name].best == "one" and name != "stripe_ratio":
            assert value == pytest.approx(1.0), name
        elif name.startswith(("rmse", "mae", "bias", "gradient", "laa", "perc15", "histogram", "foci")):
            assert value == 0.0, name
        elif name.startswith("ssim"):
            assert value == pytest.approx(1.0)
        elif name.startswith("coverage"):
            assert value == 100.0
    assert sheet.figures["best_shift_mm"] == pytest.approx(0.0, abs=0.02)
    assert sheet.figures["consistency_rmse_hu"] < 0.5


def test_a_result_that_is_one_millimetre_off_is_said_to_be(chest: Case, reference: Reference) -> None:
    # SPEC C8
    moved = np.roll(chest.scan.volume.hu, 1, axis=0)
    sheet = score(Answer("moved", moved, None, 0.0), reference)
    assert sheet.figures["best_shift_mm"] == pytest.approx(1.0, abs=0.05)
    assert sheet.figures["best_shift_rmse_hu"] < 0.2 * sheet.figures["rmse_hu"]


def test_every_figure_is_in_the_catalogue_and_every_one_of_it_is_scored(chest: Case, reference: Reference) -> None:
    truth = chest.scan.volume.hu
    sheet = score(Answer("truth", truth, np.ones(truth.shape, np.float32), 0.0), reference)
    assert set(sheet.figures) | set(inserted_figures({}, {})) == set(FIGURES)


@pytest.fixture(scope="module")
def water() -> Reference:
    """A cylinder of water with white noise of 20 HU."""
    geometry = upright((60, 80, 80), 1.0, 1.0)
    y, x = np.mgrid[-40:40, -40:40]
    hu = np.where(y**2 + x**2 < 36**2, 40.0, -1000.0) + np.random.default_rng(0).normal(0, 20, geometry.shape)
    scan = scan_of("water", "thickened", False, Volume(round_hu(hu), geometry), crop=False)
    return reference_of(thickened_case("water", "water", scan, GeometrySettings(5.0, 5.0)))


def test_white_noise_of_20_hu_has_the_floor_that_it_must(water: Reference) -> None:
    # SPEC B13, C8: 12 of 60 degrees of freedom were measured
    assert water.floor is not None
    for floor_hu in water.floor[:2]:
        assert floor_hu == pytest.approx(20 * np.sqrt(1 - 12 / 60), rel=0.1)


def test_the_floor_of_coarse_noise_is_that_of_all_of_it() -> None:
    # SPEC B13: 5 x 5 pixels show a third of noise that a soft kernel has smoothed, and none of it can be guessed
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(60, 120, 120)), (0, 2, 2))
    noise -= ndimage.gaussian_filter(noise, (0, 4, 4))
    volume = Volume(round_hu(40 + 20 * noise / noise.std()), upright(noise.shape, 1.0, 1.0))
    scan = scan_of("soft", "thickened", False, volume, crop=False)
    soft = reference_of(thickened_case("soft", "soft", scan, GeometrySettings(5.0, 5.0)))
    assert soft.noise is not None
    assert soft.floor is not None
    assert soft.noise[0] < 12
    assert soft.floor[2] == pytest.approx(20, rel=0.08)
    assert soft.floor[1] == pytest.approx(20 * np.sqrt(1 - 12 / 60), rel=0.08)


def test_distance_to_the_floor_is_of_the_tissue_that_the_floor_is_of(water: Reference) -> None:
    # SPEC B13: an error in other soft tissue does not count, one there does
    soft, truth = water.case.scan.masks["soft"], water.case.scan.volume.hu
    hollow = replace(water, tissue=water.tissue & (np.arange(len(water.tissue)) < 30)[:, None, None])
    beyond = Answer("beyond", np.where(soft & ~hollow.tissue, truth + 90, truth), None, 0.0)
    within = Answer("within", np.where(hollow.tissue, truth + 90, truth), None, 0.0)
    assert hollow.floor is not None
    assert score(beyond, hollow).figures["floor_soft_ratio"] == 0.0
    assert score(within, hollow).figures["floor_soft_ratio"] == pytest.approx(90 / hollow.floor[0])


def test_an_answer_that_knows_all_but_the_noise_and_draws_its_own_is_at_the_drawn_floor(water: Reference) -> None:
    # Issue 28, item 5: white noise of another seed, consistent with the same thick slices
    hu, thick, grid = water.case.scan.volume.hu, water.case.thick.geometry, water.case.scan.volume.geometry
    operator = SliceOperator.between(grid, thick)
    sd = float((hu - 40.0)[water.tissue].std())
    drawn = np.random.default_rng(9).normal(0, sd, hu.shape).astype(np.float32)
    known = operator.project(torch.full(hu.shape, 40.0), operator.blur(torch.from_numpy(hu.astype(np.float32))))
    answer = Answer("drawn", round_hu((known + operator.null(torch.from_numpy(drawn))).numpy()), None, 0.0)
    found = score(answer, water).figures
    assert found["drawn_floor_db"] == pytest.approx(0.0, abs=0.4)
    assert found["floor_soft_ratio"] == pytest.approx(2**0.5, rel=0.05)


def test_spread_is_compared_with_the_error_inside_soft_tissue(water: Reference) -> None:
    # SPEC C3
    truth = water.case.scan.volume.hu
    off = np.where(water.tissue, truth + 30, truth + 500)
    spread = np.where(water.tissue, 45.0, 7.0).astype(np.float32)
    found = score(Answer("off", off, spread, 0.0), water).figures
    assert found["spread_soft_ratio"] == pytest.approx(1.5)


def test_a_few_hundred_voxels_of_tissue_are_too_few_for_noise_and_spread() -> None:
    # SPEC C8: the noise of one small place is not that of a scan
    y, x = np.mgrid[-20:20, -20:20]
    hu = np.where(y**2 + x**2 < 12**2, 40.0, -1000.0) + np.random.default_rng(0).normal(0, 20, (30, 40, 40))
    scan = scan_of("water", "thickened", False, Volume(round_hu(hu), upright(hu.shape, 1.0, 1.0)), crop=False)
    small = reference_of(thickened_case("water", "water", scan, GeometrySettings(5.0, 5.0)))
    assert 100 < np.count_nonzero(small.tissue) < LEAST_NOISE_VOXELS
    truth = scan.volume.hu
    sheet = score(Answer("off", truth + 10, np.ones(truth.shape, np.float32), 0.0), small)
    for name in ("noise_in_plane_ratio", "noise_along_z_ratio", "floor_soft_ratio", "spread_soft_ratio"):
        assert sheet.figures[name] is None
        assert "too little homogeneous soft tissue" in sheet.absent[name]


def test_floor_is_of_the_profile_that_the_scan_was_thickened_with() -> None:
    # SPEC B13: noise that is smooth along z shows more of itself through slabs without hard ends
    noise = ndimage.gaussian_filter1d(np.random.default_rng(0).normal(0, 40, (60, 80, 80)), 1.0, axis=0)
    scan = scan_of(
        "water", "thickened", False, Volume(round_hu(noise + 40), upright((60, 80, 80), 1.0, 1.0)), crop=False
    )
    floors = []
    for profile in ("box", "gaussian"):
        case = thickened_case("water", "water", scan, GeometrySettings(3.0, 5.0, profile))
        found = reference_of(case)
        width = 3.0 / np.sqrt(8 * np.log(2))
        distance = np.abs(case.grid.centres_mm - case.thick.geometry.centres_mm[:, None])
        slabs = distance <= 1 if profile == "box" else np.exp(-0.5 * (distance / width) ** 2)
        slabs = slabs / slabs.sum(axis=1, keepdims=True)
        correlation = np.array([np.exp(-(lag**2) / 4) for lag in range(len(distance[0]))])
        known = slabs @ toeplitz(correlation)
        left = len(correlation) - np.trace(known.T @ np.linalg.solve(known @ slabs.T, known))
        assert found.floor is not None
        assert found.noise is not None
        assert found.floor[0] == pytest.approx(found.noise[0] * np.sqrt(left / len(correlation)), rel=0.02)
        floors.append(found.floor[0] / found.noise[0])
    assert floors[1] < 0.98 * floors[0]


def test_interpolated_noise_shows_in_spectra_and_stripes(water: Reference) -> None:
    # SPEC C8
    truth = score(Answer("truth", water.case.scan.volume.hu, None, 0.0), water).figures
    assert truth["noise_power_along_z_high"] == pytest.approx(1.0)
    (cubic, projected) = answers(water.case, EvaluationSettings("", baselines=("cubic",), models=()), {})
    found = score(crop_answer(water.case, cubic), water).figures
    assert found["noise_power_along_z_high"] < 0.1
    assert found["noise_power_in_plane_high"] < 0.3
    assert found["stripe_ratio"] > 10 * truth["stripe_ratio"]
    # The spline cannot reach the floor, and projecting it gets closer.
    assert (
        1.0 < score(crop_answer(water.case, projected), water).figures["floor_soft_ratio"] < found["floor_soft_ratio"]
    )


def test_nan_in_an_answer_is_an_error_that_names_it(chest: Case, reference: Reference) -> None:
    # SPEC A19
    broken = chest.scan.volume.hu.astype(np.float32)
    broken[5, 20, 20] = np.nan
    with pytest.raises(NonFiniteError, match="broken: found 1 NaN"):
        score(Answer("broken", broken, None, 0.0), reference)  # type: ignore[arg-type]


def test_what_cannot_be_measured_has_a_reason() -> None:
    from lamella.errors import LamellaError

    def fails() -> dict[str, float]:
        raise LamellaError("The scan has no lung.")

    sheet = Sheet()
    sheet.add(fails, "laa_950_bias_pp", "perc15_bias_hu")
    assert sheet.figures == {"laa_950_bias_pp": None, "perc15_bias_hu": None}
    assert sheet.absent["perc15_bias_hu"] == "The scan has no lung."


def test_spheres_are_inserted_before_the_thickening(chest: Case) -> None:
    # SPEC C8
    found = with_spheres(chest)
    assert found is not None
    filled, spheres = found.case, found.spheres
    assert {sphere.diameter_mm for sphere in spheres} == set(SPHERES_MM)
    thin = filled.scan.volume.hu.astype(np.int64)
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for inner, outer in zip(filled.scan.box, chest.scan.box, strict=True)
    )
    plain = chest.scan.volume.hu[:, rows, columns]
    first = int(np.rint(filled.scan.volume.geometry.centres_mm[0] - chest.scan.volume.geometry.centres_mm[0]))
    added = thin - plain[first : first + len(thin)]
    assert (added >= 0).mean() > 0.999
    assert added.max() > 500
    whole = chest.scan.volume.part(slice(None), rows, columns)
    operator = SliceOperator.between(whole.geometry, filled.thick.geometry)
    without = operator.blur(torch.from_numpy(whole.hu.astype(np.float32))).numpy()
    gained = (filled.thick.hu - without).sum(dtype=np.float64) * filled.thick.geometry.spacing_mm
    assert gained == pytest.approx(added.sum(), rel=0.02)
