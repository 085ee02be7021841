"""A hospital's own thin series as an evaluation: a folder with one folder, ZIP or file a person."""

from __future__ import annotations

import math
from pathlib import Path

from lamella.dicom.read import SeriesSummary, list_series
from lamella.errors import LamellaError, UsageError
from lamella.evaluate.settings import EvaluationSettings, GeometrySettings, ModelMethods, SeriesCase
from lamella.sources.source import kind_of


def settings_of_series(folder: Path, geometry: GeometrySettings, out: Path) -> EvaluationSettings:
    """An evaluation of the thinnest series of every person in a folder, thickened.

    People are called person-1, person-2, ... in the order of the names of their folders, which may be those of patients
    and are written nowhere but into settings.yaml. A person whose series cannot be used fails when it is read, with the
    reason, and the others go on.

    Args:
        folder: one folder, ZIP or NIfTI file a person; or the DICOM files of one.
        geometry: of the thick slices.
        out: folder of the results.

    Raises:
        UsageError: there is no such folder, nothing in it, the results would go into it, or a width is not above 0.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "The results would lie in the folder of --series, and be taken for a person. Choose another place."
        )
    for name in ("thickness_mm", "spacing_mm"):
        if not 0 < getattr(geometry, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be above 0. Found {getattr(geometry, name):g}.")
    series = tuple(
        SeriesCase(str(source), (geometry,), f"person-{number}", series_uid=_thinnest(source))
        for number, source in enumerate(people_in(folder), start=1)
    )
    return EvaluationSettings(
        out=str(out), series=series, baselines=("linear", "cubic"), models=(ModelMethods(modes=("mean", "texture")),)
    )


def people_in(folder: Path) -> list[Path]:
    """The folders, ZIPs and NIfTI files in a folder, sorted by name; the folder itself where it holds other files alone.

    Raises:
        UsageError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise UsageError("--series is no folder. Expected a folder with one folder, ZIP or NIfTI file a person.")
    seen = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    if not seen:
        raise UsageError("The folder of --series is empty. Expected one folder, ZIP or NIfTI file a person.")
    return [one for one in seen if one.is_dir() or kind_of(one) in ("zip", "nifti")] or [folder]


def _thinnest(source: Path) -> str | None:
    """UID of the series that can be read and is thinnest, of these with most slices; None where there is no choice."""
    if kind_of(source) == "nifti":
        return None
    try:
        listed = list_series(source)
    except LamellaError:
        return None  # whoever reads it will say why

    def rank(one: SeriesSummary) -> tuple[bool, bool, float, int, str]:
        return one.refusal is not None, one.synthetic, one.spacing_mm or math.inf, -one.slices, one.uid

    return str(min(listed, key=rank).uid) if len(listed) > 1 else None  # a UID of pydicom is no plain text
