"""The thick and the thin series of one scan, found by geometry and checked to be of one scan (SPEC A1, A3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

from lamella.dicom.header import SeriesHeader
from lamella.dicom.read import SeriesSummary, survey
from lamella.errors import RefusedInput
from lamella.sources.source import read_source
from lamella.volume import SAME_GRID_MM, Volume

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


def find_pair(source: Path, settings: PairSettings, strict: bool = False) -> Found:
    """Find and read the two series of a source: of those that are of one scan, the thinnest and the thickest.

    Series that a model made up (SyntheticData) are no measurement, and never taken; nor, if `strict`, is a series that
    lacks parts which its headers promise.

    Raises:
        RefusedInput: there is no such pair, there are several alike, or no two are of one scan; the message says why.
    """
    listed, _ = survey(source, strict=strict)
    readable = [s for s in listed if s.refusal is None and s.spacing_mm and s.thickness_mm and not s.synthetic]
    thin_ones = _ranked([s for s in readable if _widest(s) <= settings.thin_mm], sign=1)
    thick_ones = _ranked([s for s in readable if _narrowest(s) >= settings.thick_mm], sign=-1)
    if not thin_ones or not (thick_ones or settings.thin_only):
        raise RefusedInput(f"There is no {'thick' if thin_ones else 'thin'} series. Found {_seen(listed)}.")
    if not thick_ones:
        thin = read_source(source, _only("thin", [s.uid for s in thin_ones[0]]))
        return Found(thin, None, header_of(thin))
    read = cache(lambda uid: read_source(source, uid))
    reasons: list[str] = []
    for group in thin_ones:
        thins = [read_source(source, one.uid) for one in group]
        pairs = [(thin, thick) for thin in thins if (thick := _partner(thin, thick_ones, read, reasons)) is not None]
        if pairs:
            _only("thin", [header_of(thin).series_uid for thin, _ in pairs])
            thin, thick = pairs[0]
            return Found(*crop_to_common(thin, thick), header_of(thin))
    raise RefusedInput(reasons[0])


def _partner(
    thin: Volume, ranked: Sequence[Sequence[SeriesSummary]], read: Callable[[str], Volume], reasons: list[str]
) -> Volume | None:
    """The first thick series that is of one scan with the thin one; why others are not is added to `reasons`."""
    for group in ranked:
        fitting = []
        for one in group:
            thick = read(one.uid)
            try:
                check_one_scan(thin, thick)
                fitting.append(thick)
            except RefusedInput as error:
                reasons.append(str(error))
        if fitting:
            _only("thick", [header_of(thick).series_uid for thick in fitting])
            return fitting[0]
    return None


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
    if not a.same_axes(b):
        raise RefusedInput("The thin and the thick series have different orientations, expected the same plane.")
    if a.apart_mm(b, in_plane=True) > SAME_GRID_MM:
        raise RefusedInput(
            f"The thin and the thick series lie on different in-plane grids. Found {a.shape[1]} x {a.shape[2]} pixels of "
            f"{a.pixel_mm[0]:.4g} mm and {b.shape[1]} x {b.shape[2]} of {b.pixel_mm[0]:.4g} mm, expected the same grid to "
            f"{SAME_GRID_MM:g} mm."
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
    thick = thick.part(slice(int(kept[0]), int(kept[-1]) + 1))
    b = thick.geometry
    reach_mm = b.spacing_mm / 2 + 1e-3
    inside = np.flatnonzero(
        (a.centres_mm >= b.centres_mm[0] - reach_mm) & (a.centres_mm <= b.centres_mm[-1] + reach_mm)
    )
    return thin.part(slice(int(inside[0]), int(inside[-1]) + 1)), thick


def _ranked(found: Sequence[SeriesSummary], *, sign: int) -> list[list[SeriesSummary]]:
    """Candidates by spacing (rising for sign 1), of these the ones with most slices first; those alike in one group."""

    def rank(one: SeriesSummary) -> tuple[float, int]:
        return (sign * round(one.spacing_mm or 0.0, 3), -one.slices)

    return [list(group) for _, group in groupby(sorted(found, key=rank), rank)]


def _only(what: str, uids: Sequence[str]) -> str:
    """The one candidate; several alike are not guessed at."""
    if len(uids) > 1:
        raise RefusedInput(
            f"There are {len(uids)} {what} series alike: {', '.join(uids)}. Expected one; keep the one that is wanted."
        )
    return uids[0]


def _seen(listed: Sequence[SeriesSummary]) -> str:
    """What a source holds, for a message."""
    seen = [
        f"one refused: {one.refusal}"
        if one.refusal is not None or not one.spacing_mm or not one.thickness_mm
        else f"{one.slices} {'synthetic ' if one.synthetic else ''}slices of {one.thickness_mm:g} mm every "
        f"{one.spacing_mm:g} mm"
        for one in listed
    ]
    return "; ".join(seen) or "no series"


def _widest(one: SeriesSummary) -> float:
    return max(one.spacing_mm or 0.0, one.thickness_mm or 0.0)


def _narrowest(one: SeriesSummary) -> float:
    return min(one.spacing_mm or 0.0, one.thickness_mm or 0.0)


def header_of(volume: Volume) -> SeriesHeader:
    """What the reader kept of DICOM; anything else is refused."""
    if not isinstance(volume.header, SeriesHeader):
        raise RefusedInput("The source is no DICOM series. Cases are prepared from DICOM.")
    return volume.header
