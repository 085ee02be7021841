"""The other series of `--like`: where slices are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lamella.errors import RefusedInput, UsageError

if TYPE_CHECKING:
    from lamella.volume import Geometry, Volume

_THICKNESS_MM = 0.01
"""Differences of slice thickness below this are the rounding of headers."""


def read_like(path: Path, series: str | None, thickness_mm: float | None = None, strict: bool = False) -> Volume:
    """Read it.

    Raises:
        RefusedInput, UsageError: as for SOURCE; the message says that it is the other.
    """
    from lamella.sources.source import read_source
    from lamella.volume import GIVE_THICKNESS

    try:
        return read_source(path, series, thickness_mm=thickness_mm, strict=strict)
    except (RefusedInput, UsageError) as error:
        said = str(error).replace("--series", "--like-series").replace(GIVE_THICKNESS, "give it (--like-thickness-mm)")
        raise type(error)(f"--like: {said}") from error


def like_warnings(source: Volume, like: Volume | None, grid: Geometry) -> list[str]:
    """Whether the other series of --like really shares the source's space, and how much of it the source covers."""
    if like is None:
        return []
    from lamella.dicom.mixture import INCOMPLETE
    from lamella.sources.source import other_kernel

    warnings = []
    if len({_text(source, "FrameOfReferenceUID"), _text(like, "FrameOfReferenceUID")} - {""}) > 1:
        warnings.append(
            "like: the two series have different frames of reference; their positions may not mean the same place."
        )
    for keyword in ("PatientID", "StudyInstanceUID"):
        stated = {_text(source, keyword), _text(like, keyword)} - {""}
        if len(stated) > 1:
            warnings.append(f"like: {keyword} differs between the two series; are they of the same scan?")
    if (kernels := other_kernel(source, like)) is not None:
        warnings.append(f"like: {kernels}")
    if getattr(like.header, "warnings", ()):
        warnings.append(f"like: how thick its slices are is unknown; those made are {grid.thickness_mm:.3g} mm thick.")
    elif abs(like.geometry.thickness_mm - grid.thickness_mm) > _THICKNESS_MM:
        warnings.append(
            f"like: its slices are {like.geometry.thickness_mm:.3g} mm thick every {like.geometry.spacing_mm:.3g} mm; those "
            f"made at their positions are {grid.thickness_mm:.3g} mm thick."
        )
    beyond = like.geometry.shape[0] - grid.shape[0]
    warnings += [f"like: {note}" for note in getattr(like.header, "notes", ()) if note.startswith(INCOMPLETE)]
    if beyond:
        warnings.append(
            f"like: {beyond} of its {like.geometry.shape[0]} slices lie beyond what the source covers and were not made."
        )
    return warnings


def _text(volume: Volume, keyword: str) -> str:
    """What the header of a DICOM series says; empty where it says nothing, or there is none."""
    from lamella.dicom.elements import text_of

    slices = getattr(volume.header, "slices", ())
    return text_of(slices[0], keyword).strip() if slices else ""
