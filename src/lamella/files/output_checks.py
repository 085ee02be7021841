"""What may be written or replaced: an OUTPUT that could destroy data is refused before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryFile

from lamella.errors import UsageError

RESULT_FILES = ("IM_[0-9][0-9][0-9][0-9][0-9].dcm",)
"""What a folder may hold to be replaced by `overwrite`: the names `lamella.dicom.write_series` gives its files."""

_DESKTOP_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")


def check_output(
    output: Path,
    source: Path | None,
    *,
    overwrite: bool,
    folder: bool = True,
    replaceable: tuple[str, ...] = RESULT_FILES,
    called: str = "SOURCE",
) -> None:
    """Refuse an OUTPUT that could destroy data or cannot be written, before any work is done.

    Args:
        output: where the result shall appear.
        source: the input, a file or folder; None where there is none.
        overwrite: an existing `output` may be replaced.
        folder: the result is a folder (a DICOM series), not a file.
        replaceable: as for `staged_folder`.
        called: the input's name in messages.

    Raises:
        UsageError: OUTPUT exists, is SOURCE, lies inside SOURCE or around it, or its parent cannot be written.
    """
    real = Path(os.path.realpath(output))
    if source is not None:
        refuse_overlap(output, source, called)
    refuse_existing(absolute(output), overwrite, replaceable if folder else None)
    parent = next(path for path in real.parents if os.path.lexists(path))
    if not parent.is_dir():
        raise UsageError(f"OUTPUT cannot be created: {parent} is not a folder. Choose another OUTPUT.")
    try:
        with TemporaryFile(dir=parent):  # what os.access says is not true of root, nor of /proc
            pass
    except OSError as error:
        raise UsageError(
            f"OUTPUT cannot be created: no permission to write in {parent} ({os.strerror(error.errno or 0)}). Choose another "
            "OUTPUT."
        ) from None


def refuse_overlap(output: Path, source: Path, called: str = "SOURCE") -> None:
    """Refuse an OUTPUT that is an input, lies inside it or around it; see `check_output`."""
    real, origin = Path(os.path.realpath(output)), Path(os.path.realpath(source))
    if real == origin:
        raise UsageError(f"OUTPUT is {called}: {output}. An input is never replaced. Choose another OUTPUT.")
    if origin in real.parents:
        raise UsageError(
            f"OUTPUT lies inside {called}: {output} is below {source}. The next reading of {called} would find the "
            f"result. Choose an OUTPUT outside {called}."
        )
    if real in origin.parents and os.path.lexists(output):
        raise UsageError(
            f"{called} lies inside OUTPUT: {source} is below {output}, and replacing OUTPUT would delete it. "
            "Choose another OUTPUT."
        )


def absolute(path: Path) -> Path:
    """An OUTPUT without links followed; the root of the file system is none."""
    absolute = Path(os.path.abspath(path))
    if not absolute.name:
        raise UsageError(f"OUTPUT is the root of the file system: {absolute}. Choose a new name inside a folder.")
    return absolute


def refuse_existing(output: Path, overwrite: bool, replaceable: tuple[str, ...] | None) -> None:
    """`replaceable` None: the result is a file."""
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise UsageError(
            f"OUTPUT exists: {output}. Choose another OUTPUT, or give --overwrite (overwrite=True in Python) to replace it."
        )
    expected = "file" if replaceable is None else "folder"
    if output.is_symlink() or not (output.is_file() if replaceable is None else output.is_dir()):
        raise UsageError(f"OUTPUT exists and is not a {expected}: {output}. Remove it, or choose another OUTPUT.")
    if replaceable is None:
        return
    allowed = (*replaceable, *_DESKTOP_FILES, *(f"*/{name}" for name in _DESKTOP_FILES))
    foreign = sorted(name for name in _content(output) if not any(_fits(name, pattern) for pattern in allowed))
    if foreign:
        raise UsageError(
            f"OUTPUT holds files that are no result of Lamella: {output}, {len(foreign)} of them, first {foreign[0]}. "
            f"Expected only {', '.join(replaceable).replace('[0-9]', '#')}. Remove them, or choose another OUTPUT."
        )


def refuse_alone(output: Path, beside: Path) -> None:
    """Refuse a file that belongs beside OUTPUT and lies there without it, or is no file."""
    if not os.path.lexists(beside):
        return
    if not os.path.lexists(output):
        raise UsageError(
            f"{beside} exists, where the sidecar of OUTPUT belongs, but OUTPUT does not: {output}. So it belongs to something "
            "else. Move it away, or choose another OUTPUT."
        )
    if beside.is_symlink() or not beside.is_file():
        raise UsageError(
            f"The sidecar of OUTPUT exists and is not a file: {beside}. Remove it, or choose another OUTPUT."
        )


def _content(folder: Path) -> Iterator[str]:
    """Relative paths of everything in a folder but of folders that hold something."""
    for root, folders, files in os.walk(folder):
        bare = [name for name in folders if os.path.islink(os.path.join(root, name))]
        if not folders and not files and Path(root) != folder:
            yield Path(root).relative_to(folder).as_posix()
        for name in (*files, *bare):
            yield Path(root, name).relative_to(folder).as_posix()


def _fits(name: str, pattern: str) -> bool:
    """Whether a relative path fits a pattern, part by part."""
    names, patterns = name.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(fnmatch(a, b) for a, b in zip(names, patterns, strict=True))
