"""SOURCE, whatever it is: a folder, ZIP or file of DICOM, or NIfTI; told by content, not by suffix."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from lamella.dicom.archive import is_zip
from lamella.dicom.deidentify import deidentified, key_of
from lamella.dicom.elements import shown, text_of
from lamella.dicom.read import SeriesSummary, Suits, read_series, survey
from lamella.errors import RefusedInput, UsageError
from lamella.files.names import numbered_names, shown_name
from lamella.nifti.image import is_nifti, read_nifti
from lamella.physics.repair import RepairKind
from lamella.volume import Volume


@dataclass(frozen=True)
class Inspection:
    """What a source holds and what `read_source` would say to it.

    Attributes:
        kind: "folder", "zip", "dicom" or "nifti".
        name: base name of the source.
        series: what was found; a NIfTI file counts as one series without a UID.
        refusal: why reading without a chosen series would be refused; None where it would work.
    """

    kind: str
    name: str
    series: tuple[SeriesSummary, ...]
    refusal: str | None


def read_source(
    path: str | Path | tuple[Path, ...],
    series_uid: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    thickness_mm: float | None = None,
    strict: bool = False,
    repair: RepairKind | None = None,
    deidentify: bool = False,
    deidentify_key: str | Path | None = None,
) -> Volume:
    """Read one CT: a DICOM folder (searched recursively), ZIP or file, or NIfTI.

    Args:
        path: the source; or a list of files of one DICOM series.
        series_uid: SeriesInstanceUID to read; needed if the source holds several CT series.
        progress: called with (slices done, slices in all).
        thickness_mm: thickness of the slices, if the source does not state it: NIfTI without a sidecar, DICOM without
            SliceThickness.
        strict: refuse a DICOM series that has fewer images than its headers state.
        repair: what is repaired, and nothing else: "tilt" (slices sheared by a gantry tilt), "gap" (one slice missing between
            others) or "uneven" (slices at uneven distances); see `lamella.physics.mend`. The notes of the header say what
            was done.
        deidentify: leave the patient out of the header, and so out of everything that is made from the volume (basic
            profile of PS3.15 annex E). Messages number the files instead of naming them.
        deidentify_key: file with the key for new UIDs and pseudonyms, the same for all series of a study; None: a random
            key.

    Raises:
        UsageError: the source or the key does not exist, or the source states another thickness than `thickness_mm`.
        RefusedInput: the source cannot be read correctly; the message says why and where.
    """
    _check_thickness(thickness_mm)
    if repair not in (None, *get_args(RepairKind)):
        raise UsageError(f"Unknown repair {repair!r}. Expected one of {', '.join(get_args(RepairKind))}.")
    key = key_of(deidentify, deidentify_key)
    with nullcontext() if key is None else numbered_names():
        volume = _read(path, series_uid, progress, thickness_mm, strict, repair)
    return volume if key is None else deidentified(volume, key)


def _read(
    path: str | Path | tuple[Path, ...],
    series_uid: str | None,
    progress: Callable[[int, int], None] | None,
    thickness_mm: float | None,
    strict: bool,
    repair: RepairKind | None,
) -> Volume:
    if isinstance(path, tuple):
        return read_series(path, series_uid, progress, thickness_mm, strict=strict, repair=repair)
    path = Path(path)
    if kind_of(path) != "nifti":
        return read_series(path, series_uid, progress, thickness_mm, strict=strict, repair=repair)
    if series_uid is not None:
        raise RefusedInput(f"{shown_name(path)} is NIfTI and has no series UID. Leave the UID out.")
    volume = read_nifti(path, thickness_mm, repair)
    if progress is not None:
        progress(len(volume.hu), len(volume.hu))
    return volume


def inspect_source(
    path: str | Path,
    thickness_mm: float | None = None,
    strict: bool = False,
    repair: RepairKind | None = None,
    suits: Suits | None = None,
) -> Inspection:
    """List the series of a source, and say for each whether it can be read, or why it is refused.

    Args:
        path, thickness_mm, strict, repair: as for `lamella.read`.
        suits: called with every volume that can be read. It returns notes on what is unusual, or raises RefusedInput to
            refuse the series.

    Raises:
        UsageError: the source does not exist, or a series states another thickness than `thickness_mm`.
        RefusedInput: the source cannot be opened, or holds no image.
    """
    path = Path(path)
    _check_thickness(thickness_mm)
    kind = kind_of(path)
    if kind != "nifti":
        series, refusal = survey(path, True, thickness_mm, strict, repair, suits)
        return Inspection(kind, shown_name(path), series, refusal)
    volume, refusal = None, None
    unusual: tuple[str, ...] = ()
    try:
        volume = read_nifti(path, thickness_mm, repair)
        if suits is not None:
            unusual = tuple(suits(volume))
    except RefusedInput as error:
        refusal = str(error)
    summary = replace(_nifti_summary(volume, refusal), unusual=unusual)
    return Inspection(kind, shown_name(path), (summary,), refusal)


def _check_thickness(thickness_mm: float | None) -> None:
    if thickness_mm is not None and not 0 < thickness_mm < math.inf:
        raise UsageError(f"The slice thickness must be a positive number of mm. Found {thickness_mm:g}.")


def kind_of(path: Path) -> str:
    """ "folder", "zip", "dicom" or "nifti"; "dicom" also where nothing is recognised, whose reader then says so."""
    if not path.is_file():
        return "folder"
    if is_nifti(path):
        return "nifti"
    with path.open("rb") as file:
        return "zip" if is_zip(file.read(4)) else "dicom"


def _nifti_summary(volume: Volume | None, refusal: str | None) -> SeriesSummary:
    geometry = volume.geometry if volume else None
    slices, rows, columns = geometry.shape if geometry else (0, 0, 0)
    unknown = bool(getattr(volume.header, "warnings", ())) if volume else True
    return SeriesSummary(
        uid="",
        modality="",
        slices=slices,
        rows=rows,
        columns=columns,
        spacing_mm=geometry.spacing_mm if geometry else None,
        thickness_mm=geometry.thickness_mm if geometry and not unknown else None,
        pixel_mm=geometry.pixel_mm if geometry else None,
        kernel="",
        synthetic=bool(getattr(volume.header, "synthetic", False)) if volume else False,
        transfer_syntax="NIfTI",
        refusal=refusal,
        notes=tuple(getattr(volume.header, "notes", ())) if volume else (),
    )


def other_kernel(thick: Volume, thin: Volume) -> str | None:
    """What to know where two series of a scan were reconstructed with different kernels; None where none is known to be.

    Kernels decide sharpness and noise: a result made from the thick series has the thick series' own.
    """
    kernels = [
        text_of(slices[0], "ConvolutionKernel") if (slices := getattr(volume.header, "slices", ())) else ""
        for volume in (thick, thin)
    ]
    if "" in kernels or kernels[0] == kernels[1]:
        return None
    thick_kernel, thin_kernel = map(shown, kernels)
    return (
        f"The two series have different reconstruction kernels ({thick_kernel} and {thin_kernel}): sharpness, noise, texture "
        "and spread of the result are those of the thick series."
    )
