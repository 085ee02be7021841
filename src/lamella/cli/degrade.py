"""`lamella degrade`: thin slices averaged into thick ones, to try Lamella on a scan whose truth is known."""

from __future__ import annotations

from typing import Any

from typer import Option

from lamella.cli.options import (
    COMPRESS,
    DEIDENTIFY,
    DEIDENTIFY_KEY,
    OUTPUT,
    OVERWRITE,
    SERIES,
    SOURCE,
    STRICT,
    Debug,
    Quiet,
    options_of,
)
from lamella.cli.progress import Progress
from lamella.workflow.simulate_thick import ThickRequest, simulate_thick_study

_OPTIONS = {
    "source": SOURCE,
    "output": OUTPUT,
    "thickness_mm": Option("--thickness-mm", min=0.01, help="Thickness of the thick slices."),
    "spacing_mm": Option("--spacing-mm", min=0.01, help="Distance between the centres of the thick slices."),
    "profile": Option("--profile", help="Slice profile; its full width at half maximum is the thickness."),
    "series": SERIES,
    "source_thickness_mm": Option(
        "--source-thickness-mm", help="Thickness of SOURCE's slices, if SOURCE does not state it."
    ),
    "strict": STRICT,
    "compress": COMPRESS,
    "overwrite": OVERWRITE,
    "deidentify": DEIDENTIFY,
    "deidentify_key": DEIDENTIFY_KEY,
}


@options_of(_OPTIONS, ThickRequest)
def degrade(quiet: Quiet = False, debug: Debug = False, **asked: Any) -> None:
    """Average thin slices into thick ones.

    All thick slices lie within the thin series, and are centred in it.
    """
    request = ThickRequest(**asked)
    with Progress(quiet) as progress:
        thick = simulate_thick_study(request, progress.update, progress.warn)
        progress.say(
            f"wrote   {request.output}: {thick.geometry.shape[0]} slices, {request.thickness_mm:g} mm every "
            f"{request.spacing_mm:g} mm"
        )
