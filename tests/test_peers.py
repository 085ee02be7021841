"""Other tools beside Lamella: each in an environment of its own, its results handed in as files."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from lamella.evaluate.outside import handed_in, runs_of
from lamella.evaluate.settings import EvaluationSettings
from lamella.files.config import load
from lamella.nifti.image import read_nifti, write_nifti
from lamella.physics.simulate import simulate_thick
from lamella.volume import Geometry, Volume, round_hu

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
NAMES = ("slabs", "saint", "tvsrn", "i3net", "kinds", "batches", "train", "thin", "run")


@pytest.fixture(scope="module", autouse=True)
def scripts() -> Iterator[None]:
    """The scripts import each other by name, as Python runs them."""
    sys.path[:0] = [str(PEERS), str(PEERS / "networks")]
    yield
    del sys.path[:2]
    for name in NAMES:
        sys.modules.pop(name, None)


def part(name: str) -> Any:
    return importlib.import_module(name)


SLICES, THIN_MM, PIXEL_MM = 40, 1.25, 0.8


def sphere() -> Volume:
    """A ball of 200 HU in lung, off every grid point."""
    affine = np.diag([THIN_MM, PIXEL_MM, PIXEL_MM, 1.0])[[2, 1, 0, 3]]  # columns, rows, slices in LPS
    geometry = Geometry((SLICES, 40, 48), affine, THIN_MM)
    at = np.stack(np.indices(geometry.shape), -1) * (THIN_MM, PIXEL_MM, PIXEL_MM)
    away = np.linalg.norm(at - (25.3, 15.9, 19.3), axis=-1)
    return Volume(round_hu(-850 + 1050 / (1 + np.exp((away - 8.0) / 0.3))), geometry)


def centre_mm(volume: Volume) -> np.ndarray:
    """LPS of the centre of what is denser than lung."""
    weight = volume.hu.astype(float) + 850
    index = np.array([np.sum(weight * axis) for axis in np.indices(weight.shape)]) / weight.sum()
    return (volume.geometry.affine @ [*index, 1.0])[:3]


@pytest.fixture(scope="module")
def thick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thick") / "thick.nii.gz"
    write_nifti(path, [simulate_thick(sphere(), 5.0, 5.0)], None)
    return path


def question(thick: Path, thickness_mm: float = 5.0) -> Any:
    return part("run").Question("ball_5-every-5", thick, thickness_mm, THIN_MM)


def untrained(kind: str, out: Path, name: str) -> Any:
    """A peer whose network still answers with straight lines between slices."""
    kinds, run = part("kinds"), part("run")
    peer = run.Peer(name, "networks", train=(kind,))
    folder = run.run_of(peer, out)
    folder.mkdir(parents=True)
    network = {"tvsrn": lambda: part("tvsrn").Tvsrn(), "i3net": lambda: part("i3net").I3Net()}[kind]()
    kept = {"kind": kind, "network": network.state_dict(), "steps": 0, "cpu_seconds": 0.0, "curve": []}
    torch.save(kept, folder / kinds.LAST)
    return peer


@pytest.mark.parametrize("name", ["bspline", "sinc", "i3net", "tvsrn"])
def test_a_peers_result_lies_where_its_truth_does(tmp_path: Path, thick: Path, name: str) -> None:
    run = part("run")
    if name in ("bspline", "sinc"):
        pytest.importorskip("SimpleITK")
        peer = run.Peer(name, "simpleitk", ("--interpolator", name))
    else:
        peer = untrained(name, tmp_path, name)
    said = run.ask(peer, question(thick), Path(sys.executable), tmp_path)
    assert "processor" in said
    thin = read_nifti(tmp_path / "results" / "ball_5-every-5" / f"{name}.nii.gz", thickness_mm=THIN_MM)
    assert thin.geometry.spacing_mm == pytest.approx(THIN_MM)
    assert thin.geometry.shape == (SLICES, 40, 48)
    truth = sphere()
    np.testing.assert_allclose(thin.geometry.centres_mm, truth.geometry.centres_mm, atol=1e-3)
    np.testing.assert_allclose(centre_mm(thin), centre_mm(truth), atol=0.1)  # half a thin slice is 0.6


def test_a_record_says_how_a_result_was_made_and_what_could_not_be_done(tmp_path: Path, thick: Path) -> None:
    pytest.importorskip("SimpleITK")
    run = part("run")
    ruler = run.Peer("B-spline", "simpleitk", ("--interpolator", "bspline"))
    peer = untrained("i3net", tmp_path, "I3Net")
    run.ask(ruler, question(thick), Path(sys.executable), tmp_path)
    run.ask(peer, question(thick, thickness_mm=7.0), Path(sys.executable), tmp_path)
    assert run.ask(ruler, question(thick), Path(sys.executable), tmp_path) == "done already"
    found = handed_in(EvaluationSettings(out="none", outside_folder=str(tmp_path / "results")))
    records = runs_of(found.outside, "ball_5-every-5")
    assert records["B-spline"].versions == {"SimpleITK": "2.5.7"}
    assert records["B-spline"].command == "thin.py THICK THIN --thin-mm 1.25 --interpolator bspline"
    assert records["B-spline"].seconds is not None
    assert records["B-spline"].seconds > 0
    assert records["B-spline"].memory_mb is not None
    assert records["B-spline"].memory_mb > 10
    assert "processor time" in records["B-spline"].notes
    assert records["B-spline"].could_not == ""
    assert records["I3Net"].could_not.startswith("Made for abutting slices alone. Found 7 mm every 5 mm.")
    assert set(records["I3Net"].versions) == {"torch", "py-SAINT"}
    assert str(tmp_path) not in json.dumps([vars(one) for one in records.values()])


@pytest.mark.parametrize("ratio", [4, 5])
def test_networks_answer_every_thin_slice_of_a_slab(ratio: int) -> None:
    thick = 200 * torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(0))
    tvsrn, i3net, saint = part("tvsrn").Tvsrn((1, 1, 1)), part("i3net").I3Net(16, 1, 1), part("saint").Saint()
    for network in (tvsrn, i3net):
        for one in network.parameters():  # past the zeros that a training begins with
            nn.init.normal_(one, std=0.05)
        made = network(thick, ratio)
        assert made.shape == (2, 4 * ratio, 16, 24)
        assert (made - part("slabs").linear(thick, ratio)).abs().mean() > 1
        made.mean().backward()
        used = [one.grad is not None for name, one in network.named_parameters() if "tails" not in name]
        assert all(used)
    with torch.no_grad():
        assert saint(thick[:1, :, :8, :8], ratio, 5.0, (0.7, 0.7)).shape == (1, 4 * ratio, 8, 8)


def test_saints_networks_take_the_tensors_that_are_distributed() -> None:
    saint = part("saint").Saint()
    marginal, fusion = saint.marginal.state_dict(), saint.fusion.state_dict()
    assert (len(marginal), len(fusion)) == (126, 66)
    assert marginal["RDBs.5.convs.7.conv.0.weight"].shape == (32, 288, 3, 3)
    assert marginal["GW.meta_block.8.weight"].shape == (64, 64, 3, 3)
    assert fusion["RDBs.3.LFF.weight"].shape == (64, 136, 1, 1, 1)
    assert fusion["UPNet.0.weight"].shape == (1, 64, 3, 3, 1)


class Lines(nn.Module):
    """Between the slice before a place and the one after it, straight lines; both at the distances that are told."""

    def forward(self, planes: Tensor, distances: Tensor) -> Tensor:
        spacing = distances[0, 0, 1, 1] + distances[0, 0, 2, 1]
        at = (distances[:, 0, 1, 1] / spacing).view(1, -1, 1, 1)
        after = torch.cat((planes[:, 1, :, 1:], planes[:, 1, :, -1:]), 2)
        return planes[:, 1:2] * (1 - at) + after[:, None] * at


class Mean(nn.Module):
    def forward(self, views: Tensor) -> Tensor:
        return views.mean(1, keepdim=True)


@pytest.mark.parametrize("ratio", [4, 5])
def test_saints_positions_lie_between_the_slices_around_them(ratio: int) -> None:
    saint = part("saint").Saint()
    saint.marginal, saint.fusion = Lines(), Mean()
    thick = 100.0 * torch.arange(5.0)[None, :, None, None] + torch.arange(12.0).view(3, 4)
    made = saint(thick, ratio, 5.0, (0.7, 0.8))
    at = np.array([slab + one for slab in range(5) for one in part("slabs").offsets(ratio)]).clip(0, 4)
    expected = torch.from_numpy(100.0 * at)[None, :, None, None] + torch.arange(12.0).view(3, 4)
    torch.testing.assert_close(made.double(), expected, atol=1e-2, rtol=0)


def test_distances_are_measured_in_millimetres() -> None:
    told = part("saint").distances_mm([0.25], 4.0, 3.0)
    assert told.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(told[0, 0, :, 1], [5.0, 1.0, 3.0])
    np.testing.assert_allclose(told[0, 0, :, 0], [np.hypot(5, 3), np.hypot(1, 3), np.hypot(3, 3)], rtol=1e-6)


def test_pieces_take_every_slab_with_neighbours_wherever_there_are_any() -> None:
    thin = part("thin")
    for count in range(4, 30):
        taken = np.zeros(count, bool)
        for first, inner in thin.pieces(count, 4, 1):
            assert 0 <= first <= count - 4
            assert first == 0 or inner.start >= 1
            assert first == count - 4 or inner.stop <= 3
            taken[first + inner.start : first + inner.stop] = True
        assert taken.all()


def test_a_network_trains_for_its_minutes_goes_on_and_answers(tmp_path: Path, thick: Path) -> None:
    rng = np.random.default_rng(0)
    scan = Volume(round_hu(300 * rng.standard_normal((36, 80, 80))), Geometry((36, 80, 80), np.eye(4), 1.0))
    write_nifti(tmp_path / "scan.nii.gz", [scan], None)
    config = {"data": {"folder": str(tmp_path), "series": [{"path": "scan.nii.gz", "axial": 1.0}]}, "patches": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    kinds, train, run = part("kinds"), part("train"), part("run")
    peer, steps = run.Peer("I3Net", "networks", train=("i3net",)), []
    folder = run.run_of(peer, tmp_path)
    more = 0.03
    for minutes in (0.03, 0.03, None):  # the third: more than the first took, however slow its only step was
        given = ["i3net", str(folder), "--minutes", str(minutes or more), "--config", str(tmp_path / "config.yaml")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["train.py", *given])
            assert train.main() == 0
        done = kinds.of_checkpoint(folder / kinds.LAST)[1]
        steps.append(done["steps"])
        more = done["cpu_seconds"] / 60 + 0.03
    assert 0 < steps[0] == steps[1] < steps[2]
    assert "processor" in run.ask(peer, question(thick), Path(sys.executable), tmp_path)
    record = json.loads((tmp_path / "results" / "ball_5-every-5" / "I3Net.json").read_text())
    assert float(record["notes"].removeprefix("Trained for ").split()[0]) >= 0.06


def test_batches_are_averages_of_the_thin_slices_they_hold() -> None:
    batches, slabs = part("batches"), part("tvsrn").Tvsrn
    from lamella.data.patches import PatchSettings
    from lamella.data.sources import TrainingSource

    rng = np.random.default_rng(1)
    scan = TrainingSource.of_array("noise", rng.integers(-900, 900, (40, 40, 40)).astype(np.int16), 1.0)
    settings = PatchSettings(batch=2, size_px=16, augment=False, other_profile=0.0)
    for item in range(4):
        one = batches.SlabBatches([scan], settings, 9, slabs.slabs, slabs.ratios)[item]
        assert one.thin.shape == (2, 4 * one.ratio, 16, 16)
        expected = one.thin.unflatten(1, (4, one.ratio)).mean(2)
        torch.testing.assert_close(one.thick, expected, atol=0.51, rtol=0)
    smooth = dataclasses.replace(settings, other_profile=1.0)
    one = batches.SlabBatches([scan], smooth, 9, slabs.slabs, slabs.ratios)[0]
    assert 0 < (one.thick - one.thin.unflatten(1, (4, one.ratio)).mean(2)).abs().mean() < 200


@pytest.mark.parametrize("folder", ["simpleitk", "eclare", "networks"])
def test_environments_are_pinned_package_by_package(folder: str) -> None:
    lines = [one for one in (PEERS / folder / "requirements.txt").read_text().splitlines() if one[0] != "#"]
    assert lines
    for one in lines:
        assert re.fullmatch(r"[\w.\-]+==\S+ --hash=sha256:[0-9a-f]{64}", one), one
    assert part("run").versions(folder)


def test_peers_yaml_names_tools_that_are_there_and_an_evaluation_that_can_be_read() -> None:
    run = part("run")
    config = yaml.safe_load((PEERS / "peers.yaml").read_text())
    settings = load(EvaluationSettings, ROOT / config["evaluation"], ())
    assert settings.series
    for one in config["peers"]:
        peer = SimpleNamespace(**{"train": (), **one})
        assert (PEERS / peer.folder / "thin.py").is_file()
        assert (PEERS / peer.folder / "requirements.txt").is_file()
        assert not peer.train or peer.train[0] in part("kinds").KINDS
    assert run.HERE == PEERS


def test_a_volume_is_computed_in_tiles_that_agree_and_goes_on_where_it_was_stopped(tmp_path: Path, thick: Path) -> None:
    thin, kinds = part("thin"), part("kinds")
    torch.manual_seed(0)
    network = part("i3net").I3Net(8, 1, 1).eval()
    for one in network.tails.values():
        nn.init.normal_(one.weight, std=0.02)
    given = read_nifti(thick, thickness_mm=5.0)
    whole = dataclasses.replace(kinds.KINDS["i3net"], tile_px=64)
    kept = tmp_path / "kept.npy"
    made = thin.restored(network, given, 4, whole, kept)
    tiled = thin.restored(network, given, 4, dataclasses.replace(whole, tile_px=24), tmp_path / "tiled.npy")
    assert made.shape == (SLICES, 40, 48)
    np.testing.assert_allclose(tiled, made, atol=0.05)
    begun = np.load(kept)
    begun[8:12] = np.nan
    begun[20] = 7.0  # what is there is not computed again
    np.save(kept, begun)
    again = thin.restored(network, given, 4, whole, kept)
    np.testing.assert_allclose(again[8:12], made[8:12], atol=1e-3)
    assert (again[20] == 7.0).all()
