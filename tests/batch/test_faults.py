"""Batches that are killed, interrupted, or whose workers die (issue 27: nothing lost, nothing half visible)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.batch.cohort import build_cohort, command, hashes, run, series_uid, states, whole

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]

COUNT = 6


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_cohort(tmp_path_factory.mktemp("cohort") / "in", COUNT)


@pytest.fixture(scope="module")
def undisturbed(cohort: Path, asked: list[object]) -> dict[str, str]:
    """Hashes of a run that nothing disturbs."""
    assert run(cohort, cohort.parent / "out", *asked).returncode == 0
    return hashes(whole(cohort.parent / "out"))


@pytest.fixture(scope="module")
def asked(tiny_model: Path) -> list[object]:
    return ["--model", tiny_model, "--spacing-mm", 2.5]


@contextmanager
def started(*words: object) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A batch, and its worker processes as they come."""
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as batch:
        try:
            yield batch, psutil.Process(batch.pid).children()
        finally:
            batch.kill()


def lines_until(batch: subprocess.Popen[str], ended: int) -> None:
    assert batch.stdout is not None
    for line in batch.stdout:
        if line.startswith(f"{ended}/"):
            return
    raise AssertionError(f"the batch ended before case {ended}")


def workers_of(batch: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(batch.pid).children(recursive=True)
    return [one for one in found if "multiprocessing.spawn" in " ".join(one.cmdline())]


def leftovers(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name.startswith(".") and path.name != ".batch.lock")


def test_a_batch_that_is_killed_goes_on_and_leaves_what_it_had(
    cohort: Path, undisturbed: dict[str, str], asked: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started(cohort, out, *asked) as (batch, _):
        lines_until(batch, 4)
        workers = workers_of(batch)
        batch.kill()
    psutil.wait_procs(workers, timeout=60)
    assert workers
    assert not any(one.is_running() for one in workers)  # they end with their owner
    finished = {path.name: states(path) for path in out.iterdir() if (path / "record.json").is_file()}
    assert len(finished) >= 4
    assert not whole(out).finished
    told = run(cohort, out, *asked)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count(" kept ") == len(finished)
    assert hashes(whole(out)) == undisturbed
    assert {name: states(out / name) for name in finished} == finished
    assert leftovers(out) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_cleanly_and_goes_on(
    cohort: Path, undisturbed: dict[str, str], asked: list[object], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    with started(cohort, out, *asked) as (batch, _):
        lines_until(batch, 2)
        workers = workers_of(batch)
        batch.send_signal(number)
        _, errors = batch.communicate(timeout=60)
    assert batch.returncode == 130
    assert "Interrupted" in errors
    assert not any(one.is_running() for one in workers)
    assert leftovers(out) == []
    assert whole(out).count("done") >= 2
    assert run(cohort, out, *asked).returncode == 0
    assert hashes(whole(out)) == undisturbed


@contextmanager
def killing(batch: subprocess.Popen[str], now: Callable[[], bool], times: int) -> Iterator[list[int]]:
    """Kills the workers of a batch, so many times, whenever `now` says so."""
    killed: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set() and len(killed) < times:
            if now():
                for one in workers_of(batch):
                    one.kill()
                    killed.append(one.pid)
                    one.wait()
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    yield killed
    ended.set()
    thread.join()


def at_work_on(out: Path, series: str) -> Callable[[], bool]:
    """Whether a worker has begun to write a series since the last time."""
    seen: set[str] = set()

    def begun() -> bool:
        stages = {path.name for path in out.glob(f".{series}.lamella-*")} if out.is_dir() else set()
        new = bool(stages - seen)
        seen.update(stages)
        return new

    return begun


def test_what_a_killed_worker_had_in_hand_is_done_again(
    cohort: Path, undisturbed: dict[str, str], asked: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started(cohort, out, *asked) as (batch, _), killing(batch, at_work_on(out, series_uid(3)), 1) as killed:
        assert batch.wait(timeout=300) == 0
    assert len(killed) == 1
    assert hashes(whole(out)) == undisturbed
    assert leftovers(out) == []


def test_a_series_that_kills_its_worker_every_time_fails_alone(
    cohort: Path, undisturbed: dict[str, str], asked: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with started(cohort, out, *asked) as (batch, _), killing(batch, at_work_on(out, series_uid(3)), 9) as killed:
        assert batch.wait(timeout=300) == 8
    assert len(killed) == 2
    (failed,) = (one for one in whole(out).cases if one.state == "failed")
    assert failed.series == series_uid(3)
    assert failed.reason.startswith("Its worker was killed (SIGKILL), most likely for want of memory.")
    assert hashes(whole(out)) == {name: one for name, one in undisturbed.items() if name != failed.series}
    assert not (out / failed.series).exists()


def test_a_second_run_of_the_same_batch_is_refused(cohort: Path, asked: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with started(cohort, out, *asked) as (batch, _):
        lines_until(batch, 1)
        batch.send_signal(signal.SIGSTOP)
        told = run(cohort, out, *asked)
        batch.send_signal(signal.SIGCONT)
        assert (told.returncode, "Another run is at work on this batch" in told.stderr) == (2, True)
        batch.send_signal(signal.SIGTERM)
        batch.communicate(timeout=60)
