"""Copies of a slice: one SOPInstanceUID stands for one image, however many files hold it (PS3.3 C.12.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from lamella.dicom.archive import Entry
from lamella.dicom.decode import Frame, PixelFormat, Stored, frames_of, pixel_format, stored_values
from lamella.dicom.header import Slice
from lamella.dicom.parse import read_pixel_data
from lamella.errors import RefusedInput


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """Drops exact copies (same SOPInstanceUID, place, pixels and meaning of these).

    Raises:
        RefusedInput: one SOPInstanceUID stands for two different images.
    """
    kept: dict[str, Slice] = {}
    dropped = []
    frames = lru_cache(maxsize=2)(_frames)  # of the two files that are compared
    for one in slices:
        twin = kept.setdefault(one.instance_uid, one)
        if twin is one:
            continue
        if _meaning(twin) != _meaning(one) or not np.array_equal(_stored(twin, frames), _stored(one, frames)):
            raise RefusedInput(
                f"Two different images share one SOPInstanceUID: {twin.name} and {one.name}. Take the wrong one out; where "
                "all slices share one, export the series again, with a UID of its own for each."
            )
        dropped.append(one.name)
    return list(kept.values()), dropped


def _meaning(one: Slice) -> tuple[object, ...]:
    """Where a slice lies and what its stored values mean, apart from their sign, which is in the type of `_stored`."""
    return (one.position_mm, one.orientation, one.pixel_mm, one.thickness_mm, one.slope, one.intercept, one.padding)


def _frames(entry: Entry, form: PixelFormat, count: int) -> list[Frame]:
    return list(frames_of(read_pixel_data(entry), form, count))


def _stored(one: Slice, frames: Callable[[Entry, PixelFormat, int], list[Frame]]) -> Stored:
    form = pixel_format(one.header, one.entry.name)
    return stored_values(frames(one.entry, form, one.frames)[one.frame], form)
