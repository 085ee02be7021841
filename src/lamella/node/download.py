"""The result of a study as a ZIP that is made while it is sent: nothing is written to the disk, and nothing held in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHUNK = 1 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)


def zip_stream(folders: Sequence[Path]) -> Iterator[bytes]:
    """A ZIP of the DICOM files in these folders; `series-1` holds those of the first.

    It is not compressed: its readers are on the way to a disk. Equal files make equal bytes.

    Raises:
        OSError: a file went away meanwhile; the ZIP then lacks its end, which readers notice.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for number, folder in enumerate(folders, start=1):
            for file in sorted(folder.rglob("*.dcm")):
                entry = zipfile.ZipInfo(f"series-{number}/{file.relative_to(folder).as_posix()}", _EARLIEST)
                entry.external_attr = 0o644 << 16
                with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                    while chunk := source.read(_CHUNK):
                        target.write(chunk)
                        yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Where `zipfile` writes; it cannot seek, so sizes stand behind each file."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self._held += memoryview(data)  # type: ignore[arg-type]
        return len(memoryview(data))  # type: ignore[arg-type]

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self._held)
        self._held.clear()
        return data
