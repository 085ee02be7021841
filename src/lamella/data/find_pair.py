"""The thick and the thin series of one scan, found by geometry and checked to be of one scan (SPEC A1, A3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamella.dicom.header import SeriesHeader
from lamella.dicom.read import SeriesSummary, survey
from lamella.errors import RefusedInput
from lamella.source import read_source
from lamella.volume import Geometry, Volume

_SAME_MM = 0.05
"""In-plane grids that differ by less at every corner are one."""

_AXIS_TOLERANCE = 1e-3
_FEWEST = 2
"""Thick slices that both series must cover."""


@dataclass(frozen=True)
class PairSettings:
    """What counts as thin and as thick.

    Attributes:
        thin_mm: a thin series has slices at most this thick and this far apart.
        thick_mm: a thick series has slices at least this thick and this far apart.
        thin_only: keep a scan that has no thick series.
    """

    thin_mm: float = 2.0
    thick_mm: float = 2.5
    thin_only: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """The series of one scan, cropped to what both cover."""

    thin: Volume
    thick: Volume | None
    header: SeriesHeader


def find_pair(source: Path, settings: PairSettings) -> Found:
    """Find and read the two series of a source.

    Raises:
        RefusedInput: there is no such pair, there are several, or the two are not of one scan; the message says why.
    """
    listed, _ = survey(source)
    readable = [one for one in listed if one.refusal is None and one.spacing_mm and one.thickness_mm]
    thin_uid = _only("thin", [s for s in readable if _widest(s) <= settings.thin_mm], listed, fewest_mm=True)
    thick_ones = [s for s in readable if _narrowest(s) >= settings.thick_mm]
    thin = read_source(source, thin_uid)
    header = header_of(thin)
    if not thick_ones and settings.thin_only:
        return Found(thin, None, header)
    thick = read_source(source, _only("thick", thick_ones, listed, fewest_mm=False))
    check_one_scan(thin, thick)
    return Found(*crop_to_common(thin, thick), header)


def check_one_scan(thin: Volume, thick: Volume) -> None:
    """Refuse two series that do not lie in one space on one in-plane grid.

    Raises:
        RefusedInput: saying what differs, found and expected.
    """
    frames = [str(header_of(one).slices[0].get("FrameOfReferenceUID", "")) for one in (thin, thick)]
    if frames[0] != frames[1]:
        raise RefusedInput(
            "The thin and the thick series are not of one scan: their frames of reference differ. Found "
            f"{frames[0] or 'none'} and {frames[1] or 'none'}."
        )
    a, b = thin.geometry, thick.geometry
    if not np.allclose(a.axes, b.axes, atol=_AXIS_TOLERANCE):
        raise RefusedInput("The thin and the thick series have different orientations, expected the same plane.")
    off_mm = np.inf if a.shape[1:] != b.shape[1:] else _apart_mm(a, b)
    if off_mm > _SAME_MM:
        raise RefusedInput(
            f"The thin and the thick series lie on different in-plane grids. Found {a.shape[1]} x {a.shape[2]} pixels of "
            f"{a.pixel_mm[0]:.4g} mm and {b.shape[1]} x {b.shape[2]} of {b.pixel_mm[0]:.4g} mm, expected the same grid to "
            f"{_SAME_MM:g} mm."
        )


def crop_to_common(thin: Volume, thick: Volume) -> tuple[Volume, Volume]:
    """Keep the thick slices whose slabs the thin series covers, and the thin slices between their outer borders.

    Raises:
        RefusedInput: the two have fewer than two thick slices in common.
    """
    a, b = thin.geometry, thick.geometry
    slack_mm = a.spacing_mm / 2 + 1e-3
    low, high = a.centres_mm[0] - slack_mm, a.centres_mm[-1] + slack_mm
    half_mm = b.thickness_mm / 2
    kept = np.flatnonzero((b.centres_mm - half_mm >= low - 1e-3) & (b.centres_mm + half_mm <= high + 1e-3))
    if len(kept) < _FEWEST:
        raise RefusedInput(
            f"The thin and the thick series have too little in common. Found thin slices from {low:.1f} to {high:.1f} mm and "
            f"thick ones from {b.centres_mm[0] - half_mm:.1f} to {b.centres_mm[-1] + half_mm:.1f} mm along the normal, "
            f"expected at least {_FEWEST} thick slices within the thin ones."
        )
    thick = part_of(thick, int(kept[0]), int(kept[-1]) + 1)
    b = thick.geometry
    reach_mm = b.spacing_mm / 2 + 1e-3
    inside = np.flatnonzero(
        (a.centres_mm >= b.centres_mm[0] - reach_mm) & (a.centres_mm <= b.centres_mm[-1] + reach_mm)
    )
    return part_of(thin, int(inside[0]), int(inside[-1]) + 1), thick


def _only(what: str, found: Sequence[SeriesSummary], listed: Sequence[SeriesSummary], *, fewest_mm: bool) -> str:
    """The UID of the thinnest (or thickest) candidate, of these the one with most slices; a tie is refused."""
    if not found:
        seen = "; ".join(
            f"{one.slices} slices of {one.thickness_mm:g} mm every {one.spacing_mm:g} mm"
            if one.refusal is None and one.spacing_mm and one.thickness_mm
            else f"one refused: {one.refusal}"
            for one in listed
        )
        raise RefusedInput(f"There is no {what} series. Found {seen or 'no series'}.")
    sign = 1 if fewest_mm else -1
    ranked = sorted(found, key=lambda one: (sign * round(one.spacing_mm or 0.0, 3), -one.slices))
    best = ranked[0]
    ties = [
        one
        for one in ranked
        if round(one.spacing_mm or 0.0, 3) == round(best.spacing_mm or 0.0, 3) and one.slices == best.slices
    ]
    if len(ties) > 1:
        raise RefusedInput(
            f"There are {len(ties)} {what} series alike: {', '.join(one.uid for one in ties)}. Expected one; keep the one "
            "that is wanted."
        )
    return best.uid


def _widest(one: SeriesSummary) -> float:
    return max(one.spacing_mm or 0.0, one.thickness_mm or 0.0)


def _narrowest(one: SeriesSummary) -> float:
    return min(one.spacing_mm or 0.0, one.thickness_mm or 0.0)


def header_of(volume: Volume) -> SeriesHeader:
    """What the reader kept of DICOM; anything else is refused."""
    if not isinstance(volume.header, SeriesHeader):
        raise RefusedInput("The source is no DICOM series. Cases are prepared from DICOM.")
    return volume.header


def _apart_mm(a: Geometry, b: Geometry) -> float:
    """Largest in-plane distance between corresponding corners."""
    corners = [(y, x) for y in (0, a.shape[1] - 1) for x in (0, a.shape[2] - 1)]
    moved = np.array([b.position(0, y, x) - a.position(0, y, x) for y, x in corners])
    return float(np.linalg.norm(moved @ a.axes[:, 1:], axis=1).max())


def part_of(volume: Volume, first: int, end: int) -> Volume:
    """Slices [first, end) of a volume."""
    g = volume.geometry
    return Volume(
        volume.hu[first:end],
        g.with_slices(end - first, g.spacing_mm, first * g.spacing_mm, g.thickness_mm),
        volume.header,
    )
