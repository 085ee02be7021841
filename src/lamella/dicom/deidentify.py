"""The basic profile of DICOM PS3.15 annex E over everything that a derived series takes from its source.

Only the header that the writer copies from is changed, so a result of it holds nothing else: what `KEPT` names, new UIDs, a
pseudonym, and what the program itself adds. It goes beyond table E.1-1 where that keeps free text, codes with a meaning
in words, and private or unknown elements: all of these are removed, with no exception but the maker, model and software of
the scanner and the reconstruction kernel, which decide what the pixels are.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import uuid
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lamella import __version__
from lamella.dicom.elements import text_of, value_of
from lamella.dicom.header import SeriesHeader
from lamella.dicom.labels import code_item
from lamella.dicom.tags import inherit, remove_coded
from lamella.errors import RefusedInput, UsageError
from lamella.volume import Volume

KEY_BYTES = 16
"""Least length of a key; a shorter one can be found by trying."""

KEPT = (
    "Laterality", "BodyPartExamined", "PatientPosition", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
    "AcquisitionNumber", "ImageLaterality", "BurnedInAnnotation", "RecognizableVisualFeatures", "QualityControlImage",
    "QualityControlSubject", "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration",
    "ContrastBolusIngredient", "ContrastBolusIngredientConcentration", "KVP", "ScanOptions", "AcquisitionType",
    "FilterType", "FocalSpots", "GeneratorPower", "ConvolutionKernel", "DataCollectionDiameter",
    "ReconstructionDiameter", "DistanceSourceToDetector", "DistanceSourceToPatient", "GantryDetectorTilt",
    "TableHeight", "RotationDirection", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth",
    "TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor", "VOILUTFunction", "SyntheticData",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
"""Copied where valid and plain ASCII: facts of the scan. Table E.1-1 names none of them."""

PLACE = (
    "SOPClassUID", "Modality", "SeriesNumber", "InstanceNumber", "SliceLocation", "ImageOrientationPatient",
    "ImagePositionPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "WindowCenter", "WindowWidth",
)  # fmt: skip
"""Numbers and codes that the writer computes from."""

NEW_UIDS = (
    "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "AcquisitionUID",
    "IrradiationEventUID", "DeviceUID",
)  # fmt: skip
"""Replaced by `keyed_uid`: action U of table E.1-1."""

PSEUDONYM = ("PatientID", "PatientName")
"""Replaced by a pseudonym: a dummy value, as actions Z and D allow."""

ADDED = (
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence", "ContrastBolusAgent",
    "LongitudinalTemporalInformationModified",
)  # fmt: skip
"""Added or replaced by words of the program: PS3.15 E.1.1, and a dummy where there was contrast (action D)."""

NOT_MADE = {
    "WindowCenterWidthExplanation",
    *(f"{what}{part}" for what in ("Series", "Content", "InstanceCreation") for part in ("Date", "Time")),
}
"""What the writer makes for other results: from a text of the source, or from the time (see `time_of_writing`)."""

METHOD = f"PS3.15 basic profile by Lamella {__version__}, UIDs by HMAC"
_CODES = (  # PS3.16 CID 7050
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
)


def read_key(file: Path | None) -> bytes:
    """The key of one run: the bytes of a file, or random ones.

    Raises:
        UsageError: there is no such file, or it is too short.
    """
    if file is None:
        return secrets.token_bytes(2 * KEY_BYTES)
    try:
        key = file.read_bytes()
    except OSError as error:
        raise UsageError(f"The key file {file} cannot be read: {error.strerror}.") from None
    if len(key.strip()) < KEY_BYTES:
        raise UsageError(
            f"The key file {file} holds {len(key.strip())} bytes. Expected {KEY_BYTES} or more, as from: openssl rand -hex 32"
        )
    return key


def key_of(deidentify: bool, file: str | Path | None) -> bytes | None:
    """The key of one run that de-identifies; None for one that does not.

    Raises:
        UsageError: no such key, or one for nothing.
    """
    if deidentify:
        return read_key(None if file is None else Path(file))
    if file is not None:
        raise UsageError(
            "--deidentify-key is the key of --deidentify (deidentify_key, deidentify). Found no --deidentify."
        )
    return None


def check_one_key(deidentify: bool, file: Path | None) -> None:
    """Refuse to de-identify many studies without a key: their names must be the same in every process and every run.

    Raises:
        UsageError: no key, none that can be used, or one for nothing.
    """
    if deidentify and file is None:
        raise UsageError("To de-identify many studies, give one key for all: --deidentify-key FILE (deidentify_key).")
    key_of(deidentify, file)


def keyed_uid(key: bytes, uid: str) -> str:
    """A UID (PS3.5 B.2, under 2.25) that only the holder of the key can make from `uid`, always the same."""
    return f"2.25.{uuid.UUID(bytes=_digest(key, f'uid {uid}')[:16], version=4).int}"


def pseudonym(key: bytes, issuer: str, patient_id: str) -> str:
    """What stands for a patient: the same for all her studies under one key."""
    return f"LAMELLA-{base64.b32encode(_digest(key, f'patient {issuer} {patient_id}'))[:16].decode()}"


def deidentified(volume: Volume, key: bytes) -> Volume:
    """The volume with a header that tells nothing of the patient; its voxels and its place stay.

    Raises:
        RefusedInput: the header says that the pixels show annotations, which may be a name.
    """
    header = volume.header
    if not isinstance(header, SeriesHeader):  # NIfTI: nothing of its header reaches a result
        return volume
    made_of = header.made_of or tuple((one,) for one in header.slices)
    clean: dict[int, Dataset] = {}
    for one in (one for of in (header.slices, *made_of) for one in of):
        if text_of(one, "BurnedInAnnotation").upper() == "YES":
            raise RefusedInput(
                "BurnedInAnnotation (0028,0301) is YES in SOURCE: the pixels may show the patient's name, which --deidentify "
                "cannot remove. Clean the pixels first."
            )
        if id(one) not in clean:  # data sets stand for slices, so that one must stay one
            clean[id(one)] = _clean(one, key)
    new = replace(
        header,
        series_uid=keyed_uid(key, header.series_uid),
        slices=tuple(clean[id(one)] for one in header.slices),
        made_of=tuple(tuple(clean[id(one)] for one in of) for of in made_of),
    )
    return replace(volume, header=new)


def _clean(source: Dataset, key: bytes) -> Dataset:
    kept = inherit(source, (*PLACE, *KEPT))
    remove_coded(kept)  # SpecificCharacterSet does not stay
    for keyword in NEW_UIDS:
        if value_of(source, keyword):
            setattr(kept, keyword, _keyed_uids(key, source, keyword))
    if "Laterality" in source and "Laterality" not in kept:
        kept.Laterality = None
    if value_of(source, "ContrastBolusAgent"):
        kept.ContrastBolusAgent = "CONTRAST"  # that there was any belongs to the scan; its name may be free text
    if patient := text_of(source, "PatientID"):
        kept.PatientID = pseudonym(key, text_of(source, "IssuerOfPatientID"), patient)
        kept.PatientName = kept.PatientID.replace("-", "^")
    kept.PatientIdentityRemoved = "YES"
    kept.DeidentificationMethod = METHOD
    kept.DeidentificationMethodCodeSequence = Sequence([code_item(*code) for code in _CODES])
    kept.LongitudinalTemporalInformationModified = "REMOVED"
    return kept


def _keyed_uids(key: bytes, source: Dataset, keyword: str) -> list[str]:
    return [keyed_uid(key, uid) for uid in text_of(source, keyword).split("\\") if uid]


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "replace"), "sha256")
