"""The cases of an evaluation: a truth, the thick slices of it, and where to measure. Built one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lamella.errors import RefusedInput, UsageError
from lamella.evaluate.scans import Scan, require_same_plane, scan_of, softened
from lamella.evaluate.settings import EvaluationSettings, GeometrySettings, PairCase, PhantomCase, SeriesCase
from lamella.evaluate.stored import StoredCase, stored_cases, stored_thin, stored_volumes
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.simulate import simulate_thick
from lamella.sources.source import other_kernel, read_source
from lamella.thinning.grid import thin_grid
from lamella.volume import Geometry, Volume, round_hu

_THICKER = 0.2
"""A thick slice is at least so much thicker, and further apart, than a thin one."""


@dataclass(frozen=True, eq=False)
class Case:
    """What every method is given, and what it is judged by.

    Attributes:
        id: file-name safe, unique in an evaluation.
        title: for people.
        scan: truth and masks on the scored slices.
        thick: what the methods see.
        grid: the thin slices they are asked for; reaches over the scored ones so that no slab sticks out.
        scored: which slices of the grid are scored: those wholly inside what the slabs cover.
        profile: shape of the slabs; "unknown" for a real pair.
        notes: what a reader should know.
    """

    id: str
    title: str
    scan: Scan
    thick: Volume
    grid: Geometry
    scored: slice
    profile: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """A case before anything of it is read."""

    id: str
    title: str
    name: str
    source: SeriesCase | PairCase | PhantomCase | StoredCase
    geometry: GeometrySettings | None


def plan_cases(settings: EvaluationSettings) -> list[Planned]:
    """Every case, in the order of the settings.

    Raises:
        UsageError: there is none, or two have the same id.
    """
    planned = []
    prepared = stored_cases(settings.splits)
    thickened: list[SeriesCase | PhantomCase | StoredCase] = [*settings.series, *settings.phantoms]
    thickened += [one for one in prepared if one.geometries]
    for number, source in enumerate(thickened, start=1):
        name = source.name or f"scan-{number}"
        for one in source.geometries:
            title = f"{name}, {one.thickness_mm:g} mm every {one.spacing_mm:g} mm"
            title += "" if one.profile == "box" else f", {one.profile} profile"
            parts = (
                name,
                f"{one.thickness_mm:g}-every-{one.spacing_mm:g}",
                "" if one.profile == "box" else one.profile,
            )
            planned.append(Planned(safe_id("_".join(part for part in parts if part)), title, name, source, one))
    for pair in settings.pairs:
        planned.append(Planned(safe_id(pair.name), f"{pair.name}, real pair", pair.name, pair, None))
    for stored_pair in (one for one in prepared if not one.geometries):
        name = stored_pair.name
        planned.append(Planned(safe_id(name), f"{name}, real pair", name, stored_pair, None))
    ids = [one.id for one in planned]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if not planned or twice:
        problem = f"two cases are called {twice[0]!r}; give one of them another name" if twice else "there is no case"
        raise UsageError(f"Nothing can be evaluated: {problem}. See series, pairs, phantoms and splits in the config.")
    unknown = sorted({one.case for one in settings.outside} - set(ids))
    if unknown:
        raise UsageError(f"outside: there is no case {unknown[0]!r}. Expected one of {', '.join(ids)}.")
    return planned


def paths_of(one: Planned) -> tuple[str, ...]:
    """The files a case is read from."""
    source = one.source
    if isinstance(source, PairCase):
        return source.thick, source.thin
    if isinstance(source, StoredCase):
        return (source.index,)
    return (source.path,) if isinstance(source, SeriesCase) else ()


def safe_id(text: str) -> str:
    """The text with everything but letters, digits, dots and dashes replaced."""
    return re.sub(r"[^\w.\-]+", "-", text).strip("-.") or "case"


def build_cases(planned: list[Planned], settings: EvaluationSettings) -> Iterator[tuple[Planned, Case | Exception]]:
    """Build the cases one after the other; a scan is read once for all its geometries.

    Yields:
        The plan with its case, or with the error that kept it from being built.
    """
    last: tuple[object, Scan | Exception] | None = None
    for one in planned:
        try:
            if isinstance(one.source, PairCase):
                pair = one.source
                thick = read_source(pair.thick, thickness_mm=pair.thick_thickness_mm, strict=pair.strict)
                thin = read_source(pair.thin, thickness_mm=pair.thin_thickness_mm, strict=pair.strict)
                yield one, _pair_case(one, one.name, thick, thin, one.source.person, settings.crop_to_body)
                continue
            if isinstance(one.source, StoredCase) and not one.source.geometries:
                thick, thin = stored_volumes(one.source)
                yield one, _pair_case(one, one.source.patient, thick, thin, one.source.person, settings.crop_to_body)
                continue
            if last is None or last[0] is not one.source:
                last = (one.source, _scan_or_error(one.name, one.source, settings.crop_to_body))
            if isinstance(last[1], Exception):
                raise last[1]
            assert one.geometry is not None, "thickened cases have a geometry"
            yield one, thickened_case(one.id, one.title, last[1], one.geometry)
        except (ValueError, OSError, MemoryError) as error:  # LamellaError is a ValueError
            yield one, error


def _scan_or_error(name: str, source: SeriesCase | PhantomCase | StoredCase, crop: bool) -> Scan | Exception:
    try:
        if isinstance(source, PhantomCase):
            shape = (source.slices, source.rows, source.rows)
            phantom = PhantomSettings(
                shape,
                pixel_mm=source.pixel_mm,
                seed=source.seed,
                noise_hu=source.noise_hu,
                middle_mm=source.middle_mm,
                round_field=source.round_field,
                region=source.region,
                edge_mm=source.edge_mm,
                highest_hu=source.highest_hu,
            )
            painted = paint_phantom(phantom)
            scan = scan_of(name, "phantom", False, Volume(round_hu(painted.hu), painted.geometry), crop)
            return replace(scan, phantom=phantom)
        if isinstance(source, StoredCase):
            return scan_of(source.patient, "thickened", source.person, stored_thin(source), crop)
        volume = read_source(source.path, source.series_uid, thickness_mm=source.thickness_mm, strict=source.strict)
        if source.slices is not None:
            first, last = source.slices
            if not 0 <= first < last <= volume.geometry.shape[0]:
                raise UsageError(
                    f"slices of {name}: found {first} to {last}, the series has {volume.geometry.shape[0]}. Expected 0 <= "
                    "first < last <= that."
                )
            volume = volume.part(slice(first, last))
        if source.soften_mm:
            volume = softened(volume, source.soften_mm)
        return scan_of(name, "thickened", source.person, volume, crop)
    except (ValueError, OSError, MemoryError) as error:
        return error


def thickened_case(case_id: str, title: str, scan: Scan, geometry: GeometrySettings) -> Case:
    """Thicken a scan: profile averages of the truth, rounded to whole HU as a scanner stores them.

    Raises:
        LamellaError: not even one slab fits.
    """
    thin = scan.volume.geometry
    for what, asked, has in (
        ("thickness", geometry.thickness_mm, thin.thickness_mm),
        ("spacing", geometry.spacing_mm, thin.spacing_mm),
    ):
        if asked < has * (1 + _THICKER):
            raise RefusedInput(
                f"Case {case_id} would not be thickened: a {what} of {asked:g} mm is asked for, the scan's own is {has:.4g} "
                "mm. Is it the thin series? Ask for more."
            )
    thick = simulate_thick(scan.volume, geometry.thickness_mm, geometry.spacing_mm, geometry.profile)
    touched, scored = covered_slices(thin, thick.geometry)
    grid = scan.volume.part(touched).geometry
    first = touched.start + scored.start
    return Case(
        case_id,
        title,
        scan.part(slice(first, first + scored.stop - scored.start)),
        thick,
        grid,
        scored,
        geometry.profile,
        _assumed(scan.volume),
    )


def _assumed(volume: Volume) -> tuple[str, ...]:
    """What the reader of a file assumed, ignored or dropped."""
    return tuple(getattr(volume.header, "notes", ()))


def _pair_case(planned: Planned, name: str, thick: Volume, thin: Volume, person: bool, crop: bool) -> Case:
    require_same_plane(thick.geometry, thin.geometry, planned.id)
    scan = scan_of(name, "pair", person, thin, crop)
    thick = thick.part(slice(None), *scan.box)
    grid = thin_grid(thick.geometry, like=scan.volume.geometry)
    first = int(np.rint((grid.centres_mm[0] - thin.geometry.centres_mm[0]) / grid.spacing_mm))
    notes = [*_assumed(thick), *_assumed(thin)]
    notes += [
        "A real pair: the thick slices are not exact averages of the thin ones (kernel, slice profile, rounding)."
    ]
    if (kernels := other_kernel(thick, thin)) is not None:
        notes.append(kernels)
    if grid.shape[0] < thin.geometry.shape[0]:
        left = thin.geometry.shape[0] - grid.shape[0]
        notes.append(f"{left} thin slices lie beyond what the thick ones cover and are not scored.")
    part = scan.part(slice(first, first + grid.shape[0]))
    return Case(planned.id, planned.title, part, thick, grid, slice(0, grid.shape[0]), "unknown", tuple(notes))


def covered_slices(thin: Geometry, thick: Geometry) -> tuple[slice, slice]:
    """(thin slices that the slabs' range touches, those of them that lie wholly inside it).

    The first is the grid to restore, so that no slab reaches past it; only the second is scored.
    """
    low = thick.centres_mm[0] - thick.thickness_mm / 2
    high = thick.centres_mm[-1] + thick.thickness_mm / 2
    half = thin.spacing_mm / 2
    touched = np.flatnonzero((thin.centres_mm + half > low + 1e-6) & (thin.centres_mm - half < high - 1e-6))
    inside = np.flatnonzero((thin.centres_mm - half >= low - 1e-6) & (thin.centres_mm + half <= high + 1e-6))
    if not len(inside):
        raise RefusedInput(
            "No thin slice lies wholly within the thick slabs, so nothing can be scored. Thicken by more."
        )
    grid = slice(int(touched[0]), int(touched[-1]) + 1)
    return grid, slice(int(inside[0] - touched[0]), int(inside[-1] - touched[0]) + 1)
