"""Thin slices averaged into thick ones, to try Lamella on a scan whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lamella import __version__
from lamella.thinning.result import Progress, silent
from lamella.workflow.outputs import Compression, check_result, counted, is_nifti_name, write_result

if TYPE_CHECKING:
    from lamella.volume import Volume

ProfileName = Literal["box", "gaussian", "trapezoid"]


@dataclass(frozen=True)
class ThickRequest:
    """What is asked for; `lamella degrade` takes its options from these fields.

    Attributes:
        source: DICOM folder, ZIP or file, or NIfTI.
        output: folder for a DICOM series, or a name that ends in .nii or .nii.gz.
        thickness_mm: width of a thick slice.
        spacing_mm: between their centres.
        profile: shape of the slab; its full width at half maximum is the thickness.
        series: SeriesInstanceUID in `source`.
        source_thickness_mm: of the thin slices, where `source` does not say it.
        strict: refuse a source that lacks parts which its headers promise.
        compress: DICOM pixels without loss, as JPEG-LS or JPEG 2000; None for uncompressed.
        overwrite: an earlier result may be replaced.
        deidentify, deidentify_key: as for `read_source`.
    """

    source: Path
    output: Path
    thickness_mm: float
    spacing_mm: float
    profile: ProfileName = "box"
    series: str | None = None
    source_thickness_mm: float | None = None
    strict: bool = False
    compress: Compression | None = None
    overwrite: bool = False
    deidentify: bool = False
    deidentify_key: Path | None = None


def simulate_thick_study(
    request: ThickRequest, progress: Progress = silent, warn: Callable[[str], None] | None = None
) -> Volume:
    """Read thin slices, write thick ones, return them; `warn` is told what the reader had to guess.

    Raises:
        LamellaError: see `lamella.physics.simulate.simulate_thick`; or what is wrong with SOURCE or OUTPUT.
    """
    check_result(request.output, {"SOURCE": request.source}, overwrite=request.overwrite, compress=request.compress)
    from lamella.dicom.labels import Derivation
    from lamella.dicom.write import check_writable
    from lamella.sources.source import read_source

    progress("read", 0.0)
    thin = read_source(
        request.source,
        request.series,
        counted(progress, "read"),
        request.source_thickness_mm,
        request.strict,
        deidentify=request.deidentify,
        deidentify_key=request.deidentify_key,
    )
    if warn is not None:
        for text in getattr(thin.header, "warnings", ()):
            warn(text)
    progress("average", 0.0)
    from lamella.physics.simulate import simulate_thick  # with torch, which a refused input need not wait for

    thickness, spacing, profile = request.thickness_mm, request.spacing_mm, request.profile
    thick = simulate_thick(thin, thickness, spacing, profile)
    derivation = Derivation(
        description=(
            f"Thin slices averaged to {thickness:g} mm every {spacing:g} mm ({profile} profile) by Lamella {__version__}."
        ),
        model_name="",
        model_sha256="",
        model_licence="",
        settings_key=f"degrade {profile}",
        mode="thickened",
        series_label=f"thickened {thickness:.3g}mm RESEARCH",
        synthetic=False,
    )
    if not is_nifti_name(request.output):
        check_writable(thin, thick.geometry, derivation)
    settings = {"thickness_mm": thickness, "spacing_mm": spacing, "profile": profile}
    write_result(
        request.output,
        [thick],
        thin,
        [derivation],
        settings=settings,
        overwrite=request.overwrite,
        compress=request.compress,
        progress=progress,
    )
    return thick
