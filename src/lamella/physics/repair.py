"""What a stack of slices can be repaired of, on request, and the record of it. Imported without numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lamella.errors import RefusedInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RepairKind = Literal["tilt", "gap", "uneven"]
"""Slices sheared by a gantry tilt; one slice missing between others; slices at uneven distances."""

TILT_DEGREES = 35.0
"""Gantries tilt by up to 30 degrees; what leans further is another fault."""


@dataclass(frozen=True, eq=False)
class Bridged:
    """A thick slice that was never measured.

    Attributes:
        index: its place in the repaired volume.
        slices: of the repaired volume.
        error_hu: (y, x) float32, standard deviation of what is wrong with it.
    """

    index: int
    slices: int
    error_hu: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Repair:
    """What was repaired while a source was read.

    Attributes:
        kind: what was wrong.
        note: what was done about it, for the warnings and DerivationDescription of the result.
        bridged: the slice that was put in, if one was.
    """

    kind: RepairKind
    note: str
    bridged: Bridged | None = None

    @property
    def kept(self) -> str:
        """Which slices the result averages to: the measured ones, or what a repair made of all of them."""
        return "repaired" if self.bridged is None else "measured"

    @property
    def report(self) -> Mapping[str, Any]:
        """What a report says beside the note."""
        if self.bridged is None:
            return {"kind": self.kind, "kept": self.kept}
        error = round(float((self.bridged.error_hu**2).mean() ** 0.5), 2)
        return {"kind": self.kind, "kept": self.kept, "slice": self.bridged.index, "expected_error_hu": error}


def repair_hint(kind: RepairKind, unless: str, repair: RepairKind | None) -> str:
    """A sentence behind a refusal: which repair would help, or why the one asked for cannot be had."""
    if not unless:
        return f" `lamella thin SOURCE OUTPUT --repair {kind}` repairs this."
    return f" --repair {kind} cannot repair this: {unless}." if repair == kind else ""


def nothing_to_repair(repair: RepairKind, found: str) -> RefusedInput:
    """The refusal of a repair that the input does not need."""
    needs = {
        "tilt": "slices sheared by a gantry tilt",
        "gap": "one slice missing between others",
        "uneven": "slices at uneven distances",
    }[repair]
    return RefusedInput(
        f"There is nothing to repair. --repair {repair} is for {needs}; found {found}. Leave --repair out."
    )
