"""Files -> series -> slices: finds the series of a source, chooses one, and turns it into a checked `Stack`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pydicom.dataset import Dataset

from lamella.dicom.archive import Archive, Entry
from lamella.dicom.checks import Stack, stack_of
from lamella.dicom.copies import without_copies
from lamella.dicom.decode import SYNTAXES, pixel_format, syntax_of
from lamella.dicom.elements import shown, text_of, uid_name, uid_of, value_of
from lamella.dicom.enhanced import ENHANCED_CLASSES, flattened, frame_count
from lamella.dicom.header import Slice, slice_of
from lamella.dicom.kind import (
    CT_CLASSES,
    is_image,
    is_localizer,
    material_map_of,
    projection_of,
    projection_word,
    rescale_unit,
)
from lamella.dicom.mixture import missing_parts
from lamella.dicom.parse import NotDicom, read_header
from lamella.errors import RefusedInput
from lamella.physics.repair import RepairKind

_ADVICE = {
    "a DICOMDIR": "A DICOMDIR lists images and holds none: give the folder that it lies in, with the images below it.",
    "compressed with gzip": "Unpack the .gz files (gunzip) and give the folder.",
    "an archive": "Unpack it and give the folder.",
    "another format": "Convert it to NIfTI, or export it as DICOM.",
    "NIfTI": "Give the NIfTI file itself as SOURCE.",
    "a ZIP": "Give the ZIP itself as SOURCE, or unpack it.",
}
"""What to do where nothing but files of one kind is found."""

_LISTED = 4
"""File names shown in full before "and N more"."""


@dataclass(frozen=True, eq=False)
class RawSeries:
    """The files of one SeriesInstanceUID, unchecked."""

    uid: str
    files: tuple[tuple[Entry, Dataset], ...]

    @property
    def modality(self) -> str:
        """Modality of the first image, or of the first file where there is no image."""
        return text_of((self.images or self.files)[0][1], "Modality")

    @property
    def images(self) -> tuple[tuple[Entry, Dataset], ...]:
        """The files that are images, localizers left out."""
        return tuple((entry, header) for entry, header in self.files if self.has(header) and not is_localizer(header))

    def has(self, header: Dataset) -> bool:
        """Whether a file counts as an image of this series: beside CT, a picture without a place (a dose sheet) does not."""
        placed = uid_of(header, "SOPClassUID") in CT_CLASSES or value_of(header, "ImagePositionPatient") is not None
        return is_image(header) and (placed or not self._holds_ct)

    @cached_property
    def _holds_ct(self) -> bool:
        return any(uid_of(header, "SOPClassUID") in CT_CLASSES for _, header in self.files)

    @property
    def is_ct(self) -> bool:
        """Whether it holds CT slices; reports, projections and maps may have Modality CT, too."""
        return self.modality == "CT" and any(
            uid_of(header, "SOPClassUID") in CT_CLASSES and not (projection_of(header) or material_map_of(header))
            for _, header in self.images
        )

    @property
    def is_placed(self) -> bool:
        """Whether any image says where it lies; sheets of dose or protocol, which may be CT images, do not."""
        return any(
            uid_of(header, "SOPClassUID") in ENHANCED_CLASSES or value_of(header, "ImagePositionPatient") is not None
            for _, header in self.images
        )

    @property
    def slice_count(self) -> int:
        """Frames of all images."""
        return sum(max(1, frame_count(header)) for _, header in self.images)

    @property
    def facts(self) -> str:
        """UID, slices, thickness and spacing, for a message that asks for a choice."""
        header = self.images[0][1] if self.images else self.files[0][1]
        thickness = value_of(header, "SliceThickness")
        thick = f" of {float(thickness):g} mm" if isinstance(thickness, (int, float)) else ""
        try:
            spacing = f", {stack_of_series(self).geometry.spacing_mm:.3g} mm apart"
        except RefusedInput:
            spacing = ", no regular stack"
        return f"{self.uid} ({self.slice_count} slices{thick}{spacing})"


@dataclass(frozen=True, eq=False)
class Scan:
    """What a source holds.

    Attributes:
        series: ordered by UID.
        damaged: one message for each file that says it is DICOM and cannot be read.
        notes: what was ignored.
        nothing: what to say where it holds no series.
    """

    series: tuple[RawSeries, ...]
    damaged: tuple[str, ...]
    notes: tuple[str, ...]
    nothing: str

    def choose(self, series_uid: str | None) -> RawSeries:
        """The series asked for, or the only CT series.

        Raises:
            RefusedInput: an unknown UID, or several CT series and no choice; the message lists what is there.
        """
        if series_uid is not None:
            for one in self.series:
                if one.uid == series_uid:
                    return one
            raise RefusedInput(
                f"There is no series {series_uid} in SOURCE. Found: {_listing(self.series)}. "
                "Give one of these as --series (series_uid in Python)."
            )
        stacks = [one for one in self.series if one.is_ct]
        stacks = [one for one in stacks if one.is_placed] or stacks
        if len(stacks) > 1:
            raise RefusedInput(
                f"SOURCE holds {len(stacks)} CT series and none was chosen: {_listing(stacks)}. "
                "Choose one with --series UID (series_uid in Python)."
            )
        if stacks:
            return stacks[0]
        # No CT stack: let the checks of the first series say what is wrong with it.
        return self.series[0]

    def passed_over(self, chosen: RawSeries) -> tuple[str, ...]:
        """A note for each series that is not the chosen one."""
        return tuple(
            f"series ignored: {one.uid} ({one.modality or 'no modality'}, {len(one.files)} files)"
            for one in self.series
            if one is not chosen
        )


def scan(archive: Archive, *, may_be_empty: bool = False) -> Scan:
    """Parses every file's header and groups the files by series.

    Raises:
        RefusedInput: nothing in the source is DICOM (unless it `may_be_empty`); a ZIP within a ZIP.
    """
    files: dict[str, list[tuple[Entry, Dataset]]] = {}
    ignored: dict[str, list[str]] = {}
    damaged: list[str] = []
    malformed: Counter[str] = Counter()
    for entry in archive.entries:
        try:
            header, removed = read_header(entry)
        except NotDicom as reason:
            if archive.zipped and str(reason) == "a ZIP":
                raise RefusedInput(
                    f"The ZIP holds another ZIP: {entry.name}. Unpack the outer one and give one of them."
                ) from None
            ignored.setdefault(str(reason), []).append(entry.name)
            continue
        except RefusedInput as error:
            damaged.append(str(error))
            continue
        malformed.update(removed)
        uid = text_of(header, "SeriesInstanceUID")
        if uid and shown(uid) == uid:
            files.setdefault(uid, []).append((entry, header))
        else:
            damaged.append(
                f"{entry.name} is DICOM without a SeriesInstanceUID that can be read: it is damaged or cut off. "
                "Copy or export it again."
            )
    notes = (
        *archive.notes,
        *(_ignored(reason, names) for reason, names in ignored.items()),
        *(f"element {tag} is malformed in {count} files and was left out" for tag, count in sorted(malformed.items())),
    )
    todo = "".join(f" {_ADVICE[reason]}" for reason in ignored if reason in _ADVICE)
    nothing = f"SOURCE holds no DICOM images. {'; '.join(notes)}.{todo}"
    series = tuple(RawSeries(uid, tuple(files[uid])) for uid in sorted(files))
    if not series and not may_be_empty:
        raise RefusedInput(damaged[0] if damaged else nothing)
    return Scan(series, tuple(damaged), notes, nothing)


def stack_of_series(series: RawSeries, thickness_mm: float | None = None, repair: RepairKind | None = None) -> Stack:
    """Checks a series from its headers alone; `thickness_mm` counts where they do not say it; `repair` is not refused.

    Raises:
        RefusedInput: it is no CT, or no regular stack of slices in Hounsfield units.
    """
    localizers = [entry.name for entry, header in series.files if series.has(header) and is_localizer(header)]
    others = [(entry.name, uid_of(header, "SOPClassUID")) for entry, header in series.files if not series.has(header)]
    notes = [f"localizer dropped: {_names(localizers)}"] if localizers else []
    if others:
        kinds = ", ".join(sorted({uid_name(kind) if kind else "no SOP class" for _, kind in others}))
        notes.append(f"no image, set aside: {_names([name for name, _ in others])} ({kinds})")
    if not series.images:
        what = (
            f"localizers only: {_names(localizers)}" if localizers else f"no images: {_names([o[0] for o in others])}"
        )
        raise RefusedInput(f"The series {series.uid} holds {what}. Choose an axial series.")
    notes += missing_parts([header for _, header in series.images], len(series.files))
    slices: list[Slice] = []
    for entry, header in series.images:
        slices.extend(_slices(entry, header, thickness_mm))
    slices, dropped = without_copies(slices)
    notes += [f"the same file twice, one dropped: {_names(dropped)}"] if dropped else []
    notes += _remarks(slices)
    stack = stack_of(slices, repair)
    return replace(stack, notes=(*notes, *stack.notes))


def _slices(entry: Entry, header: Dataset, thickness_mm: float | None) -> Iterable[Slice]:
    modality, sop_class = text_of(header, "Modality"), uid_of(header, "SOPClassUID")
    if modality != "CT":
        raise RefusedInput(
            f"{entry.name} is not CT. Found Modality {shown(modality)}; expected CT. Choose a CT series, or take the file out."
        )
    if sop_class not in CT_CLASSES:
        raise RefusedInput(
            f"{entry.name} is not a CT image. Found SOP Class {uid_name(sop_class)}; expected CT "
            "Image Storage or Enhanced CT Image Storage. Choose another series, or take the file out."
        )
    if SYNTAXES[pixel_format(header, entry.name).syntax].loss == "certain":
        # The writer reads this element alone, and the software that compressed may not have set it.
        header.add_new("LossyImageCompression", "CS", "01")
    frames = frame_count(header)
    if sop_class in ENHANCED_CLASSES:
        found = [slice_of(flat, entry, i, frames, thickness_mm) for i, flat in enumerate(flattened(header, entry.name))]
    elif frames in (0, 1):  # 0 is not allowed, and there is nothing else that it can mean
        found = [slice_of(header, entry, thickness_mm=thickness_mm)]
    else:
        raise RefusedInput(f"{entry.name} is a classic CT image with {frames} frames. Expected one frame a file.")
    for one in found:
        kind = rescale_unit(one.header)
        if kind not in ("", "HU", "US"):
            raise RefusedInput(f"{one.name} is not in Hounsfield units. Found RescaleType {shown(kind)}; expected HU.")
        if material := material_map_of(one.header):
            raise RefusedInput(
                f"{one.name} is a map of a material, not CT in Hounsfield units. Found {material} in ImageType; expected an "
                "image of attenuation, such as a monoenergetic one. Choose another series."
            )
        if projection := projection_of(one.header):
            raise RefusedInput(
                f"{one.name} is an intensity projection. Found {projection}; expected slices that average. "
                "Choose another series."
            )
    return [one for one in found if not is_localizer(one.header)]


def _remarks(slices: Sequence[Slice]) -> list[str]:
    lossy = [
        one
        for one in slices
        if text_of(one.header, "LossyImageCompression") == "01"
        or ((syntax := SYNTAXES.get(syntax_of(one.header))) and syntax.loss != "none")
    ]
    notes = [f"lossy compression: {len(lossy)} slices were or may have been compressed with loss"] if lossy else []
    if word := next(filter(None, (projection_word(one.header) for one in slices)), ""):
        notes.append(f"{word}: slices of original images are taken for averages, which intensity projections are not")
    if not all(text_of(one.header, "FrameOfReferenceUID") for one in slices):
        notes.append("FrameOfReferenceUID is missing")
    return notes


def _listing(series: Sequence[RawSeries]) -> str:
    return "; ".join(one.facts for one in series)


def _ignored(reason: str, names: Sequence[str]) -> str:
    return f"{len(names)} file{'s are' if len(names) > 1 else ' is'} {reason}, ignored: {_names(names)}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
