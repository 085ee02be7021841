"""`lamella demo`: a phantom chest, thickened and thinned, with a truth to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamella.cli.options import Debug, Overwrite, Quiet
from lamella.cli.progress import Progress


def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the phantom and the results.")] = Path("demo"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Thin a phantom chest and compare with its truth.

    Writes a thin phantom series, the same averaged to 5 mm, Lamella's thin series, a preview and a report.
    """
    from lamella.workflow.demo import run_demo

    with Progress(quiet) as progress:
        done = run_demo(out, overwrite=overwrite, progress=progress.update)
        picture = "For a picture, pip install 'lamella[report]' first."
        if done.request.preview is not None:
            picture = f"Open {done.request.preview} for the picture."
        progress.say("\nAgainst the phantom's own thin slices, inside the body:")
        for name, rmse in done.rmse_hu.items():
            progress.say(f"  {name:<14}{rmse:6.1f} HU RMSE")
        progress.say(
            f"  gain {done.gain_db:+.2f} dB (the phantom is synthetic: see the README for figures on real CT)\n\n"
            f"{picture} In a DICOM viewer load {done.request.source} and "
            f"{done.request.output}\nside by side; {done.truth} is the truth. {done.request.report} says what was done.\n"
            f"Your own scan: lamella thin YOUR_FOLDER OUT --preview preview.png"
        )
