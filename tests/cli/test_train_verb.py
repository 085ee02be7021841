"""`lamella train`: from YAML and overrides to a model that `lamella thin` takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lamella.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "embedded.yaml"


def test_mistakes_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(CONFIG), f"run={tmp_path / 'run'}", "mean.stepps=3"]) == 2
    assert "Nearest: mean.steps" in capsys.readouterr().err
    nowhere = f"data.folder={tmp_path / 'nowhere'}"
    assert main(["train", str(CONFIG), f"run={tmp_path / 'run'}", nowhere]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Lightning's own advice on workers and checkpoints
def test_a_small_run_gives_a_model(thin_study: Path, thick_study: Path, tmp_path: Path) -> None:
    series = "[{path: thin, axial: 1.0}]"
    small = [
        f"run={tmp_path / 'run'}",
        f"data.folder={thin_study.parent}",
        f"data.series={series}",
        f"data.held_out={series}",
        f"data.flow_series={series}",
        "model={trunk_channels: [8, 16], trunk_blocks: [1, 1], head_hidden: 8, head_basis: 2, "
        "flow_channels: [8, 16], flow_blocks: [1, 1]}",
        *(
            f"{name}.{setting}"
            for name in ("patches", "flow_patches")
            for setting in ("size_px=24", "depth=12", "batch=2", "factors=[2, 3]", "thicknesses=[1.2, 4]")
        ),
        *(f"{stage}.{setting}" for stage in ("mean", "flow") for setting in ("steps=2", "warm_up=1")),
        "precision=32-true",
        "threads=1",
    ]
    assert main(["train", str(CONFIG), *small, "--quiet"]) == 0
    resolved = yaml.safe_load((tmp_path / "run" / "settings.yaml").read_text())
    assert (resolved["mean"]["steps"], resolved["patches"]["size_px"], resolved["mean"]["clip"]) == (2, 24, 1.0)
    out = tmp_path / "out.nii"
    model = str(tmp_path / "run" / "model")
    assert (
        main(["thin", str(thick_study), str(out), "--model", model, "--mode", "texture", "--steps", "2", "--quiet"])
        == 0
    )
    assert out.is_file()
