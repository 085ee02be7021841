"""The head phantom: tissues at their places, the same in every millimetre, other heads for other seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from lamella.data.patches import PatchBatches, PatchSettings
from lamella.data.views import SeriesSettings, load_views
from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study
from lamella.phantom.head import head_build
from lamella.volume import Volume

HEAD = PhantomSettings(
    shape=(116, 112, 112), pixel_mm=2.0, spacing_mm=2.0, thickness_mm=2.0, noise_hu=0.0, region="head", seed=1
)
PLAIN, ENHANCED = 2, 1
"""Seeds of a head without and with contrast medium."""


@pytest.fixture(scope="module")
def head() -> Volume:
    return paint_phantom(HEAD)


def at(volume: Volume, place: tuple[float, float, float], seed: int, reach: int = 0) -> NDArray[np.float32]:
    """Voxels around a place given in the millimetres of a head of the usual size."""
    where = np.array(place) * head_build(seed)[0]
    z, y, x = np.rint(np.linalg.inv(volume.geometry.affine) @ [*where, 1.0]).astype(int)[:3]
    return np.asarray(volume.hu[tuple(slice(i - reach, i + reach + 1) for i in (z, y, x))])


@pytest.mark.parametrize(
    ("tissue", "place", "low", "high"),
    [
        ("left eye", (33, -73, -42), 0, 20),
        ("right eye", (-33, -73, -42), 0, 20),
        ("fat behind the eye", (26, -46, -48), -110, -60),
        ("left ventricle", (18, 26, 22), 0, 15),
        ("thalamus", (11, 12, 6), 34, 44),
        ("cerebellum", (14, 48, -36), 26, 44),
        ("left maxillary sinus", (30, -56, -66), -1010, -980),
        ("throat", (0, -14, -100), -1010, -900),
        ("ear canal", (66, 10, -46), -1010, -600),
        ("petrous bone", (24, 4, -47), 1100, 2000),
        ("air in front", (0, -112, 60), -1010, -990),
        ("tongue", (0, -50, -98), 30, 90),
    ],
)
def test_tissue_at_its_place(
    head: Volume, tissue: str, place: tuple[float, float, float], low: float, high: float
) -> None:
    assert low <= float(at(head, place, HEAD.seed)[0, 0, 0]) <= high, tissue


def test_the_brain_lies_in_bone_all_around(head: Volume) -> None:
    # SPEC C2: rays from the middle of the brain through the vault meet bone before air
    rng = np.random.default_rng(0)
    for _ in range(60):
        ray = rng.normal(size=3)
        ray /= np.linalg.norm(ray)
        if ray[2] < -0.1:
            continue
        hu = np.array([at(head, tuple(r * ray), HEAD.seed)[0, 0, 0] for r in np.arange(0.0, 106.0, 1.0)])
        assert int((hu > 450).argmax()) < int((hu < -900).argmax() or 106)
        assert hu.max() > 450


def test_teeth_are_the_densest(head: Volume) -> None:
    z, y, x = np.unravel_index(int(head.hu.argmax()), head.hu.shape)
    _, ahead, height = head.geometry.position(float(z), float(y), float(x)) / head_build(HEAD.seed)[0]
    assert head.hu.max() > 1900
    assert ahead < -50
    assert -118 < height < -86


@pytest.mark.slow
def test_contrast_medium_is_the_seeds_choice() -> None:
    found = {}
    for seed in (PLAIN, ENHANCED):
        volume = paint_phantom(replace(HEAD, seed=seed))
        found[seed] = float(at(volume, (35.7, 21.4, -100), seed)[0, 0, 0])
    assert not head_build(PLAIN)[1]
    assert head_build(ENHANCED)[1]
    assert found[PLAIN] < 70 < 150 < found[ENHANCED]


@pytest.mark.slow
def test_the_same_millimetre_holds_the_same_tissue_on_every_grid() -> None:
    # Edges are as soft as the coarsest spacing asks for: 3 mm in both.
    coarse = replace(HEAD, shape=(21, 61, 61), spacing_mm=3.0, pixel_mm=3.0, thickness_mm=3.0)
    fine = replace(coarse, shape=(61, 61, 61), spacing_mm=1.0)
    difference = np.abs(paint_phantom(fine).hu[::3] - paint_phantom(coarse).hu)
    assert float(np.quantile(difference, 0.999)) < 0.5


@pytest.mark.slow
def test_same_seed_same_voxels_other_seed_another_head(head: Volume) -> None:
    np.testing.assert_array_equal(paint_phantom(HEAD).hu, head.hu)
    other = paint_phantom(replace(HEAD, seed=2)).hu
    assert float((np.abs(other - head.hu) > 20).mean()) > 0.05


def test_noise_has_its_level_in_soft_tissue() -> None:
    settings = replace(HEAD, shape=(6, 160, 160), pixel_mm=1.4, spacing_mm=1.0, thickness_mm=1.0)
    clean = paint_phantom(settings).hu
    field = paint_phantom(replace(settings, noise_hu=4.0)).hu - clean
    assert field[(clean > 0) & (clean < 120)].std() == pytest.approx(4.0, rel=0.15)


def test_a_head_phantom_is_a_series_to_learn_from() -> None:
    # SPEC C2: heads are in no scan of the training
    phantom = replace(HEAD, shape=(24, 32, 32))
    views = load_views(Path("nowhere"), [SeriesSettings(phantom=phantom, axial=1.0)])
    np.testing.assert_array_equal(views[0].thin, paint_phantom(phantom).hu.astype(np.int16))
    settings = PatchSettings(batch=1, size_px=16, depth=12, max_thick=4, factors=(2.0, 4.0), thicknesses=(1.2, 4.0))
    assert PatchBatches(views, settings, 1)[0].thin_hu.shape[-2:] == (16, 16)


def test_a_study_of_it_says_head(tmp_path: Path) -> None:
    small = paint_phantom(replace(HEAD, shape=(3, 40, 40), pixel_mm=3.0))
    file = write_phantom_study(tmp_path / "head", small, seed=PLAIN, region="head")[0]
    header = pydicom.dcmread(file)
    assert (header.BodyPartExamined, header.StudyDescription) == ("HEAD", "Lamella head phantom, made by code")
    assert "ContrastBolusAgent" not in header
