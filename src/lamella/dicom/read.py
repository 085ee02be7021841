"""Entry points: `list_series` summarises what a source holds, `read_series` reads one series into a `Volume`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lamella.dicom.archive import Entry, check_size, open_source
from lamella.dicom.checks import Stack
from lamella.dicom.decode import PixelFormat, frames_of, pixel_format, stored_values, surplus_bytes, syntax_of
from lamella.dicom.elements import shown, text_of, uid_name, whole_number
from lamella.dicom.header import SeriesHeader, Slice
from lamella.dicom.kind import rescale_unit
from lamella.dicom.mixture import INCOMPLETE
from lamella.dicom.parse import quiet_pydicom, read_pixel_data
from lamella.dicom.series import RawSeries, Scan, scan, stack_of_series
from lamella.dicom.tags import left_out
from lamella.dicom.values import SliceValues, check_hu, check_scale, to_hu
from lamella.errors import RefusedInput, printable
from lamella.physics.repair import RepairKind
from lamella.volume import Volume

Progress = Callable[[int, int], None]
"""Called with (slices done, slices in all)."""

Suits = Callable[[Volume], Sequence[str]]
"""What is unusual about a volume that was read; raises RefusedInput where nothing can be made of it."""

_MAX_WORKERS = 4
"""Decoding threads at most; parsing, which holds the interpreter lock, feeds no more than this."""


@dataclass(frozen=True)
class SeriesSummary:
    """What one series of a source is. It holds no free text of the file, so nothing of a patient.

    Attributes:
        uid: SeriesInstanceUID.
        modality: Modality.
        slices: images in the series, localizers left out.
        rows, columns: matrix size of the first image; 0 where unknown.
        spacing_mm: distance between slice centres; None where the series is no regular stack.
        thickness_mm: SliceThickness, pixel_mm: PixelSpacing; None where the series is refused.
        kernel: ConvolutionKernel.
        synthetic: SyntheticData says that a model made it up, at least in part.
        transfer_syntax: its name.
        refusal: why `read_series` would refuse it; None where it would not (as far as was looked, see `survey`).
        notes: what would be assumed, ignored or dropped.
        unusual: what is unusual about its voxels (`survey`).
    """

    uid: str
    modality: str
    slices: int
    rows: int
    columns: int
    spacing_mm: float | None
    thickness_mm: float | None
    pixel_mm: tuple[float, float] | None
    kernel: str
    synthetic: bool
    transfer_syntax: str
    refusal: str | None
    notes: tuple[str, ...]
    unusual: tuple[str, ...] = ()


def list_series(source: Path) -> tuple[SeriesSummary, ...]:
    """Every series of a folder, ZIP or file, in the order of their UIDs, without decoding pixels.

    Raises:
        UsageError: the source does not exist.
        RefusedInput: it cannot be opened, or holds no DICOM at all.
    """
    return survey(source)[0]


def survey(
    source: Path,
    pixels: bool = False,
    thickness_mm: float | None = None,
    strict: bool = False,
    repair: RepairKind | None = None,
    suits: Suits | None = None,
) -> tuple[tuple[SeriesSummary, ...], str | None]:
    """`list_series`, and why `read_series` without a UID would refuse the source (None where it would not).

    Args:
        source: folder, ZIP or file.
        pixels: decode the pixels of every CT series too, so that what only they tell is refused as `read_series` does.
        thickness_mm, strict, repair: as for `read_series`.
        suits: with `pixels`, refuses what was read, or says what is unusual about it.

    Raises:
        UsageError: a series contradicts `thickness_mm`.
    """
    with _scanned(source) as found:
        summaries = tuple(
            summary_of(series, found, pixels, thickness_mm, strict, repair, suits) for series in found.series
        )
        try:
            chosen = found.choose(None)
        except RefusedInput as error:
            return summaries, str(error)
        return summaries, next(one.refusal for one in summaries if one.uid == chosen.uid)


def read_series(
    source: Path | tuple[Path, ...],
    series_uid: str | None = None,
    progress: Progress | None = None,
    thickness_mm: float | None = None,
    *,
    strict: bool = False,
    repair: RepairKind | None = None,
) -> Volume:
    """Reads one CT series into Hounsfield units.

    Args:
        source: folder (searched recursively), ZIP, or one enhanced multi-frame file; or the files of a series.
        series_uid: SeriesInstanceUID; needed where the source holds more than one CT series.
        progress: called after each slice.
        thickness_mm: of the slabs, where the headers do not say it.
        strict: refuse a series that lacks parts which its headers promise; otherwise a note says so.
        repair: the fault of the stack that is repaired (`lamella.physics.mend`) instead of refused.

    Returns:
        hu (z, y, x) int16 where all slopes and intercepts are integers, else float32; never below -1024 HU;
        `header` is a `SeriesHeader`.

    Raises:
        UsageError: the source does not exist, or contradicts `thickness_mm`.
        RefusedInput: the series cannot be read correctly; the message names the file and the reason.
    """
    with _scanned(source) as found:
        if found.damaged:
            raise RefusedInput(found.damaged[0])
        series = found.choose(series_uid)
        volume = _volume(_stack(series, thickness_mm, strict, repair), series, progress)
        header = cast(SeriesHeader, volume.header)
        notes = (*map(printable, (*found.notes, *found.passed_over(series))), *header.notes)
        return replace(volume, header=replace(header, notes=notes))


def _volume(stack: Stack, series: RawSeries, progress: Progress | None = None) -> Volume:
    """The voxels of a stack, repaired where that was asked for; the notes are those about its own slices."""
    hu, pixel_notes = _pixels(stack, series.uid, progress)
    made_of: tuple[tuple[Dataset, ...], ...] = tuple((one.header,) for one in stack.slices)
    repaired = None
    if stack.mend is not None:
        hu, repaired = stack.mend(hu)
        made_of = tuple(tuple(stack.slices[k].header for k in of) for of in stack.mend.made_of)
    headers = [of[0] for of in made_of]
    header = SeriesHeader(
        series_uid=series.uid,
        slices=tuple(headers),
        files=tuple(one.entry.name for one in stack.slices),
        notes=tuple(map(printable, (*stack.notes, *pixel_notes, *left_out(headers[0], headers)))),
        ascending=stack.ascending,
        repair=repaired,
        made_of=made_of,
    )
    return Volume(hu, stack.geometry, header)


def _stack(series: RawSeries, thickness_mm: float | None, strict: bool, repair: RepairKind | None) -> Stack:
    stack = stack_of_series(series, thickness_mm, repair)
    incomplete = [note for note in stack.notes if note.startswith(INCOMPLETE)]
    if strict and incomplete:
        raise RefusedInput(
            f"The series {series.uid} is {'; '.join(incomplete)}. Copy or export the whole series again, or read it "
            "without --strict (strict in Python and configs)."
        )
    return stack


@contextmanager
def _scanned(source: Path | tuple[Path, ...]) -> Iterator[Scan]:
    with open_source(source if isinstance(source, tuple) else Path(source)) as archive, quiet_pydicom():
        yield scan(archive)


def summary_of(
    series: RawSeries,
    found: Scan,
    pixels: bool = False,
    thickness_mm: float | None = None,
    strict: bool = False,
    repair: RepairKind | None = None,
    suits: Suits | None = None,
) -> SeriesSummary:
    """What one series of a scan is; the options are those of `survey`, and with `pixels` the source must still be open."""
    _, header = (series.images or series.files)[0]
    stack, refusal = None, found.damaged[0] if found.damaged else None
    notes: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()
    try:
        stack = _stack(series, thickness_mm, strict, repair)
        notes = tuple(map(printable, stack.notes))
        if pixels and not found.damaged:
            volume = _volume(stack, series)
            notes = cast(SeriesHeader, volume.header).notes
            if suits is not None:
                unusual = tuple(suits(volume))
    except RefusedInput as error:
        refusal = refusal or str(error)
    geometry = stack.geometry if stack else None
    kernel = text_of(stack.slices[0].header if stack else header, "ConvolutionKernel")
    return SeriesSummary(
        uid=series.uid,
        modality=shown(series.modality) if series.modality else "",
        slices=series.slice_count if geometry is None else geometry.shape[0],
        rows=geometry.shape[1] if geometry else whole_number(header, "Rows") or 0,
        columns=geometry.shape[2] if geometry else whole_number(header, "Columns") or 0,
        spacing_mm=geometry.spacing_mm if geometry else None,
        thickness_mm=geometry.thickness_mm if geometry else None,
        pixel_mm=geometry.pixel_mm if geometry else None,
        kernel=shown(kernel) if kernel else "",
        synthetic=text_of(header, "SyntheticData") == "YES",
        transfer_syntax=uid_name(syntax_of(header)) if syntax_of(header) else "",
        refusal=refusal,
        notes=(*map(printable, found.notes), *notes),
        unusual=unusual,
    )


def _pixels(
    stack: Stack, series_uid: str, progress: Progress | None
) -> tuple[NDArray[np.float32] | NDArray[np.int16], tuple[str, ...]]:
    """Decodes file after file into one array of HU and checks it; parsing here, decoding in a few threads."""
    by_entry: dict[Entry, dict[int, int]] = {}
    for index, one in enumerate(stack.slices):
        by_entry.setdefault(one.entry, {})[one.frame] = index
    first = stack.slices[0]
    shape = len(stack.slices), first.rows, first.columns
    check_size(series_uid, shape, sum(entry.size for entry in by_entry))
    hu: Any = np.empty(shape, _hu_dtype(stack.slices))
    counts: list[SliceValues] = []
    surplus = 0
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    pending: deque[Future[SliceValues]] = deque()

    def finish(limit: int) -> None:
        while len(pending) > limit:
            counts.append(pending.popleft().result())
            if progress is not None:
                progress(len(counts), len(stack.slices))

    with ThreadPoolExecutor(workers) as pool:
        for entry, places in by_entry.items():
            one = stack.slices[next(iter(places.values()))]
            form = pixel_format(one.header, entry.name)
            data = read_pixel_data(entry)
            surplus += surplus_bytes(data, form, one.frames) > 0
            for frame, encoded in enumerate(frames_of(data, form, one.frames)):
                if frame in places:
                    index = places[frame]
                    pending.append(pool.submit(_fill, encoded, form, stack.slices[index], hu[index]))
                    # Bounded, so that encoded frames do not pile up in memory in front of slow decoders.
                    finish(2 * workers)
        finish(0)
    names = [one.name for one in stack.slices]
    unspecified = next((one.name for one in stack.slices if rescale_unit(one.header) == "US"), "")
    check_scale(hu, stack.slices)
    doubts = check_hu(hu, counts, series_uid, unspecified, names)
    padded, below = sum(one.padded for one in counts), sum(one.below for one in counts)
    notes = [f"padding: {padded:,} pixels without a measurement set to air (-1024 HU)"] if padded else []
    notes += [f"{below:,} pixels below -1024 HU set to air (-1024 HU)"] if below else []
    notes += (
        [f"{surplus} file{'s have' if surplus > 1 else ' has'} bytes behind the pixels, ignored"] if surplus else []
    )
    return hu, (*notes, *doubts)


def _fill(encoded: bytes | memoryview, form: PixelFormat, one: Slice, out: NDArray[np.generic]) -> SliceValues:
    return to_hu(stored_values(encoded, form), one, out)


def _hu_dtype(slices: tuple[Slice, ...]) -> type[np.float32] | type[np.int16]:
    """int16 where every slice's HU are integers that fit: half the memory of float32, and exact."""
    whole = all(one.slope.is_integer() and one.intercept.is_integer() for one in slices)
    # Only the upper end can overflow: everything below -1024 becomes -1024. int32 in between needs a small slope.
    fits = all(
        one.highest_stored * one.slope + one.intercept <= np.iinfo(np.int16).max and one.slope <= 2**14
        for one in slices
    )
    return np.int16 if whole and fits and all(abs(one.intercept) < 2**15 for one in slices) else np.float32
