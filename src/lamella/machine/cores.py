"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

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
