"""Results appear whole or not at all: write beside OUTPUT, flush to disk, rename.

A run writes into a hidden folder `.NAME.lamella-<pid>-<random>` beside OUTPUT: the result grows under `new/`, a result
it replaces waits under `old/`. Nothing is at OUTPUT before the rename; the replaced result exists, at OUTPUT or under
`old/`, until the new one is in place. A killed run leaves only the hidden folder, which the next run for the same
OUTPUT takes away (after moving an `old/` back to an OUTPUT that is missing).

Owners are told apart by an advisory lock on the hidden folder, which the kernel releases however the owner ends; a
process id alone would mistake a run in another container for a dead one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import BaseFileLock

from lamella.errors import LamellaError, UsageError
from lamella.files.lock import lock
from lamella.files.output_checks import RESULT_FILES, absolute, refuse_alone, refuse_existing

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLACING = "placing"  # in the hidden folder: the name of the file that goes beside OUTPUT, written before it does
_LONGEST_NAME = 180  # bytes of NAME inside the hidden folder's name; file systems allow 255 in all


@contextmanager
def staged_folder(output: Path, *, overwrite: bool, replaceable: tuple[str, ...] = RESULT_FILES) -> Iterator[Path]:
    """Yield an empty folder whose content becomes `output` when the block ends without an exception.

    Args:
        output: the folder to appear; missing parents are created (and removed again if the run fails).
        overwrite: replace an existing folder.
        replaceable: name patterns; a folder holding anything else is not replaced, because it is not a result.

    Raises:
        UsageError: `output` exists and may not be replaced.
        LamellaError: no room on the disk.
    """

    def begin(new: Path) -> None:
        new.mkdir()

    with _staged(output, overwrite, replaceable, begin) as new:
        yield new


@contextmanager
def staged_file(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a path (same name as `output`, in a hidden folder) whose file becomes `output` when the block ends well.

    Raises:
        UsageError: `output` exists and may not be replaced.
        LamellaError: no room on the disk, or the block wrote no file.
    """
    with _staged(output, overwrite, None, lambda new: None) as new:
        yield new
        if not new.is_file():
            raise LamellaError(f"Nothing was written for {output}. Found no file, expected one.")


@contextmanager
def staged_pair(output: Path, beside: Path, *, overwrite: bool) -> Iterator[tuple[Path, Path]]:
    """Yield two paths whose files become `output` and `beside`, which belongs to it, together or not at all.

    Args:
        output: file to appear.
        beside: another file in the same folder; replaced with `output`, and never without it.
        overwrite: replace both.

    Raises:
        UsageError: `output` exists and may not be replaced, or `beside` exists alone.
        LamellaError: no room on the disk, or the block left out a file.
    """
    with _staged(output, overwrite, None, lambda new: None, beside) as new:
        both = new, new.with_name(beside.name)
        yield both
        for path, wanted in zip(both, (output, beside), strict=True):
            if not path.is_file():
                raise LamellaError(f"Nothing was written for {wanted}. Found no file, expected one.")


def recover(output: Path) -> None:
    """Bring back what a killed run left half done at `output`, as the next run would."""
    output = absolute(output)
    if output.parent.is_dir():
        _clear_leftovers(output)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _staged(
    output: Path,
    overwrite: bool,
    replaceable: tuple[str, ...] | None,
    begin: Callable[[Path], None],
    beside: Path | None = None,
) -> Iterator[Path]:
    output = absolute(output)
    with _no_room_explained(output), _parents(output.parent):
        _clear_leftovers(output)
        refuse_existing(output, overwrite, replaceable)
        if beside is not None:
            refuse_alone(output, beside)
        stage, held = _open_stage(output)
        try:
            new = stage / "new" / output.name
            new.parent.mkdir()
            begin(new)
            yield new
            _sync_tree(new if beside is None else new.parent)
            _swap(stage, new, output, overwrite, None if beside is None else output.with_name(beside.name))
        finally:
            _close_stage(stage, held, output)


def _swap(stage: Path, new: Path, output: Path, overwrite: bool, beside: Path | None) -> None:
    """Put `new` at `output`; the only moments at which OUTPUT changes are the renames below. The last one counts."""
    exists = os.path.lexists(output)
    if exists and not overwrite:
        raise UsageError(f"OUTPUT appeared during the run: {output}. It was left as it is. Choose another OUTPUT.")
    if beside is not None:
        refuse_alone(output, beside)
    if exists and (
        new.is_dir() or beside is not None
    ):  # a folder with content cannot be renamed over, nor can two files
        (stage / "old").mkdir()
        os.rename(output, stage / "old" / output.name)
    if beside is not None:
        if os.path.lexists(beside):
            os.rename(beside, stage / "old" / beside.name)
        (stage / _PLACING).write_bytes(os.fsencode(beside.name))
        os.replace(new.with_name(beside.name), beside)
    os.replace(new, output)
    _sync(output.parent)


def _close_stage(stage: Path, held: BaseFileLock | None, output: Path) -> None:
    """Bring a moved-aside result back if the new one did not get to OUTPUT, then remove the hidden folder."""
    _restore(stage, output)
    shutil.rmtree(stage, ignore_errors=True)  # what cannot be removed now is removed by the next run
    if held is not None:
        left = stage.exists()  # network file systems, and Windows, keep a file that is open
        held.release()
        if left:
            shutil.rmtree(stage, ignore_errors=True)


def _restore(stage: Path, output: Path) -> None:
    if os.path.lexists(output):
        return
    if (stage / _PLACING).is_file():
        name = os.fsdecode((stage / _PLACING).read_bytes())
        if not (stage / "new" / name).exists():  # it stands at OUTPUT already, without the file that it belongs to
            output.with_name(name).unlink(missing_ok=True)
    aside = list((stage / "old").iterdir()) if (stage / "old").is_dir() else []
    for old in sorted(aside, key=lambda path: path.name == output.name):  # OUTPUT itself last: then all is there
        if not os.path.lexists(output.with_name(old.name)):
            os.rename(old, output.with_name(old.name))
    if aside:
        _sync(output.parent)


def _open_stage(output: Path) -> tuple[Path, BaseFileLock | None]:
    """Create and lock the hidden folder. Another run may clear it between the two steps; then make another."""
    while True:
        stage = output.parent / f"{_stage_prefix(output)}{os.getpid()}-{secrets.token_hex(4)}"
        stage.mkdir()
        with suppress(BlockingIOError):
            held = _lock(stage)
            if stage.is_dir():
                return stage, held
            if held is not None:
                held.release()


def _stage_prefix(output: Path) -> str:
    name = output.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.lamella-"


def _clear_leftovers(output: Path) -> None:
    pattern = re.compile(re.escape(_stage_prefix(output)) + r"(\d+)-[0-9a-f]{8}")
    for entry in os.scandir(output.parent):
        match = pattern.fullmatch(entry.name)
        if match is None or not entry.is_dir(follow_symlinks=False):
            continue
        try:
            held = _lock(Path(entry.path))
        except BlockingIOError:  # its owner is at work
            continue
        if held is None and psutil.pid_exists(int(match.group(1))):
            continue
        _close_stage(Path(entry.path), held, output)


def _lock(folder: Path) -> BaseFileLock | None:
    """Take a hidden folder's lock without waiting: a file in it, for network file systems lock no folders."""
    return lock(folder / "lock") if folder.is_dir() else None


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """Create `folder` and its parents; take away those created here if the block fails."""
    created = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in created:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _no_room_explained(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise LamellaError(
            f"No room to write the result for {output} ({os.strerror(error.errno)}). OUTPUT is as it was before. "
            "Free some space, or choose an OUTPUT on another disk."
        ) from error


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for entry in os.scandir(path):
            _sync_tree(Path(entry.path))
    _sync(path)


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
