"""Labels, provenance and identity of a derived series.

PS3.3 C.7.6.1.1.3 (derivation), C.7.6.1.1.5 (lossy compression), C.12.1.1.5 (contributing equipment), C.11.2.1.2
(windows); codes from PS3.16 CID 7202, 7203 and 7005. CID 7203 has no code for super-resolution; "Spatial resampling"
comes nearest; SyntheticData adds that content was made up.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from lamella import RESEARCH_ONLY, __version__
from lamella.dicom.elements import cut_coded, is_coded, text_element, text_of, undecoded, value_of
from lamella.dicom.enhanced import ENHANCED_CLASSES
from lamella.dicom.header import SeriesHeader
from lamella.dicom.tags import inherit
from lamella.errors import LamellaError
from lamella.volume import Geometry

_LO_CHARACTERS = 64
_ST_CHARACTERS = 1024
_LARGEST_IS = 2**31 - 1
_SERIES_NUMBER_STEP = 1000
SPREAD = "spread"
_MODES = ("mean", "texture", "sample", SPREAD)
"""Each of these modes has a step of its own, so that the answers to one series have numbers of their own."""

_SPATIAL_RESAMPLING = ("113085", "Spatial resampling")
_PIXEL_MEAN = ("113049", "Pixel by pixel mean")
_CALCULATION = ("112187", "Unspecified method of calculation")
_SOURCE_PURPOSE = ("121322", "Source image for image processing operation")
_PROCESSING = ("109102", "Processing Equipment")
_SYNTHESIZING = ("109100", "Synthesizing Equipment")
_TOUCHING_MM = 1e-3
_EXPLANATION = "WindowCenterWidthExplanation"


@dataclass(frozen=True)
class Derivation:
    """What the labels of a derived series hold.

    Attributes:
        description: DerivationDescription: model, version, mode, seed, steps; cut to 1024 characters.
        model_name: empty where no model took part.
        model_sha256: of the weights.
        model_licence: of the weights.
        settings_key: names the settings; enters the UIDs.
        mode: "mean", "texture", "sample", "spread" or "thickened".
        series_label: appended to the source's SeriesDescription, which is cut so that the label survives whole.
        synthetic: a model made up content: SyntheticData YES, equipment listed as synthesizing.
        sample: index of one sample among several; enters the UIDs and the SeriesNumber.

    Raises:
        LamellaError: no series label, or one of more than 64 characters.
    """

    description: str
    model_name: str
    model_sha256: str
    model_licence: str
    settings_key: str
    mode: str
    series_label: str
    synthetic: bool = True
    sample: int = 0

    def __post_init__(self) -> None:
        if not 0 < len(_clean(self.series_label)) <= _LO_CHARACTERS:
            raise LamellaError(
                f"The series label must have 1 to {_LO_CHARACTERS} characters. Found {len(self.series_label)}."
            )


def derived_uid(*parts: str) -> str:
    """A UID that depends on nothing but `parts`."""
    return str(generate_uid(entropy_srcs=["lamella", *(f"\n{part}" for part in parts)]))


def derivation_labels(first: Dataset, derivation: Derivation) -> Dataset:
    """Attributes that distinguish the derived series from a measured one, for people and machines."""
    labels = Dataset()
    labels.SeriesNumber = series_number(first, derivation)
    labels.add(_series_description(first, derivation.series_label))
    labels.DerivationDescription = _cut(_clean(derivation.description), _ST_CHARACTERS)
    code = {"thickened": _PIXEL_MEAN, SPREAD: _CALCULATION}.get(derivation.mode, _SPATIAL_RESAMPLING)
    earlier = inherit(first, ("DerivationCodeSequence",)).get("DerivationCodeSequence", [])
    labels.DerivationCodeSequence = Sequence([*earlier, code_item(*code)])
    labels.ImageComments = f"{'AI-generated' if derivation.synthetic else 'Computed'} image. {RESEARCH_ONLY}"
    stated = inherit(first, ("SyntheticData",)).get("SyntheticData", "")
    if derivation.synthetic or stated == "YES":  # what derives from synthetic data stays synthetic
        labels.SyntheticData = "YES"
    elif stated == "NO":
        labels.SyntheticData = "NO"
    return labels


def contributing_equipment(first: Dataset, derivation: Derivation, now: datetime | None) -> Sequence:
    """The source's contributors, then this program: as processing and, where a model made content, synthesizing equipment."""
    items = list(inherit(first, ("ContributingEquipmentSequence",)).get("ContributingEquipmentSequence", []))
    text = f"Mode {derivation.mode}. {RESEARCH_ONLY}"
    if derivation.model_name:
        text = (
            f"Model {derivation.model_name}, weights SHA-256 {derivation.model_sha256}, "
            f"licence {derivation.model_licence}. {text}"
        )
    for purpose in (_PROCESSING, _SYNTHESIZING) if derivation.synthetic else (_PROCESSING,):
        item = Dataset()
        item.PurposeOfReferenceCodeSequence = Sequence([code_item(*purpose)])
        item.Manufacturer = "Lamella"
        item.ManufacturerModelName = _cut(_clean(derivation.model_name), _LO_CHARACTERS) or "Lamella"
        item.SoftwareVersions = _cut(f"lamella {__version__}", _LO_CHARACTERS)
        if now is not None:
            item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S%z")
        item.ContributionDescription = _cut(_clean(text), _ST_CHARACTERS)
        items.append(item)
    return Sequence(items)


def time_of_writing(first: Dataset) -> datetime | None:
    """Now, in the time zone that the source declares for all its times (PS3.3 C.12.1.1.8); the local one for none or junk.

    None where the source's times were removed (PS3.15 annex E): today may be the day of the scan.
    """
    if text_of(first, "LongitudinalTemporalInformationModified") == "REMOVED":
        return None
    now, offset = datetime.now().astimezone(), text_of(first, "TimezoneOffsetFromUTC")
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return now
    ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    return now if ahead >= timedelta(days=1) else now.astimezone(timezone(-ahead if offset[0] == "-" else ahead))


def source_images(header: SeriesHeader, source: Geometry, derived: Geometry) -> list[Sequence]:
    """For every derived slice the source slices whose slabs overlap its own; in a gap, the two beside it."""
    made_of = header.made_of or [(one,) for one in header.slices]
    items = {id(one): _source_image(one) for of in made_of for one in of}  # None: no SOPInstanceUID to refer to
    reach = (source.thickness_mm + derived.thickness_mm) / 2 - _TOUCHING_MM
    distance = np.abs(derived.centres_mm[:, None] - source.centres_mm[None, :])
    found = []
    for row in distance:
        near = np.flatnonzero(row < reach)
        if len(near) == 0:
            near = np.sort(np.argsort(row, kind="stable")[:2])
        images = dict.fromkeys(id(one) for i in near for one in made_of[i])
        found.append(Sequence([item for one in images if (item := items[one]) is not None]))
    return found


def windows(source_slice: Dataset) -> Dataset:
    """Window centres, widths and explanations in equal numbers; widths below 1 HU are not allowed and left out."""
    stated = inherit(source_slice, ("WindowCenter", "WindowWidth", _EXPLANATION))
    centres, widths = (_values(stated, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    pairs = [i for i in range(min(len(centres), len(widths))) if float(widths[i]) >= 1]
    kept = Dataset()
    if not pairs:
        return kept
    kept.WindowCenter = [str(centres[i]) for i in pairs]
    kept.WindowWidth = [str(widths[i]) for i in pairs]
    names = _values(source_slice, _EXPLANATION) if _EXPLANATION in stated else []
    if len(names) == len(pairs):
        kept.add(stated[_EXPLANATION])
    elif len(names) > pairs[-1] and all(str(name).isascii() for name in names):
        kept.WindowCenterWidthExplanation = [names[i] for i in pairs]
    return kept


def lossy_history(header: SeriesHeader) -> Dataset:
    """LossyImageCompression never goes back to "00"; nothing is claimed where the source says nothing."""
    keywords = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    stated = [str(value_of(s, keywords[0])) for s in header.slices]
    if "01" in stated:
        return inherit(header.slices[stated.index("01")], keywords)
    history = Dataset()
    if all(value == "00" for value in stated):
        history.LossyImageCompression = "00"
    return history


def _source_image(source_slice: Dataset) -> Dataset | None:
    class_uid, instance_uid = (value_of(source_slice, k) for k in ("SOPClassUID", "SOPInstanceUID"))
    if not class_uid or not instance_uid:
        return None
    item = Dataset()
    item.ReferencedSOPClassUID = class_uid
    item.ReferencedSOPInstanceUID = instance_uid
    if class_uid in ENHANCED_CLASSES:
        item.ReferencedFrameNumber = source_slice.InstanceNumber  # the reader numbers the frames of one file so
    item.PurposeOfReferenceCodeSequence = Sequence([code_item(*_SOURCE_PURPOSE)])
    return item


def code_item(value: str, meaning: str) -> Dataset:
    """An item of a sequence of DICOM's own codes (PS3.3 section 8.8)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def series_number(first: Dataset, derivation: Derivation) -> int:
    """The source's, 1000 on for the mean, 2000, 3000, 4000 for the first texture, sample, spread; a further draw adds one.

    Beyond the largest IS (PS3.5 6.2) it goes on from 0, so that series of one source stay apart.
    """
    stated = inherit(first, ("SeriesNumber",)).get("SeriesNumber")
    steps = 1 + _MODES.index(derivation.mode) if derivation.mode in _MODES else 1
    number = int(stated or 0) + _SERIES_NUMBER_STEP * steps + derivation.sample
    return number if number <= _LARGEST_IS else number - _LARGEST_IS - 1


def _series_description(first: Dataset, label: str) -> DataElement:
    """The source's description and the label. Bytes of the source stay as they are, and are cut between words only."""
    label = _clean(label)
    room = _LO_CHARACTERS - len(label) - 1
    raw = undecoded(first["SeriesDescription"]) if "SeriesDescription" in first else None
    if raw is not None and is_coded(raw):
        old = cut_coded(raw, room, utf8="ISO_IR 192" in text_of(first, "SpecificCharacterSet"))
        return text_element("SeriesDescription", "LO", b" ".join([old, label.encode()] if old else [label.encode()]))
    old_text = _cut(" ".join(str(value) for value in _values(first, "SeriesDescription")), room)
    return DataElement("SeriesDescription", "LO", f"{old_text} {label}".strip(), validation_mode=config.IGNORE)


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    if keyword not in dataset:
        return []
    element = dataset[keyword]
    return list(element.value) if element.VM > 1 else [element.value]


def _clean(text: str) -> str:
    """ASCII without backslash or control characters: valid in every character set a source may have."""
    plain = unicodedata.normalize("NFKD", text.replace("\\", "/")).encode("ascii", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _cut(text: str, length: int) -> str:
    return text[: max(length, 0)].rstrip()
