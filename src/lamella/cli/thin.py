"""`lamella thin`: thick slices in, thin slices out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lamella.cli.options import Debug, Output, Overwrite, Quiet, Series, Source
from lamella.errors import UsageError


def thin(
    source: Source,
    output: Output,
    spacing_mm: Annotated[
        float | None, typer.Option("--spacing-mm", help="Distance between thin slices; 1.0 if nothing is asked for.")
    ] = None,
    slices: Annotated[int | None, typer.Option("--slices", help="Number of thin slices, instead of a spacing.")] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="SOURCE2", help="Slices where another series of this scan has them."),
    ] = None,
    like_series: Annotated[
        str | None,
        typer.Option("--like-series", metavar="UID", help="Which series of SOURCE2, where it holds several."),
    ] = None,
    mode: Annotated[
        Literal["mean", "texture", "sample"],
        typer.Option("--mode", help="Least error; the scan's own noise put back; or a draw of everything unknown."),
    ] = "mean",
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of a draw; 4, or 20 for a latent diffusion model.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", help="Draws of texture or sample, 1. In mode mean of a latent model: draws averaged, 4."
        ),
    ] = None,
    spread: Annotated[
        Path | None,
        typer.Option("--spread", metavar="FILE.nii.gz", help="Also write the predicted standard deviation in HU."),
    ] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME|FOLDER", help="Which model.")] = "embedded",
    series: Series = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of texture and sample; the same seed gives the same voxels.")
    ] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write what was done, and how well: .json, or .html to look at."),
    ] = None,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="FILE.png", help="Draw thick, cubic and thin side by side.")
    ] = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn thick slices into thin ones.

    The measured slices are kept: averaging the thin result over each thick slice gives that slice back.
    """
    from lamella.workflow.thin_study import Job, run

    if sum(choice is not None for choice in (spacing_mm, slices, like)) > 1:
        raise UsageError("--spacing-mm, --slices and --like exclude each other. Give one of them, or none for 1 mm.")
    job = Job(
        source=source,
        output=output,
        spacing_mm=1.0 if slices is None and like is None and spacing_mm is None else spacing_mm,
        slices=slices,
        like=like,
        like_series=like_series,
        mode=mode,
        steps=steps,
        samples=samples,
        seed=seed,
        device=device,
        model=model,
        series=series,
        spread=spread,
        report=report,
        preview=preview,
        overwrite=overwrite,
    )
    run(job, dry_run=dry_run, quiet=quiet)
