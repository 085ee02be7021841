"""Kills at random moments (the short form of the benchmark), and a disk that is full at every write."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from tests.running_node import ROOT, RunningNode, needed, node_config, start_node, study_at, wait_for

from lamella.node.journal import hashed
from lamella.node.states import FINAL, STATES

pytestmark = pytest.mark.slow

OWN_DISK = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=4m none "$0" && exec "$@"']


def test_kills_at_random_moments_lose_double_and_halve_nothing(tmp_path: Path, tiny_model: Path) -> None:
    # SPEC C7
    needed("storescp")
    words = [sys.executable, str(ROOT / "benchmarks" / "node_faults.py"), "--kills", "6", "--model", str(tiny_model)]
    done = subprocess.run([*words, "--json", str(tmp_path / "found.json")], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["faults"] == []
    assert sum(found["of"].values()) == found["kills"] == 6
    assert found["of"]["Ray worker"] == 1
    assert found["instances answered Success"] == 8 * found["studies"] > 0
    assert sum(found["finished"].values()) == found["studies"]


def test_what_comes_while_it_works_is_stored_at_half_the_rate_of_storescp_at_least(
    tmp_path: Path, tiny_model: Path
) -> None:
    # SPEC C7
    needed("storescu", "storescp")
    words = [sys.executable, str(ROOT / "benchmarks" / "node_receive.py"), "--model", str(tiny_model), "--no-delay"]
    small = ["--studies", "8", "--slices", "20", "--side", "64", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([*words, *small], capture_output=True, text=True, timeout=300)
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["stored"], found["refused"]) == (160, 0)
    assert found["ratio"] >= 0.5, done.stdout


@contextmanager
def node_on_a_small_disk(folder: Path, model: Path) -> Iterator[RunningNode]:
    """A node whose state lies on a disk of 4 MB of its own; its `state` is seen through the process."""
    words = [*OWN_DISK[:-1], "mount -t tmpfs none /mnt"]
    if shutil.which("unshare") is None or subprocess.run([*words, "/mnt"], capture_output=True).returncode != 0:
        pytest.skip("the kernel lets this user mount no file system")
    config = node_config(folder, model, limits={"disk_free_gb": 0.0})
    (folder / "state").mkdir()
    node = start_node(config, before=[*OWN_DISK, str(folder / "state")])
    try:
        yield replace(node, state=Path(f"/proc/{node.process.pid}/root{folder / 'state'}"))
    finally:
        node.process.kill()
        node.process.wait()


def test_a_disk_that_is_full_at_every_write_loses_nothing(tmp_path: Path, tiny_model: Path) -> None:
    needed("storescu")
    with node_on_a_small_disk(tmp_path / "node", tiny_model) as node:
        answered: dict[str, bytes] = {}
        ballast = node.state / "ballast"
        for number, left_kb in enumerate((0, 12, 40, 60, 80, 110, 150), start=1):
            fill(ballast, left_kb)
            files = sorted(study_at(tmp_path / str(number), number).iterdir())
            sent = node.store(*files)  # gives up at the first refusal
            said = sent.stdout + sent.stderr
            for file in files[: said.count("Received Store Response (Success)")]:
                answered[uid_of(file)] = file.read_bytes()[-1000:]
            with suppress(AssertionError):  # where there is no room to go on, it does not
                wait_for(lambda: not node.folders("incoming", "ready", "working"), "an end", 10)
            ballast.unlink()
            wait_for(lambda: not node.folders("incoming", "ready", "working"), "an end")
        assert len(answered) > 30
        assert any(line["status"] == "A700" for line in node.audit() if line["event"] == "not stored")
        ends = {one.parent.name for one in node.folders(*FINAL)}
        assert ends >= {"sent", "failed"}
        for failed in node.folders("failed"):
            assert not (failed / "result").exists()
            failed.rename(node.state / "ready" / failed.name)  # as a person would, now that there is room
        wait_for(lambda: not node.folders(*(set(STATES) - set(FINAL))), "an end of all")
        kept = {file.stem: file.read_bytes()[-1000:] for file in node.state.glob("*/*/source/*.dcm")}
        assert answered.items() <= kept.items()
        for one in node.folders("sent"):
            assert len(list(one.glob("result/*/series/*.dcm"))) == 2 * len(list((one / "source").iterdir()))


def uid_of(file: Path) -> str:
    return hashed(str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID))


def fill(ballast: Path, left_kb: int) -> None:
    """Take all room but so much."""
    free = shutil.disk_usage(ballast.parent).free
    ballast.write_bytes(bytes(max(0, free - left_kb * 1024)))
