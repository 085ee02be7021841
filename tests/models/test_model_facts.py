from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lamella.cli import main
from lamella.embedded.model import EmbeddedModel
from lamella.errors import ModelError
from lamella.models.facts import checkpoint_facts, model_facts
from lamella.models.shipped import SHIPPED

EMBEDDED = SHIPPED / "embedded"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    held = {
        "state_dict": {"net.a": torch.ones(2, 3), "net.b": torch.zeros(4), "other.c": torch.ones(1)},
        "global_step": 7,
        "epoch": 1,
        "optimizer_states": [{"param_groups": [{"lr": 1e-4}]}],
    }
    torch.save(held, path)
    return path


def test_a_model_folder_counts_what_the_network_has() -> None:  # SPEC A22
    facts, model = model_facts(EMBEDDED), EmbeddedModel.read(EMBEDDED)
    assert facts.intact
    assert facts.kind == "embedded"
    assert facts.parameters == {
        "mean": sum(v.numel() for v in model.mean.state_dict().values()),
        "flow": sum(v.numel() for v in model.flow.state_dict().values()),
    }
    assert facts.tensors["mean"] == len(model.mean.state_dict())


def test_altered_weights_are_seen(tmp_path: Path) -> None:  # SPEC A22
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED, folder)
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert not model_facts(folder).intact
    weights.write_bytes(bytes(data[:4]))
    with pytest.raises(ModelError, match="cut off"):
        model_facts(folder)


def test_a_checkpoint_is_counted(checkpoint: Path) -> None:  # SPEC A22
    facts = checkpoint_facts(checkpoint)
    assert (facts.step, facts.epoch, facts.tensors, facts.parameters) == (
        7,
        1,
        {"net": 2, "other": 1},
        {"net": 10, "other": 1},
    )
    assert facts.learning_rates == (1e-4,)
    assert facts.not_finite == ()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:  # SPEC A22
    path = tmp_path / "bad.ckpt"
    torch.save({"state_dict": {}, "path": tmp_path}, path)
    with pytest.raises(ModelError, match="plain values only"):
        checkpoint_facts(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be read"):
        checkpoint_facts(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(ModelError, match="lacks state_dict"):
        checkpoint_facts(path)


def test_inspect_shows_both(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # SPEC A22
    assert main(["inspect", str(EMBEDDED), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "embedded"
    assert main(["inspect", str(checkpoint)]) == 0
    said = capsys.readouterr().out
    assert "step 7" in said
    assert "net: 2 tensors, 10 parameters" in said


def test_inspect_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # SPEC A22
    torch.save({"state_dict": {"net.a": torch.tensor([float("nan")])}}, tmp_path / "nan.ckpt")
    assert main(["inspect", str(tmp_path / "nan.ckpt")]) == 1
    assert "1 tensors of nan.ckpt hold NaN" in capsys.readouterr().err
