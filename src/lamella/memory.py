"""How much memory this process has used."""

from __future__ import annotations

import sys

import psutil


def peak_rss_bytes() -> int:
    """The largest resident size of the process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)  # bytes there, KiB elsewhere: getrusage(2)
