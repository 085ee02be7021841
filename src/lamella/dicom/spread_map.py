"""The predicted spread as a DICOM Parametric Map, in the study and frame of reference of the series that it belongs to.

PS3.3 A.75 (Parametric Map IOD): float32 pixels, one frame a slice, Hounsfield units by a real-world value mapping.
highdicom builds modules, functional groups and references; identity, labels and UIDs come from where a derived series has
them, so that the map is filed and labelled like it. Nothing of the patient is given to highdicom, which logs and checks it.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset, dcmread

from lamella import __version__
from lamella.dicom.deidentify import NOT_MADE
from lamella.dicom.elements import text_of, value_of
from lamella.dicom.encode import decimal, encoded
from lamella.dicom.header import SeriesHeader
from lamella.dicom.labels import SPREAD, Derivation, derived_uid
from lamella.dicom.parse import quiet_pydicom
from lamella.dicom.tags import EMPTY_IF_MISSING, FIXED, IDENTITY
from lamella.dicom.verify import POSITION_MM
from lamella.dicom.write import check_writable, derived_part, source_header, written_uid
from lamella.errors import LamellaError, UsageError
from lamella.volume import Geometry, Volume

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap

_QUANTITY = "Predicted standard deviation of the error"
_MOST_BYTES = 2**32 - 2
"""Longest element of DICOM (PS3.5 7.1.1)."""

_LABELS = (
    *IDENTITY, "TimezoneOffsetFromUTC", "Laterality", "BodyPartExamined", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime", "ContentDate",
    "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod", "SyntheticData", "DerivationDescription", "DerivationCodeSequence", "ImageComments",
    "ContributingEquipmentSequence",
)  # fmt: skip
"""Of a derived series, written into the map as they are."""


def check_map_writable(source: Volume, geometry: Geometry, derivation: Derivation) -> None:
    """Everything that can be refused before the spread is computed.

    Args:
        source: the thick slices.
        geometry: of the spread.
        derivation: of the answer whose spread it is.

    Raises:
        UsageError: too large for one file.
        RefusedInput, LamellaError: see `check_writable`.
    """
    size = 4 * int(np.prod(geometry.shape))
    if size > _MOST_BYTES:
        raise UsageError(
            f"A Parametric Map cannot hold this spread. Found {size:,} bytes, DICOM allows {_MOST_BYTES:,}. Give --spread a "
            "name that ends in .nii.gz."
        )
    check_writable(source, geometry, _labels_of(derivation))


def write_spread_map(path: Path, spread: Volume, source: Volume, derivation: Derivation) -> None:
    """Write the spread of an answer, and read it back.

    Args:
        path: the file; an existing one is replaced.
        spread: float32 HU, none negative.
        source: the thick slices; the map refers to them.
        derivation: of the answer whose spread it is.

    Raises:
        LamellaError: the source has no DICOM header, or what was written differs.
        RefusedInput: the source names no study.
    """
    labels = _labels_of(derivation)
    header = source_header(source)
    with quiet_pydicom():
        part = derived_part(header, spread.geometry, labels)
        made = _map(spread, header, source.geometry, part, labels)
        for keyword in {*_LABELS} & NOT_MADE:  # highdicom's own times
            made.pop(keyword, None)
        made.update({part[keyword].tag: part[keyword] for keyword in _LABELS if keyword in part})
        if "ContentDate" not in made:  # type 1 in multi-frame images: a dummy where times are not told (PS3.15 annex E)
            made.add_new("ContentDate", "DA", "19000101")
            made.add_new("ContentTime", "TM", "000000")
        made.file_meta = part.file_meta
        path.write_bytes(encoded(made))
    _verify(path, spread)


def _labels_of(derivation: Derivation) -> Derivation:
    """The labels of the spread of an answer."""
    return dataclasses.replace(
        derivation,
        description=f"{_QUANTITY} of each voxel, in HU. {derivation.description}",
        settings_key=f"{derivation.settings_key}, {derivation.mode}",
        mode=SPREAD,
        series_label=f"AI spread {derivation.series_label.removeprefix('AI ')}",
        sample=0,
    )


def _map(spread: Volume, header: SeriesHeader, source: Geometry, part: Dataset, labels: Derivation) -> ParametricMap:
    """The map without the identity of the patient, with UIDs that depend on the request alone."""
    import highdicom as hd
    from pydicom.sr.coding import Code

    geometry, highest = spread.geometry, math.ceil(max(1.0, float(spread.hu.max())))
    images = _source_images(header, source, part)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="SPREAD",
        lut_explanation=_QUANTITY,
        unit=Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
        value_range=(0.0, float(highest)),
        quantity_definition=Code("386136009", "SCT", "Standard Deviation"),
    )
    measures = hd.PixelMeasuresSequence(
        [float(v) for v in part.PixelSpacing], float(part.SliceThickness), float(part.SpacingBetweenSlices)
    )
    made = hd.pm.ParametricMap(
        source_images=list(images.values()),
        pixel_array=np.ascontiguousarray(spread.hu, dtype=np.float32),
        series_instance_uid=part.SeriesInstanceUID,
        series_number=1,  # replaced, as all that `_LABELS` names
        sop_instance_uid=written_uid(header, geometry, labels, "instance"),
        instance_number=1,
        manufacturer="Lamella",
        manufacturer_model_name=labels.model_name[:64] or "Lamella",
        software_versions=f"lamella {__version__}",
        device_serial_number=labels.model_sha256[:16] or "unsaved",
        contains_recognizable_visual_features=text_of(header.slices[0], "RecognizableVisualFeatures") != "NO",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            hd.VOILUTTransformation(window_center=highest / 4, window_width=max(1.0, highest / 2))
        ],
        content_label="SPREAD",
        content_description=_QUANTITY,
        pixel_measures=measures,
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [float(v) for v in part.ImageOrientationPatient]),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", [float(decimal(v)) for v in geometry.position(k)])
            for k in range(geometry.shape[0])
        ],
    )
    made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = measures  # highdicom prefers the source's thickness
    dimension = written_uid(header, geometry, labels, "dimensions")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension
    classes = {value_of(one, "SOPInstanceUID"): value_of(one, "SOPClassUID") for one in header.slices}
    for item in (*made.SourceImageSequence, *made.ReferencedSeriesSequence[0].ReferencedInstanceSequence):
        item.ReferencedSOPClassUID = classes.get(item.ReferencedSOPInstanceUID) or item.ReferencedSOPClassUID
    return made


def _source_images(header: SeriesHeader, geometry: Geometry, part: Dataset) -> dict[str, Dataset]:
    """What highdicom needs of the source: by UID one classic data set a file, with place and UIDs and nothing else."""
    images: dict[str, Dataset] = {}
    for k, one in enumerate(header.slices):
        image = Dataset()
        for keyword in EMPTY_IF_MISSING:
            setattr(image, keyword, None)
        image.SOPClassUID = FIXED["SOPClassUID"]
        image.SOPInstanceUID = value_of(one, "SOPInstanceUID") or derived_uid(header.series_uid, f"unnamed {k}")
        image.StudyInstanceUID = value_of(header.slices[0], "StudyInstanceUID")
        image.SeriesInstanceUID = header.series_uid
        image.FrameOfReferenceUID = part.FrameOfReferenceUID
        image.Rows, image.Columns = geometry.shape[1:]
        image.PixelSpacing, image.ImageOrientationPatient = part.PixelSpacing, part.ImageOrientationPatient
        image.SliceThickness = decimal(geometry.thickness_mm)
        image.ImagePositionPatient = [decimal(v) for v in geometry.position(k)]
        images.setdefault(image.SOPInstanceUID, image)
    return images


def _verify(path: Path, spread: Volume) -> None:
    """Compare the written file with the volume that it should hold."""
    with quiet_pydicom():
        try:
            written = dcmread(path)
            values = np.frombuffer(written.FloatPixelData, "<f4").reshape(
                written.NumberOfFrames, written.Rows, written.Columns
            )
            frames = written.PerFrameFunctionalGroupsSequence
            places = np.array([one.PlanePositionSequence[0].ImagePositionPatient for one in frames], dtype=np.float64)
        except Exception as error:  # pydicom raises anything on a damaged file
            raise LamellaError(f"The written map {path.name} cannot be read back ({type(error).__name__}).") from None
    # highdicom chooses the direction in which frames are counted
    order = np.argsort(places @ spread.geometry.axes[:, 0])
    expected = np.array([spread.geometry.position(k) for k in range(spread.geometry.shape[0])])
    if places.shape != expected.shape or np.abs(places[order] - expected).max() > POSITION_MM:
        raise LamellaError(f"The frames of the written map {path.name} are not where the slices of the spread lie.")
    if not all(np.array_equal(values[frame], plane) for frame, plane in zip(order, spread.hu, strict=True)):
        raise LamellaError(f"The voxels in the written map {path.name} differ from those of the spread.")
