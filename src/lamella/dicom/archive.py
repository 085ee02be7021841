"""Where the bytes come from: a folder (searched recursively), a ZIP or one file, all seen as a tuple of `Entry`.

A ZIP is never extracted: members are read one at a time into memory, so nothing of a patient stays on the disk and no member
name becomes a path. Its table of contents is checked against the limits below before any byte is inflated, and every read
counts its bytes again, because a table of contents can be wrong.
"""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from lamella.errors import RefusedInput, UsageError
from lamella.files.names import shown_name

MAX_MEMBERS = 50_000
"""Most members of a ZIP; a study of four phases at 0.5 mm has about 4,000."""

MAX_TOTAL_BYTES = 32 * 2**30
"""Most bytes all members of a ZIP inflate to."""

MAX_FILE_BYTES = 4 * 2**30
"""Most bytes of one file or member; an enhanced CT of 4,000 slices of 512 x 512 has 2 GiB."""

MAX_RATIO = 100
"""Most bytes out per byte in, beyond `SMALL_BYTES`. CT deflates 2 to 4 times, a phantom perhaps 50; deflate can
reach 1,032."""

SMALL_BYTES = 16 * 2**20
"""Up to this size the ratio is not checked: an empty slice of 512 x 512 deflates a thousandfold and is harmless."""

LARGE_BYTES = 2**30
"""Up to this size the ratio of a whole volume is not checked."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    Attributes:
        name: for messages: the base name (folder names often hold a patient's name), or a number; see `shown_name`.
        size: bytes once inflated.
        read: `read(n)` gives the first n bytes, `read(-1)` all of them; raises RefusedInput where it cannot.
        path: what the file is called, which no message tells.
    """

    name: str
    size: int
    read: Callable[[int], bytes]
    path: PurePath


@dataclass(frozen=True)
class Archive:
    """All files of a source, sorted by path, and notes on what was left out."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]
    zipped: bool = False


def inflation_limit(packed_bytes: int) -> int:
    """The most bytes that `packed_bytes` of deflated data may become before they count as a bomb."""
    return min(MAX_FILE_BYTES, max(SMALL_BYTES, MAX_RATIO * packed_bytes))


def files_archive(paths: Sequence[Path]) -> Archive:
    """Regular files as they are, in this order."""
    return Archive(tuple(map(_path_entry, paths)), ())


def check_size(series_uid: str, shape: tuple[int, int, int], packed_bytes: int) -> None:
    """Refuses a volume of 16-bit voxels that its files are far too short for, before there is memory for it."""
    size = 2 * math.prod(shape)
    if size > max(LARGE_BYTES, MAX_RATIO * packed_bytes):
        raise RefusedInput(
            f"The series {series_uid} looks like a bomb: {packed_bytes:,} bytes of files claim {size:,} bytes of pixels, at "
            f"most {MAX_RATIO} times as many are read. Its headers are wrong: export it again."
        )


@contextmanager
def open_source(source: Path | tuple[Path, ...]) -> Iterator[Archive]:
    """Opens a folder, a ZIP (recognised by its content, not its suffix), one file, or several files together.

    Raises:
        UsageError: SOURCE does not exist.
        RefusedInput: an empty folder, or a ZIP that is damaged, encrypted, nested, linked, out of its folder or a bomb.
    """
    if isinstance(source, tuple):
        yield files_archive(source)
    elif not source.exists():
        raise UsageError(
            f"SOURCE {shown_name(source)} does not exist. Expected a folder, a ZIP, a DICOM file or a NIfTI file."
        )
    elif source.is_dir():
        yield _folder(source)
    elif not source.is_file():
        raise UsageError(f"SOURCE {shown_name(source)} is neither a folder nor a regular file.")
    elif is_zip(_read_path(source, 4, shown_name(source))):
        with _opened_zip(source) as archive:
            yield archive
    else:
        yield files_archive((source,))


def is_zip(head: bytes) -> bool:
    """Whether these first bytes belong to a ZIP (a local header, or an empty archive's end record)."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def _folder(folder: Path) -> Archive:
    entries: list[Entry] = []
    linked, special = 0, 0
    for root, folders, names in os.walk(folder, onerror=_refuse_unlisted):
        folders.sort()
        linked += sum(os.path.islink(os.path.join(root, name)) for name in folders)
        for name in sorted(names):
            path = Path(root, name)
            # A named pipe would block for ever on opening, so only regular files (also through a link) are opened.
            if path.is_file():
                entries.append(_path_entry(path))
            else:
                special += 1
    if not entries:
        aside = " Links to folders are not followed: give the folder that they lead to." if linked else ""
        raise RefusedInput(
            f"The folder {shown_name(folder)} holds no files. Expected DICOM files in it or below it.{aside}"
        )
    notes = []
    if linked:
        notes.append(f"{linked} linked folder{'s were' if linked > 1 else ' was'} not followed")
    if special:
        what = "entries are not regular files" if special > 1 else "entry is not a regular file"
        notes.append(f"{special} {what} (broken link, pipe), ignored")
    return Archive(tuple(entries), tuple(notes))


def _refuse_unlisted(error: OSError) -> None:
    """Slices may lie there."""
    raise RefusedInput(
        f"The folder {shown_name(Path(error.filename))} cannot be listed: {error.strerror}. Expected one that this user may "
        "read. Change its permissions."
    )


def _path_entry(path: Path) -> Entry:
    name = shown_name(path)
    return Entry(name, path.stat().st_size, lambda size: _read_path(path, size, name), path)


def _read_path(path: Path, size: int, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            if size < 0 and os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                raise RefusedInput(f"{name} is larger than {MAX_FILE_BYTES:,} bytes, the most for one file.")
            return file.read(size)
    except OSError as error:
        raise RefusedInput(f"{name} cannot be read: {error.strerror}.") from error


@contextmanager
def _opened_zip(path: Path) -> Iterator[Archive]:
    called = shown_name(path)
    try:
        file = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many kinds of errors on a damaged file
        raise RefusedInput(
            f"The ZIP {called} is damaged: its table of contents cannot be read. Copy or download it again."
        ) from error
    with file:
        _check_contents(path, file.infolist(), packed_bytes=path.stat().st_size)
        members = [info for info in file.infolist() if not info.is_dir()]
        if not members:
            raise RefusedInput(f"The ZIP {called} holds no files. Expected DICOM files in it.")
        members.sort(key=lambda info: info.filename)
        yield Archive(tuple(_zip_entry(file, info, path) for info in members), (), zipped=True)


def _zip_entry(file: zipfile.ZipFile, info: zipfile.ZipInfo, within: Path) -> Entry:
    path = PurePosixPath(info.filename)
    name = shown_name(path, within)

    def read(size: int) -> bytes:
        limit = min(info.file_size, MAX_FILE_BYTES) if size < 0 else size
        try:
            with file.open(info) as member:
                data = member.read(limit)
                # The one byte more makes zipfile compare the checksum, which it does at the end of the member only.
                surplus = member.read(1) if size < 0 else b""
        except Exception as error:  # as above
            raise RefusedInput(f"The ZIP member {name} is damaged. Copy or download the ZIP again.") from error
        if surplus or (size < 0 and len(data) != info.file_size):
            raise RefusedInput(f"The ZIP member {name} does not have the size that the ZIP declares for it.")
        return data

    return Entry(name, info.file_size, read, path)


def _check_contents(path: Path, infos: list[zipfile.ZipInfo], packed_bytes: int) -> None:
    archive = shown_name(path)
    if len(infos) > MAX_MEMBERS:
        raise RefusedInput(f"The ZIP {archive} has too many members: {len(infos):,}, at most {MAX_MEMBERS:,}.")
    for info in infos:
        _check_member(archive, info, shown_name(PurePosixPath(info.filename), path))
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise RefusedInput(f"The ZIP {archive} inflates to {total:,} bytes, at most {MAX_TOTAL_BYTES:,} (a ZIP bomb?).")
    if total > max(SMALL_BYTES, MAX_RATIO * packed_bytes):
        raise RefusedInput(
            f"The ZIP {archive} looks like a ZIP bomb: {packed_bytes:,} bytes inflate to {total:,}, "
            f"at most {MAX_RATIO} times as many are read."
        )


def _check_member(archive: str, info: zipfile.ZipInfo, shown: str) -> None:
    # zipfile has already turned the host's separators into "/"; orig_filename is what the archive really says.
    raw = info.orig_filename.replace("\\", "/")
    if raw.startswith("/") or raw[1:2] == ":" or ".." in raw.split("/") or "\0" in raw:
        raise RefusedInput(
            f"The ZIP {archive} has a member that points out of the archive ('..' or an absolute name): {shown}. "
            "Such a ZIP is damaged or malicious; make a new one."
        )
    if not raw:
        raise RefusedInput(f"The ZIP {archive} is damaged: it has a member without a name. Copy or download it again.")
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedInput(
            f"The ZIP {archive} has a link or special file among its members: {shown}. Pack plain files."
        )
    if info.flag_bits & _ENCRYPTED:
        raise RefusedInput(f"The ZIP {archive} is encrypted (member {shown}). Unpack it and give the folder.")
    if info.compress_type not in _METHODS:
        raise RefusedInput(
            f"The ZIP {archive} uses compression method {info.compress_type} (member {shown}); "
            "stored and deflated are read. Unpack it and give the folder."
        )
    if info.filename.lower().endswith(".zip"):
        raise RefusedInput(f"The ZIP {archive} holds another ZIP: {shown}. Unpack the outer one and give one of them.")
    if info.file_size > inflation_limit(info.compress_size):
        raise RefusedInput(
            f"The ZIP {archive} looks like a ZIP bomb: member {shown} inflates from {info.compress_size:,} to "
            f"{info.file_size:,} bytes, at most {inflation_limit(info.compress_size):,} are read."
        )
