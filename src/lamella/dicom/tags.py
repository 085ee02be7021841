"""Header policy of a derived CT series: which attribute is copied, recomputed, added or dropped, as tables.

The tables list what is copied; everything else is left out: private attributes, overlays, icons, digital signatures and
unknown attributes, because they may describe other pixels. Modules and types follow PS3.3 A.3 (CT Image IOD).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from types import MappingProxyType

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.valuerep import STR_VR, validate_value

from lamella.dicom.elements import NUMBER_VRS, TEXT_VRS, is_coded, numbers_of, text_element, undecoded, value_of
from lamella.dicom.header import NEEDED

_UNFIT = (ValueError, TypeError, OverflowError, NotImplementedError, LookupError, AttributeError)

PATIENT = (  # PS3.3 C.7.1.1 Patient, C.7.1.3 Clinical Trial Subject
    "PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientIDsSequence", "OtherPatientNames",
    "EthnicGroup", "PatientComments", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "QualityControlSubject", "ReferencedPatientSequence",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID",
    "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
)  # fmt: skip

STUDY = (  # PS3.3 C.7.2.1 General Study, C.7.2.2 Patient Study, C.7.2.3 Clinical Trial Study
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "StudyDescription", "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "ReferencedStudySequence",
    "ProcedureCodeSequence", "RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize", "PatientWeight",
    "PatientBodyMassIndex", "MeasuredAPDimension", "MeasuredLateralDimension", "PatientSizeCodeSequence",
    "MedicalAlerts", "Allergies", "SmokingStatus", "PregnancyStatus", "LastMenstrualDate", "PatientState",
    "Occupation", "AdditionalPatientHistory", "AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID",
    "ServiceEpisodeDescription", "PatientSexNeutered", "ReasonForVisit", "ReasonForVisitCodeSequence",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription", "LongitudinalTemporalOffsetFromEvent",
    "LongitudinalTemporalEventType", "LongitudinalTemporalInformationModified", "ClinicalTrialCoordinatingCenterName",
)  # fmt: skip

FROM_FIRST = (  # PS3.3 C.7.3.1 General Series, C.7.4.1 Frame of Reference, C.7.5.1 General Equipment, C.12.1 SOP Common
    "TimezoneOffsetFromUTC", "Laterality", "BodyPartExamined", "PatientPosition",
    "ProtocolName", "PerformingPhysicianName", "OperatorsName", "RequestAttributesSequence", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "GantryID", "DeviceUID",
    "DateOfLastCalibration", "TimeOfLastCalibration",
)  # fmt: skip
"""Copied from the first source slice where valid: one value for the whole derived series."""

IDENTITY = ("SpecificCharacterSet", *PATIENT, *STUDY)
"""Copied from the first source slice as they are, valid or not: archives match patients and studies by them, and texts are
copied byte for byte, so that their character set must be the one they came with, even where it is misspelt or untrue."""

FROM_NEAREST = (  # PS3.3 C.7.6.1 General Image, C.7.10.1 General Acquisition, C.7.6.4 Contrast/Bolus, C.8.2.1 CT Image
    "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionUID",
    "IrradiationEventUID", "AnatomicRegionSequence", "ImageLaterality", "BurnedInAnnotation",
    "RecognizableVisualFeatures", "QualityControlImage", "ContrastBolusAgent", "ContrastBolusAgentSequence",
    "ContrastBolusRoute", "ContrastBolusAdministrationRouteSequence", "ContrastBolusVolume", "ContrastBolusStartTime",
    "ContrastBolusStopTime", "ContrastBolusTotalDose", "ContrastFlowRate", "ContrastFlowDuration",
    "ContrastBolusIngredient", "ContrastBolusIngredientConcentration", "KVP", "ScanOptions", "AcquisitionType",
    "FilterType", "FocalSpots", "GeneratorPower", "ConvolutionKernel", "DataCollectionDiameter",
    "ReconstructionDiameter", "DistanceSourceToDetector", "DistanceSourceToPatient", "GantryDetectorTilt",
    "TableHeight", "RotationDirection", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth",
    "TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor", "VOILUTFunction",
)  # fmt: skip
"""Copied, where valid, from the source slice nearest to each derived one: facts of the scan that may vary along it."""

PAIRED_PARTS = (
    "ANKLE", "ARM", "AXILLA", "BREAST", "CALCANEUS", "CALF", "CAROTID", "CLAVICLE", "EAR", "ELBOW", "EXTREMITY", "EYE",
    "FEMUR", "FINGER", "FOOT", "HAND", "HIP", "HUMERUS", "KIDNEY", "KNEE", "LEG", "LUNG", "OPTIC", "ORBIT", "PATELLA",
    "RADIUS", "SCAPULA", "SHOULDER", "SIJOINT", "TARSAL", "TEMPORAL", "THIGH", "THUMB", "TIBIA", "TMJ", "TOE", "ULNA",
    "WRIST", "ZYGOMA",
)  # fmt: skip
"""Words in BodyPartExamined that name a paired part (PS3.16 annex L)."""

EMPTY_IF_MISSING = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "PatientPosition",
    "KVP", "AcquisitionNumber",
)  # fmt: skip
"""Type 2: must be present, may be empty (PS3.5 section 7.4.3)."""

FIXED = MappingProxyType(
    {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage keeps HU, windows and reformatting in viewers
        "Modality": "CT",
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "ContentQualification": "RESEARCH",
    }
)
"""Added, the same in every derived file."""

RECOMPUTED = (
    "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime",
    "ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "InstanceNumber", "Rows", "Columns",
    "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod", "SyntheticData", "DerivationDescription",
    "DerivationCodeSequence", "SourceImageSequence", "ContributingEquipmentSequence", "ImageComments", "PixelData",
)  # fmt: skip
"""Written anew by `lamella.dicom.write`, from the new grid, the source's value, or both."""

_REASONS = {
    "dose of the slice as acquired, not of the derived one": (
        "Exposure", "ExposureInuAs", "ExposureTime", "ExposureTimeInuS", "XRayTubeCurrent", "XRayTubeCurrentInuA",
        "ExposureModulationType", "CTDIvol", "CTDIPhantomTypeCodeSequence", "EstimatedDoseSaving",
    ),
    "padding is air in the derived image": ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    "other pixels": (
        "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
        "IconImageSequence",
    ),
    "signs other bytes": ("DigitalSignaturesSequence", "MACParametersSequence"),
    "the derived image stores HU": ("ModalityLUTSequence",),
    "maps other stored values": ("VOILUTSequence", "RealWorldValueMappingSequence"),
    "a position of the source slice": ("DataCollectionCenterPatient", "ReconstructionTargetCenterPatient"),
    "the step or series that made the source": (
        "PerformedProcedureStepID", "ReferencedPerformedProcedureStepSequence", "ClinicalTrialSeriesID",
    ),
}  # fmt: skip
DROPPED = {keyword: reason for reason, keywords in _REASONS.items() for keyword in keywords}
"""Keyword -> reason of what is left out on purpose. What no table names is left out too (private groups, overlays 60xx)."""

_NOT_NEEDED = tuple(
    keyword
    for keyword in (*RECOMPUTED, *DROPPED)
    if keyword not in NEEDED and dictionary_VR(keyword) in {*NUMBER_VRS, "DA", "TM"}
)
"""Numbers, dates and times that reading can do without and results do not copy: junk in them is listed all the same."""


def inherit(source: Dataset, keywords: tuple[str, ...], *, exact: bool = False) -> Dataset:
    """Copy the named attributes that `source` holds with a value; the copy shares nothing with `source`.

    Texts are copied byte for byte: they are neither decoded nor encoded, because SpecificCharacterSet may be untrue. Private
    attributes inside copied sequences are removed. An attribute whose value cannot be decoded, or breaks the
    rules of its value representation (unless `exact`), is left out; `left_out` names it, never its value.
    """
    copied = Dataset()
    with config.disable_value_validation():  # its warnings would quote the value, which may name a patient
        for keyword in keywords:
            with suppress(*_UNFIT):
                element = _fitting(source, keyword, exact)
                if element is not None:
                    copied.add(_own_copy(element))
    return copied


def left_out(first: Dataset, slices: Iterable[Dataset]) -> list[str]:
    """Notes on the attributes that `inherit` will leave out, and on junk in others, without their values."""
    counts: Counter[str] = Counter()
    slices = tuple(slices)
    places = [(first, IDENTITY, True), (first, FROM_FIRST, False), *((one, FROM_NEAREST, False) for one in slices)]
    with config.disable_value_validation():
        for header, keywords, exact in places:
            for keyword in keywords:
                try:
                    _fitting(header, keyword, exact)
                except _UNFIT:
                    counts[keyword] += 1
        for one in slices:
            counts.update(keyword for keyword in _NOT_NEEDED if _is_junk(one, keyword))
    return [
        f"{keyword} is not valid in {n} file{'s' if n > 1 else ''}: left out of results"
        for keyword, n in counts.items()
    ]


def _is_junk(header: Dataset, keyword: str) -> bool:
    value, vr = value_of(header, keyword), dictionary_VR(keyword)
    if value is None or value == "":
        return False
    if vr in NUMBER_VRS:
        return not numbers_of(header, keyword)
    try:
        _validate(header[keyword])
    except _UNFIT:
        return True
    return False


def _fitting(source: Dataset, keyword: str, exact: bool) -> DataElement | None:
    """The element as it may be copied; None where there is no value. Raises one of `_UNFIT` where it is not valid."""
    element = source[keyword] if keyword in source else None  # noqa: SIM401 - get() returns the value
    if element is None or element.is_empty:
        return None
    vr, raw = dictionary_VR(keyword), undecoded(element)
    if vr != element.VR:  # a wrong one in the file, or an enhanced attribute's
        element = DataElement(keyword, vr, element.value)
    text = vr in TEXT_VRS and raw is not None
    # Lengths and characters of what is not plain ASCII depend on a character set that may be untrue.
    if not exact and not (text and is_coded(raw or b"")):
        _validate(element)
    if text and raw is not None:
        return text_element(keyword, vr, raw)
    if vr in NUMBER_VRS or (vr != "SQ" and not exact):  # a name or date that cannot be written is refused, not left out
        _encode(element)
    return element


def _encode(element: DataElement) -> None:
    """Writes the element to nowhere: whatever pydicom raises on a value that it cannot write becomes a ValueError."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    try:
        write_data_element(buffer, element)
    except Exception as error:
        raise ValueError(type(error).__name__) from None


def _own_copy(element: DataElement) -> DataElement:
    element = deepcopy(element)
    if element.VR == "SQ":
        for item in element.value:
            item.remove_private_tags()  # walks nested sequences too
            item.walk(_keep_bytes)
    return element


def remove_coded(copied: Dataset) -> None:
    """Takes out what would be misread under another SpecificCharacterSet: sequences, and texts that are not plain ASCII."""
    for element in list(copied):
        if element.VR == "SQ" or (isinstance(element.value, bytes) and is_coded(element.value)):
            del copied[element.tag]


def _keep_bytes(dataset: Dataset, element: DataElement) -> None:
    raw = undecoded(element)
    if element.VR in TEXT_VRS and raw is not None:
        dataset[element.tag] = text_element(element.keyword, element.VR, raw)


def _validate(element: DataElement) -> None:
    """Raises ValueError where the text breaks its value representation (length, characters; PS3.5 table 6.2-1)."""
    if element.VR in STR_VR:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value), config.RAISE)
