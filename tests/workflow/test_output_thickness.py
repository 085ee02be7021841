"""Thin slices that overlap, from the command to the header. Issue 26, output choices: --output-thickness-mm."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from tests.dicom.test_conformance import complaints
from tests.dicom_builder import build_series, phantom_hu

import lamella
from lamella.cli import main
from lamella.metrics import aligned_cubic, body_mask, rmse_hu
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.slice_operator import SliceOperator
from lamella.volume import Volume, round_hu

T, S = 1.25, 0.8
overlapping = ["--spacing-mm", str(S), "--output-thickness-mm", str(T)]


def test_header_report_and_sidecar_say_both(thin_command: list[str], tmp_path: Path) -> None:
    report, out = tmp_path / "report.json", tmp_path / "out"
    assert main([*thin_command, str(out), *overlapping, "--report", str(report)]) == 0
    files = sorted(out.iterdir())
    header = pydicom.dcmread(files[3])
    assert (float(header.SliceThickness), float(header.SpacingBetweenSlices)) == (T, S)
    assert header.SeriesDescription.endswith("AI thin 1.25mm every 0.8mm mean RESEARCH")
    assert "to 1.25 mm every 0.8 mm" in header.DerivationDescription
    assert "the abutting slices that these average give that slice back" in header.DerivationDescription
    assert complaints("dciodvfy", files[3]) == []
    said = json.loads(report.read_text())
    assert (said["output"]["thickness_mm"], said["output"]["spacing_mm"], said["output"]["slices"]) == (T, S, 25)
    assert said["settings"]["output_thickness_mm"] == T
    assert said["consistency_rmse_hu"] <= 0.5
    read = lamella.read(out)
    assert read.geometry.thickness_mm == T
    assert main([*thin_command, str(tmp_path / "out.nii.gz"), *overlapping]) == 0
    sidecar = json.loads((tmp_path / "out.json").read_text())
    assert (sidecar["SliceThickness"], sidecar["SpacingBetweenSlices"]) == (T, S)
    nifti = lamella.read(tmp_path / "out.nii.gz")
    assert np.array_equal(nifti.hu, read.hu)
    assert nifti.geometry.apart_mm(read.geometry) < 1e-3


def test_as_thick_as_they_are_apart_changes_nothing(thin_command: list[str], tmp_path: Path) -> None:
    plain, same = tmp_path / "plain", tmp_path / "same"
    assert main([*thin_command, str(plain), "--spacing-mm", "0.8"]) == 0
    assert main([*thin_command, str(same), "--spacing-mm", "0.8", "--output-thickness-mm", "0.8"]) == 0
    one, other = lamella.read(plain), lamella.read(same)
    assert np.array_equal(one.hu, other.hu)
    assert one.header.series_uid == other.header.series_uid


@pytest.mark.parametrize(
    ("value", "code", "said"),
    [
        ("0.5", 2, "would leave gaps"),
        ("0", 2, "must be a positive number"),
        ("nan", 2, "must be a positive number"),
        ("6", 3, "thicker than the input's"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["", "dry run"])
def test_nonsense_is_refused(
    thin_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, code: int, said: str, more
) -> None:
    assert main([*thin_command, str(tmp_path / "out"), "--output-thickness-mm", value, *more]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_slices_like_those_of_an_overlapping_reconstruction(
    thin_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thick = lamella.read(Path(thin_command[-1]))
    like = tmp_path / "like.nii.gz"
    geometry = thick.geometry.with_slices(14, S, -1.0, T)
    lamella.write(Volume(np.repeat(thick.hu, 4, axis=0)[:14], geometry), like)
    command = [*(word for word in thin_command if word != "--quiet"), str(tmp_path / "out"), "--like", str(like)]
    assert main([*command, "--output-thickness-mm", str(T)]) == 0
    assert "its slices are" not in capsys.readouterr().out
    made = lamella.read(tmp_path / "out").geometry
    assert made.apart_mm(geometry) < 1e-3
    assert made.thickness_mm == T


@pytest.mark.parametrize("mode", ["mean", "texture"])
def test_slices_that_tile_a_measured_slab_give_it_back(tiny_model: Path, tmp_path: Path, mode: str) -> None:
    """6 mm slices; of those of 3 mm every 1 mm, the second and the fifth of each six tile a slab. SPEC C1."""
    hu = np.clip(phantom_hu(6, 24, 28) // 8, -1024, 3071).astype(np.int16)
    build_series(tmp_path / "dicom", hu, spacing_mm=6.0, thickness_mm=6.0, pixel_mm=(0.7, 0.7))
    thick = lamella.read(tmp_path / "dicom")
    result = lamella.thin(thick, spacing_mm=1.0, output_thickness_mm=3.0, model=tiny_model, mode=mode)
    tiles = result.volume.hu[1::3].astype(np.float64)
    misfit = tiles.reshape(6, 2, 24, 28).mean(axis=1) - thick.hu
    assert np.sqrt((misfit**2).mean()) <= 0.5
    assert result.report["consistency_rmse_hu"] <= 0.5


@pytest.mark.parametrize(("thickness_mm", "spacing_mm"), [(1.25, 0.8), pytest.param(2.0, 1.0, marks=pytest.mark.slow)])
def test_against_the_truth_on_a_phantom(thickness_mm: float, spacing_mm: float) -> None:
    """A phantom every 0.2 mm, averaged to 5 mm and thinned, beside the same averaged to overlapping slices directly."""
    fine_mm = 0.2
    noise_hu = 15 / math.sqrt(fine_mm)  # 15 HU in 1 mm
    settings = PhantomSettings(
        shape=(250, 88, 88), spacing_mm=fine_mm, thickness_mm=fine_mm, pixel_mm=2.0, seed=1, noise_hu=noise_hu
    )
    phantom = paint_phantom(settings)
    image = torch.from_numpy(phantom.hu)
    slabs = phantom.geometry.with_slices(8, 5.0, 7.4, 5.0)
    thick = Volume(round_hu(SliceOperator.between(phantom.geometry, slabs).blur(image).numpy()), slabs)
    result = lamella.thin(thick, spacing_mm=spacing_mm, output_thickness_mm=thickness_mm, spread=True)
    wanted = result.volume.geometry
    assert (wanted.thickness_mm, wanted.spacing_mm) == (thickness_mm, spacing_mm)
    truth = SliceOperator.between(phantom.geometry, wanted, ridge=0.0).blur(image).numpy()
    body = body_mask(truth)
    cubic = aligned_cubic(thick.hu, slabs.centres_mm, wanted.centres_mm)
    abutting = lamella.thin(thick, spacing_mm=spacing_mm).volume.hu
    found = {name: rmse_hu(hu, truth, body) for name, hu in (("made", result.volume.hu), ("cubic", cubic))}
    assert found["made"] < 0.87 * found["cubic"]  # 1.2 dB
    assert found["made"] < rmse_hu(abutting, truth, body), "thinner slices in the same places are not these"
    assert result.spread is not None
    assert 0.7 < (np.abs(result.volume.hu - truth) < result.spread.hu)[body].mean() < 0.97
