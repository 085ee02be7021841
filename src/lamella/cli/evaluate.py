"""`lamella evaluate`: methods side by side on scans whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamella.cli.options import SOME_FAILED, Debug, Overrides, Quiet
from lamella.cli.progress import Progress

if TYPE_CHECKING:
    from lamella.evaluate import Evaluated, EvaluationSettings

PAGE = "evaluation.html"
"""Name of the page that an evaluation of a hospital's own series gets."""


def evaluate(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="YAML of the evaluation, such as configs/evaluate-phantom.yaml. With --series: the folder for the results.",
        ),
    ],
    overrides: Overrides = None,
    series: Annotated[
        Path | None,
        typer.Option(
            "--series", metavar="FOLDER", help="Your own thin series: one folder, ZIP or NIfTI file for each person."
        ),
    ] = None,
    thickness_mm: Annotated[
        float | None,
        typer.Option("--thickness-mm", help="With --series: thickness of the thick slices that are made from them."),
    ] = None,
    spacing_mm: Annotated[
        float | None,
        typer.Option("--spacing-mm", help="With --series: distance between the centres of these thick slices."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare methods on scans whose thin slices are known.

    Methods are models, interpolations, and results of other tools. Writes results.json and table.md; `lamella report` makes
    a page of them. The same command continues where it was interrupted.

    With --series, no CONFIG is needed: lamella evaluate --series FOLDER --thickness-mm 5 --spacing-mm 5 RESULTS. It averages
    every person's thinnest series to thick slices, thins these, measures the errors, and also writes the page
    evaluation.html.
    """
    from lamella.evaluate import EvaluationSettings
    from lamella.evaluate import evaluate as run
    from lamella.files.config import changed, load, save

    own = None if series is None else _of_series(series, thickness_mm, spacing_mm, config)
    if own is None and (thickness_mm, spacing_mm) != (None, None):
        from lamella.errors import UsageError

        raise UsageError("--thickness-mm and --spacing-mm belong to --series. In a CONFIG, set geometries.")
    settings = load(EvaluationSettings, config, overrides or ()) if own is None else changed(own, overrides or ())
    with Progress(quiet) as progress:
        progress.update("load", 0.0)
        done = run(settings, progress.update)
        save(settings, Path(settings.out) / "settings.yaml")
        _tell(done, progress)
        if own is not None:
            from lamella.report.evaluation import render_results

            render_results(done.results, done.results.parent / PAGE, overwrite=True)
            progress.say(f"wrote   {done.results.parent / PAGE}")
    if done.failures:
        raise typer.Exit(SOME_FAILED)


def _of_series(series: Path, thickness_mm: float | None, spacing_mm: float | None, out: Path) -> EvaluationSettings:
    from lamella.errors import UsageError
    from lamella.evaluate.own_series import settings_of_series
    from lamella.evaluate.settings import GeometrySettings
    from lamella.machine.extras import require

    if thickness_mm is None or spacing_mm is None:
        raise UsageError(
            "--series needs --thickness-mm and --spacing-mm: the thick slices that are made, such as 5 and 5."
        )
    if out.is_file():
        raise UsageError("With --series, the folder of the results is expected. Found a file.")
    require("report", "The page of an evaluation")
    return settings_of_series(series, GeometrySettings(thickness_mm, spacing_mm), out)


def _tell(done: Evaluated, progress: Progress) -> None:
    from lamella.errors import LamellaError
    from lamella.evaluate.results import TABLE

    progress.say((done.results.parent / TABLE).read_text(encoding="utf-8"))
    progress.say(f"wrote   {done.results}: {done.cases} cases")
    for one in done.failures:
        typer.echo(str(LamellaError(f"Case {one.case} could not be evaluated. {one.why}")), err=True)
