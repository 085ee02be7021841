"""What a worker may take of a machine that it shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lamella.batch.processes import threads_of
from lamella.machine import memory
from lamella.machine.cores import usable_cores


@pytest.mark.parametrize(("limit", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", None)])
def test_cores_respect_affinity_and_the_limit_of_a_container(
    tmp_path: Path, limit: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path / "cpu.max") == (expected or 6)
    assert usable_cores(tmp_path / "missing") == 6


def test_threads_are_shared_out_and_a_stated_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamella.batch.processes.usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of(workers) for workers in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(2) == 3
    assert threads_of(2, asked=5) == 5


def test_a_share_of_the_memory_is_the_most_that_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_share_bytes", None)
    free = memory.available_bytes()
    memory.share_memory(free // 10)
    assert memory.available_bytes() == free // 10
    memory.share_memory(free * 10)
    assert memory.available_bytes() < free * 10
