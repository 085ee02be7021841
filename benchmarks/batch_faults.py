"""A batch of which processes are killed at random moments: the part of `node_faults.py` that concerns cohorts.

The batch itself and its workers, or its workers on a Ray cluster, get SIGKILL while it reads, computes and writes. What is
visible must be whole after every kill, and in the end the hashes must be those of a batch that nothing disturbs.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.running_node import study_at  # noqa: E402

from lamella.batch.case import RECORD, earlier_case, result_in  # noqa: E402
from lamella.batch.digest import result_sha256  # noqa: E402
from lamella.batch.record import read_records  # noqa: E402

STUDIES, SLICES, SIDE = 8, 6, 48
WORKERS = 2
BEGINNING = "beginning, reading"
LONGEST_S, CASE_S = 6.0, 1.0
"""Between kills at any time, in which a batch can begin, and after a case has begun."""
ENDS_S = 60.0
"""In which workers must end after their batch."""
STARTS = 10
"""Of a cluster."""


@dataclass
class Tally:
    """What was killed, while what, and what is wrong."""

    whom: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    faults: set[str] = field(default_factory=set)


def kill_batches(place: Path, kills: int, model: str, over_ray: bool = False) -> Tally:
    """Run batches until so many processes of them were killed."""
    tally = Tally()
    for number in range(1, STUDIES + 1):
        study_at(place / "in" / str(number), number, SLICES, SIDE)
    words = ["--model", model, "--spacing-mm", "2.5", "--workers", str(WORKERS), "--quiet"]
    with _batch(place, "undisturbed", words) as batch:
        assert batch.wait() == 0
    expected = _hashes(place / "undisturbed")
    assert len(expected) == STUDIES
    with _cluster() if over_ray else nullcontext() as address:
        if over_ray:
            words += ["--ray", str(address)]
        while tally.whom.total() < kills:
            tally.batches += 1
            out = f"out-{tally.batches}"
            while _disturb(place, out, words, kills, over_ray, tally) != 0:
                pass  # the same command goes on
            if _hashes(place / out) != expected:
                tally.faults.add(f"{out}: other hashes than those of a batch that nothing disturbs")
            if left := [one.name for one in (place / out).glob(".*") if one.name != ".batch.lock"]:
                tally.faults.add(f"{out}: {len(left)} unfinished results are left")
    return tally


def _disturb(place: Path, out: str, words: Sequence[str], kills: int, over_ray: bool, tally: Tally) -> int:
    """Run one command and kill until it ends; its exit code."""
    with _batch(place, out, words) as batch:
        while tally.whom.total() < kills and not _ends_before(batch, place / out):
            workers = _workers(psutil.Process() if over_ray else psutil.Process(batch.pid), over_ray)
            if not over_ray and random.random() < 0.5:
                victims, name = [psutil.Process(batch.pid)], "batch"
            elif workers:
                victims, name = [random.choice(workers)], "Ray worker" if over_ray else "worker of a batch"
            else:
                continue  # none has begun
            tally.seen.update(_moments(place / out))
            tally.whom[name] += 1
            victims[0].kill()
            if name == "batch":
                _, alive = psutil.wait_procs(workers, timeout=ENDS_S)
                tally.faults.update(f"{out}: a worker outlives its batch" for _ in alive)
            tally.faults.update(half_results(place / out))
        return batch.wait()


def half_results(out: Path) -> list[str]:
    """Results that are visible and not what their record says."""
    faults = []
    for folder in out.glob("[!.]*/"):
        record = earlier_case(folder)
        if record is None or record.sha256 != result_sha256(result_in(folder)):
            faults.append(f"{out.name}: a result is not what its {RECORD} says")
    return faults


def _batch(place: Path, out: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lamella", "batch", str(place / "in"), str(place / out), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def _ends_before(batch: subprocess.Popen[bytes], out: Path) -> bool:
    """Whether a batch ends before a random moment, of which most lie within a case."""
    at_once = random.random() < 0.3
    while not at_once and batch.poll() is None and BEGINNING in _moments(out):
        time.sleep(0.02)
    with suppress(subprocess.TimeoutExpired):
        batch.wait(random.uniform(0.0, LONGEST_S if at_once else CASE_S))
    return batch.poll() is not None


def _workers(owner: psutil.Process, over_ray: bool) -> list[psutil.Process]:
    """Worker processes below a process."""
    found, sign = [], "ray::RemoteWorker" if over_ray else "multiprocessing.spawn"
    for one in owner.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [one] if sign in " ".join(one.cmdline()) else []
    return found


def _moments(out: Path) -> set[str]:
    """What is going on now, as the hidden folders tell."""
    making = list(out.glob(".*.lamella-*/new/*"))
    writing = [one for one in making if any(one.rglob("*.dcm"))]
    return {"writing"} if writing else {"computing"} if making else {BEGINNING}


def _hashes(out: Path) -> dict[str, str]:
    """Of every result, as it is on the disk; it must be what the records say."""
    cases = read_records(out / "batch.json").cases
    assert not half_results(out)
    return {one.series: result_sha256(result_in(out / one.folder)) for one in cases if one.state == "done"}


@contextmanager
def _cluster() -> Iterator[str]:
    """A Ray cluster of this process, with a processor for each worker; its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster()
    for left in reversed(range(STARTS)):
        try:
            made.add_node(num_cpus=WORKERS, object_store_memory=80 * 2**20, include_dashboard=False)
            break
        except Exception:  # also of type Exception itself, where a busy machine takes too long
            if not left:
                raise
    try:
        yield made.address
    finally:
        made.shutdown()
