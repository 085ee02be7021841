"""How many processors this process may use, and work for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much processor time a container gets: microseconds in each period, or "max"."""


def usable_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Processors that this process may run on, no more than a container's limit, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        cores = min(cores, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no limit: "max", or no such file
        pass
    return max(1, cores)


def on_all_cores(work: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
    """The answers in order. Threads, so for work that is done outside Python, such as a filter of scipy or numpy."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        return list(threads.map(work, items))
