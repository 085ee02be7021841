from __future__ import annotations

from pathlib import Path

import pytest

from lamella.cli import main
from lamella.errors import UsageError
from lamella.files.config import load, save
from lamella.train.same_run import SETTINGS, is_begun, refuse_other_run
from lamella.train.vae import VaeRun

BEGUN = {
    "run": "runs/a",
    "data": {"index": "cache/a", "series": [{"path": "x", "axial": 1.0}]},
    "head": "v",
    "fit": {"steps": 100, "learning_rate": 1e-4, "seed": 42},
    "name": "a",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mean").mkdir()
    (tmp_path / "mean" / "last.ckpt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"head": "noise"}, "head 'noise', expected 'v'"),
        ({"data": {"index": "cache/b", "series": [{"path": "x", "axial": 1.0}]}}, "data.index"),
        ({"data": {"index": "cache/a", "series": [{"path": "x", "axial": 0.5}]}}, r"data\.series\.0\.axial 0\.5"),
        ({"data": {"index": "cache/a", "series": []}}, r"data\.series\.0\.path None"),
        ({"fit": {**BEGUN["fit"], "seed": 1}}, "fit.seed 1, expected 42"),  # type: ignore[dict-item]
    ],
)
def test_a_run_under_other_settings_is_refused(folder: Path, change: dict[str, object], named: str) -> None:
    # SPEC A18: else a finished run would be labelled with settings that it was not trained by
    with pytest.raises(UsageError, match=named):
        refuse_other_run(folder, {**BEGUN, **change}, BEGUN)


def test_a_run_may_be_prolonged_moved_and_renamed(folder: Path) -> None:
    fit = {"steps": 900, "learning_rate": 1e-5, "seed": 42}
    refuse_other_run(folder, {**BEGUN, "fit": fit, "name": "b", "run": "elsewhere", "device": "cuda"}, BEGUN)


def test_a_run_is_begun_with_its_first_checkpoint(folder: Path) -> None:
    assert is_begun(folder)
    (folder / "mean" / "last.ckpt").unlink()
    assert not is_begun(folder)


def test_the_command_refuses_and_leaves_the_record_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save(load(VaeRun, Path("configs/compact_vae.yaml"), [f"run={run}"]), run / SETTINGS)
    (run / "last.ckpt").touch()
    before = (run / SETTINGS).read_text()
    assert main(["train", "configs/compact_vae.yaml", f"run={run}", "low_hu=-500"]) == 2
    assert "low_hu -500.0, expected -1000.0" in capsys.readouterr().err
    assert (run / SETTINGS).read_text() == before
