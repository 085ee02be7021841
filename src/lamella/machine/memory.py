"""How much memory this process has used, how much it may still take, and how it gives some back."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


_share_bytes: int | None = None


def share_memory(most_bytes: int) -> None:
    """Let this process count no more than so many bytes as free for it, where several share a machine."""
    global _share_bytes
    _share_bytes = most_bytes


def available_bytes(cgroup: Path = _CGROUP) -> int:
    """Main memory that is free for this process: the machine's, or what a container's limit leaves of it, in bytes."""
    free = int(psutil.virtual_memory().available)
    free = free if _share_bytes is None else min(free, _share_bytes)
    for folder, limit, used, cache in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
    ):
        try:
            most, taken = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # no limit: "max", or no such file
            continue
        counts = dict(line.split(" ", 1) for line in lines if " " in line)
        # files that were read count as used, and give way
        free = min(free, max(0, most - taken + int(counts.get(cache, 0))))
    return free


def peak_rss_bytes() -> int:
    """The largest resident size of the process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak if sys.platform == "darwin" else peak * 1024)  # bytes there, KiB elsewhere: getrusage(2)


def give_back_memory() -> None:
    """Return to the system what the C library holds of freed memory: up to half a gigabyte after a network's evaluation.

    Does nothing where the library has no `malloc_trim` (it is of glibc).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
