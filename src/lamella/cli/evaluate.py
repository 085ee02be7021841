"""`lamella evaluate`: methods side by side on scans whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamella.cli.options import SOME_FAILED, Debug, Overrides, Quiet
from lamella.cli.progress import Progress

if TYPE_CHECKING:
    from lamella.evaluate import Evaluated


def evaluate(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="YAML of the evaluation, such as configs/evaluate-phantom.yaml.")
    ],
    overrides: Overrides = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare models, interpolations and other tools' results on cases whose truth is known.

    Writes results.json and table.md; `lamella report` makes a page of them. The same command goes on where it was interrupted.
    """
    from lamella.evaluate import EvaluationSettings
    from lamella.evaluate import evaluate as run
    from lamella.files.config import load, save

    settings = load(EvaluationSettings, config, overrides or ())
    with Progress(quiet) as progress:
        progress.update("load", 0.0)
        done = run(settings, progress.update)
        save(settings, Path(settings.out) / "settings.yaml")
        _tell(done, progress)
    if done.failures:
        raise typer.Exit(SOME_FAILED)


def _tell(done: Evaluated, progress: Progress) -> None:
    from lamella.errors import LamellaError
    from lamella.evaluate.results import TABLE

    progress.say((done.results.parent / TABLE).read_text(encoding="utf-8"))
    progress.say(f"wrote   {done.results}: {done.cases} cases")
    for one in done.failures:
        typer.echo(str(LamellaError(f"Case {one.case} could not be evaluated. {one.why}")), err=True)
