"""The slices of one series -> array order and geometry, or a refusal. Nothing is repaired.

Order follows the position along the normal (PS3.3 C.7.6.2.1.1), never InstanceNumber, which scanners, PACS and
anonymisers renumber freely.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.dicom.elements import shown, text_of, value_of, whole_number
from lamella.dicom.header import Slice
from lamella.dicom.mixture import check_one_acquisition, mixture
from lamella.dicom.rounding import Rounding, rounding_of, turned
from lamella.errors import RefusedInput
from lamella.volume import Geometry

MIN_SLICES = 2
"""Two slices are the least that define a spacing."""

SPACING_RELATIVE = 0.01
SPACING_MM = 0.05
"""A step between neighbours may differ from the median by the larger of 1 % and 0.05 mm (scanners round positions)."""

DRIFT_RELATIVE = 0.02
DRIFT_MM = 0.1
"""A slice may lie off the fitted regular grid by the larger of 2 % of the spacing and 0.1 mm."""

AXIS_MM = 0.05
"""A slice may lie off the stack's common axis by this much, sideways."""

DUPLICATE_MM = 0.01
"""Slices closer than this lie at the same position: a tenth of the finest CT spacing (0.1 mm, micro-CT aside)."""

COSINE = 1e-4
"""Orientation cosines may differ by this much (0.006 degrees): within the series, from unit length, from perpendicular."""

ROUNDED_RELATIVE = 0.2
"""However few decimals positions have, a step that differs by more of the spacing than this is no rounding."""

PIXEL_RELATIVE = 1e-4
"""PixelSpacing may differ by this much: 0.04 mm across 512 pixels of 0.8 mm."""

THICKNESS_MM = 0.01
"""SliceThickness may differ by this much within the series."""

MAX_SIDE_PX = 8192
"""Most rows or columns; CT has 512 to 2,048."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in array order with the geometry they span."""

    slices: tuple[Slice, ...]
    geometry: Geometry
    ascending: bool
    notes: tuple[str, ...]


def stack_of(slices: Sequence[Slice]) -> Stack:
    """Orders the slices of one series along +normal and fits the affine.

    Column 0 of the affine is the normal times the mean spacing, column 1 ImageOrientationPatient[3:6] times
    PixelSpacing[0], column 2 ImageOrientationPatient[0:3] times PixelSpacing[1]; the origin is the first slice's
    ImagePositionPatient.

    Raises:
        RefusedInput: the slices are not one regular, perpendicular, complete stack; the message names the file.
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
    lean = _check_axis(ordered, np.cross(row, column), rounding)
    if lean.any():  # rounded cosines: the positions, far from each other, tell the direction better
        row, column = turned(row, column, lean)
        ordered, heights = _by_height(slices, np.cross(row, column))
    normal = np.cross(row, column)
    spacing = _check_spacing(ordered, heights, rounding.along(normal))
    check_one_acquisition(ordered)

    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0] = normal * spacing
    affine[:3, 1] = column * first.pixel_mm[0]
    affine[:3, 2] = row * first.pixel_mm[1]
    affine[:3, 3] = first.position_mm
    geometry = Geometry((len(ordered), first.rows, first.columns), affine, first.thickness_mm)
    ascending, note = _numbering(ordered)
    return Stack(tuple(ordered), geometry, ascending, (*note, *_remarks(ordered, spacing)))


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
            f"{lengths[0]:.5f} and {lengths[1]:.5f}, product {row @ column:.5f}.{rounding.remark}"
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
    for keyword in ("StudyInstanceUID", "PatientID"):
        stating = [one for one in slices if text_of(one.header, keyword).strip()]
        values = [text_of(one.header, keyword).strip() for one in stating]
        _check_same(keyword, stating, values, why="Two patients or studies are mixed: put each in a folder of its own.")
    keyword, one = "FrameOfReferenceUID", slices[0]
    _check_same(keyword, slices, [text_of(one.header, keyword) for one in slices])
    if max(one.rows, one.columns) > MAX_SIDE_PX or min(one.rows, one.columns) < 1:
        raise RefusedInput(
            f"The matrix size of {one.name} is not that of a CT. Found {one.rows} x {one.columns}; expected 1 to "
            f"{MAX_SIDE_PX}."
        )


def _check_same(
    what: str,
    slices: Sequence[Slice],
    values: Sequence[str],
    *,
    shown: bool = False,
    why: str = "These slices do not belong to one stack.",
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
    usual = np.median(values, axis=0)
    odd = np.flatnonzero(np.abs(values - usual).max(axis=1) > tolerance).tolist()
    if odd:
        found, expected = ("\\".join(f"{item:g}" for item in row) for row in (values[odd[0]], usual))
        raise RefusedInput(
            _differs(what, [slices[i] for i in odd])
            + f" Found {found} {unit}".rstrip()
            + f"; expected {expected} {unit}".rstrip()
            + f" (within {tolerance:.2g}). These slices do not belong to one stack."
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


def _check_axis(ordered: Sequence[Slice], normal: NDArray[np.float64], rounding: Rounding) -> NDArray[np.float64]:
    """All positions must lie on one line along the normal; a line at an angle to it is a gantry tilt.

    Returns:
        what must be added to the normal where rounded cosines explain that the line leaves it; zeros otherwise.
    """
    offsets = np.array([one.position_mm for one in ordered]) - ordered[0].position_mm
    along = offsets @ normal
    sideways = offsets - along[:, None] * normal
    slope = (along @ sideways) / (along @ along)
    straight = sideways - along[:, None] * slope
    stray = np.linalg.norm(straight, axis=1)
    lean_mm = float(np.linalg.norm(slope)) * along[-1]
    allowed = max(AXIS_MM, rounding.sideways_mm)
    rounded = allowed < lean_mm <= allowed + rounding.angle * along[-1]
    if rounded:
        sideways = straight
    elif lean_mm > allowed and stray.max() <= max(allowed, 0.1 * lean_mm):
        angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
        tilt = shown(text_of(ordered[0].header, "GantryDetectorTilt"))
        raise RefusedInput(
            f"The slices are sheared (gantry tilt): from {ordered[0].name} to {ordered[-1].name} each lies shifted "
            f"within its plane, {angle:.2f} degrees off the normal, {lean_mm:.2f} mm in all (GantryDetectorTilt: "
            f"{tilt}). Expected a stack along its normal, within {allowed:.3g} mm. "
            "Export the series reconstructed without tilt."
        )
    lateral = np.linalg.norm(sideways - np.median(sideways, axis=0), axis=1)
    worst = int(lateral.argmax())
    if lateral[worst] > allowed:
        raise RefusedInput(
            f"A slice lies beside the stack's axis: {ordered[worst].name} is {lateral[worst]:.2f} mm off, at most "
            f"{allowed:.3g} mm allowed. Take it out, or export the series again."
        )
    return slope if rounded else np.zeros(3)


def _check_spacing(ordered: Sequence[Slice], heights: NDArray[np.float64], rounded_mm: float) -> float:
    """The mean spacing; where only the rounding of positions explains uneven steps, that of the fitted line.

    Args:
        rounded_mm: how far a step may be wrong because of the decimals that are written.
    """
    steps = np.diff(heights)
    spacing = float((heights[-1] - heights[0]) / (len(ordered) - 1))
    usual = float(np.median(steps))
    exact = max(SPACING_MM, SPACING_RELATIVE * usual)
    allowed = max(exact, min(rounded_mm, ROUNDED_RELATIVE * usual) + 1e-6)
    wrong = np.flatnonzero(np.abs(steps - usual) > allowed)
    acquisitions = mixture(ordered)
    if len(wrong):
        worst = wrong[np.abs(steps[wrong] - usual).argmax()]
        between = f"between {ordered[worst].name} and {ordered[worst + 1].name}: {steps[worst]:.2f} mm"
        multiples = np.rint(steps[wrong] / usual)
        if (multiples >= 2).all() and (np.abs(steps[wrong] - multiples * usual) <= allowed * multiples).all():
            count = int((multiples - 1).sum())
            raise RefusedInput(
                f"{count} slice{'s are' if count > 1 else ' is'} missing {between}, everywhere else {usual:.2f} mm."
                + (acquisitions or " Export the whole series again.")
            )
        raise RefusedInput(
            f"The slice spacing is uneven {between}, median {usual:.2f} mm, allowed difference {allowed:.2f} mm."
            + (acquisitions or " Export a series of one even spacing.")
        )
    if np.abs(steps - usual).max() > exact:
        spacing = float(np.polyfit(np.arange(len(heights)), heights, 1)[0])
    drift = np.abs(heights - (heights[0] + spacing * np.arange(len(heights))))
    worst, most = int(drift.argmax()), max(DRIFT_MM, DRIFT_RELATIVE * spacing, rounded_mm)
    if drift[worst] > most + 1e-6:
        raise RefusedInput(
            f"The slice spacing is uneven: {ordered[worst].name} lies {drift[worst]:.2f} mm off a regular grid of "
            f"{spacing:.3f} mm, allowed {most:.2f} mm."
        )
    return spacing


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
    for keyword in ("ConvolutionKernel", "KVP", "PatientPosition"):
        if len({text_of(one.header, keyword) for one in ordered}) > 1:
            notes.append(f"{keyword} differs within the series")
    return notes
