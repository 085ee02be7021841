"""One thinning from SOURCE to OUTPUT: read, check everything that can be refused, plan, thin, label, write, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.errors import UsageError
from lamella.files.names import numbered_names
from lamella.machine.extras import require
from lamella.physics.repair import RepairKind
from lamella.sources.like import read_like
from lamella.thinning.result import Progress, Stopwatch, silent
from lamella.thinning.settings import ThinSettings
from lamella.workflow.outputs import (
    Compression,
    check_result,
    check_side_file,
    check_spread,
    counted,
    is_nifti_name,
    write_json,
    write_result,
)

if TYPE_CHECKING:
    from lamella.thinning.model import ThinModel
    from lamella.volume import Volume
    from lamella.workflow.study import Study, StudyResult

_PAGE = ".html"
"""A report of this suffix is a page to look at, any other is JSON."""

ONE_STUDY = (
    *("source", "output", "like", "like_series", "like_thickness_mm", "series"),
    *("spread", "report", "preview", "overwrite"),
)
"""Fields of a request that are about one study; the others say how any study is thinned."""


@dataclass(frozen=True)
class ThinRequest:
    """What is asked for; `lamella thin` takes its options from these fields and from those of `ThinSettings`.

    Attributes:
        source: DICOM folder, ZIP or file, or NIfTI.
        output: folder for a DICOM series, or a name that ends in .nii or .nii.gz.
        spacing_mm, slices, like: which slices; at most one of them, 1 mm if none.
        output_thickness_mm: of slices that overlap; as thick as they are apart if None.
        like_series: SeriesInstanceUID in `like`.
        like_thickness_mm: of the slices of `like`, where it does not say it.
        spread: file for the predicted standard deviation: NIfTI, or .dcm for a DICOM Parametric Map.
        model: name of a shipped model, or a model folder.
        series: SeriesInstanceUID in `source`.
        thickness_mm: of the slices of `source`, where it does not say it.
        strict: refuse a series (of `source` or `like`) that lacks parts which its headers promise.
        repair: what `source` is repaired of, as for `lamella.read`.
        report: file for the report, .json or .html.
        preview: file for a picture, .png.
        compress: DICOM pixels without loss, as JPEG-LS or JPEG 2000; None for uncompressed.
        overwrite: earlier results may be replaced.
        deidentify: the result holds nothing of the patient (basic profile of PS3.15 annex E), and files go by numbers.
        deidentify_key: file with the key of new UIDs and pseudonyms; a random one a run if None.
        settings: how to thin; `spread` and a `report` that is a page ask for the spread, too.
    """

    source: Path
    output: Path
    spacing_mm: float | None = None
    slices: int | None = None
    output_thickness_mm: float | None = None
    like: Path | None = None
    like_series: str | None = None
    like_thickness_mm: float | None = None
    spread: Path | None = None
    model: str = "embedded"
    series: str | None = None
    thickness_mm: float | None = None
    strict: bool = False
    repair: RepairKind | None = None
    report: Path | None = None
    preview: Path | None = None
    compress: Compression | None = None
    overwrite: bool = False
    deidentify: bool = False
    deidentify_key: Path | None = None
    settings: ThinSettings = field(default_factory=ThinSettings)

    @classmethod
    def of(cls, **asked: Any) -> ThinRequest:
        """From fields of this class and of `ThinSettings` alike."""
        own = {one.name for one in dataclasses.fields(cls)}
        settings = ThinSettings(**{name: asked.pop(name) for name in [*asked] if name not in own})
        return cls(**asked, settings=settings)

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files beside OUTPUT."""
        return tuple(path for path in (self.spread, self.report, self.preview) if path is not None)

    @property
    def page(self) -> Path | None:
        """The report, if it shall be a page."""
        return self.report if self.report is not None and self.report.suffix.lower() == _PAGE else None


def thin_study(
    request: ThinRequest,
    progress: Progress = silent,
    planned: Callable[[Study], None] | None = None,
    truth: Volume | None = None,
    *,
    model: ThinModel | None = None,
    source: Volume | None = None,
) -> StudyResult:
    """Thin one study and write what is asked for.

    Args:
        request: what is asked for.
        progress: told (stage, fraction done).
        planned: told what will be done, before it is done.
        truth: the measured thin slices, where they are known: the preview shows them, too.
        model, source: the model and the volume of the request, where they were loaded before.

    Raises:
        LamellaError: with the reason; then nothing is at OUTPUT.
    """
    study, stopwatch = open_study(request, progress, model, source)
    from lamella.machine.memory import peak_rss_bytes
    from lamella.thinning.thin import thin
    from lamella.workflow.study import study_result

    if planned is not None:
        planned(study)
    done = thin(study.source, study.model, study.grid, study.settings, progress, study.plan, study.bridged)
    result = study_result(study, done)
    stages = {**stopwatch.seconds, **done.report["seconds"]}
    with stopwatch.stage("write"):
        write_result(
            request.output,
            result.samples,
            result.source,
            result.derivations,
            None if request.spread is None or result.spread is None else (request.spread, result.spread),
            settings=result.report["settings"],
            overwrite=request.overwrite,
            compress=request.compress,
            progress=progress,
        )
    seconds = {name: round(one, 2) for name, one in {**stages, "write": stopwatch.seconds["write"]}.items()}
    result.report.update(seconds=seconds, peak_rss_bytes=peak_rss_bytes())
    if is_nifti_name(request.output):
        result.report["output"]["series_uid"] = None
    if request.report is not None and request.page is None:
        write_json(request.report, result.report, overwrite=request.overwrite)
    if request.page is not None or request.preview is not None:
        from lamella.workflow.pictures import draw

        progress("pictures", 0.0)
        draw(result, request.page, request.preview, truth, overwrite=request.overwrite)
    return result


def open_study(
    request: ThinRequest, progress: Progress = silent, model: ThinModel | None = None, source: Volume | None = None
) -> tuple[Study, Stopwatch]:
    """Read a study and check everything that can be refused: the request first, then SOURCE, then whether the model fits.

    The networks' libraries take seconds to load, so they wait until SOURCE is read; an accelerator is looked for before.
    `model` and `source` are as for `thin_study`.

    Raises:
        LamellaError: with the reason.
    """
    from lamella.dicom.deidentify import deidentified, key_of

    key = key_of(request.deidentify, request.deidentify_key)
    _check(request)
    stopwatch = Stopwatch()
    progress("read", 0.0)
    with stopwatch.stage("read"), numbered_names() if request.deidentify else nullcontext():
        from lamella.sources.source import read_source

        source = source or read_source(
            request.source,
            request.series,
            counted(progress, "read"),
            request.thickness_mm,
            request.strict,
            request.repair,
        )
        like = (
            None
            if request.like is None
            else read_like(request.like, request.like_series, request.like_thickness_mm, request.strict)
        )
        if key is not None:
            source, like = deidentified(source, key), None if like is None else deidentified(like, key)
        from lamella.models.shipped import limits_of
        from lamella.workflow.suits import check_suits

        check_suits(
            source,
            limits_of(request.model) if model is None else model.limits,
            request.spacing_mm,
            request.slices,
            None if like is None else like.geometry,
            request.output_thickness_mm,
            dicom=not is_nifti_name(request.output),
        )
    progress("load", 0.0)
    with stopwatch.stage("load"):
        from lamella.dicom.spread_map import check_map_writable
        from lamella.dicom.write import check_writable
        from lamella.models.registry import load_model
        from lamella.workflow.study import filled_in, plan_study

        model = model or load_model(request.model)
        spread = True if request.spread is not None else None if request.page is not None else request.settings.spread
        settings = filled_in(dataclasses.replace(request.settings, spread=spread), model)
        study = plan_study(
            source,
            model,
            settings,
            spacing_mm=request.spacing_mm,
            slices=request.slices,
            like=like,
            output_thickness_mm=request.output_thickness_mm,
        )
        derivation = study.derivation(precision="")
        if not is_nifti_name(request.output):
            # the labels, which are the same in every slice; what is copied from the source was checked above
            one = study.grid.with_slices(1, study.grid.spacing_mm, 0.0, study.grid.thickness_mm)
            check_writable(source, one, derivation)
        if request.spread is not None and not is_nifti_name(request.spread):
            check_map_writable(source, study.grid, derivation)
    return study, stopwatch


def _check(request: ThinRequest) -> None:
    """Everything that can be refused before a voxel is read; without torch, unless an accelerator is asked for."""
    from lamella.models.shipped import find_model
    from lamella.thinning.grid import check_choice

    check_choice(request.spacing_mm, request.slices, request.like, request.output_thickness_mm)
    if request.like is not None and not request.like.exists():
        raise UsageError(f"--like: {request.like} does not exist. Expected another series of the same scan.")
    if request.like is None and (request.like_series, request.like_thickness_mm) != (None, None):
        raise UsageError("--like-series and --like-thickness-mm are about the series of --like. Found no --like.")
    inputs = ({} if request.like is None else {"--like": request.like}) | {"SOURCE": request.source}
    check_result(request.output, inputs, overwrite=request.overwrite, compress=request.compress)
    if request.spread is not None:
        check_spread(request.spread, inputs, request.output, overwrite=request.overwrite)
    for option, path, suffixes in (
        ("--report", request.report, (".json", _PAGE)),
        ("--preview", request.preview, (".png",)),
    ):
        if path is not None:
            check_side_file(option, path, suffixes, inputs, request.output, overwrite=request.overwrite)
    if len({path.resolve() for path in request.beside}) < len(request.beside):
        raise UsageError("--spread, --report and --preview need different names. Found the same name twice.")
    find_model(request.model)
    if request.settings.device not in ("auto", "cpu"):
        from lamella.machine.runtime import runtime

        runtime(request.settings.device, request.settings.precision)
    if request.preview is not None or request.page is not None:
        require("report", "A preview or a page")
