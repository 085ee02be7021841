"""`lamella degrade`: thin slices averaged into thick ones, to try Lamella on a scan whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lamella import __version__
from lamella.cli.options import Debug, Output, Overwrite, Quiet, Series, Source
from lamella.workflow.outputs import check_result, write_result
from lamella.workflow.progress import Progress

if TYPE_CHECKING:
    from lamella.dicom.labels import Derivation
    from lamella.volume import Volume

ProfileName = Literal["box", "gaussian", "trapezoid"]


def degrade(
    source: Source,
    output: Output,
    thickness_mm: Annotated[float, typer.Option("--thickness-mm", min=0.01, help="Width of a thick slice.")],
    spacing_mm: Annotated[float, typer.Option("--spacing-mm", min=0.01, help="Distance between thick slices.")],
    profile: Annotated[
        ProfileName,
        typer.Option("--profile", help="Shape of the slab; its full width at half maximum is the thickness."),
    ] = "box",
    series: Series = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Average thin slices into thick ones.

    The slabs all lie within the thin series and are centred in it.
    """
    with Progress(quiet) as progress:
        thick = thicken_to(source, output, thickness_mm, spacing_mm, profile, series, overwrite, progress)
        progress.say(f"wrote   {output}: {thick.geometry.shape[0]} slices, {thickness_mm:g} mm every {spacing_mm:g} mm")


def thicken_to(
    source: Path,
    output: Path,
    thickness_mm: float,
    spacing_mm: float,
    profile: ProfileName,
    series: str | None,
    overwrite: bool,
    progress: Progress,
) -> Volume:
    """Read thin slices, write thick ones, return them.

    Raises:
        RefusedInput: the slices asked for are thinner or closer than the source's.
        LamellaError: not even one slab fits.
    """
    check_result(output, source, overwrite=overwrite)
    from lamella.physics.simulate import simulate_thick
    from lamella.sources.source import read_source

    thin = read_source(source, series, progress.counter("read"))
    progress.begin("average")
    thick = simulate_thick(thin, thickness_mm, spacing_mm, profile)
    write_result(
        output, [thick], thin, [_derivation(thick, profile)], overwrite=overwrite, progress=progress.counter("write")
    )
    progress.finish()
    return thick


def _derivation(thick: Volume, profile: ProfileName) -> Derivation:
    from lamella.dicom.labels import Derivation

    thickness, spacing = thick.geometry.thickness_mm, thick.geometry.spacing_mm
    return Derivation(
        description=(
            f"Thin slices averaged to {thickness:g} mm every {spacing:g} mm ({profile} profile) "
            f"by Lamella {__version__}."
        ),
        model_name="",
        model_sha256="",
        model_licence="",
        settings_key=f"degrade {profile}",
        mode="thickened",
        series_label=f"thickened {thickness:.3g}mm RESEARCH",
        synthetic=False,
    )
