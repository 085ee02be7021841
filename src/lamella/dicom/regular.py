"""Whether the slices of a series lie evenly along their normal, and the repair asked for where they do not.

A fault is a refusal, which names the option that would repair it, unless that very repair was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamella.dicom.elements import shown, text_of
from lamella.dicom.header import Slice
from lamella.dicom.mixture import mixture
from lamella.dicom.rounding import Rounding
from lamella.errors import RefusedInput
from lamella.physics.mend import Bridge, MakeEven
from lamella.physics.repair import TILT_DEGREES, RepairKind, repair_hint

SPACING_RELATIVE = 0.01
SPACING_MM = 0.05
"""A step between neighbours may differ from the median by the larger of 1 % and 0.05 mm (scanners round positions)."""

DRIFT_RELATIVE = 0.02
DRIFT_MM = 0.1
"""A slice may lie off the fitted regular grid by the larger of 2 % of the spacing and 0.1 mm."""

AXIS_MM = 0.05
"""A slice may lie off the stack's common axis by this much, sideways."""

ROUNDED_RELATIVE = 0.2
"""However few decimals positions have, a step that differs by more of the spacing than this is no rounding."""

WIDEST_STEP = 1.5
"""Slices are made even where no step is wider than this many mean steps: beyond it something was not scanned."""


@dataclass(frozen=True)
class _Fault:
    """Why a stack is not even.

    Attributes:
        kind: what would repair it.
        why: the refusal.
        todo: what to do about it.
        unless: why the repair cannot be had; empty where it can.
        at: index of the slice behind the fault.
    """

    kind: RepairKind
    why: str
    todo: str
    unless: str = ""
    at: int = 0

    def refused(self, repair: RepairKind | None) -> RefusedInput:
        """The refusal, with the option that would help, or why the repair asked for does not."""
        return RefusedInput(f"{self.why}{self.todo}{repair_hint(self.kind, self.unless, repair)}")


def check_axis(
    ordered: Sequence[Slice], normal: NDArray[np.float64], rounding: Rounding, repair: RepairKind | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All positions must lie on one line along the normal; a line at an angle to it is a gantry tilt.

    Returns:
        what must be added to the normal where rounded cosines explain that the line leaves it, and the shear of a tilt that is
        to be repaired (sideways mm per mm along the normal); zeros otherwise.
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
    tilted = not rounded and lean_mm > allowed and stray.max() <= max(allowed, 0.1 * lean_mm)
    if tilted:
        angle = math.degrees(math.atan(float(np.linalg.norm(slope))))
        tilt = shown(text_of(ordered[0].header, "GantryDetectorTilt"))
        fault = _Fault(
            "tilt",
            f"The slices are sheared (gantry tilt): from {ordered[0].name} to {ordered[-1].name} each lies shifted "
            f"within its plane, {angle:.2f} degrees off the normal, {lean_mm:.2f} mm in all (GantryDetectorTilt: "
            f"{tilt}). Expected a stack along its normal, within {allowed:.3g} mm. ",
            "Export the series reconstructed without tilt.",
            f"it is more than {TILT_DEGREES:g} degrees" if angle > TILT_DEGREES else "",
        )
        if repair != "tilt" or fault.unless:
            raise fault.refused(repair)
    if rounded or tilted:
        sideways = straight
    lateral = np.linalg.norm(sideways - np.median(sideways, axis=0), axis=1)
    worst = int(lateral.argmax())
    if lateral[worst] > allowed:
        raise RefusedInput(
            f"A slice lies beside the stack's axis: {ordered[worst].name} is {lateral[worst]:.2f} mm off, at most "
            f"{allowed:.3g} mm allowed. Take it out, or export the series again."
        )
    return (slope if rounded else np.zeros(3)), (slope if tilted else np.zeros(3))


def check_spacing(
    ordered: Sequence[Slice],
    heights: NDArray[np.float64],
    rounded_mm: float,
    repair: RepairKind | None,
    sheared: bool = False,
) -> tuple[float, Bridge | MakeEven | None]:
    """The spacing of the stack, and what makes it even where a repair was asked for.

    Args:
        ordered: slices along the normal.
        heights: their positions along it, mm.
        rounded_mm: how far a step may be wrong because of the decimals that are written.
        repair: what was asked for.
        sheared: it repairs a shear already.

    Raises:
        RefusedInput: the slices are not evenly spaced, and the repair asked for is another, or cannot be had.
    """
    found = _spacing(ordered, heights, rounded_mm)
    if not isinstance(found, _Fault):
        return found, None
    if sheared:
        raise replace(found, unless="the slices are sheared, too, and one fault is repaired, not two").refused(
            found.kind
        )
    if repair != found.kind or found.unless:
        raise found.refused(repair)
    if found.kind == "uneven":
        even = MakeEven.of(heights)
        return even.spacing_mm, even
    at = found.at
    bridge = Bridge(at, len(ordered), float(heights[at - 1 : at + 1].mean()))
    again = _spacing([*ordered[:at], ordered[at], *ordered[at:]], np.insert(heights, at, bridge.at_mm), rounded_mm)
    if isinstance(again, _Fault):
        raise again.refused(repair)
    return again, bridge


def _spacing(ordered: Sequence[Slice], heights: NDArray[np.float64], rounded_mm: float) -> float | _Fault:
    """The mean spacing; where only the rounding of positions explains uneven steps, that of the fitted line."""
    steps = np.diff(heights)
    spacing = float((heights[-1] - heights[0]) / (len(ordered) - 1))
    usual = float(np.median(steps))
    exact = max(SPACING_MM, SPACING_RELATIVE * usual)
    allowed = max(exact, min(rounded_mm, ROUNDED_RELATIVE * usual) + 1e-6)
    wrong = np.flatnonzero(np.abs(steps - usual) > allowed)
    acquisitions = mixture(ordered)
    mixed = "acquisitions are mixed" if acquisitions else ""
    if steps.max() > WIDEST_STEP * spacing:
        too_wide = f"a step of {steps.max():.2f} mm is wider than {WIDEST_STEP:g} times the mean, {spacing:.2f} mm"
    else:
        too_wide = ""
    whole = all(value == round(value) for one in ordered for value in one.position_mm)
    rounding = " The positions are whole millimetres: they may have been rounded." if whole else ""
    rounding = rounding if len(wrong) and np.abs(steps[wrong] - usual).max() <= 1 else ""
    if len(wrong):
        worst = int(wrong[np.abs(steps[wrong] - usual).argmax()])
        between = f"between {ordered[worst].name} and {ordered[worst + 1].name}: {steps[worst]:.2f} mm"
        multiples = np.rint(steps[wrong] / usual)
        if (multiples >= 2).all() and (np.abs(steps[wrong] - multiples * usual) <= allowed * multiples).all():
            count = int((multiples - 1).sum())
            alone = f"{count} slices are missing, one at most is bridged" if count > 1 else ""
            if not alone and not Bridge(worst + 1, len(ordered), 0.0).known:
                alone = "at least three measured slices are needed on one side, to know what bridging errs"
            return _Fault(
                "gap",
                f"{count} slice{'s are' if count > 1 else ' is'} missing {between}, everywhere else {usual:.2f} mm.{rounding}",
                acquisitions or " Export the whole series again.",
                mixed or alone,
                worst + 1,
            )
        return _Fault(
            "uneven",
            f"The slice spacing is uneven {between}, median {usual:.2f} mm, allowed difference {allowed:.2f} mm.{rounding}",
            acquisitions or " Export a series of one even spacing.",
            mixed or too_wide,
        )
    if np.abs(steps - usual).max() > exact:
        spacing = float(np.polyfit(np.arange(len(heights)), heights, 1)[0])
    drift = np.abs(heights - (heights[0] + spacing * np.arange(len(heights))))
    worst, most = int(drift.argmax()), max(DRIFT_MM, DRIFT_RELATIVE * spacing, rounded_mm)
    if drift[worst] > most + 1e-6:
        return _Fault(
            "uneven",
            f"The slice spacing is uneven: {ordered[worst].name} lies {drift[worst]:.2f} mm off a regular grid of "
            f"{spacing:.3f} mm, allowed {most:.2f} mm.",
            "",
            mixed or too_wide,
        )
    return spacing
