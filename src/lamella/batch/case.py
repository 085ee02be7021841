"""One series, read from its files, thinned with a model that is loaded already, into one folder that appears whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lamella
from lamella.batch.digest import result_sha256
from lamella.batch.making import settings_of
from lamella.batch.record import RECORD, CaseRecord, State
from lamella.errors import LamellaError, RefusedInput
from lamella.files.atomic import staged_folder
from lamella.files.config import fill
from lamella.files.names import numbered_names
from lamella.report.thumbnail import thumbnail
from lamella.selection.series import FoundSeries
from lamella.sources.source import read_source
from lamella.thinning.model import ThinModel
from lamella.thinning.result import Progress, silent
from lamella.volume import Volume
from lamella.workflow.outputs import REPLACEABLE, write_json
from lamella.workflow.thin_study import ThinRequest, thin_study

REPORT, PAGE, PREVIEW, THUMBNAIL = "report.json", "report.html", "preview.png", "thumbnail.png"
SERIES, NIFTI, SPREAD = "series", "thin.nii.gz", "spread.nii.gz"
"""What the folder of a case holds."""

CASE_FILES = (
    *(RECORD, REPORT, PAGE, PREVIEW, THUMBNAIL, NIFTI, "thin.json", SPREAD),
    *(f"{SERIES}/{name}" for name in REPLACEABLE),
)
"""What a folder may hold to be replaced by a case."""


def read_case(found: FoundSeries, request: ThinRequest) -> Volume:
    """The volume of a series that was found, as `thin_case` reads it: for reading ahead. Its notes name no file.

    Raises:
        LamellaError: it is refused.
    """
    with numbered_names():
        return read_source(found.source, found.series_uid, None, request.thickness_mm, request.strict, request.repair)


def thin_case(
    found: FoundSeries,
    output: Path,
    request: ThinRequest,
    model: ThinModel,
    source: Callable[[], Volume] | None = None,
    *,
    spread: bool = False,
    page: bool = False,
    preview: bool = False,
    progress: Progress = silent,
) -> CaseRecord:
    """Thin one series into a folder: `series` (or thin.nii.gz), report.json, record.json and thumbnail.png.

    An earlier result of a case is replaced. It never raises for what is wrong with the series, the settings or this machine:
    the record says it, and then nothing is at `output` that was not there before.

    Args:
        found: which series.
        output: the folder to appear.
        request: how to thin; which source, output and other files it names does not count.
        model: what makes thin slices.
        source: gives what `read_case` gave, or raises what it raised.
        spread: also spread.nii.gz.
        page: also report.html, which holds the volumes.
        preview: also preview.png.
        progress: told (stage, fraction done).
    """
    began = time.perf_counter()
    record = CaseRecord(found.id, found.study, key=case_key(found, request, model))
    try:
        volume = read_case(found, request) if source is None else source()
        with staged_folder(output, overwrite=True, replaceable=CASE_FILES) as folder:
            asked = dataclasses.replace(
                request,
                source=found.files[0],
                output=folder / (NIFTI if found.kind == "nifti" else SERIES),
                spread=folder / SPREAD if spread else None,
                report=folder / REPORT,
                preview=folder / PREVIEW if preview else None,
                settings=dataclasses.replace(request.settings, spread=None if page else False),
            )
            report = _thin_into(folder, asked, model, volume, page, progress)
            record = dataclasses.replace(
                record,
                folder=output.name,
                seconds=round(time.perf_counter() - began, 2),
                consistency_rmse_hu=report["consistency_rmse_hu"],
                sha256=result_sha256(result_in(folder)),
            )
            write_json(folder / RECORD, dataclasses.asdict(record), overwrite=False)
        return record
    except Exception as error:
        state: State = "refused" if isinstance(error, RefusedInput) else "failed"
        seconds = round(time.perf_counter() - began, 2)
        return CaseRecord(
            record.series, record.study, "", state, found.discreet(reason_of(error)), seconds, key=record.key
        )


def result_in(folder: Path) -> Path:
    """The series in the folder of a case."""
    return folder / SERIES if (folder / SERIES).is_dir() else folder / NIFTI


def earlier_case(folder: Path) -> CaseRecord | None:
    """The record in the folder of a case; None where there is none that can be read."""
    try:
        return fill(CaseRecord, json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def is_whole(folder: Path, record: CaseRecord, *, page: bool, preview: bool, spread: bool) -> bool:
    """Whether a folder still holds the result that its record names, and all that is asked for beside it."""
    beside = [THUMBNAIL, REPORT, *[PAGE] * page, *[PREVIEW] * preview, *[SPREAD] * spread]
    try:
        return all((folder / name).is_file() for name in beside) and result_sha256(result_in(folder)) == record.sha256
    except (LamellaError, OSError):
        return False


def case_key(found: FoundSeries, request: ThinRequest, model: ThinModel) -> str:
    """Stands for the content of a series and for all that its result depends on: equal keys give equal results."""
    asked = settings_of(request) | {"model": model.name}
    text = json.dumps([found.content, lamella.__version__, model.sha256, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def reason_of(error: BaseException) -> str:
    """Why a case ended: a message of Lamella's own, or kind and place, since others may quote a header."""
    if isinstance(error, LamellaError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory is used up. Use fewer workers, --memory-gb, or a machine with more memory."
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}."
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"An error that was not expected: {type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}."
    )


def _thin_into(
    folder: Path, asked: ThinRequest, model: ThinModel, volume: Volume, page: bool, progress: Progress
) -> Mapping[str, Any]:
    result = thin_study(asked, progress, model=model, source=volume)
    (folder / THUMBNAIL).write_bytes(thumbnail(volume, result.volume))
    if page:
        from lamella.workflow.pictures import draw  # with torch, which only workers need

        draw(result, folder / PAGE, None, overwrite=False)
    return result.report
