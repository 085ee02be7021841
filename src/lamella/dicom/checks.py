"""The slices of one series -> array order and geometry, or a refusal. Nothing is repaired unasked.

Order follows the position along the normal (PS3.3 C.7.6.2.1.1), never InstanceNumber, which scanners, PACS and
anonymisers renumber freely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.dicom.elements import text_of, value_of, whole_number
from lamella.dicom.header import Slice
from lamella.dicom.mixture import check_one_acquisition, mixture
from lamella.dicom.regular import SPACING_MM, SPACING_RELATIVE, check_axis, check_spacing
from lamella.dicom.rounding import Rounding, rounding_of, turned
from lamella.errors import RefusedInput
from lamella.physics.mend import Mend, Unshear
from lamella.physics.repair import RepairKind, nothing_to_repair
from lamella.volume import Geometry

MIN_SLICES = 2
"""Two slices are the least that define a spacing."""

DUPLICATE_MM = 0.01
"""Slices closer than this lie at the same position: a tenth of the finest CT spacing (0.1 mm, micro-CT aside)."""

COSINE = 1e-4
"""Orientation cosines may differ by this much (0.006 degrees): within the series, from unit length, from perpendicular."""

PIXEL_RELATIVE = 1e-4
"""PixelSpacing may differ by this much: 0.04 mm across 512 pixels of 0.8 mm."""

THICKNESS_MM = 0.01
"""SliceThickness may differ by this much within the series."""

_NOT_ONE_STACK = "These slices do not belong to one stack: take them out, or put them in a folder of their own."

FIELD_MM = (0.5, 2000.0)
"""Sides of an image in mm: of micro-CT a few, of the widest bore 900. What lies beyond is in another unit."""

MAX_SIDE_PX = 8192
"""Most rows or columns; CT has 512 to 2,048."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in array order with the geometry they span; `mend` takes their voxels to it, where that is another grid."""

    slices: tuple[Slice, ...]
    geometry: Geometry
    ascending: bool
    notes: tuple[str, ...]
    mend: Mend | None = None


def stack_of(slices: Sequence[Slice], repair: RepairKind | None = None) -> Stack:
    """Orders the slices of one series along +normal and fits the affine.

    Column 0 of the affine is the normal times the mean spacing, column 1 ImageOrientationPatient[3:6] times
    PixelSpacing[0], column 2 ImageOrientationPatient[0:3] times PixelSpacing[1], column 3 the first slice's
    ImagePositionPatient.

    Args:
        slices: of one series.
        repair: the fault that is repaired, not refused.

    Raises:
        RefusedInput: the slices are not one regular, perpendicular, complete stack; the message names the file. Or there is
            nothing to repair.
    """
    if len(slices) < MIN_SLICES:
        found = f"a single slice ({slices[0].name})" if slices else "no slice"
        raise RefusedInput(
            f"The series holds {found}. Expected at least {MIN_SLICES}, because one slice has no spacing. "
            "Give the folder with the whole series."
        )
    rounding = rounding_of(slices)
    _check_alike(slices, rounding)
    row, column = _directions(slices[0], rounding)
    ordered, heights = _by_height(slices, np.cross(row, column))
    _check_duplicates(ordered, heights)
    lean, shear = check_axis(ordered, np.cross(row, column), rounding, repair)
    if lean.any():  # rounded cosines: the positions, far from each other, tell the direction better
        row, column = turned(row, column, lean)
        ordered, heights = _by_height(slices, np.cross(row, column))
    normal = np.cross(row, column)
    mend: Mend | None
    spacing, mend = check_spacing(ordered, heights, rounding.along(normal), repair, bool(shear.any()))
    joined = check_one_acquisition(ordered)

    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0] = (normal + shear) * spacing
    affine[:3, 1] = column * first.pixel_mm[0]
    affine[:3, 2] = row * first.pixel_mm[1]
    affine[:3, 3] = first.position_mm
    shape = (len(mend.made_of if mend else ordered), first.rows, first.columns)
    if shear.any():
        mend = unshear = Unshear.of(shape, affine)
        shape, affine = unshear.shape, unshear.affine
    if repair is not None and mend is None:
        raise nothing_to_repair(repair, f"{len(ordered)} slices every {spacing:.4g} mm along their normal")
    ascending, note = _numbering(ordered)
    notes = (*(() if mend is None else (mend.note,)), *note, *_remarks(ordered, spacing), *joined)
    return Stack(tuple(ordered), Geometry(shape, affine, first.thickness_mm), ascending, notes, mend)


def _by_height(slices: Sequence[Slice], normal: NDArray[np.float64]) -> tuple[list[Slice], NDArray[np.float64]]:
    heights = np.array([normal @ np.array(one.position_mm) for one in slices])
    order = np.argsort(heights, kind="stable")
    return [slices[i] for i in order], heights[order]


def _directions(one: Slice, rounding: Rounding) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(direction of rising column index, of rising row index), made exactly perpendicular and of unit length."""
    row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    allowed = max(COSINE, rounding.angle)
    if max(abs(length - 1) for length in lengths) > allowed or abs(row @ column) > allowed:
        raise RefusedInput(
            f"ImageOrientationPatient is not two perpendicular unit vectors in {one.name}. Found lengths "
            f"{lengths[0]:.5f} and {lengths[1]:.5f}, product {row @ column:.5f}."
            f"{rounding.remark or ' Export the series again.'}"
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _check_alike(slices: Sequence[Slice], rounding: Rounding) -> None:
    """Every slice must share patient, matrix, direction, frame of reference and thickness with the others."""
    _check_same("matrix size", slices, [f"{one.rows} x {one.columns}" for one in slices], shown=True)
    _check_close(slices, "PixelSpacing", lambda one: one.pixel_mm, PIXEL_RELATIVE * min(slices[0].pixel_mm), "mm")
    _check_close(slices, "ImageOrientationPatient", lambda one: one.orientation, max(COSINE, rounding.angle), "")
    _check_close(slices, "SliceThickness", lambda one: (one.thickness_mm,), THICKNESS_MM, "mm")
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        # Empty components of a name, and capitals, are spellings.
        stated = {id(one): text_of(one.header, keyword).strip(" ^=\0").casefold() for one in slices}
        stating = [one for one in slices if stated[id(one)]]
        values = [stated[id(one)] for one in stating]
        _check_same(keyword, stating, values, why="Two patients or studies are mixed: put each in a folder of its own.")
    keyword, one = "FrameOfReferenceUID", slices[0]
    _check_same(keyword, slices, [text_of(one.header, keyword) for one in slices])
    if max(one.rows, one.columns) > MAX_SIDE_PX or min(one.rows, one.columns) < 1:
        raise RefusedInput(
            f"The matrix size of {one.name} is not that of a CT. Found {one.rows} x {one.columns}; expected 1 to "
            f"{MAX_SIDE_PX}."
        )
    field = one.rows * one.pixel_mm[0], one.columns * one.pixel_mm[1]
    if min(field) < FIELD_MM[0] or max(field) > FIELD_MM[1]:
        raise RefusedInput(
            f"PixelSpacing of {one.name} cannot be in millimetres. Found {one.pixel_mm[0]:g} and {one.pixel_mm[1]:g}, a field "
            f"of {field[0]:.4g} x {field[1]:.4g} mm; expected {FIELD_MM[0]:g} to {FIELD_MM[1]:g} mm. Export the series again."
        )


def _check_same(
    what: str,
    slices: Sequence[Slice],
    values: Sequence[str],
    *,
    shown: bool = False,
    why: str = _NOT_ONE_STACK,
) -> None:
    """Different values are refused; they are quoted only where they cannot name a patient (`shown`)."""
    if len(set(values)) > 1:
        usual, _ = Counter(values).most_common(1)[0]
        odd = [index for index, value in enumerate(values) if value != usual]
        found = f" Found {values[odd[0]]}; expected {usual} as in the others." if shown else ""
        raise RefusedInput(f"{_differs(what, [slices[i] for i in odd])}{found} {why}")


def _check_close(
    slices: Sequence[Slice], what: str, of: Callable[[Slice], tuple[float, ...]], tolerance: float, unit: str
) -> None:
    values = np.array([of(one) for one in slices])
    middle = np.median(values, axis=0)
    usual = values[
        np.abs(values - middle).sum(axis=1).argmin()
    ]  # a slice's own: of two halves there is none in between
    odd = np.flatnonzero(np.abs(values - usual).max(axis=1) > tolerance).tolist()
    if odd:
        found, expected = ("\\".join(f"{item:g}" for item in row) for row in (values[odd[0]], usual))
        raise RefusedInput(
            _differs(what, [slices[i] for i in odd])
            + f" Found {found} {unit}".rstrip()
            + f"; expected {expected} {unit}".rstrip()
            + f" (within {tolerance:.2g}). {_NOT_ONE_STACK}"
        )


def _differs(what: str, odd: Sequence[Slice]) -> str:
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    return f"{what} differs within the series, in {odd[0].name}{more}."


def _check_duplicates(ordered: Sequence[Slice], heights: NDArray[np.float64]) -> None:
    steps = np.diff(heights)
    twice = np.flatnonzero(steps < DUPLICATE_MM).tolist()
    if not twice:
        return
    one, other = ordered[twice[0]], ordered[twice[0] + 1]
    raise RefusedInput(
        f"Several slices lie at the same position: {one.name} and {other.name} at {heights[twice[0]]:.2f} mm along the "
        f"normal. Found {len(ordered)} slices at {len(ordered) - len(twice)} positions; expected one each."
        + (mixture(ordered) or " Take the surplus slices out.")
    )


def _numbering(ordered: Sequence[Slice]) -> tuple[bool, tuple[str, ...]]:
    values = [number for one in ordered if (number := whole_number(one.header, "InstanceNumber")) is not None]
    if len(values) < len(ordered):
        return True, ("InstanceNumber is missing: numbering along the normal is assumed",)
    steps = np.sign(np.diff(values))
    note = () if abs(steps.sum()) == len(steps) else ("InstanceNumber does not follow the position: ignored",)
    return bool(steps.sum() >= 0), note


def _remarks(ordered: Sequence[Slice], spacing: float) -> list[str]:
    """What the report says about a stack that is accepted."""
    thickness, allowed = ordered[0].thickness_mm, max(SPACING_MM, SPACING_RELATIVE * spacing)
    notes = []
    if thickness > spacing + allowed:
        notes.append(f"overlap: slices are {thickness:g} mm thick, their centres {spacing:.3g} mm apart")
    if thickness < spacing - allowed:
        notes.append(f"gap: {spacing - thickness:.3g} mm between neighbouring slices never scanned")
    claimed = value_of(ordered[0].header, "SpacingBetweenSlices")
    if isinstance(claimed, (int, float)) and abs(abs(float(claimed)) - spacing) > allowed:
        notes.append(
            f"SpacingBetweenSlices says {float(claimed):g} mm, the positions {spacing:.4g} mm: positions are used"
        )
    return notes
