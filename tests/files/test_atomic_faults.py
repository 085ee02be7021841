"""Publishing under kill -9, full disks and failing renames: OUTPUT is as it was before."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.files.test_atomic import SLICE, content, old_result

from lamella.errors import UsageError
from lamella.files.atomic import staged_folder


def run(code: str, *arguments: object, wait_for: str | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if wait_for is not None:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == wait_for
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


SLOW_WRITER = """
import sys, time
from pathlib import Path
from lamella.files.atomic import staged_folder
with staged_folder(Path(sys.argv[1]), overwrite=sys.argv[2] == "overwrite") as stage:
    (stage / "IM_00001.dcm").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("mode", ["new", "overwrite"])
def test_kill_9_while_writing_leaves_output_as_it_was_and_the_next_run_cleans_up(tmp_path: Path, mode: str) -> None:
    output = tmp_path / "thin"
    if mode == "overwrite":
        old_result(output)
    before = content(output)
    process = run(SLOW_WRITER, output, mode, wait_for="writing")
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    assert output.exists() == (mode == "overwrite")
    assert content(output) == before
    assert len([name for name in os.listdir(tmp_path) if name.startswith(".thin.lamella-")]) == 1
    with staged_folder(output, overwrite=True) as stage:
        assert len(os.listdir(tmp_path)) == 1 + (mode == "overwrite")
        (stage / SLICE).write_bytes(b"new")
    assert os.listdir(tmp_path) == ["thin"]
    assert content(output) == {SLICE: b"new"}


def test_kill_9_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    output = tmp_path / "thin"
    old_result(output)
    before = content(output)
    code = """
import os, signal, sys
from pathlib import Path
from lamella.files import atomic as publish
os.replace = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
with publish.staged_folder(Path(sys.argv[1]), overwrite=True) as stage:
    (stage / "IM_00001.dcm").write_bytes(b"new")
"""
    assert finish(run(code, output))[0] == -signal.SIGKILL
    assert not output.exists()  # the old result lies aside in the hidden folder
    with pytest.raises(UsageError, match="OUTPUT exists"), staged_folder(output, overwrite=False):
        pass
    assert content(output) == before
    assert os.listdir(tmp_path) == ["thin"]


def test_a_run_at_work_and_other_outputs_are_not_cleaned_up(tmp_path: Path) -> None:
    output, other = tmp_path / "thin", tmp_path / "thin.2"
    at_work = run(SLOW_WRITER, output, "new", wait_for="writing")
    killed = run(SLOW_WRITER, other, "new", wait_for="writing")
    try:
        killed.kill()
        finish(killed)
        with staged_folder(output, overwrite=False) as stage:
            (stage / SLICE).write_bytes(b"new")
        left = sorted(os.listdir(tmp_path))
        assert [name.split("-")[0] for name in left] == [".thin.2.lamella", ".thin.lamella", "thin"]
        assert str(at_work.pid) in left[1]
    finally:
        at_work.kill()
        finish(at_work)


def test_a_failed_final_rename_brings_the_old_result_back(tmp_path: Path) -> None:
    """When the last rename fails, the old result already lies aside."""
    output = tmp_path / "thin"
    old_result(output)
    code = """
import os, sys
from pathlib import Path
from lamella.files import atomic as publish
real = os.replace
def failing(source, target):
    raise PermissionError(13, "no", str(target))
os.replace = failing
with publish.staged_folder(Path(sys.argv[1]), overwrite=True) as stage:
    (stage / "IM_00001.dcm").write_bytes(b"new")
"""
    status, _, err = finish(run(code, output))
    assert status == 1
    assert "PermissionError" in err
    assert content(output) == {SLICE: b"old", "IM_00002.dcm": b"old too"}
    assert os.listdir(tmp_path) == ["thin"]


FULL_DISK = """
import os, resource, subprocess, sys
from pathlib import Path
from lamella.errors import LamellaError
from lamella.files.atomic import staged_file, staged_folder
disk, limit, kind, existing = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "True"
output = disk / "thin"
if limit == "disk":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], check=True)
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
if existing and kind == "folder":
    output.mkdir()
    (output / "IM_00001.dcm").write_bytes(b"old")
elif existing:
    output.write_bytes(b"old")
try:
    stage_of = staged_folder if kind == "folder" else staged_file
    with stage_of(output, overwrite=existing) as stage:
        for i in range(1, 100):
            path = stage / f"IM_{i:05d}.dcm" if kind == "folder" else stage
            path.write_bytes(bytes(65536 * (1 if kind == "folder" else i)))
except LamellaError as error:
    print(error.__cause__.errno, error, sep="|")
    print(*os.listdir(disk), *(p.read_bytes() for p in disk.rglob("*") if p.is_file()))
    sys.exit(error.exit_code)
"""


def own_disks() -> bool:
    """Whether the kernel lets this user mount a file system that only one process sees."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("limit", ["file size", "disk"] if own_disks() else ["file size"])
@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_output_as_it_was(tmp_path: Path, limit: str, kind: str, existing: bool) -> None:
    alone = ["unshare", "-rm"] if limit == "disk" else []
    command = [*alone, sys.executable, "-c", FULL_DISK, str(tmp_path), limit, kind, str(existing)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    message, left = done.stdout.splitlines()
    number = errno.ENOSPC if limit == "disk" else errno.EFBIG
    assert re.fullmatch(rf"{number}\|No room to write the result for .*OUTPUT is as it was before\. .*", message)
    assert left == ("thin b'old'" if existing else "")
