from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_fit import PLAIN, noted

PROGRAM = [sys.executable, "-m", "tests.tiny_fit"]
ROOT = Path(__file__).parents[2]


def program(folder: Path, dies_at: int = -1) -> int:
    changes = json.dumps({"steps": 10, "accumulate": 2})
    call = [*PROGRAM, str(folder), changes, str(dies_at)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, timeout=300, check=False).returncode


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    # SPEC A18: SIGKILL at any micro-step, between checkpoints and within an accumulated step
    assert program(tmp_path / "straight") == 0
    dies_at = int(np.random.default_rng().integers(1, 20))
    assert program(tmp_path / "killed", dies_at) == -signal.SIGKILL
    assert dies_at not in noted(tmp_path / "killed" / "notes-0")
    assert program(tmp_path / "killed") == 0
    losses = noted(tmp_path / "killed" / "notes-0")
    assert losses == noted(tmp_path / "straight" / "notes-0"), f"killed at micro-step {dies_at}"
    assert len(losses) == 10 * 2
    assert PLAIN["checkpoint_every"] == 4
    ends = [torch.load(tmp_path / n / "last.ckpt", weights_only=True)["state_dict"] for n in ("straight", "killed")]
    assert all(torch.equal(a, b) for a, b in zip(*(end.values() for end in ends), strict=True))
