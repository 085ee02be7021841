"""The JSON sidecar beside a NIfTI file, as dcm2niix and BIDS have it: what the NIfTI header cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamella.errors import RefusedInput
from lamella.files.names import shown_name
from lamella.volume import GIVE_THICKNESS

MAX_BYTES = 2**24
"""Longest sidecar that is read; dcm2niix writes some kilobytes."""

SPACING_RELATIVE = 0.01
SPACING_MM = 0.05
"""SpacingBetweenSlices may differ from the affine by the larger of the two, as positions of DICOM may."""

MAX_MM = 1e4
"""No slice is thicker."""

_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Sidecar:
    """What a sidecar says; None where it says nothing, or is not there.

    Attributes:
        name: of the file, for messages.
        thickness_mm: SliceThickness.
        spacing_mm: SpacingBetweenSlices.
        synthetic: SyntheticData is YES.
        own: this program wrote it.
        modality: Modality, where it is a code.
    """

    name: str
    thickness_mm: float | None = None
    spacing_mm: float | None = None
    synthetic: bool = False
    own: bool = False
    modality: str = ""

    def check_spacing(self, image: str, spacing_mm: float) -> None:
        """Refuse a sidecar of another volume: its SpacingBetweenSlices is not that of the affine."""
        allowed = max(SPACING_MM, SPACING_RELATIVE * spacing_mm)
        if self.spacing_mm is not None and abs(self.spacing_mm - spacing_mm) > allowed:
            raise RefusedInput(
                f"{self.name} contradicts {image}. Found SpacingBetweenSlices of {self.spacing_mm:g} mm, and slices "
                f"{spacing_mm:.4g} mm apart in the affine, allowed difference {allowed:.3g} mm. Put the sidecar of this "
                "very volume beside it, or take it away."
            )


@dataclass(frozen=True)
class NiftiLabel:
    """What a written file says of itself.

    Attributes:
        descrip: of the header, at most 79 bytes of ASCII.
        facts: JSON for the sidecar and for a comment extension.
    """

    descrip: str
    facts: Mapping[str, Any]

    def json(self) -> str:
        """The text of the sidecar; a number that is not finite is null."""
        finite = json.loads(json.dumps(self.facts, default=str), parse_constant=lambda name: None)
        return json.dumps(finite, indent=2, allow_nan=False) + "\n"


def sidecar_path(image: Path) -> Path | None:
    """X.json beside X.nii or X.nii.gz; None for any other name."""
    suffix = next((one for one in _SUFFIXES if image.name.lower().endswith(one)), None)
    return None if suffix is None else image.with_name(image.name[: -len(suffix)] + ".json")


def read_sidecar(image: Path) -> Sidecar:
    """What the sidecar of a NIfTI file says.

    Raises:
        RefusedInput: it is there and is no JSON, or holds no positive number of millimetres where one belongs.
    """
    path = sidecar_path(image)
    if path is None or not path.is_file():
        return Sidecar("")
    name = shown_name(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too long")
        data = path.read_bytes()
        # Texts of the DICOM headers may be in it as they were, in any character set; numbers and keys are ASCII.
        stated = json.loads(data.decode(json.detect_encoding(data), "replace"))
    except (ValueError, RecursionError) as error:
        raise RefusedInput(
            f"{name} beside {shown_name(image)} is not JSON ({type(error).__name__}), so what it says of the slices is "
            f"unknown. Write it again; or take it away, and {GIVE_THICKNESS} where slices overlap."
        ) from error
    if not isinstance(stated, dict):
        return Sidecar(name)
    # Some manufacturers write SpacingBetweenSlices with the sign of their direction.
    spacing = _millimetres(name, stated, "SpacingBetweenSlices", signed=True)
    thickness = _millimetres(name, stated, "SliceThickness")
    code = stated.get("Modality")
    modality = code if isinstance(code, str) and re.fullmatch("[A-Z]{2,16}", code) else ""
    return Sidecar(name, thickness, spacing, stated.get("SyntheticData") == "YES", "Lamella" in stated, modality)


def _millimetres(name: str, stated: dict[str, Any], key: str, *, signed: bool = False) -> float | None:
    value = stated.get(key)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    size = abs(value) if number and signed else value
    if not number or not 0 < size < MAX_MM:
        found = str(value)[:20] if number else type(value).__name__  # a text may be anything, also a name
        raise RefusedInput(
            f"{key} of {name} is malformed. Found {found}, expected a positive "
            f"number of mm. Correct it; or take the sidecar away, and {GIVE_THICKNESS}."
        )
    return float(size)
