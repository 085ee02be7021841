"""How people tell a series from others: its number, and those words of its header that name no patient.

SeriesDescription (0008,103E) is free text, so only words of the field are taken from it; the others may be names.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from lamella.dicom.elements import text_of
from lamella.dicom.labels import Derivation, series_number

_FIELD = {
    "abdomen", "abdominal", "angio", "ankle", "arterial", "arteriell", "ax", "axial", "body", "bone", "bones",
    "brain", "cap", "cardiac", "cerebrum", "cervical", "chest", "contrast", "cor", "coronal", "ct", "cta", "delayed",
    "dose", "elbow", "expiration", "exsp", "extremity", "femur", "foot", "fov", "full", "hand", "head", "heart",
    "helical", "hip", "hr", "hrct", "hu", "insp", "inspiration", "iv", "kidney", "km", "knee", "knochen", "kopf",
    "late", "leg", "liver", "low", "lumbar", "lung", "lunge", "lungen", "mediastinum", "mit", "mpr", "native",
    "neck", "ohne", "orbit", "parenchym", "pe", "pelvis", "phase", "plain", "portal", "portalvenous", "portovenous",
    "pulmonary", "recon", "routine", "sag", "sagittal", "scan", "schaedel", "sharp", "shoulder", "sinus", "skull",
    "smooth", "soft", "spine", "spiral", "standard", "std", "thick", "thin", "thoracic", "thorax", "tissue", "trauma",
    "trunk", "ven", "venous", "vertebra", "vessel", "weichteil", "wirbelsaeule", "with", "without", "wo", "wrist",
}  # fmt: skip
_NAMES = ("SeriesDescription", "ConvolutionKernel")
_NUMBER = re.compile(r"\d{1,2}([.,]\d{1,3}(mm)?|mm)")
_KERNEL = re.compile(r"[A-Z]{1,2}[a-z]?\d{2}[a-z]{0,2}")
"""Such as B31f, Br40d, FC08."""


def series_words(header: Dataset) -> str:
    """Words of a series for people, such as "Thorax 5.0 Br40d"; empty where there is none that may be shown."""
    found = re.split(r"[\s_/\\|;:()\[\]^+-]+", " ".join(text_of(header, name) for name in _NAMES))
    kept = [one for one in found if one.lower() in _FIELD or _NUMBER.fullmatch(one) or _KERNEL.fullmatch(one)]
    return " ".join(dict.fromkeys(kept))


def series_name(header: Dataset, derivation: Derivation | None = None) -> str:
    """ "Series 3, Thorax 5.0 Br40d", or what is derived from it, "Series 1003, AI thin 1mm mean"; empty if nothing is known."""
    stated = text_of(header, "SeriesNumber").strip()
    number = stated if derivation is None else str(series_number(header, derivation))
    shown = number if re.fullmatch(r"\d{1,10}", number) else ""
    words = series_words(header) if derivation is None else derivation.series_label
    return ", ".join(filter(None, (f"Series {shown}" if shown else "", words)))
