"""A JPEG lossless (process 14) encoder for tests, all seven predictors. Source: ITU-T T.81 annex H."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_CODE_BITS = 5
_CATEGORIES = 17


def encode(image: NDArray[np.uint16], precision: int, predictor: int, point_transform: int = 0) -> bytes:
    """image (rows, columns) of `precision` bits -> code stream. Every category has a code of five bits.

    The `point_transform` lowest bits are left out (H.1.2.1).
    """
    rows, columns = image.shape
    counts = bytes([0, 0, 0, 0, _CATEGORIES] + [0] * 11)
    table = b"\x00" + counts + bytes(range(_CATEGORIES))
    frame = bytes([precision]) + rows.to_bytes(2) + columns.to_bytes(2) + bytes([1, 1, 0x11, 0])
    scan = bytes([1, 1, 0x00, predictor, 0, point_transform])
    head = b"\xff\xd8" + _segment(0xC4, table) + _segment(0xC3, frame) + _segment(0xDA, scan)
    bits = "".join(_difference_bits(image.astype(int) >> point_transform, precision - point_transform, predictor))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8)
    return head + data.replace(b"\xff", b"\xff\x00") + b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def _difference_bits(image: NDArray[np.int_], precision: int, predictor: int) -> Iterator[str]:
    for y, x in np.ndindex(*image.shape):
        difference = (image[y, x] - _predicted(image, y, x, precision, predictor) + 0x8000) % 0x10000 - 0x8000
        if difference == -0x8000:
            yield f"{16:0{_CODE_BITS}b}"
            continue
        category = int(abs(difference)).bit_length()
        extra = difference if difference > 0 else difference + (1 << category) - 1
        yield f"{category:0{_CODE_BITS}b}" + (f"{extra:0{category}b}" if category else "")


def _predicted(image: NDArray[np.int_], y: int, x: int, precision: int, predictor: int) -> int:
    if y == 0:
        return int(image[0, x - 1]) if x else 1 << (precision - 1)
    if x == 0:
        return int(image[y - 1, 0])
    left, above, corner = int(image[y, x - 1]), int(image[y - 1, x]), int(image[y - 1, x - 1])
    return {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]
