"""Locks between processes: one owner at a time, and a killed owner holds nothing."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from lamella.files.atomic import staged_file
from lamella.files.lock import lock

OWNER = """
import sys, time
from pathlib import Path
from lamella.files.lock import lock
held = lock(Path(sys.argv[1]))
print(held is not None, flush=True)
time.sleep(60)
"""


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    held = lock(file)
    assert held is not None
    with pytest.raises(BlockingIOError, match="at work"):
        lock(file)
    held.release()
    again = lock(file, wait=True)
    assert again is not None
    again.release()


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "True\n"
        with pytest.raises(BlockingIOError):
            lock(file)
    finally:
        owner.kill()
        owner.communicate()
    held = lock(file)
    assert held is not None
    held.release()


@pytest.mark.parametrize("error", [OSError(95, "no locks"), NotImplementedError("no locks")])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    assert lock(tmp_path / "lock") is None


@pytest.mark.skipif(sys.platform == "win32", reason="no flock there")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP])
def test_a_file_is_written_where_the_system_refuses_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # some versions of filelock take any refusal for another owner: each attempt would begin a hidden folder of its own
    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert lock(tmp_path / "lock") is None
    with staged_file(tmp_path / "results" / "one.txt", overwrite=False) as file:
        file.write_text("one")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["one.txt"]
