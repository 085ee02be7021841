"""Publishing: OUTPUT is absent, the old result, or the whole new one; never anything between."""

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

from lamella.errors import LamellaError, RefusedInput
from lamella.publish import check_output, staged_file, staged_folder

SLICE = "IM_00001.dcm"


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def old_result(output: Path) -> None:
    output.mkdir()
    (output / SLICE).write_bytes(b"old")
    (output / "IM_00002.dcm").write_bytes(b"old too")


def publish_and_fail(output: Path, error: type[BaseException], *, overwrite: bool) -> None:
    before = content(output)
    with staged_folder(output, overwrite=overwrite) as stage:
        (stage / SLICE).write_bytes(b"new")
        assert content(output) == before
        raise error


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


def test_a_folder_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "thin"
    with staged_folder(output, overwrite=False) as stage:
        (stage / SLICE).write_bytes(b"new")
        assert stage.is_dir()
        assert not output.exists()
        (hidden,) = os.listdir(output.parent)
        assert re.fullmatch(rf"\.thin\.lamella-{os.getpid()}-[0-9a-f]{{8}}", hidden)
    assert content(output) == {SLICE: b"new"}
    assert os.listdir(output.parent) == ["thin"]


def test_a_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    output = tmp_path / "thin.nii.gz"
    with staged_file(output, overwrite=False) as stage:
        assert stage.name == "thin.nii.gz"  # writers choose the format by the name's ending
        stage.write_bytes(b"new")
        assert not output.exists()
    assert output.read_bytes() == b"new"
    with staged_file(output, overwrite=True) as stage:
        stage.write_bytes(b"newer")
    assert output.read_bytes() == b"newer"
    assert os.listdir(tmp_path) == ["thin.nii.gz"]


def test_a_block_that_writes_no_file_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(LamellaError, match="Nothing was written"), staged_file(tmp_path / "a.nii", overwrite=False):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_not_even_parents(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        publish_and_fail(tmp_path / "a" / "b" / "thin", error, overwrite=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_overwrite_leaves_the_old_result(tmp_path: Path, error: type[BaseException]) -> None:
    output = tmp_path / "thin"
    old_result(output)
    before = content(output)
    with pytest.raises(error):
        publish_and_fail(output, error, overwrite=True)
    assert content(output) == before
    assert os.listdir(tmp_path) == ["thin"]


def test_an_overwrite_replaces_the_whole_folder(tmp_path: Path) -> None:
    output = tmp_path / "thin"
    old_result(output)
    with staged_folder(output, overwrite=True) as stage:
        (stage / SLICE).write_bytes(b"new")
    assert content(output) == {SLICE: b"new"}
    assert os.listdir(tmp_path) == ["thin"]


def test_a_failed_final_rename_brings_the_old_result_back(tmp_path: Path) -> None:
    """The rename of the new folder fails because the block took it away; by then the old one lies aside."""
    output = tmp_path / "thin"
    old_result(output)
    code = """
import os, sys
from pathlib import Path
from lamella import publish
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


# SPEC C6
@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_an_existing_output_is_refused_without_overwrite(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "thin"
    if kind == "folder":
        output.mkdir()
    elif kind == "file":
        output.write_bytes(b"old")
    else:
        output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RefusedInput, match=r"OUTPUT exists: .*--overwrite") as caught:
        check_output(output, tmp_path / "source", overwrite=False)
    assert caught.value.exit_code == 3
    with pytest.raises(RefusedInput, match="OUTPUT exists"), staged_folder(output, overwrite=False):
        pass
    with pytest.raises(RefusedInput, match="OUTPUT exists"), staged_file(output, overwrite=False):
        pass
    assert os.listdir(tmp_path) == ["thin"]


def test_an_output_that_appears_during_the_run_is_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "thin"

    def publish_late() -> None:
        with staged_folder(output, overwrite=False) as stage:
            (stage / SLICE).write_bytes(b"new")
            old_result(output)

    with pytest.raises(RefusedInput, match="appeared during the run"):
        publish_late()
    assert content(output)[SLICE] == b"old"
    assert os.listdir(tmp_path) == ["thin"]


def test_overwrite_replaces_results_only(tmp_path: Path) -> None:
    """--overwrite on a folder of other things (a home folder, say) must not delete them."""
    output = tmp_path / "documents"
    old_result(output)
    (output / "thesis.docx").write_bytes(b"years of work")
    (output / ".DS_Store").write_bytes(b"")
    with pytest.raises(RefusedInput, match=r"no result of Lamella: .* 1 of them, first thesis\.docx"):
        check_output(output, None, overwrite=True)
    with pytest.raises(RefusedInput, match="no result of Lamella"), staged_folder(output, overwrite=True):
        pass
    check_output(output, None, overwrite=True, replaceable=("IM_*.dcm", "*.docx"))
    (output / "thesis.docx").unlink()
    check_output(output, None, overwrite=True)


def test_overwrite_does_not_change_a_folder_into_a_file_or_a_file_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RefusedInput, match="not a folder"):
        check_output(tmp_path / "file", None, overwrite=True)
    with pytest.raises(RefusedInput, match="not a file"):
        check_output(tmp_path / "folder", None, overwrite=True, folder=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_and_source_may_not_hold_each_other(tmp_path: Path, overwrite: bool) -> None:
    source = tmp_path / "study" / "thick"
    source.mkdir(parents=True)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(RefusedInput, match="OUTPUT is SOURCE"):
        check_output(source, source, overwrite=overwrite)
    with pytest.raises(RefusedInput, match="OUTPUT is SOURCE"):
        check_output(tmp_path / "link", source, overwrite=overwrite)
    with pytest.raises(RefusedInput, match="OUTPUT lies inside SOURCE"):
        check_output(source / "a" / "thin", source, overwrite=overwrite)
    with pytest.raises(RefusedInput, match="OUTPUT lies inside SOURCE"):
        check_output(tmp_path / "link" / "thin", source, overwrite=overwrite)
    with pytest.raises(RefusedInput, match="SOURCE lies inside OUTPUT"):
        check_output(tmp_path / "study", source, overwrite=overwrite)
    check_output(tmp_path / "thin", source, overwrite=overwrite)
    check_output(tmp_path / "study" / "thin", source, overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["link", "study"]  # the check itself creates nothing


def test_an_output_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RefusedInput, match="file is not a folder"):
        check_output(tmp_path / "file" / "thin", None, overwrite=False)
    with pytest.raises(RefusedInput, match="no permission"):
        check_output(Path("/proc/self/thin"), None, overwrite=False)
    with pytest.raises(RefusedInput, match="root of the file system"):
        check_output(Path("/"), None, overwrite=True)


def test_a_very_long_name_can_be_published(tmp_path: Path) -> None:
    output = tmp_path / ("x" * 250)
    with staged_folder(output, overwrite=False) as stage:
        (stage / SLICE).write_bytes(b"new")
    assert content(output) == {SLICE: b"new"}


SLOW_WRITER = """
import sys, time
from pathlib import Path
from lamella.publish import staged_folder
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
from lamella import publish
os.replace = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
with publish.staged_folder(Path(sys.argv[1]), overwrite=True) as stage:
    (stage / "IM_00001.dcm").write_bytes(b"new")
"""
    assert finish(run(code, output))[0] == -signal.SIGKILL
    assert not output.exists()  # the old result lies aside in the hidden folder
    with pytest.raises(RefusedInput, match="OUTPUT exists"), staged_folder(output, overwrite=False):
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


FULL_DISK = """
import os, resource, subprocess, sys
from pathlib import Path
from lamella.errors import LamellaError
from lamella.publish import staged_file, staged_folder
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
