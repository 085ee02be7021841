"""`Volume` -> the files of a derived CT series in the source's study and frame of reference.

Voxels are stored as HU in signed 16 bit (slope 1, intercept 0), by `lamella.dicom.encode`. What the header says follows
the tables of `lamella.dicom.tags`; PS3.3 A.3 (CT Image IOD), C.7.6.2 (Image Plane), C.7.6.1.1.3 (derivation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from lamella.dicom.elements import value_of
from lamella.dicom.encode import Compression, decimal, encoded, set_pixels
from lamella.dicom.header import SeriesHeader
from lamella.dicom.labels import (
    Derivation,
    contributing_equipment,
    derivation_labels,
    derived_uid,
    lossy_history,
    source_images,
    time_of_writing,
    windows,
)
from lamella.dicom.parse import quiet_pydicom
from lamella.dicom.tags import (
    EMPTY_IF_MISSING,
    FIXED,
    FROM_FIRST,
    FROM_NEAREST,
    IDENTITY,
    PAIRED_PARTS,
    inherit,
    remove_coded,
)
from lamella.errors import LamellaError, RefusedInput
from lamella.volume import Geometry, Volume

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""

_IMPLEMENTATION_UID = UID("2.25.267342390644827558044927562318411926615")
_SAME_PLANE = 6e-7  # six written decimals; below 0.001 mm across a 400 mm field of view
_LOCATION_TOLERANCE_MM = 0.01


def write_series(
    folder: Path,
    volume: Volume,
    source: Volume,
    derivation: Derivation,
    progress: Progress | None = None,
    compress: Compression | None = None,
) -> tuple[Path, ...]:
    """Write `volume` as the files IM_00001.dcm, IM_00002.dcm, ... of one derived CT series.

    The files count up in the direction in which the source's InstanceNumber does.

    Args:
        folder: existing empty folder.
        volume: int16 HU on a grid that shares the source's slice axis.
        source: what `volume` was derived from; its header is a `SeriesHeader`.
        derivation: what the labels say.
        progress: called after every file.
        compress: how, without loss; None for uncompressed pixels.

    Returns:
        The files in spatial order, that of the array.

    Raises:
        LamellaError: the folder is not empty, the volume is not int16, the source has no DICOM header or another axis.
        RefusedInput: the source names no study.
    """
    _check_request(folder, volume, source)
    files: list[Path] = []
    with quiet_pydicom():
        for dataset, _ in _headers(volume.geometry, source, derivation):
            set_pixels(dataset, volume.hu[len(files)], compress)
            files.append(folder / f"IM_{dataset.InstanceNumber:05d}.dcm")
            files[-1].write_bytes(encoded(dataset))
            if progress is not None:
                progress(len(files), len(volume.hu))
    return tuple(files)


def check_writable(source: Volume, geometry: Geometry, derivation: Derivation) -> None:
    """Build and encode all that a derived series will hold but its pixels, for each source slice that it takes from.

    What is copied exactly may be anything: whatever cannot be encoded is found here, before the pixels are computed.

    Raises:
        RefusedInput: an element of the source cannot be written, named without its value; or the source names no study.
        LamellaError: the source has no DICOM header.
    """
    header, dataset, checked = source_header(source), Dataset(), -1
    try:
        with quiet_pydicom():
            for dataset, of in _headers(geometry, source, derivation):
                if of != checked:
                    encoded(dataset)
                    checked = of
    except LamellaError:
        raise
    except Exception as error:  # pydicom raises anything on a value that it cannot write
        raise RefusedInput(
            f"The header of the series {header.series_uid} cannot be copied into a derived one: "
            f"{_culprit(dataset)} ({type(error).__name__}). Repair it, export the series again, or write NIfTI."
        ) from None


def _culprit(dataset: Dataset) -> str:
    """The first element that cannot be encoded by itself."""
    for tag in sorted(dataset.keys()):
        alone = Dataset()
        for one in {0x00080005, tag} & set(dataset.keys()):
            alone[one] = dataset.get_item(one)
        try:
            dcmwrite(BytesIO(), alone, implicit_vr=False, little_endian=True)
        except Exception:
            return keyword_for_tag(tag) or str(tag)
    return "an element that it needs"


def series_uid(source: Volume, geometry: Geometry, derivation: Derivation) -> str | None:
    """The SeriesInstanceUID that a derived series gets; None where the source is no DICOM series."""
    header = source.header
    return written_uid(header, geometry, derivation, "series") if isinstance(header, SeriesHeader) else None


def _headers(geometry: Geometry, source: Volume, derivation: Derivation) -> Iterator[tuple[Dataset, int]]:
    """The data set of each derived slice without pixels, changed in place for the next, and its nearest source slice."""
    header, count = source_header(source), geometry.shape[0]
    shared = derived_part(header, geometry, derivation)
    nearest = np.abs(geometry.centres_mm[:, None] - source.geometry.centres_mm[None, :]).argmin(axis=1)
    sources = source_images(header, source.geometry, geometry)
    locations = _slice_locations(header, source.geometry, geometry)
    template, of = Dataset(), -1
    for k in range(count):
        if nearest[k] != of:  # neighbours in space share their nearest source slice: few templates for many slices
            of = int(nearest[k])
            template = _slice_part(shared, header.slices[of], header.slices[0])
            if header.repair is not None and header.repair.kind == "tilt":  # else readers shear the result once more
                template.pop("GantryDetectorTilt", None)
        template.SOPInstanceUID = written_uid(header, geometry, derivation, f"instance {k}")
        template.InstanceNumber = k + 1 if header.ascending else count - k
        template.ImagePositionPatient = [decimal(v) for v in geometry.position(k)]
        if locations is not None:
            template.SliceLocation = decimal(locations[k])
        if sources[k]:
            template.SourceImageSequence = sources[k]
        yield template, of


def source_header(source: Volume) -> SeriesHeader:
    """The header of a volume that something can be derived from.

    Raises:
        LamellaError: it is not of a DICOM series, or of another number of slices.
        RefusedInput: it names no study.
    """
    header = source.header
    if not isinstance(header, SeriesHeader):
        raise LamellaError(
            "A DICOM series can only be derived from a DICOM series. The source has no DICOM header. Write NIfTI instead: "
            "a name that ends in .nii or .nii.gz."
        )
    if len(header.slices) != source.geometry.shape[0]:
        raise LamellaError(
            f"The source's header lists {len(header.slices)} slices, its array has {source.geometry.shape[0]}."
        )
    if not value_of(header.slices[0], "StudyInstanceUID"):
        raise RefusedInput(
            f"The source series {header.series_uid} has no StudyInstanceUID, so nothing can be filed beside it. "
            "Export it again, or write NIfTI."
        )
    return header


def _check_request(folder: Path, volume: Volume, source: Volume) -> None:
    if volume.hu.dtype != np.int16:
        raise LamellaError(f"Only int16 HU can be written. Found {volume.hu.dtype}. Call round_hu first.")
    if not folder.is_dir() or any(folder.iterdir()):
        raise LamellaError(f"The series needs an existing empty folder. Found something else at {folder}.")
    turn = float(np.abs(volume.geometry.axes - source.geometry.axes).max())
    if turn > 1e-3:
        raise LamellaError(f"The result's axes differ from the source's by {turn:.4f}. Expected the same orientation.")


def derived_part(header: SeriesHeader, geometry: Geometry, derivation: Derivation) -> Dataset:
    """Everything that is the same in all files of a derived series, without pixels."""
    first = header.slices[0]
    dataset = inherit(first, FROM_FIRST)
    dataset.update(inherit(first, IDENTITY, exact=True))
    for keyword in EMPTY_IF_MISSING:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    if "Laterality" in first and "Laterality" not in dataset:
        dataset.Laterality = None  # empty in the source: paired, side unknown
    if "FrameOfReferenceUID" not in dataset:
        dataset.FrameOfReferenceUID = derived_uid(header.series_uid, "frame of reference")
    for keyword, value in FIXED.items():
        setattr(dataset, keyword, value)
    dataset.SeriesInstanceUID = written_uid(header, geometry, derivation, "series")
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    dataset.SliceThickness = decimal(geometry.thickness_mm)
    dataset.SpacingBetweenSlices = decimal(geometry.spacing_mm)
    orientation = (*geometry.axes[:, 2], *geometry.axes[:, 1])
    dataset.ImageOrientationPatient = _as_in_source(first, "ImageOrientationPatient", orientation)
    dataset.PixelSpacing = _as_in_source(first, "PixelSpacing", geometry.pixel_mm)
    now = time_of_writing(first)
    if now is not None:
        for what in ("Series", "Content", "InstanceCreation"):
            setattr(dataset, f"{what}Date", now.strftime("%Y%m%d"))
            setattr(dataset, f"{what}Time", now.strftime("%H%M%S"))
    dataset.update(lossy_history(header))
    dataset.update(derivation_labels(first, derivation))
    dataset.ContributingEquipmentSequence = contributing_equipment(first, derivation, now)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = _IMPLEMENTATION_UID
    dataset.file_meta.ImplementationVersionName = "LAMELLA"
    return dataset


def _slice_part(shared: Dataset, source_slice: Dataset, first: Dataset) -> Dataset:
    """The shared part with what is taken from the nearest source slice."""
    dataset = Dataset()
    dataset.update(shared)  # not copy(): that would share the mapping too
    dataset.file_meta = shared.file_meta
    copied = inherit(source_slice, FROM_NEAREST)
    copied.update(windows(source_slice))
    if value_of(source_slice, "SpecificCharacterSet") != value_of(first, "SpecificCharacterSet"):
        remove_coded(copied)  # the derived slice names the first slice's character set
    dataset.update(copied)
    part = str(dataset.get("BodyPartExamined", "")).upper()
    if not {"Laterality", "ImageLaterality"} & set(dataset.dir()) and not any(word in part for word in PAIRED_PARTS):
        # Type 2C: a source without Laterality means that the part is not paired (PS3.3 C.7.3.1). It is written, because
        # readers cannot tell this from an omission where BodyPartExamined is free text or missing.
        dataset.ImageLaterality = "U"
    return dataset


def _as_in_source(first: Dataset, keyword: str, values: tuple[float, ...]) -> list[str]:
    """The source's own digits where they mean the same, so that viewers that compare text see one orientation."""
    stated = value_of(first, keyword)
    if (
        stated is not None
        and len(stated) == len(values)
        and np.allclose(list(stated), values, rtol=0, atol=_SAME_PLANE)
    ):
        return [str(v) for v in stated]
    return [decimal(v) for v in values]


def _slice_locations(header: SeriesHeader, source: Geometry, geometry: Geometry) -> NDArray[np.float64] | None:
    """SliceLocation of the new slices by the source's own rule, None where it has none that follows its positions.

    The zero and the sign of SliceLocation are the scanner's choice (PS3.3 C.7.6.2.1.2): both are read off the source.
    """
    try:
        stated = np.array([float(value_of(s, "SliceLocation")) for s in header.slices])
    except (TypeError, ValueError):
        return None
    along = source.centres_mm - source.centres_mm[0]
    sign = float(np.sign(stated[-1] - stated[0]))
    if sign == 0 or not np.abs(stated - (stated[0] + sign * along)).max() <= _LOCATION_TOLERANCE_MM:  # NaN too
        return None
    return np.asarray(stated[0] + sign * (geometry.centres_mm - source.centres_mm[0]))


def written_uid(header: SeriesHeader, geometry: Geometry, derivation: Derivation, what: str) -> str:
    """The same request gives the same UID, so that a repeated run does not litter an archive; another answer another one."""
    grid = [decimal(v) for v in (*geometry.position(0), geometry.spacing_mm, geometry.thickness_mm)]
    return derived_uid(
        header.series_uid,
        derivation.settings_key,
        derivation.model_sha256,
        derivation.mode,
        f"sample {derivation.sample}",
        f"grid {geometry.shape} {grid}",
        what,
    )
