"""One thinning from SOURCE to OUTPUT: check, read, plan, thin, write, report."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lamella import RESEARCH_ONLY
from lamella.errors import UsageError
from lamella.sources.like import like_warnings, read_like
from lamella.workflow.labels import derivation
from lamella.workflow.outputs import (
    NIFTI,
    check_result,
    check_side_file,
    is_nifti_name,
    write_json,
    write_result,
)
from lamella.workflow.pictures import PAGE, companion, draw, draw_page
from lamella.workflow.progress import Progress

if TYPE_CHECKING:
    from lamella.thinning.model import Plan, ThinModel
    from lamella.thinning.result import Thinned
    from lamella.thinning.settings import ThinSettings
    from lamella.volume import Geometry, Volume


@dataclass(frozen=True)
class Job:
    """What `lamella thin` was asked for; the fields are its options."""

    source: Path
    output: Path
    spacing_mm: float | None = None
    slices: int | None = None
    like: Path | None = None
    like_series: str | None = None
    mode: Literal["mean", "texture", "sample"] = "mean"
    steps: int | None = None
    samples: int | None = None
    seed: int = 0
    device: str = "auto"
    model: str = "embedded"
    series: str | None = None
    spread: Path | None = None
    report: Path | None = None
    preview: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Done:
    """What a job leaves in memory: the source, the answer and the report."""

    source: Volume
    thinned: Thinned
    report: dict[str, Any]


def run(job: Job, *, dry_run: bool = False, quiet: bool = False) -> Done | None:
    """Do a job; None after a dry run.

    Raises:
        LamellaError: with the reason; then nothing is at OUTPUT.
    """
    _check(job)
    with Progress(quiet) as progress:
        progress.begin("start")
        from lamella.models.registry import load_model
        from lamella.thinning.grid import thin_grid
        from lamella.thinning.thin import thin

        model = load_model(job.model)  # a mistyped name must show before a study is read
        job, settings = _resolved(job, model)
        source, like = _read(job, progress)
        progress.begin("load")
        grid = thin_grid(
            source.geometry,
            spacing_mm=job.spacing_mm,
            slices=job.slices,
            like=None if like is None else like.geometry,
        )
        memory = model.plan(source.geometry, grid, settings)
        if job.preview is not None:  # it thins once more; a lack of memory must show now, not after OUTPUT is written
            more = model.plan(source.geometry, grid, companion(settings, model))
            memory = max(memory, more, key=lambda one: one.peak_bytes)
        progress.finish()
        _announce(job, source, grid, model, memory, progress, dry_run)
        if dry_run:
            return None
        thinned = thin(source, model, grid, settings, progress.update, memory)
        uid = _write(job, settings, source, thinned, model, progress)
        progress.finish()
        report = _report(job, source, thinned, uid, progress, like_warnings(source, like, grid))
        if job.report is not None and not _wants_page(job):
            write_json(job.report, report, overwrite=job.overwrite)
        if job.report is not None and _wants_page(job):
            draw_page(job.report, source, thinned, job.mode, report, progress, overwrite=job.overwrite)
        if job.preview is not None:
            draw(job.preview, source, thinned, model, settings, progress, overwrite=job.overwrite)
        _summarise(job, report, progress)
        return Done(source, thinned, report)


def _check(job: Job) -> None:
    """Everything that can be refused before a voxel is read, and before torch is loaded."""
    if job.like is not None and not job.like.exists():
        raise UsageError(f"--like: {job.like} does not exist. Expected another series of the same scan.")
    if job.like_series is not None and job.like is None:
        raise UsageError("--like-series chooses a series of --like. Found no --like.")
    check_result(job.output, job.source, overwrite=job.overwrite, like=job.like)
    sides = (
        ("--spread", job.spread, NIFTI),
        ("--report", job.report, (".json", PAGE)),
        ("--preview", job.preview, (".png",)),
    )
    for option, path, suffixes in sides:
        check_side_file(option, path, suffixes, job.source, job.output, overwrite=job.overwrite, like=job.like)
    named = [path.resolve() for _, path, _ in sides if path is not None]
    if len(set(named)) < len(named):
        raise UsageError("--spread, --report and --preview need different names. Found the same name twice.")


def _wants_page(job: Job) -> bool:
    """Whether the report shall be a page; it shows the spread, which then is computed too."""
    return job.report is not None and job.report.suffix.lower() == PAGE


def _resolved(job: Job, model: ThinModel) -> tuple[Job, ThinSettings]:
    """The job with the numbers that the model fills in, and its settings."""
    from lamella.thinning.settings import ThinSettings

    if (
        job.steps is not None
        and job.mode not in model.sampled_modes
        and job.mode in model.modes
        and job.preview is None
    ):
        raise UsageError(f"The mean is not drawn in steps, so --steps {job.steps} needs --mode texture or sample.")
    settings = model.defaults(
        ThinSettings(
            mode=job.mode,
            steps=job.steps,
            samples=job.samples,
            seed=job.seed,
            device=job.device,
            spread=True if job.spread is not None else None if _wants_page(job) else False,
        )
    )
    return dataclasses.replace(job, steps=settings.steps, samples=settings.samples), settings


def _read(job: Job, progress: Progress) -> tuple[Volume, Volume | None]:
    from lamella.sources.source import read_source

    source = read_source(job.source, job.series, progress.counter("read"))
    return source, None if job.like is None else read_like(job.like, job.like_series)


def _announce(
    job: Job,
    source: Volume,
    grid: Geometry,
    model: ThinModel,
    memory: Plan,
    progress: Progress,
    dry_run: bool,
) -> None:
    """What will be done, before it is done."""
    from lamella.thinning.limits import range_warnings

    rows, columns = source.geometry.shape[1:]
    progress.say(f"source  {_line(source.geometry)}, {rows} x {columns} pixels")
    progress.say(
        f"result  {_line(grid)}, from {grid.centres_mm[0]:.3f} to {grid.centres_mm[-1]:.3f} mm along the normal"
    )
    progress.say(f"model   {model.name} ({model.sha256[:12]}), mode {job.mode}")
    progress.say(f"memory  {memory.describe()}")
    warnings = range_warnings(source.geometry, grid, model.limits)
    for warning in (*_notes(source), *warnings):
        progress.say(f"note    {warning}")
    if dry_run:
        kind = "NIfTI" if is_nifti_name(job.output) else "DICOM series"
        progress.say(f"would write  {job.output} ({kind}{f', {job.samples} samples' if _count(job) > 1 else ''})")
        for path in (job.spread, job.report, job.preview):
            if path is not None:
                progress.say(f"would write  {path}")


def _write(
    job: Job, settings: ThinSettings, source: Volume, thinned: Thinned, model: ThinModel, progress: Progress
) -> str | None:
    from lamella.files.atomic import staged_file
    from lamella.nifti.image import write_nifti

    derivations = (
        ()
        if is_nifti_name(job.output)
        else [
            derivation(
                source, volume, settings, model.provenance(settings, number), thinned.report["precision"], number
            )
            for number, volume in enumerate(thinned.samples)
        ]
    )
    with ExitStack() as stack:
        if job.spread is not None and thinned.spread is not None:
            # written first and renamed last: where there is no room for it, nothing is at OUTPUT either
            stage = stack.enter_context(staged_file(job.spread, overwrite=job.overwrite))
            write_nifti(stage, [thinned.spread], source.header)
        return write_result(
            job.output,
            thinned.samples,
            source,
            derivations,
            overwrite=job.overwrite,
            progress=progress.counter("write"),
        )


def _count(job: Job) -> int:
    """Series that are written: the draws of a sample or texture; a mean is one, however many draws it averages."""
    return 1 if job.mode == "mean" else job.samples or 1


def _report(
    job: Job, source: Volume, thinned: Thinned, uid: str | None, progress: Progress, warnings: list[str]
) -> dict[str, Any]:
    """The report of `thin`, with what only the command line knows: files, the other stages, memory."""
    from lamella.machine.memory import peak_rss_bytes

    own = {name: round(progress.seconds[name], 2) for name in ("start", "read", "load")}
    return {
        **thinned.report,
        "settings": {**thinned.report["settings"], **_grid_asked(job)},
        "source": {"series_uid": getattr(source.header, "series_uid", None), **_numbers(source.geometry)},
        "output": {"series_uid": uid, **_numbers(thinned.volume.geometry)},
        "seconds": {**own, **thinned.report["seconds"], "write": round(progress.seconds["write"], 2)},
        "peak_rss_bytes": peak_rss_bytes(),
        "warnings": [*_notes(source), *thinned.report["warnings"], *warnings],
        "notice": RESEARCH_ONLY,
    }


def _grid_asked(job: Job) -> dict[str, Any]:
    return {"spacing_mm": job.spacing_mm, "slices": job.slices, "like": job.like is not None}


def _numbers(geometry: Geometry) -> dict[str, Any]:
    return {
        "slices": geometry.shape[0],
        "spacing_mm": round(geometry.spacing_mm, 6),
        "thickness_mm": round(geometry.thickness_mm, 6),
    }


def _line(geometry: Geometry) -> str:
    return f"{geometry.shape[0]} slices, {geometry.thickness_mm:.4g} mm thick every {geometry.spacing_mm:.4g} mm"


def _notes(source: Volume) -> tuple[str, ...]:
    """What the reader assumed, ignored or dropped."""
    return tuple(getattr(source.header, "notes", ()))


def _summarise(job: Job, report: dict[str, Any], progress: Progress) -> None:
    each = f"{_count(job)} series of " if _count(job) > 1 else ""
    progress.say(
        f"wrote   {job.output}: {each}{report['output']['slices']} slices in {sum(report['seconds'].values()):.0f} s, "
        f"consistent with the measurement to {report['consistency_rmse_hu']:.2f} HU RMSE"
    )
    for path in (job.spread, job.report, job.preview):
        if path is not None:
            progress.say(f"wrote   {path}")
    progress.say(report["notice"])
