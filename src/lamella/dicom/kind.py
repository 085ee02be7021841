"""What a header says the image is: a localizer, a projection, a map of a material, and in which unit its values are."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from lamella.dicom.elements import shown, text_of, uid_of
from lamella.dicom.enhanced import ENHANCED_CLASSES

CT_CLASSES = {CTImageStorage, *ENHANCED_CLASSES}

_PROJECTION = re.compile(r"(?<![A-Z])(MIP|MINIP|MAXIP|MIN_IP|MAX_IP)(?![A-Z])")

_MATERIAL = re.compile(
    r"(?<![A-Z0-9])(IODINE|MD|RHO|EFF_?Z|Z_?EFF|(Z_?EFFECTIVE|EFFECTIVE_?Z|EFF_?ATOMIC_?NUM)\w*|(REL_?)?ELECTRON_?DENSITY|"
    r"MAT_(SPECIFIC|FRACTIONAL|VALUE_BASED)|MATERIAL_?(DENSITY|MAP)|URIC_?ACID|CBF|CBV|MTT|TTP|TMAX|PBV)(?![A-Z0-9])"
)
_HU_DESPITE_MATERIAL = re.compile(r"REMOV|SUPPRESS|SUBTRACT|(?<![A-Z])VNC|VIRTUAL_?NON|NON_?IODINE|NO_?IODINE")


def is_image(header: Dataset) -> bool:
    """Whether it has pixels in rows and columns; reports, presentation states, raw data and documents have none."""
    return "Rows" in header or "Columns" in header or uid_of(header, "SOPClassUID") in CT_CLASSES


def is_localizer(header: Dataset) -> bool:
    """Whether ImageType (value 3; PS3.3 C.8.2.1.1.1) says localizer: a projection, not a slice."""
    return "LOCALIZER" in text_of(header, "ImageType").upper().split("\\")


def projection_of(header: Dataset) -> str:
    """The element that marks a projection, slices that hold the extreme values of a slab; empty where there is none.

    Scanners write it in VolumeBasedCalculationTechnique (PS3.3 C.8.16.2.1.5) or as a word of ImageType.
    """
    technique = text_of(header, "VolumeBasedCalculationTechnique").upper()
    if technique in ("MAX_IP", "MIN_IP"):
        return f"VolumeBasedCalculationTechnique {technique}"
    kind = text_of(header, "ImageType")
    return f"ImageType {shown(kind)}" if _PROJECTION.search(kind.upper()) else ""


def material_map_of(header: Dataset) -> str:
    """The word in ImageType that names a map of a material or of blood flow; empty where there is none.

    PS3.3 C.8.15.3.1.1 (multi-energy) and the words of the makers. Monoenergetic images, and those from which a material was
    removed, are in Hounsfield units.
    """
    for value in text_of(header, "ImageType").upper().split("\\"):
        plain = re.sub(r"[^A-Z0-9]+", "_", value)
        if (found := _MATERIAL.search(plain)) and not _HU_DESPITE_MATERIAL.search(plain):
            return found.group()
    return ""


def rescale_unit(header: Dataset) -> str:
    """RescaleType in capitals without blanks; "HU", "US" (unspecified), empty or another unit."""
    return text_of(header, "RescaleType").strip().upper()
