"""`--repair` from SOURCE to OUTPUT: places, spread, labels, and what the verbs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from tests.broken_scans import ORIGIN_MM, axes_of, centre_mm, scanned, write

import lamella
from lamella.cli import main
from lamella.errors import UsageError
from lamella.metrics.spheres import Sphere
from lamella.physics.repair import RepairKind
from lamella.thinning.model import ThinModel
from lamella.volume import Volume

# Issue 26, item 7

SLICES, SPACING_MM, BROKEN_AT = 13, 2.5, 6
STEPS = np.arange(SLICES)[:, None] * SPACING_MM
KINDS: tuple[RepairKind, ...] = ("tilt", "gap", "uneven")


def planes(kind: RepairKind, whole: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(positions, axes) of a scan: whole, or with one fault; both pass through the same place at `BROKEN_AT`."""
    axes = axes_of(15.0 if kind == "tilt" else 0.0)
    even = np.array(ORIGIN_MM) + STEPS * axes[:, 0]
    if whole:
        return even, axes
    if kind == "tilt":
        table = np.array([0.0, 0.0, SPACING_MM / axes[2, 0]])
        return even[BROKEN_AT] + (np.arange(SLICES)[:, None] - BROKEN_AT) * table, axes
    if kind == "gap":
        return np.delete(even, BROKEN_AT, axis=0), axes
    shifts = np.random.default_rng(1).uniform(-0.4, 0.4, SLICES)
    shifts[[0, -1]] = 0.0
    return even + shifts[:, None] * axes[:, 0], axes


@pytest.fixture(scope="module")
def model() -> ThinModel:
    return lamella.load_model()


@pytest.mark.parametrize("off", [-0.4, 0.0, 0.25, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_spheres_lie_where_the_unbroken_scan_has_them(
    kind: RepairKind, off: float, model: ThinModel, tmp_path: Path
) -> None:
    """Issue 26, item 7: centres within 0.1 mm. The sphere lies in the middle of the fault."""
    axes = axes_of(15.0 if kind == "tilt" else 0.0)
    middle = np.array([SPACING_MM * (BROKEN_AT + off), 25.9, 25.4])
    x, y, z = (np.array(ORIGIN_MM) + axes @ middle).tolist()
    sphere = Sphere((x, y, z), 12.0)
    centres = []
    for whole in (True, False):
        positions, _ = planes(kind, whole)
        hu = scanned([sphere], positions, axes, SPACING_MM, (64, 64))
        folder = write(tmp_path / str(whole), hu, positions, axes, SPACING_MM)
        volume = lamella.read(folder, repair=None if whole else kind)
        thin = lamella.thin(volume, spacing_mm=1.0, model=model).volume
        centres.append(centre_mm(thin, sphere, SPACING_MM))
    assert np.abs(centres[0] - middle_of(sphere)).max() < 0.3  # the measure itself, on the unbroken scan
    assert np.linalg.norm(centres[1] - centres[0]) < 0.1


def middle_of(sphere: Sphere) -> NDArray[np.float64]:
    return np.array(sphere.centre_mm)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[RepairKind, Path]:
    """One series of each fault, of noise and a sphere."""
    folder, found = tmp_path_factory.mktemp("broken"), {}
    for kind in KINDS:
        positions, axes = planes(kind, whole=False)
        x, y, z = (np.array(ORIGIN_MM) + axes @ np.array([15.0, 18.0, 16.0])).tolist()
        hu = scanned([Sphere((x, y, z), 14.0)], positions, axes, SPACING_MM, (48, 40), noise_hu=15.0)
        found[kind] = write(folder / kind, hu, positions, axes, SPACING_MM)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_run_dry_run_and_inspect_agree(
    kind: RepairKind,
    broken: dict[RepairKind, Path],
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    thin = ["thin", str(broken[kind]), str(out), "--model", str(tiny_model)]
    inspect, asked, said = ["inspect", str(broken[kind])], ["--repair", kind], []
    for command in ([*thin, "--quiet"], [*thin, "--dry-run", "--quiet"], [*inspect, "--quiet"]):
        assert main(command) == 3
        said.append(" ".join(capsys.readouterr().err.split()))
    assert f"--repair {kind}` repairs this" in said[0]
    assert said[0] == said[1] == said[2]
    assert not out.exists()
    assert main([*thin, *asked, "--dry-run"]) == 0
    dry = " ".join(capsys.readouterr().out.split())
    assert main([*inspect, *asked, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["series"]
    assert main([*thin, *asked, "--report", str(report)]) == 0
    ran = " ".join(capsys.readouterr().out.split())
    written = json.loads(report.read_text())
    (note,) = [warning for warning in written["warnings"] if warning.startswith(f"repaired ({kind})")]
    assert note in found["notes"]
    assert note in dry
    assert note in ran
    assert (found["slices"], found["refusal"]) == (SLICES, None)
    assert written["source"]["slices"] == SLICES
    assert written["repair"]["kind"] == kind
    assert written["consistency_rmse_hu"] < 0.5
    header = pydicom.dcmread(next(out.iterdir()))
    assert f"Source {note}." in header.DerivationDescription
    assert ("each measured slice" in header.DerivationDescription) == (kind == "gap")
    lamella.read(out)


def test_a_tilt_is_gone_from_the_result(broken: dict[RepairKind, Path], tiny_model: Path, tmp_path: Path) -> None:
    """Readers that go by GantryDetectorTilt would shear it once more."""
    source = tmp_path / "in"
    source.mkdir()
    for file in broken["tilt"].iterdir():
        header = pydicom.dcmread(file)
        header.GantryDetectorTilt = "15"
        header.save_as(source / file.name)
    out = tmp_path / "out"
    assert main(["thin", str(source), str(out), "--model", str(tiny_model), "--repair", "tilt", "--quiet"]) == 0
    headers = [pydicom.dcmread(file) for file in out.iterdir()]
    assert not any("GantryDetectorTilt" in header for header in headers)
    assert {header.Rows for header in headers} == {48 + 11}


def test_an_answer_to_a_repaired_series_has_a_uid_of_its_own(
    broken: dict[RepairKind, Path], tiny_model: Path, tmp_path: Path
) -> None:
    """The series may be sent again, whole, with its UID."""
    positions, axes = planes("gap", whole=True)
    whole = write(tmp_path / "whole", scanned([], positions, axes, SPACING_MM, (48, 40)), positions, axes, SPACING_MM)
    uids = []
    for source, repair in ((whole, None), (broken["gap"], "gap")):
        volume = lamella.read(source, repair=repair)  # type: ignore[arg-type]  # one of KINDS
        uids.append(lamella.thin(volume, model=tiny_model).report["output"]["series_uid"])
    assert uids[0] != uids[1]


def bridged_answer(noise_hu: float, model: ThinModel, tmp_path: Path) -> tuple[Any, Volume, Volume]:
    """(answer to a scan with a gap, the read scan, thin truth) of a cloud of spheres."""
    rng, axes = np.random.default_rng(5), axes_of(0.0)
    places = np.array(ORIGIN_MM) + rng.uniform((3, 3, 0), (48, 48, 30), (40, 3))
    spheres = [Sphere((x, y, z), size) for (x, y, z), size in zip(places.tolist(), rng.uniform(4, 9, 40), strict=True)]
    positions, _ = planes("gap", whole=False)
    hu = scanned(spheres, positions, axes, SPACING_MM, (64, 64), noise_hu=noise_hu)
    volume = lamella.read(write(tmp_path / "in", hu, positions, axes, SPACING_MM), repair="gap")
    answer = lamella.thin(volume, spacing_mm=1.25, model=model, spread=True)
    thin = np.array([answer.volume.geometry.position(k) for k in range(answer.volume.geometry.shape[0])])
    truth = scanned(spheres, thin, axes, 1.25, (64, 64)).astype(np.float32)
    return answer, volume, Volume(truth, answer.volume.geometry)


def test_the_spread_of_bridged_slices_is_as_large_as_their_error(model: ThinModel, tmp_path: Path) -> None:
    answer, volume, truth = bridged_answer(10.0, model, tmp_path)
    error = answer.volume.hu - truth.hu
    bridged = np.abs(truth.geometry.centres_mm - volume.geometry.centres_mm[BROKEN_AT]) < SPACING_MM / 2
    assert bridged.sum() == 2
    expected, found = (float(np.sqrt((one[bridged] ** 2).mean())) for one in (answer.spread.hu, error))
    elsewhere = float(np.sqrt((answer.spread.hu[~bridged] ** 2).mean()))
    assert expected > 1.3 * elsewhere
    assert 0.75 < expected / found < 1.35


def test_consistency_is_that_with_the_measured_slices(model: ThinModel, tmp_path: Path) -> None:
    answer, volume, _ = bridged_answer(10.0, model, tmp_path)
    averaged = answer.volume.hu.reshape(SLICES, 2, 64, 64).mean(axis=1)
    misfit = np.delete(averaged - volume.hu, BROKEN_AT, axis=0)
    assert answer.report["consistency_rmse_hu"] == pytest.approx(float(np.sqrt((misfit**2).mean())), abs=1e-3)
    worst = float(np.abs(misfit).max())
    assert answer.report["consistency_worst_hu"] == pytest.approx(worst, abs=1e-3)
    assert answer.report["repair"]["slice"] == BROKEN_AT
    assert answer.report["repair"]["expected_error_hu"] > 10


def test_a_part_of_a_bridged_volume_is_refused(broken: dict[RepairKind, Path], tiny_model: Path) -> None:
    volume = lamella.read(broken["gap"], repair="gap")
    with pytest.raises(UsageError, match="cut out of one with a bridged slice"):
        lamella.thin(volume.part(slice(2, 10)), model=tiny_model)


def test_the_page_says_which_slices_are_kept(
    broken: dict[RepairKind, Path], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, kept in (("uneven", "repaired"), ("gap", "measured")):
        thin = ["thin", str(broken[kind]), str(tmp_path / f"{kind}.nii"), "--model", str(tiny_model), "--repair", kind]  # type: ignore[index]
        assert main([*thin, "--report", str(tmp_path / f"{kind}.html")]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert f"consistent with the {kept} slices to" in said
        page = (tmp_path / f"{kind}.html").read_text()
        assert f"over each thick one gives the {kept} slices back" in page
        sidecar = json.loads((tmp_path / f"{kind}.json").read_text())
        assert f"repaired ({kind})" in sidecar["DerivationDescription"]
