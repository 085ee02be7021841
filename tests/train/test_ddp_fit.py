from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_fit import noted

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_batch(tmp_path: Path) -> None:
    # SPEC A17: each process takes every other item of the same run
    ways: dict[str, dict[str, Any]] = {"one": {"accumulate": 2}, "two": {"devices": 2, "strategy": "ddp"}}
    for name, changes in ways.items():
        call = [sys.executable, "-m", "tests.tiny_fit", str(tmp_path / name), json.dumps({"steps": 8, **changes})]
        done = subprocess.run(
            call, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one = noted(tmp_path / "one" / "notes-0")
    shares = [noted(tmp_path / "two" / f"notes-{rank}") for rank in (0, 1)]
    assert [list(share) for share in shares] == [list(range(0, 16, 2)), list(range(1, 16, 2))]
    two = {**shares[0], **shares[1]}
    for item, loss in one.items():
        assert float.fromhex(two[item]) == pytest.approx(float.fromhex(loss), rel=1e-5)
    ends = [torch.load(tmp_path / n / "last.ckpt", weights_only=True)["state_dict"] for n in ways]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-6)
