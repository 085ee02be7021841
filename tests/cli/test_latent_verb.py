"""`lamella thin --model FOLDER` with a latent diffusion model, from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.small_latent import small_latent_model

from lamella.cli import main
from lamella.dicom import read_series

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def latent_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "latent"
    small_latent_model().save(folder, {"description": "random"})
    return folder


@pytest.fixture
def command(thick_study: Path, latent_folder: Path) -> list[str]:
    return ["thin", "--model", str(latent_folder), "--quiet", str(thick_study)]


def test_dicom_to_dicom_with_report(command: list[str], thick_study: Path, tmp_path: Path) -> None:  # SPEC A15, A22
    out, report = tmp_path / "out", tmp_path / "report.json"
    assert main([*command, str(out), "--mode", "sample", "--report", str(report)]) == 0
    thick, thin = read_series(thick_study), read_series(out)
    assert thin.geometry.shape == (20, 48, 40)
    np.testing.assert_allclose(thin.geometry.centres_mm, thick.geometry.centres_mm[0] - 2.0 + np.arange(20), atol=1e-3)
    found = json.loads(report.read_text())
    assert found["model"]["name"] == "small latent"
    assert found["settings"]["steps"] == found["steps"] == 20
    assert found["projected"] is True
    averaged = thin.hu.reshape(4, 5, 48, 40).mean(axis=1)
    assert float(np.sqrt(np.mean((averaged - thick.hu) ** 2))) <= 0.5  # SPEC C1


def test_slices_as_asked_for_and_a_mean_of_draws_with_spread(command: list[str], tmp_path: Path) -> None:
    out, sd = tmp_path / "out.nii.gz", tmp_path / "sd.nii.gz"
    asked = [*command, str(out), "--slices", "23", "--steps", "2", "--samples", "2", "--spread", str(sd)]
    assert main(asked) == 0
    assert nib.load(out).shape == nib.load(sd).shape == (40, 48, 23)


@pytest.mark.slow
def test_series_are_told_apart_by_what_they_depend_on(command: list[str], tmp_path: Path) -> None:
    uids = set()
    ways = (["--seed", "1"], ["--seed", "2"], ["--samples", "2"], ["--mode", "sample"], ["--sampler", "ddpm"])
    for number, more in enumerate(ways):
        out = tmp_path / f"out{number}"
        assert main([*command, str(out), "--steps", "1", *more]) == 0
        uids.add(read_series(out).header.series_uid)  # type: ignore[attr-defined]  # a SeriesHeader
    assert len(uids) == 5


def test_preview_and_page_work_without_a_texture(command: list[str], tmp_path: Path) -> None:
    more = ["--steps", "1", "--preview", str(tmp_path / "p.png"), "--report", str(tmp_path / "r.html")]
    assert main([*command, str(tmp_path / "out"), "--mode", "sample", *more]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert (tmp_path / "r.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mode", "texture"], "texture is not defined for a latent diffusion model"),
        (["--mode", "sample", "--spread", "sd.nii.gz"], "needs several"),
    ],
)
def test_refusals_come_before_anything_is_written(
    command: list[str], tmp_path: Path, capsys: Capture, more: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "out", *more]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_how(command: list[str], tmp_path: Path, capsys: Capture) -> None:
    loud = [word for word in command if word != "--quiet"]
    assert main([*loud, str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    for part in ("small latent", "20 slices, 1 mm thick every 1 mm", "denoising in whole planes", "GiB"):
        assert part in said


def test_the_sampler_is_chosen_and_told(command: list[str], tmp_path: Path, capsys: Capture) -> None:  # SPEC A14
    voxels = {}
    for sampler in ("ddim", "ddpm"):
        out, report = tmp_path / f"{sampler}.nii.gz", tmp_path / f"{sampler}-report.json"
        asked = ["--mode", "sample", "--steps", "2", "--sampler", sampler, "--report", str(report)]
        assert main([*command, str(out), *asked]) == 0
        assert json.loads(report.read_text())["sampler"] == sampler
        voxels[sampler] = np.asarray(nib.load(out).dataobj)
    assert not np.array_equal(*voxels.values())
    source = command[-1]
    assert main(["thin", source, str(tmp_path / "out"), "--mode", "sample", "--sampler", "ddpm"]) == 2
    assert "Found sampler ddpm. Leave it out" in capsys.readouterr().err
