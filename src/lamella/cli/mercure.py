"""`lamella mercure`: a processing module of mercure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from lamella.cli.options import Debug, Quiet


def mercure(
    source: Annotated[Path, Argument(envvar="MERCURE_IN_DIR", metavar="IN", help="Folder of the task.")],
    output: Annotated[
        Path, Argument(envvar="MERCURE_OUT_DIR", metavar="OUT", help="Folder whose files mercure sends.")
    ],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Thin the series of a mercure task.

    mercure sets both folders. The settings (rules, thin) come from task.json; set them on mercure's page of the module.
    """
    from lamella.batch.mercure import run_task
    from lamella.cli.progress import Progress

    with Progress(quiet) as progress:
        records = run_task(source, output, progress.update)
        progress.say(f"{len(records)} series thinned")
