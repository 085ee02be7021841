"""What messages, notes and reports call the files of a source: their base names, or numbers where names must not be told.

Folders and files of patients are often called by their names. At a terminal the person who typed SOURCE needs the base name
of the file to mend; in a record that others read, files are counted instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path, PurePath

from lamella.errors import printable

_NUMBERS: ContextVar[dict[str, int] | None] = ContextVar("numbers", default=None)


@contextmanager
def numbered_names() -> Iterator[None]:
    """Within it, `shown_name` tells no name but "file 3": files count in the order in which they are first met, by path."""
    token = _NUMBERS.set({})
    try:
        yield
    finally:
        _NUMBERS.reset(token)


def shown_name(path: PurePath, within: Path | None = None) -> str:
    """The base name, printable; or the file's number inside `numbered_names`.

    Args:
        path: of a file or folder, or of a member of a ZIP.
        within: the ZIP.
    """
    numbers = _NUMBERS.get()
    if numbers is None:
        return printable(path.name)
    return f"file {numbers.setdefault(f'{within}/{path}', len(numbers) + 1)}"
