"""`lamella report`: an evaluation as a page or a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamella.cli.options import Debug, Overwrite, Quiet
from lamella.cli.progress import Progress
from lamella.errors import UsageError

PAGE, DOCUMENT = ".html", ".md"


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder that `lamella evaluate` wrote.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="FILE.html: one page with images. FILE.md: a document with tables, plots and limits."
        ),
    ],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn the results of an evaluation into a page or a document.

    A page opens from disk, without a network. A document has its pictures in files beside it, and shows no images of persons.
    """
    from lamella.files.output_checks import check_output

    if out.suffix.lower() not in (PAGE, DOCUMENT):
        raise UsageError(f"OUT must end in {PAGE} or {DOCUMENT}. Found {out}.")
    check_output(out, None, overwrite=overwrite, folder=False)
    with Progress(quiet) as progress:
        progress.update("report", 0.0)
        if out.suffix.lower() == PAGE:
            from lamella.report.evaluation import render_results

            render_results(results, out, overwrite=overwrite)
        else:
            from lamella.report.document import write_document

            write_document(results, out, overwrite=overwrite)
        progress.say(f"wrote   {out}")
