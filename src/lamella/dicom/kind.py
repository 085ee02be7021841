"""What a header says the image is: a localizer, a projection, a map of a material, and in which unit its values are."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from lamella.dicom.elements import items_of, shown, text_of, uid_of
from lamella.dicom.enhanced import ENHANCED_CLASSES

CT_CLASSES = {CTImageStorage, *ENHANCED_CLASSES}

_PROJECTION = re.compile(
    r"(?<![A-Z])(MIPS?|M(AX|IN)[ _-]?IPS?|M(AX|IN)IMUM([ _-](INTENSITY|VALUE|PIXEL))?([ _-]PROJECTIONS?)?)(?![A-Z])"
)
_PROJECTION_CODES = {"113078": "Maximum intensity projection", "113079": "Minimum intensity projection"}
"""PS3.16 CID 7203."""

_MATERIAL = re.compile(
    r"(?<![A-Z0-9])(IODINE|MD|RHO|EFF_?Z|Z_?EFF|(Z_?EFFECTIVE|EFFECTIVE_?Z|EFF_?ATOMIC_?NUM)\w*|(REL_?)?ELECTRON_?DENSITY|"
    r"MAT_(SPECIFIC|FRACTIONAL|VALUE_BASED)|MATERIAL_?(DENSITY|MAP)|URIC_?ACID|CBF|CBV|MTT|TTP|TMAX|PBV)(?![A-Z0-9])"
)
_HU_DESPITE_MATERIAL = re.compile(r"REMOV|SUPPRESS|SUBTRACT|(?<![A-Z])VNC|VIRTUAL_?NON|NON_?IODINE|NO_?IODINE")
_UNITS = {
    "HOUNSFIELD": "HU", "HOUNSFIELDS": "HU", "HOUNSFIELD UNIT": "HU", "HOUNSFIELD UNITS": "HU", "UNSPECIFIED": "US",
}  # fmt: skip


def is_image(header: Dataset) -> bool:
    """Whether it has pixels in rows and columns; reports, presentation states, raw data and documents have none."""
    return "Rows" in header or "Columns" in header or uid_of(header, "SOPClassUID") in CT_CLASSES


def is_localizer(header: Dataset) -> bool:
    """Whether ImageType (value 3; PS3.3 C.8.2.1.1.1) says localizer: a projection, not a slice."""
    return "LOCALIZER" in map(str.strip, text_of(header, "ImageType").upper().split("\\"))


def projection_of(header: Dataset) -> str:
    """The element that marks a projection, slices that hold the extreme values of a slab; empty where there is none.

    Scanners write it in VolumeBasedCalculationTechnique (PS3.3 C.8.16.2.1.5), as a word of ImageType or as a code of the
    derivation; workstations, in derived images, as a word of a description, of which nothing else is quoted.
    """
    technique = text_of(header, "VolumeBasedCalculationTechnique").upper()
    if technique in ("MAX_IP", "MIN_IP"):
        return f"VolumeBasedCalculationTechnique {technique}"
    kind = text_of(header, "ImageType")
    if _PROJECTION.search(kind.upper()):
        return f"ImageType {shown(kind)}"
    for item in items_of(header, "DerivationCodeSequence"):
        if meaning := _PROJECTION_CODES.get(text_of(item, "CodeValue").strip()):
            return f"DerivationCodeSequence {meaning}"
    return projection_word(header) if kind.upper().startswith("DERIVED") else ""


def projection_word(header: Dataset) -> str:
    """The word for a projection in a description; empty where there is none. It proves nothing where images are original."""
    for keyword in ("DerivationDescription", "SeriesDescription"):
        if found := _PROJECTION.search(text_of(header, keyword).upper()):
            return f"the word {found.group()} in {keyword}"
    return ""


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
    """RescaleType in capitals without blanks; "HU", "US" (unspecified), empty or another unit. Words in full count."""
    unit = text_of(header, "RescaleType").strip().upper()
    return _UNITS.get(re.sub(r"[^A-Z]+", " ", unit), unit)
