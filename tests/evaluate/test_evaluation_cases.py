from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.dicom_builder import build_series, phantom_hu
from tests.phantom_case import CHEST, FIVE, TINY, case_of, settings_of
from tests.small_model import upright

from lamella.errors import RefusedInput, UsageError
from lamella.evaluate.cases import Case, build_cases, covered_slices, plan_cases
from lamella.evaluate.scans import require_same_plane, scan_of, softened
from lamella.evaluate.settings import GeometrySettings, PairCase, SeriesCase
from lamella.nifti.image import write_nifti
from lamella.physics.slice_operator import SliceOperator, thick_grid
from lamella.volume import Geometry, Volume


def test_ids_say_what_a_case_is_and_are_unique(tmp_path: Path) -> None:
    geometries = (FIVE, GeometrySettings(5.0, 2.5), GeometrySettings(5.0, 5.0, "gaussian"))
    settings = settings_of(tmp_path, phantoms=(dataclasses.replace(CHEST, name="a b/c", geometries=geometries),))
    ids = [one.id for one in plan_cases(settings)]
    assert ids == ["a-b-c_5-every-5", "a-b-c_5-every-2.5", "a-b-c_5-every-5_gaussian"]
    with pytest.raises(UsageError, match="two cases are called 'chest_5-every-5'"):
        plan_cases(settings_of(tmp_path, phantoms=(CHEST, CHEST)))
    with pytest.raises(UsageError, match="there is no case"):
        plan_cases(settings_of(tmp_path, phantoms=()))


def test_the_thick_slices_are_averages_of_the_truth(chest: Case) -> None:
    # SPEC C8
    thin = chest.scan.volume
    operator = SliceOperator.between(thin.geometry, chest.thick.geometry)
    blurred = operator.blur(torch.from_numpy(thin.hu.astype(np.float32))).numpy()
    assert np.abs(blurred - chest.thick.hu).max() <= 0.5 + 1e-3
    assert chest.scan.volume.geometry.shape == (60, *chest.thick.geometry.shape[1:])
    np.testing.assert_allclose(
        chest.grid.centres_mm[chest.scored], chest.scan.volume.geometry.centres_mm, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("thickness", "spacing"), [(5.0, 5.0), (5.0, 7.0), (3.0, 2.0), (2.5, 4.0)])
def test_only_slices_within_the_slabs_range_are_scored(thickness: float, spacing: float) -> None:
    thin = upright((64, 4, 4), 1.25, 1.25)
    thick = thick_grid(thin, thickness, spacing)
    touched, scored = covered_slices(thin, thick)
    low, high = thick.centres_mm[0] - thickness / 2, thick.centres_mm[-1] + thickness / 2
    centres = thin.centres_mm[touched][scored]
    assert centres[0] - 0.625 >= low - 1e-6
    assert centres[-1] + 0.625 <= high + 1e-6
    assert centres[0] - 1.25 - 0.625 < low  # one more would stick out
    assert centres[-1] + 1.25 + 0.625 > high


@pytest.mark.slow
def test_cropping_keeps_the_body_and_its_place(tmp_path: Path, chest: Case) -> None:
    whole = case_of(settings_of(tmp_path, crop_to_body=False))
    rows, columns = chest.scan.box
    assert rows.stop - rows.start < 128
    assert np.array_equal(whole.scan.volume.hu[:, rows, columns], chest.scan.volume.hu)
    assert whole.scan.masks["body"].sum() == chest.scan.masks["body"].sum()
    np.testing.assert_allclose(
        chest.scan.volume.geometry.position(3, 0, 0), whole.scan.volume.geometry.position(3, rows.start, columns.start)
    )


def test_a_scan_without_a_body_is_not_cropped() -> None:
    empty = Volume(np.full((8, 24, 24), -1000, np.int16), upright((8, 24, 24), 1.0, 1.0))
    scan = scan_of("air", "thickened", False, empty, crop=True)
    assert scan.volume.hu.shape == (8, 24, 24)
    assert not any(mask.any() for mask in scan.masks.values())


def pair_of(folder: Path, chest: Case, **moved: int) -> PairCase:
    """The case as a real pair of files, the thin one starting `slices` later."""
    thin = chest.scan.volume.part(slice(moved.get("slices", 0), None))
    for name, volume in (("thick", chest.thick), ("thin", thin)):
        write_nifti(folder / f"{name}.nii", [Volume(volume.hu, volume.geometry)], None)
    return PairCase(str(folder / "thick.nii"), str(folder / "thin.nii"), "pair", person=False)


def test_a_pair_is_laid_on_each_other_by_position(tmp_path: Path, chest: Case) -> None:
    # SPEC C8: the alignment comes from millimetres, never from the arrays' lengths
    settings = settings_of(tmp_path, phantoms=(), pairs=(pair_of(tmp_path, chest, slices=7),), crop_to_body=False)
    case = case_of(settings)
    np.testing.assert_allclose(case.grid.centres_mm, case.scan.volume.geometry.centres_mm, atol=1e-6)
    assert np.array_equal(case.scan.volume.hu, chest.scan.volume.hu[7:])
    assert case.profile == "unknown"


def test_a_pair_of_two_scans_is_refused(tmp_path: Path, chest: Case) -> None:
    one, other = chest.thick.geometry, chest.scan.volume.geometry
    require_same_plane(one, other, "chest")
    affine = np.array(other.affine)
    affine[0, 3] += 1.0
    with pytest.raises(RefusedInput, match="do not share the in-plane grid"):
        require_same_plane(one, Geometry(other.shape, affine, 1.0), "chest")
    with pytest.raises(RefusedInput, match="128 x 64 pixels"):
        require_same_plane(upright((4, 128, 64), 1.0, 1.0), upright((4, 128, 128), 1.0, 1.0), "chest")


def test_the_config_says_a_thickness_that_files_do_not(tmp_path: Path, chest: Case) -> None:  # SPEC C2, C6
    pair = dataclasses.replace(pair_of(tmp_path, chest), thick_thickness_mm=6.0)
    assert case_of(settings_of(tmp_path, phantoms=(), pairs=(pair,))).thick.geometry.thickness_mm == 6.0
    (tmp_path / "thin.json").write_text('{"SliceThickness": 1.0}')
    series = SeriesCase(str(tmp_path / "thin.nii"), (FIVE,), thickness_mm=2.0)
    wrong = dataclasses.replace(pair, thin_thickness_mm=2.0)
    settings = settings_of(tmp_path, phantoms=(), pairs=(wrong,), series=(series,))
    for _, error in build_cases(plan_cases(settings), settings):
        assert "Found 2 mm given, and 1 mm in SliceThickness of thin.json" in str(error)


def test_a_strict_case_lacks_nothing(tmp_path: Path) -> None:  # SPEC C6
    build_series(tmp_path / "in", phantom_hu(30), 1.0, 1.0, tags={"NumberOfSeriesRelatedInstances": 99})
    for strict in (False, True):
        cases = {
            "series": (SeriesCase(str(tmp_path / "in"), (FIVE,), strict=strict),),
            "pairs": (PairCase(str(tmp_path / "in"), str(tmp_path / "in"), "pair", strict=strict),),
        }
        settings = settings_of(tmp_path, phantoms=(), **cases)
        built = [case for _, case in build_cases(plan_cases(settings), settings)]
        assert ["says 99" in str(case) and isinstance(case, RefusedInput) for case in built] == [strict, strict]


def test_a_case_that_cannot_be_built_does_not_stop_the_others(tmp_path: Path) -> None:
    missing = PairCase(str(tmp_path / "no"), str(tmp_path / "thing"), "gone")
    settings = settings_of(tmp_path, phantoms=(TINY,), pairs=(missing,))
    built = {one.id: case for one, case in build_cases(plan_cases(settings), settings)}
    assert isinstance(built["tiny_5-every-5"], Case)
    assert isinstance(built["gone"], UsageError)


def test_a_scan_that_would_not_be_thickened_is_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, phantoms=(dataclasses.replace(TINY, geometries=(GeometrySettings(1.0, 5.0),)),))
    ((_, error),) = build_cases(plan_cases(settings), settings)
    assert "would not be thickened: a thickness of 1 mm is asked for" in str(error)


def test_slices_beyond_the_series_are_refused(tmp_path: Path, chest: Case) -> None:
    write_nifti(tmp_path / "thin.nii", [chest.scan.volume], None)
    beyond = SeriesCase(str(tmp_path / "thin.nii"), (FIVE,), slices=(10, 500))
    settings = settings_of(tmp_path, phantoms=(), series=(beyond,))
    ((planned, error),) = build_cases(plan_cases(settings), settings)
    assert planned.id == "scan-1_5-every-5"  # a folder's name may be a patient's
    assert "slices of scan-1: found 10 to 500, the series has 60" in str(error)


def test_a_softer_kernel_blurs_the_slices_before_they_are_thickened(tmp_path: Path, chest: Case) -> None:
    # SPEC C2: in millimetres, and never along the slice axis
    dot = np.full((20, 40, 40), 0, np.int16)
    dot[10, 20, 20] = 30_000
    volume = Volume(dot, upright(dot.shape, 1.0, 1.0, 0.5))
    soft = softened(volume, 1.0).hu.astype(float)
    assert not soft[9].any()
    assert not soft[11].any()
    distance_mm = 0.5 * (np.arange(40) - 20)
    assert np.sqrt((soft[10].sum(axis=0) * distance_mm**2).sum() / soft[10].sum()) == pytest.approx(1.0, rel=0.02)
    write_nifti(tmp_path / "thin.nii", [chest.scan.volume], None)
    source = SeriesCase(str(tmp_path / "thin.nii"), (FIVE,), soften_mm=1.5)
    settings = settings_of(tmp_path, phantoms=(), series=(source,), crop_to_body=False)
    ((_, built),) = build_cases(plan_cases(settings), settings)
    assert isinstance(built, Case)
    expected = softened(chest.scan.volume, 1.5).hu
    np.testing.assert_allclose(built.scan.volume.hu, expected[: len(built.scan.volume.hu)], rtol=0, atol=1)
    with pytest.raises(UsageError, match=r"soften_mm is out of range. Found -1, expected 0 to 5 mm"):
        SeriesCase("x", (FIVE,), soften_mm=-1.0)
