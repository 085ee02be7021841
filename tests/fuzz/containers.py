"""Several files in one input of the fuzzer: each has its length in front."""

from __future__ import annotations

from collections.abc import Sequence

_LENGTH = 4


def pack(files: Sequence[bytes]) -> bytes:
    """Files -> one input."""
    return b"".join(len(data).to_bytes(_LENGTH, "big") + data for data in files)


def unpack(data: bytes, most: int = 8) -> list[bytes]:
    """One input -> its files; whatever the input is, at most so many, the last as long as there are bytes."""
    files = []
    while data and len(files) < most:
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "big")
        files.append(data[_LENGTH:end])
        data = data[end:]
    return files
