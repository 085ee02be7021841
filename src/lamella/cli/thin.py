"""`lamella thin`: thick slices in, thin slices out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from lamella.cli.options import (
    COMPRESS,
    DEIDENTIFY,
    DEIDENTIFY_KEY,
    MODEL,
    OUTPUT,
    OVERWRITE,
    REPAIR,
    SERIES,
    SOURCE,
    SPACING,
    STRICT,
    THICKNESS,
    Debug,
    Quiet,
    options_of,
)
from lamella.cli.progress import Progress
from lamella.thinning.settings import ThinSettings
from lamella.workflow.thin_study import ThinRequest, open_study, thin_study

if TYPE_CHECKING:
    from lamella.volume import Geometry
    from lamella.workflow.study import Study, StudyResult

OPTIONS = {
    "source": SOURCE,
    "output": OUTPUT,
    "spacing_mm": SPACING,
    "slices": Option("--slices", help="Number of thin slices, instead of --spacing-mm."),
    "output_thickness_mm": Option(
        "--output-thickness-mm", help="Thickness of thin slices that overlap. Default: as thick as they are apart."
    ),
    "like": Option("--like", metavar="SOURCE2", help="Use the slice positions of another series of the same scan."),
    "like_series": Option(
        "--like-series", metavar="UID", help="SeriesInstanceUID to use, if SOURCE2 holds several series."
    ),
    "like_thickness_mm": Option(
        "--like-thickness-mm", help="Thickness of SOURCE2's slices, if SOURCE2 does not state it."
    ),
    "mode": Option(
        "--mode",
        help="mean: least error. texture: mean with noise like the scan's. sample: one of the possible thin scans.",
    ),
    "steps": Option("--steps", help="Number of sampling steps. Default: 4; with a latent diffusion model, 20."),
    "sampler": Option(
        "--sampler", help="Only with a latent diffusion model: ddim, or ddpm, which adds new noise in every step."
    ),
    "samples": Option(
        "--samples",
        help="Number of samples to write (default 1). Mode mean of a latent diffusion model averages them (default 4).",
    ),
    "spread": Option(
        "--spread",
        metavar="FILE",
        help="Also write the predicted standard deviation in HU: .nii.gz, or .dcm for a Parametric Map.",
    ),
    "model": MODEL,
    "series": SERIES,
    "thickness_mm": THICKNESS,
    "strict": STRICT,
    "repair": REPAIR,
    "seed": Option("--seed", help="Seed of texture and sample. The same seed gives the same voxels."),
    "device": Option(
        "--device", help="Where the networks run: auto, cpu, mps, cuda or cuda:N. auto uses a GPU if there is one."
    ),
    "precision": Option(
        "--precision", help="Number format of the networks. auto: bf16 if the processor supports it, otherwise fp32."
    ),
    "memory_gb": Option("--memory-gb", help="Memory to use at most, in GiB. Default: what is free."),
    "report": Option("--report", metavar="FILE", help="Also write a report: .json, or .html as a page to look at."),
    "preview": Option(
        "--preview", metavar="FILE.png", help="Also write a picture: thick, cubic and thin slices side by side."
    ),
    "compress": COMPRESS,
    "overwrite": OVERWRITE,
    "deidentify": DEIDENTIFY,
    "deidentify_key": DEIDENTIFY_KEY,
}
"""Words for the fields of `ThinRequest` and `ThinSettings`."""

DryRun = Annotated[bool, Option("--dry-run", help="Check the input, print what would be done, and write nothing.")]


@options_of(OPTIONS, ThinRequest, ThinSettings)
def thin(dry_run: DryRun = False, quiet: Quiet = False, debug: Debug = False, **asked: Any) -> None:
    """Turn thick slices into thin ones.

    The measurement is kept: the thin slices, averaged over each thick slice, give that slice back.
    """
    request = ThinRequest.of(**asked)
    with Progress(quiet) as progress:
        if dry_run:
            study, _ = open_study(request, progress.update)
            _announce(study, progress)
            _say_files("would write", request, study.settings.sample_count, progress)
            return
        result = thin_study(request, progress.update, lambda study: _announce(study, progress))
        _say_files("wrote  ", request, len(result.samples), progress)
        _summarise(result, progress)


def _announce(study: Study, progress: Progress) -> None:
    """What will be done, before it is done."""
    rows, columns = study.source.geometry.shape[1:]
    first, last = study.grid.centres_mm[[0, -1]]
    progress.say(f"source  {_line(study.source.geometry)}, {rows} x {columns} pixels")
    progress.say(f"result  {_line(study.grid)}, from {first:.3f} to {last:.3f} mm along the normal")
    progress.say(f"model   {study.model.name} ({study.model.sha256[:12]}), mode {study.settings.mode}")
    progress.say(f"memory  {study.plan.describe()}")
    urgent = getattr(study.source.header, "warnings", ())
    for warning in study.warnings:
        if warning in urgent:
            progress.warn(warning)
        else:
            progress.say(f"note    {warning}")


def _say_files(did: str, request: ThinRequest, series: int, progress: Progress) -> None:
    several = f" ({series} samples)" if series > 1 and request.settings.mode != "mean" else ""
    progress.say(f"{did} {request.output}{several}")
    for path in request.beside:
        progress.say(f"{did} {path}")


def _summarise(result: StudyResult, progress: Progress) -> None:
    report = result.report
    kept = "measured" if report["repair"] is None else report["repair"]["kept"]
    progress.say(
        f"{report['output']['slices']} slices in {sum(report['seconds'].values()):.0f} s, consistent with the "
        f"{kept} slices to {report['consistency_rmse_hu']:.2f} HU RMSE"
    )
    progress.say(report["notice"])


def _line(geometry: Geometry) -> str:
    return f"{geometry.shape[0]} slices, {geometry.thickness_mm:.4g} mm thick every {geometry.spacing_mm:.4g} mm"
