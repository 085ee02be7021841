"""The phantom: the same for a seed, the same in every millimetre, and what it says it is."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from lamella.errors import LamellaError, NonFiniteError, UsageError
from lamella.phantom import PhantomSettings, paint_phantom, phantom_nodules, write_phantom_study
from lamella.phantom.shapes import Grid, Texture, add_tube, ball
from lamella.phantom.torso import lungs
from lamella.phantom.trees import lung_trees
from lamella.volume import Volume

SMALL = PhantomSettings(shape=(6, 48, 48), pixel_mm=3.0, spacing_mm=2.0, thickness_mm=2.0)
CHEST = PhantomSettings(shape=(128, 112, 112), pixel_mm=3.0, spacing_mm=1.2, thickness_mm=1.2, noise_hu=0.0, nodules=7)


@pytest.fixture(scope="module")
def chest() -> Volume:
    return paint_phantom(CHEST)


def quiet(shape: tuple[int, int, int], spacing_mm: float, pixel_mm: float) -> NDArray[np.float32]:
    settings = PhantomSettings(shape=shape, spacing_mm=spacing_mm, pixel_mm=pixel_mm, thickness_mm=1.0, noise_hu=0.0)
    return np.asarray(paint_phantom(settings).hu, dtype=np.float32)


@pytest.fixture(scope="module")
def small() -> Volume:
    return paint_phantom(SMALL)


def around(volume: Volume, at_mm: tuple[float, float, float], reach: int = 1) -> NDArray[np.float32]:
    inverse = np.linalg.inv(volume.geometry.affine)
    z, y, x = np.rint(inverse @ [*at_mm, 1.0]).astype(int)[:3]
    box = tuple(slice(i - reach, i + reach + 1) for i in (z, y, x))
    return np.asarray(volume.hu[box], dtype=np.float32)


@pytest.mark.slow
def test_same_seed_same_voxels_other_seed_others(small: Volume) -> None:
    assert np.array_equal(small.hu, paint_phantom(SMALL).hu)
    other = paint_phantom(replace(SMALL, seed=1))
    assert not np.array_equal(small.hu, other.hu)


def test_grid_is_axial_centred_and_labelled() -> None:
    geometry = SMALL.geometry
    assert np.allclose(geometry.axes, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    assert np.allclose(geometry.position(2.5, 23.5, 23.5), 0.0)
    assert (geometry.spacing_mm, geometry.thickness_mm, geometry.pixel_mm) == (2.0, 2.0, (3.0, 3.0))


@pytest.mark.parametrize(
    ("tissue", "at_mm", "hu"),
    [
        ("trachea", (0, 17, 65), -985),
        ("descending aorta", (23, 41.5, 0), 195),
        ("left ventricle", (40, -27, -23), 185),
        ("right atrium", (-33, -20, -6), 215),
        ("liver", (-75, -10, -55), 108),
        ("stomach gas", (62, -33, -70), -995),
        ("stomach fluid", (62, 0, -70), 14),
        ("pectoral muscle", (-55, -88, 40), 56),
        ("air in front", (0, -150, 0), -1000),
    ],
)
def test_tissue_at_its_place(chest: Volume, tissue: str, at_mm: tuple[float, float, float], hu: float) -> None:
    assert float(np.median(around(chest, at_mm))) == pytest.approx(hu, abs=25), tissue


def test_lungs_are_air_and_vessels_and_denser_behind(chest: Volume) -> None:
    front, back = (around(chest, (side * 80, y, 25), reach=4) for side, y in ((-1, -35), (-1, 45)))
    assert -930 < np.median(front) < np.median(back) < -800
    assert min(front.max(), back.max()) > -750


def test_bone_has_cortex_and_marrow(chest: Volume) -> None:
    body = around(chest, (0, 57, 12), reach=5)
    assert body.max() > 450
    assert 100 < float(np.median(around(chest, (0, 57, 12)))) < 350


def test_the_same_millimetre_holds_the_same_tissue_on_every_grid() -> None:
    # Edges are as soft as the coarsest spacing asks for: 2 mm in each of the three.
    coarse = quiet((15, 61, 61), 2.0, 2.0)
    assert np.allclose(quiet((29, 61, 61), 1.0, 2.0)[::2], coarse, atol=0.05)
    assert np.allclose(quiet((15, 121, 121), 2.0, 1.0)[:, ::2, ::2], coarse, atol=0.05)


@pytest.mark.slow
def test_nodules_measure_what_they_say(chest: Volume) -> None:
    nodules = phantom_nodules(CHEST)
    without = paint_phantom(replace(CHEST, nodules=0))
    voxel_mm3 = CHEST.spacing_mm * CHEST.pixel_mm**2
    change = chest.hu - without.hu
    grid = Grid.of(chest.geometry)
    assert [round(n.diameter_mm, 2) for n in nodules] == [12.0, 10.5, 9.0, 7.5, 6.0, 4.5, 3.0]
    assert {n.kind for n in nodules} == {"solid", "ground-glass"}
    for nodule in nodules:
        centre = np.array(nodule.centre_mm)
        assert lungs(*centre.astype(np.float32).reshape(3, 1)) < -nodule.diameter_mm / 2
        box = grid.box(centre - 16.0, centre + 16.0)
        assert box is not None
        share = change[box] / (nodule.hu - without.hu[box])
        near = np.abs(change[box]) > 1e-3
        volume_mm3 = float(share[near].sum()) * voxel_mm3
        assert (6 * volume_mm3 / math.pi) ** (1 / 3) == pytest.approx(nodule.diameter_mm, rel=0.03)


def test_nodules_do_not_depend_on_the_grid() -> None:
    assert phantom_nodules(CHEST) == phantom_nodules(replace(CHEST, shape=(8, 8, 8)))


@pytest.fixture(scope="module")
def noise() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(noise, noiseless volume) on a 1.4 mm grid of 9 slices."""
    loud = paint_phantom(PhantomSettings(shape=(9, 256, 256), noise_hu=15.0)).hu
    clean = paint_phantom(PhantomSettings(shape=(9, 256, 256), noise_hu=0.0)).hu
    return loud - clean, np.asarray(clean, dtype=np.float32)


def test_noise_level_follows_the_tissue(noise: tuple[NDArray[np.float32], NDArray[np.float32]]) -> None:
    field, clean = noise
    soft, lung = (clean > 0) & (clean < 120), (clean > -900) & (clean < -800)
    assert field[soft].std() == pytest.approx(15.0, rel=0.12)
    assert abs(float(field[soft].mean())) < 0.5
    assert field[lung].std() < 0.97 * field[soft].std()


@pytest.mark.slow
def test_noise_is_stronger_where_more_body_is_in_the_way() -> None:
    settings = PhantomSettings(shape=(44, 96, 96), spacing_mm=3.0, pixel_mm=3.0, nodules=0)
    clean = paint_phantom(replace(settings, noise_hu=0.0)).hu
    field = paint_phantom(settings).hu - clean
    soft = (clean > 0) & (clean < 120)
    liver, chest = field[:5][soft[:5]].std(), field[24:30][soft[24:30]].std()
    assert liver > 1.3 * chest


def test_noise_is_band_passed_in_plane_and_nearly_white_along_z(
    noise: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    field = noise[0][:, 64:192, 64:192]
    power = (np.abs(np.fft.fft2(field)) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 1.4), np.fft.fftfreq(128, 1.4)))

    def band(low: float, high: float) -> float:
        return float(power[(frequency >= low) & (frequency < high)].mean())

    assert band(0.005, 0.04) < 0.4 * band(0.13, 0.23)
    assert band(0.4, 0.5) < 0.7 * band(0.13, 0.23)
    # Weights (w, 1, w) with w = exp(-0.5 / 0.45^2) = 0.085 leave 2 w / (1 + 2 w^2) = 0.17 between neighbours.
    along_z = float((field[1:] * field[:-1]).mean() / (field**2).mean())
    assert along_z == pytest.approx(0.17, abs=0.05)


def test_vessel_trees_branch_taper_and_fill_space() -> None:
    arteries, veins, airways = lung_trees(0)
    for tree in (*arteries, *veins):
        assert len(tree.start) > 500
        assert np.all(tree.radius[:, 1] <= tree.radius[:, 0])
        directions = (tree.end - tree.start) / np.linalg.norm(tree.end - tree.start, axis=1, keepdims=True)
        assert np.linalg.eigvalsh(directions.T @ directions / len(directions)).min() > 0.2
    widest, finest = max(t.radius.max() for t in arteries), min(t.radius.min() for t in arteries)
    assert 2 * widest > 8.0
    assert 2 * finest < 1.0
    assert all(len(tree.start) > 20 for tree in airways)


def test_blurred_shapes_keep_their_volume() -> None:
    axis = np.arange(-12.0, 12.0, 0.5, dtype=np.float32)
    grid = Grid(axis, axis, axis, edge_mm=0.8)
    for radius in (0.5, 2.0, 5.0):
        found = ball(grid, np.array([0.1, -0.2, 0.3]), radius)
        assert found is not None
        assert float(found[1].sum()) * 0.5**3 == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.02)
    for radius in (0.3, 1.5, 4.0):
        share = np.zeros(grid.shape, dtype=np.float32)
        add_tube(share, grid, np.array([-30.0, 0.2, 0.0]), np.array([30.0, 0.2, 0.0]), (radius, radius))
        assert float(share[:, :, 20].sum()) * 0.5**2 == pytest.approx(math.pi * radius**2, rel=0.02)


def test_texture_has_unit_variance_and_is_fixed_in_space() -> None:
    axis = np.arange(-40.0, 40.0, 2.0, dtype=np.float32)
    whole = Texture(Grid(axis, axis, axis, 1.0), 8.0, np.random.default_rng(5)).slab(slice(None))
    part = Texture(Grid(axis[10:14], axis[::2], axis, 1.0), 8.0, np.random.default_rng(5)).slab(slice(None))
    assert np.allclose(whole[10:14, ::2], part, atol=1e-5)
    assert whole.std() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thickness_mm": 5.0}, "thicken it with lamella.physics.slice_operator"),
        ({"spacing_mm": 0.0}, "spacing_mm is out of range"),
        ({"shape": (1, 32, 32)}, "at least two voxels"),
        ({"noise_hu": -1.0}, "noise is out of range"),
        ({"nodules": 99}, "0 to 24 nodules"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(LamellaError, match=message):
        PhantomSettings(**wrong)  # type: ignore[arg-type]


def thickened(volume: Volume) -> Volume:
    """Pairs of slices averaged."""
    count, spacing = volume.geometry.shape[0] // 2, volume.geometry.spacing_mm
    hu = np.asarray(volume.hu, dtype=np.float32).reshape(count, 2, *volume.hu.shape[1:]).mean(axis=1)
    return Volume(hu, volume.geometry.with_slices(count, 2 * spacing, spacing / 2, 2 * spacing))


def test_study_reads_back_where_it_was(tmp_path: Path, small: Volume) -> None:
    for name, volume in (("thin", small), ("thick", thickened(small))):
        files = write_phantom_study(tmp_path / name, volume, series_number=2 if name == "thin" else 3)
        datasets = [pydicom.dcmread(file) for file in files]
        for index, dataset in enumerate(datasets):
            assert np.allclose(dataset.ImagePositionPatient, volume.geometry.position(index), atol=1e-6)
            hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            assert np.abs(hu - volume.hu[index]).max() <= 0.5
        assert datasets[0].SliceThickness == volume.geometry.thickness_mm
        assert datasets[0].SpacingBetweenSlices == volume.geometry.spacing_mm
    thin_set, thick_set = (pydicom.dcmread(tmp_path / name / "IM0001.dcm") for name in ("thin", "thick"))
    assert thin_set.StudyInstanceUID == thick_set.StudyInstanceUID
    assert thin_set.FrameOfReferenceUID == thick_set.FrameOfReferenceUID
    assert thin_set.SeriesInstanceUID != thick_set.SeriesInstanceUID


def test_files_depend_on_the_arguments_alone(tmp_path: Path, small: Volume) -> None:
    once, twice = (write_phantom_study(tmp_path / name, small) for name in ("once", "twice"))
    assert [file.read_bytes() for file in once] == [file.read_bytes() for file in twice]


def test_series_is_valid_for_the_dicom_validators(tmp_path: Path, small: Volume) -> None:
    files = write_phantom_study(tmp_path / "study", small)
    tools = Path(sys.executable).parent
    for command in ([tools / "dciodvfy", files[0]], [tools / "dcentvfy", *files]):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "Error" not in done.stdout + done.stderr
        assert "Warning" not in done.stdout + done.stderr


def test_writer_refuses_a_full_folder_and_nan(tmp_path: Path, small: Volume) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(UsageError, match="not empty"):
        write_phantom_study(tmp_path, small)
    hu = np.array(small.hu)
    hu[2, 3, 4] = np.nan
    with pytest.raises(NonFiniteError, match="nothing was written"):
        write_phantom_study(tmp_path / "new", Volume(hu, small.geometry))
    assert not (tmp_path / "new").exists()


def test_default_phantom_shows_what_a_thick_slice_hides(chest: Volume) -> None:
    # Neighbouring slices differ where structures lie oblique to them: that is what the demonstration restores.
    body = uniform_filter((chest.hu > -400).astype(np.float32), 5) > 0.5
    assert float(np.abs(np.diff(chest.hu, axis=0))[body[1:]].mean()) > 8.0
