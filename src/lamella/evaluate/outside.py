"""Results of other tools, handed in as files: a folder for each case, in it a volume and a record for each method."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lamella.errors import UsageError
from lamella.evaluate.settings import EvaluationSettings, OutsideResult
from lamella.files.config import fill
from lamella.results.evidence import ToolRun
from lamella.sources.source import kind_of

RECORD = ".json"


def handed_in(settings: EvaluationSettings) -> EvaluationSettings:
    """The settings with every result of `outside_folder` in `outside`.

    `FOLDER/CASE/METHOD.nii.gz` (or .nii, .zip, or a folder of DICOM) is the result of a method for a case, and
    `FOLDER/CASE/METHOD.json` says how it was made (`ToolRun`). A record alone, with `could_not`, is a case that a tool
    could not do. Names that begin with a dot are left out.

    Raises:
        UsageError: there is no such folder, two results of one method for a case, or a record without a volume that does not
            say what the tool could not do.
    """
    if settings.outside_folder is None:
        return settings
    folder = Path(settings.outside_folder)
    if not folder.is_dir():
        raise UsageError("outside_folder is no folder. Expected one folder a case, such as FOLDER/scan-1_5-every-5.")
    found = [one for case in sorted(folder.iterdir()) if case.is_dir() for one in _of_case(case)]
    return dataclasses.replace(settings, outside=(*settings.outside, *found), outside_folder=None)


def run_of(result: OutsideResult) -> ToolRun | None:
    """How a result was made; None where nobody says.

    Raises:
        UsageError: the record cannot be read, or has an unknown key or a mistyped value.
    """
    if result.record is None:
        return None
    where = f"The record of {result.name} for case {result.case}"
    try:
        content = json.loads(Path(result.record).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{where} cannot be read ({type(error).__name__}). Expected JSON.") from error
    try:
        return fill(ToolRun, content)
    except UsageError as error:
        raise UsageError(f"{where} is not as expected. {str(error).replace('The config', 'It')}") from error


def runs_of(outside: Sequence[OutsideResult], case: str) -> dict[str, ToolRun]:
    """Method -> how its result for a case was made, where that is said."""
    runs = {one.name: run_of(one) for one in outside if one.case == case}
    return {name: run for name, run in runs.items() if run is not None}


def _of_case(folder: Path) -> Iterator[OutsideResult]:
    seen = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    records = {_method(one): one for one in seen if one.suffix == RECORD}
    volumes: dict[str, Path] = {}
    for one in (one for one in seen if one.is_dir() or kind_of(one) in ("nifti", "zip")):
        if _method(one) in volumes:
            raise UsageError(f"outside_folder: case {folder.name} holds two results of {_method(one)}. Keep one.")
        volumes[_method(one)] = one
    for method in sorted({*volumes, *records}):
        record = str(records[method]) if method in records else None
        result = OutsideResult(method, folder.name, str(volumes.get(method, "")), record=record)
        run = run_of(result)
        if not result.path and not (run and run.could_not):
            raise UsageError(
                f"outside_folder: case {folder.name} holds a record of {method} and no result. Expected a NIfTI, ZIP or "
                "DICOM folder beside it, or `could_not` in the record."
            )
        yield result


def _method(path: Path) -> str:
    """The name of a file without its endings; that of a folder."""
    name = path.name
    for ending in (".gz", ".nii", ".zip", RECORD) if not path.is_dir() else ():
        name = name.removesuffix(ending)
    return name
