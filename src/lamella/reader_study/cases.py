"""What readers will see: a folder a case, in it one source a method, all of a case on the same grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lamella.errors import RefusedInput, UsageError
from lamella.nifti.sidecar import sidecar_path
from lamella.sources.source import read_source
from lamella.volume import SAME_GRID_MM, Geometry, Volume

_LEAST_SLICES = 2
_SUFFIXES = (".nii.gz", ".nii", ".zip", ".dcm")
_DESKTOP_FILES = ("Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Case:
    """One case of a study.

    Attributes:
        name: of its folder.
        sources: method -> DICOM folder, ZIP or NIfTI; methods sorted by name.
    """

    name: str
    sources: Mapping[str, Path]


@dataclass(frozen=True)
class Slab:
    """Which slices are shown.

    Attributes:
        width_mm: the central so many mm; None where a range is given.
        range_mm: (from, to) in mm from the outer side of the first slice.
    """

    width_mm: float | None = None
    range_mm: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> Slab:
        """ "40" or "30:70".

        Raises:
            UsageError: neither.
        """
        try:
            numbers = [float(part) for part in text.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) == 1 and 0 < numbers[0] < np.inf:
            return cls(width_mm=numbers[0])
        if len(numbers) == 2 and 0 <= numbers[0] < numbers[1] < np.inf:
            return cls(range_mm=(numbers[0], numbers[1]))
        raise UsageError(
            f"--slab-mm is not understood. Found {text!r}, expected a width such as 40 (the central 40 mm) or a range "
            "such as 30:70 (mm from the outer side of the first slice)."
        )


def find_cases(studies: Path) -> tuple[Case, ...]:
    """The cases of a folder, sorted by name. Nothing is read yet.

    Raises:
        UsageError: no such folder.
        RefusedInput: no case, a file where a case's folder should be, or cases with different methods.
    """
    if not studies.is_dir():
        raise UsageError(f"STUDIES is not a folder: {studies}. Expected one folder a case, in it one source a method.")
    cases = tuple(_case(folder) for folder in _entries(studies))
    if not cases:
        raise RefusedInput(f"STUDIES holds no case: {studies}. Expected one folder a case, in it one source a method.")
    for case in cases[1:]:
        if list(case.sources) != list(cases[0].sources):
            raise RefusedInput(
                f"The cases do not have the same methods. {case.name}: found {', '.join(case.sources)}; expected as in "
                f"{cases[0].name}: {', '.join(cases[0].sources)}. Methods seen in different cases cannot be compared: "
                "complete the case, take it away, or make two studies."
            )
    return cases


def read_case(case: Case, slab: Slab | None = None) -> dict[str, Volume]:
    """Every method's volume, on one grid.

    Raises:
        RefusedInput: a source that cannot be read rightly, grids that differ, or a slab outside them.
    """
    volumes: dict[str, Volume] = {}
    first = next(iter(case.sources))
    for method, path in case.sources.items():
        try:
            volumes[method] = read_source(path)
        except RefusedInput as error:
            raise RefusedInput(f"{case.name}/{path.name}: {error}") from error
        difference = _difference(volumes[method].geometry, volumes[first].geometry)
        if difference is not None:
            raise RefusedInput(
                f"The sources of {case.name} do not lie on the same grid. {path.name}: found {difference[0]}; expected "
                f"{difference[1]} as in {case.sources[first].name}. Write every method on the same slices "
                "(lamella thin --like) and make the study again."
            )
    # One grid for all: its rounding in headers must not tell methods apart.
    grid = volumes[first].geometry
    volumes = {method: Volume(volume.hu, grid, volume.header) for method, volume in volumes.items()}
    if slab is None:
        return volumes
    kept = _slices(case.name, grid, slab)
    return {method: replace(volume.part(kept), header=None) for method, volume in volumes.items()}


def fingerprint(volume: Volume) -> str:
    """SHA-256 of the voxels and of where they are."""
    found = hashlib.sha256(f"{volume.hu.dtype} {volume.hu.shape}".encode())
    found.update(np.ascontiguousarray(volume.geometry.affine).tobytes())
    found.update(np.ascontiguousarray(volume.hu).data)
    return found.hexdigest()


def _entries(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.name[0] != "." and path.name not in _DESKTOP_FILES]
    sidecars = {sidecar_path(path) for path in found}
    return sorted(path for path in found if path not in sidecars)


def _case(folder: Path) -> Case:
    if not folder.is_dir():
        raise RefusedInput(
            f"STUDIES holds a file that is no case: {folder}. Expected one folder a case, in it one source a method. "
            "Move the file away."
        )
    sources: dict[str, Path] = {}
    for path in _entries(folder):
        method = _method(path)
        if method in sources:
            raise RefusedInput(
                f"{folder.name} has two sources of the method {method!r}: {sources[method].name} and {path.name}. "
                "Expected one. Rename one of them, or move it away."
            )
        sources[method] = path
    if not sources:
        raise RefusedInput(f"{folder.name} is an empty case: {folder}. Expected one source a method.")
    return Case(folder.name, dict(sorted(sources.items())))


def _method(path: Path) -> str:
    suffix = next((end for end in _SUFFIXES if path.name.lower().endswith(end) and path.is_file()), "")
    return path.name[: len(path.name) - len(suffix)] or path.name


def _difference(found: Geometry, expected: Geometry) -> tuple[str, str] | None:
    """The first way in which two grids differ, in mm: (of the one, of the other); None where they are the same."""
    facts = [(_in_plane(grid), _along(grid), _place(grid)) for grid in (found, expected)]
    if found.shape[1:] != expected.shape[1:]:
        return facts[0][0], facts[1][0]
    if found.shape[0] != expected.shape[0]:
        return facts[0][1], facts[1][1]
    apart = found.apart_mm(expected)
    if apart <= SAME_GRID_MM:
        return None
    for mine, others in zip(*facts, strict=True):
        if mine != others:
            return f"{mine} (corners up to {apart:.2f} mm away)", others
    return f"corners up to {apart:.2f} mm away", f"at most {SAME_GRID_MM:g} mm,"


def _in_plane(grid: Geometry) -> str:
    (_, rows, columns), (down, across) = grid.shape, grid.pixel_mm
    return f"{rows} x {columns} pixels of {down:.4f} x {across:.4f} mm"


def _along(grid: Geometry) -> str:
    return f"{grid.shape[0]} slices every {grid.spacing_mm:.4f} mm, from {grid.centres_mm[0]:.2f} mm on the slice axis"


def _place(grid: Geometry) -> str:
    x, y, z = grid.position(0)
    axes = "; ".join(" ".join(f"{part + 0.0:.3f}" for part in grid.axes[:, axis]) for axis in range(3))
    return f"the first voxel at ({x:.2f}, {y:.2f}, {z:.2f}) mm and axes {axes}"


def _slices(case: str, grid: Geometry, slab: Slab) -> slice:
    """The slices whose centres lie in the slab."""
    count, spacing = grid.shape[0], grid.spacing_mm
    length = count * spacing
    if slab.range_mm is not None:
        low, high = slab.range_mm
        if high > length + SAME_GRID_MM:
            raise RefusedInput(
                f"--slab-mm goes beyond the scan. {case}: found {low:g}:{high:g}, expected at most {length:.2f} mm "
                f"({count} slices every {spacing:.4g} mm). Ask for a range inside it."
            )
    else:
        width = min(length, slab.width_mm or length)
        low, high = (length - width) / 2, (length + width) / 2
    centres = (np.arange(count) + 0.5) * spacing
    inside = np.flatnonzero((centres > low - 1e-6) & (centres < high - 1e-6))
    if len(inside) < _LEAST_SLICES:
        raise RefusedInput(
            f"--slab-mm is too narrow. {case}, a slice every {spacing:.4g} mm: found the centres of {len(inside)} in it, "
            f"expected at least {_LEAST_SLICES}. Ask for a wider slab."
        )
    return slice(int(inside[0]), int(inside[-1]) + 1)
