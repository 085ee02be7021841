"""Memory that runs out in a piece, for real: a process may map less and less of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SQUEEZED = """
import dataclasses, json, resource, sys
import numpy as np, psutil, torch
torch.set_num_threads(1)
from lamella.errors import RefusedInput
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Volume
from tests.small_model import SMALL, awake, upright

def noisy(slices, side):
    hu = np.random.default_rng(0).integers(-200, 200, (slices, side, side)).astype(np.int16)
    return Volume(hu, upright(hu.shape, 5.0, 5.0))

def answer(volume):
    grid = thin_grid(volume.geometry, spacing_mm=2.0)
    return thin(volume, model, grid, ThinSettings(device="cpu"))

def squeezed(room):
    resource.setrlimit(resource.RLIMIT_AS, (size + (room << 20), resource.RLIM_INFINITY))
    try:
        done = answer(large)
    except RefusedInput as error:
        return "refused", str(error)
    again = any("done again in smaller pieces" in one for one in done.report["warnings"])
    return "again" if again else "at once", bool((done.volume.hu == whole).all())

model = awake(dataclasses.replace(SMALL, side=2, trunk_channels=(48, 16)))  # most of the memory is that of the pieces
large = noisy(4, 512)
answer(noisy(4, 64))
whole = answer(large).volume.hu
size = psutil.Process().memory_info().vms
low, high = 5, 1500
found = [squeezed(low), squeezed(high)]
while high - low > 2 and found[-1][0] != "again":
    middle = (low + high) // 2
    found.append(squeezed(middle))
    low, high = (middle, high) if found[-1][0] == "refused" else (low, middle)
print(json.dumps(found))
"""

GIVEN_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""What one attempt frees is not kept for the next, which would then fit into less."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit what a process maps")
def test_memory_that_runs_out_means_smaller_pieces_and_then_a_refusal_with_the_plan() -> None:
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", SQUEEZED]
    where = {**os.environ, **GIVEN_BACK}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=root, env=where, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    ends = [end for end, _ in found]
    assert ends[0] == "refused"
    assert "The memory ran out in the smallest pieces that there are. Found about" in found[0][1]
    assert "blocks of 1 thick or 1 thin slices" in found[0][1]
    assert ends[1] == "at once"
    assert "again" in ends
    assert all(same for end, same in found if end != "refused")
