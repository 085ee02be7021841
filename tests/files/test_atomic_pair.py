"""A file and the file that belongs to it appear together or not at all, whenever the run is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.errors import LamellaError, UsageError
from lamella.files.atomic import recover, staged_pair

# SPEC C5

NEW = {"a.json": b"new", "a.nii": b"new"}
OLD = {"a.json": b"old", "a.nii": b"old"}


def publish(folder: Path, *, overwrite: bool) -> None:
    with staged_pair(folder / "a.nii", folder / "a.json", overwrite=overwrite) as (image, beside):
        image.write_bytes(b"new")
        beside.write_bytes(b"new")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def old_result(folder: Path) -> None:
    for name, data in OLD.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("old", [{}, OLD, {"a.nii": b"old"}], ids=["new", "both", "image alone"])
def test_both_appear(tmp_path: Path, old: dict[str, bytes]) -> None:
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    if old:
        with pytest.raises(UsageError, match="OUTPUT exists"):
            publish(tmp_path, overwrite=False)
        assert content(tmp_path) == old
    publish(tmp_path, overwrite=bool(old))
    assert content(tmp_path) == NEW
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    image, beside = (tmp_path / os.fsdecode(b"\xff" + end) for end in (b".nii", b".json"))
    with staged_pair(image, beside, overwrite=False) as both:
        for path in both:
            path.write_bytes(b"new")
    assert (image.read_bytes(), beside.read_bytes()) == (b"new", b"new")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_sidecar_of_something_else_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "a.json").write_bytes(b"notes")
    with pytest.raises(UsageError, match=r"a.json exists, where the sidecar of OUTPUT belongs, but OUTPUT does not"):
        publish(tmp_path, overwrite=overwrite)
    assert content(tmp_path) == {"a.json": b"notes"}


def test_a_folder_in_the_place_of_the_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"old")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        publish(tmp_path, overwrite=True)
    assert content(tmp_path) == {"a.nii": b"old"}


@pytest.mark.parametrize("left_out", ["a.nii", "a.json"])
def test_both_must_be_written(tmp_path: Path, left_out: str) -> None:
    def publish_one() -> None:
        with staged_pair(tmp_path / "a.nii", tmp_path / "a.json", overwrite=False) as both:
            next(path for path in both if path.name != left_out).write_bytes(b"new")

    with pytest.raises(LamellaError, match=rf"Nothing was written for .*{left_out}"):
        publish_one()
    assert os.listdir(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from lamella.files import atomic
folder, calls, deadly = Path(sys.argv[1]), [0], int(sys.argv[2])
def counted(real):
    def move(source, target):
        if calls[0] == deadly:
            os.kill(os.getpid(), signal.SIGKILL) if sys.argv[3] == "kill" else None
            raise PermissionError(13, "no", str(target))
        calls[0] += 1
        return real(source, target)
    return move
os.rename, os.replace = counted(os.rename), counted(os.replace)
with atomic.staged_pair(folder / "a.nii", folder / "a.json", overwrite=True) as both:
    for path in both:
        path.write_bytes(b"new")
"""


@pytest.mark.parametrize("deadly", range(4))
def test_kill_9_before_any_rename_leaves_the_old_pair_to_the_next_run(tmp_path: Path, deadly: int) -> None:
    old_result(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(deadly), "kill"], check=False)
    assert done.returncode == -signal.SIGKILL
    found = content(tmp_path)
    assert found == (
        OLD if deadly == 0 else {k: v for k, v in found.items() if k == "a.json"}
    )  # never an old with a new
    recover(tmp_path / "a.nii")
    assert content(tmp_path) == OLD
    assert len(os.listdir(tmp_path)) == 2
    publish(tmp_path, overwrite=True)
    assert content(tmp_path) == NEW


@pytest.mark.parametrize("deadly", range(2))
def test_kill_9_before_any_rename_of_a_first_result(tmp_path: Path, deadly: int) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(deadly), "kill"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert "a.nii" not in content(tmp_path)
    recover(tmp_path / "a.nii")
    assert os.listdir(tmp_path) == []


def test_a_failing_rename_brings_the_old_pair_back_at_once(tmp_path: Path) -> None:
    for deadly in (1, 2, 3):
        folder = tmp_path / str(deadly)
        folder.mkdir()
        old_result(folder)
        code = KILLED.replace("calls[0] == deadly:", "calls[0] == deadly and not calls.append(0) and len(calls) == 2:")
        done = subprocess.run([sys.executable, "-c", code, str(folder), str(deadly), "fail"], check=False, stderr=-3)
        assert done.returncode == 1
        assert content(folder) == OLD
        assert len(os.listdir(folder)) == 2
