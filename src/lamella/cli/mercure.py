"""`lamella mercure`: a processing module of mercure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from lamella.cli.options import Debug, Quiet


def mercure(
    source: Annotated[Path, Argument(envvar="MERCURE_IN_DIR", metavar="IN", help="Folder of a task.")],
    output: Annotated[Path, Argument(envvar="MERCURE_OUT_DIR", metavar="OUT", help="Folder that mercure sends.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Thin the series of a task of mercure.

    mercure sets both folders. Settings (rules, thin) stand in task.json, or in the module's settings on mercure's page.
    """
    from lamella.batch.mercure import run_task
    from lamella.cli.progress import Progress

    with Progress(quiet) as progress:
        records = run_task(source, output, progress.update)
        progress.say(f"{len(records)} series thinned")
