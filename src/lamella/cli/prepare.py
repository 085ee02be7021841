"""`lamella prepare`: ZIPs and folders of DICOM to a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamella.cli.options import SOME_FAILED, Debug, Overrides, Quiet
from lamella.cli.progress import Progress


def prepare(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML of the data set, such as configs/ape.yaml.")],
    overrides: Overrides = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Prepare a data set for training.

    It finds thick and thin series, checks, crops and caches them, and splits the patients into training, validation and
    test. rejects.csv lists sources that do not fit, with the reason. Exit code 8: something failed. The same command
    continues after an interruption, and may run several times at once.
    """
    from lamella.data.prepare import REJECTS
    from lamella.data.prepare import prepare as run
    from lamella.data.prepare_settings import PrepareSettings
    from lamella.files.config import load, save

    settings = load(PrepareSettings, config, overrides or ())
    with Progress(quiet) as progress:
        progress.update("prepare", 0.0)
        done = run(settings, progress.update)
        save(settings, Path(settings.out) / "settings.yaml")
        progress.say(f"wrote   {settings.out}: {done.cases} cases, {done.made} of them now")
        if done.rejected:
            progress.say(f"note    {len(done.rejected)} sources were rejected: {Path(settings.out) / REJECTS} says why")
        if done.elsewhere:
            progress.say(f"note    {done.elsewhere} sources are in work by another run")
        if not done.locked:
            progress.warn(f"{settings.out} lies on a file system without locks: start one preparation there at a time")
        if done.unassigned:
            progress.say(f"note    {done.unassigned} patients came after the split was frozen and are in none")
    for source, why in done.failed:
        typer.echo(f"{source} failed. {why}", err=True)
    if done.failed:
        typer.echo(
            f"{len(done.failed)} sources failed. Patients are shared out, and training can begin, once every source is "
            "prepared or rejected: mend the cause, or take these out, and run the same command again.",
            err=True,
        )
        raise typer.Exit(SOME_FAILED)
