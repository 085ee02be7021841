"""What only a model cannot do: told alike by a run, its dry run and `lamella inspect`, before any network is loaded."""

from __future__ import annotations

from lamella.dicom.header import SeriesHeader
from lamella.dicom.labels import Derivation
from lamella.dicom.write import check_writable
from lamella.thinning.grid import thin_grid
from lamella.thinning.limits import range_warnings
from lamella.thinning.model import Limits
from lamella.volume import Geometry, Volume

DEFAULT_SPACING_MM = 1.0
"""Between thin slices, where nothing is asked for."""

_ANY = Derivation("any", "", "", "", "", "mean", "any")
"""What is refused of a source's header is refused whatever the labels of the result are."""


def asked_spacing(spacing_mm: float | None, slices: int | None, like: Geometry | None) -> float | None:
    """The spacing that is asked for: 1 mm where neither it nor anything else is."""
    return DEFAULT_SPACING_MM if spacing_mm is None and slices is None and like is None else spacing_mm


def suitable_grid(
    thick: Geometry,
    limits: Limits,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Geometry | None = None,
    output_thickness_mm: float | None = None,
) -> tuple[Geometry, list[str]]:
    """The thin grid of a volume, and warnings; the choices are those of `thin_grid`, 1 mm if there is none.

    Raises:
        UsageError, RefusedInput: see `thin_grid` and `range_warnings`.
    """
    spacing_mm = asked_spacing(spacing_mm, slices, like)
    grid = thin_grid(thick, spacing_mm=spacing_mm, slices=slices, like=like, thickness_mm=output_thickness_mm)
    return grid, range_warnings(thick, grid, limits)


def check_suits(
    source: Volume,
    limits: Limits,
    spacing_mm: float | None = None,
    slices: int | None = None,
    like: Geometry | None = None,
    output_thickness_mm: float | None = None,
    *,
    dicom: bool = True,
) -> None:
    """Refuses a volume that was read and that the model cannot thin, or whose result could not be filed.

    Args:
        source: thick slices.
        limits: of the model.
        spacing_mm, slices, like, output_thickness_mm: as for `suitable_grid`.
        dicom: a DICOM series is asked for, where `source` is one.

    Raises:
        UsageError, RefusedInput: see `suitable_grid` and `check_writable`.
    """
    grid, _ = suitable_grid(source.geometry, limits, spacing_mm, slices, like, output_thickness_mm)
    if dicom and isinstance(source.header, SeriesHeader):
        check_writable(source, grid, _ANY)
