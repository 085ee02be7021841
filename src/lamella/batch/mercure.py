"""A processing module of mercure: the series of a task thinned, with settings from its task.json.

mercure (https://mercure-imaging.org, modules.rst) starts a container with MERCURE_IN_DIR, where files are called
`[series_UID]#[file_UID].dcm`, and sends what lies flat in MERCURE_OUT_DIR, called alike, once the container has ended with 0.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lamella.batch.case import SERIES, thin_case
from lamella.batch.making import CaseThin
from lamella.batch.record import CaseRecord
from lamella.errors import LamellaError, RefusedInput, UsageError
from lamella.files.config import fill
from lamella.selection.find import find_series
from lamella.selection.rules import SeriesRules, choose
from lamella.thinning.result import Progress, silent
from lamella.workflow.outputs import write_json
from lamella.workflow.thin_study import ThinRequest

if TYPE_CHECKING:
    from lamella.thinning.model import ThinModel

TASK, RESULT = "task.json", "result.json"
_NOTICE = "__mercure_notification"


@dataclass(frozen=True)
class MercureSettings:
    """What task.json holds under process, settings.

    Attributes:
        rules: which series of the task are thinned.
        thin: how.
    """

    rules: SeriesRules = field(default_factory=SeriesRules)
    thin: CaseThin = field(default_factory=CaseThin)


def run_task(source: Path, output: Path, progress: Progress = silent) -> list[CaseRecord]:
    """Thin the series of a task; result.json appears last.

    Args:
        source: MERCURE_IN_DIR.
        output: MERCURE_OUT_DIR.
        progress: told (stage, fraction done).

    Returns:
        One record a chosen series, all of them done.

    Raises:
        UsageError: the folders or settings are wrong.
        RefusedInput: a series that the rules choose cannot be thinned; then nothing was written.
        LamellaError: one failed; then nothing was written.
    """
    settings = read_settings(source)
    if not output.is_dir():
        raise UsageError(f"MERCURE_OUT_DIR is no folder: {output}. mercure makes it before it starts a module.")
    decisions = choose(find_series([source]), settings.rules)
    refused = [one for one in decisions if one.verdict == "refused"]
    if refused:
        raise RefusedInput(f"{refused[0].series.id}: {refused[0].reason}")
    request = ThinRequest.of(source=source, output=output, **asdict(settings.thin))
    records: list[CaseRecord] = []
    with tempfile.TemporaryDirectory(dir=output, prefix=".lamella-") as work:
        chosen = [one.series for one in decisions if one.verdict == "chosen"]
        model = _model(settings) if chosen else None
        for number, series in enumerate(chosen):
            assert model is not None, "loaded where a series is chosen"
            record = thin_case(series, Path(work, str(number)), request, model, progress=progress)
            if record.state != "done":
                kind = RefusedInput if record.state == "refused" else LamellaError
                raise kind(f"{record.series}: {record.reason}")
            records.append(record)
        for file in sorted(Path(work).glob(f"*/{SERIES}/**/*.dcm")):
            os.replace(file, output / _named(file))
    passed = {one.series.id: one.reason for one in decisions if one.verdict == "passed over"}
    text = f"{len(records)} series thinned, {len(passed)} passed over. For research use only."
    done = [{"reason": one.reason, "seconds": one.seconds, "sha256": one.sha256} for one in records]
    write_json(output / RESULT, {"done": done, "passed_over": len(passed), _NOTICE: {"text": text}}, overwrite=True)
    return records


def read_settings(source: Path) -> MercureSettings:
    """The settings of a task; the defaults where task.json is missing or states none.

    Raises:
        UsageError: no such folder, task.json is not JSON, or holds other keys.
    """
    if not source.is_dir():
        raise UsageError(f"MERCURE_IN_DIR is no folder: {source}. Expected the DICOM files of a task.")
    file = source / TASK
    if not file.is_file():
        return MercureSettings()
    try:
        process = json.loads(file.read_text(encoding="utf-8")).get("process") or {}
        settings = process.get("settings") or {}
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{TASK} is not read ({type(error).__name__}). Expected JSON with process, settings in it."
        ) from None
    return fill(MercureSettings, settings, "settings")


def _model(settings: MercureSettings) -> ThinModel:
    from lamella.models.registry import load_model

    return load_model(settings.thin.model)


def _named(file: Path) -> str:
    """As mercure calls its files."""
    from pydicom import dcmread

    header = dcmread(file, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])
    return f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm"
