"""Advisory locks between processes; the system lets go of one however its owner ends."""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def lock(file: Path, *, wait: bool = False) -> BaseFileLock | None:
    """Take the lock of a file, which is created; `release()` gives it back.

    Args:
        file: its folder should exist. It stays where it is.
        wait: until other owners are done.

    Returns:
        The lock; None where the file system has no locks or the file cannot be written.

    Raises:
        BlockingIOError: another owner holds it, and `wait` is false.
    """
    taken = FileLock(file, thread_local=False)
    try:
        taken.acquire(blocking=wait)
    except Timeout:
        raise BlockingIOError(f"Another process is at work: {file}.") from None
    except (OSError, NotImplementedError):
        return None
    return taken
