"""One record a slice (`Slice`), and what a read series carries along for the writer (`SeriesHeader`)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from lamella.dicom.archive import Entry
from lamella.dicom.body_part import body_part_of
from lamella.dicom.elements import numbers, text_of, value_of
from lamella.errors import RefusedInput
from lamella.physics.repair import Repair
from lamella.volume import GIVE_THICKNESS, agreed_thickness

NEEDED = {
    "RescaleSlope": (1, "Without it stored values are not Hounsfield units"),
    "RescaleIntercept": (1, "Without it stored values are not Hounsfield units"),
    "SliceThickness": (
        1,
        "The width of the slab cannot be guessed from the spacing: if you know it, " + GIVE_THICKNESS,
    ),
    "PixelSpacing": (2, "Without it there are no millimetres in the plane"),
    "ImagePositionPatient": (
        3,
        "Without it the slice has no place in space: if it is a picture of something else, take it out",
    ),
    "ImageOrientationPatient": (6, "Without it the slice has no direction"),
    "Rows": (1, "An image needs it"),
    "Columns": (1, "An image needs it"),
    "BitsStored": (1, "An image needs it"),
}
"""Elements that a slice must have: how many numbers, and why."""


@dataclass(frozen=True, eq=False)
class SeriesHeader:
    """What `Volume.header` holds after reading DICOM.

    Attributes:
        series_uid: SeriesInstanceUID.
        slices: one classic data set a slice, in array order, without pixel data; of a slice that a repair made, that of the
            nearest measured one. Enhanced multi-frame input is flattened: every functional group's elements lie at the
            top level, as in the CT Image IOD. Data sets may share elements: copy before changing.
        files: base names in array order.
        notes: everything assumed, ignored or dropped on the way.
        ascending: InstanceNumber rises along the array (along +normal), so that a writer can number the same way.
        repair: what was repaired on request.
        made_of: the data sets of the measured slices that each slice is made of, where a repair made some; else empty.
    """

    series_uid: str
    slices: tuple[Dataset, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]
    ascending: bool
    repair: Repair | None = None
    made_of: tuple[tuple[Dataset, ...], ...] = ()

    @property
    def body_part(self) -> str:
        """The region that the headers name, in words of our own (`body_part_of`); empty where they do not."""
        return body_part_of(self.slices[0])


@dataclass(frozen=True, eq=False)
class Slice:
    """One image plane with everything the geometry and the HU scale need, checked for presence and form only.

    Attributes:
        entry, frame, frames: the file, the index of the frame in it, and how many frames it holds.
        header: classic data set without pixel data.
        position_mm: ImagePositionPatient, LPS.
        orientation: ImageOrientationPatient: direction of rising column index, then of rising row index.
        pixel_mm: PixelSpacing: between rows, between columns.
        thickness_mm: SliceThickness.
        slope, intercept: RescaleSlope, RescaleIntercept (stored value -> HU).
        padding: lowest and highest stored value that mean "no measurement", or None.
        highest_stored: the highest value that BitsStored and PixelRepresentation can hold.
    """

    entry: Entry
    frame: int
    frames: int
    header: Dataset
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_mm: tuple[float, ...]
    rows: int
    columns: int
    thickness_mm: float
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    highest_stored: int

    @property
    def name(self) -> str:
        """The file's base name, with the frame number where the file has several."""
        return f"{self.entry.name} frame {self.frame + 1}" if self.frames > 1 else self.entry.name

    @property
    def instance_uid(self) -> str:
        """SOPInstanceUID, or the file where it is missing or empty, made unique per frame."""
        return f"{text_of(self.header, 'SOPInstanceUID') or self.entry.path}#{self.frame}"


def slice_of(
    header: Dataset, entry: Entry, frame: int = 0, frames: int = 1, thickness_mm: float | None = None
) -> Slice:
    """Reads the elements a slice cannot do without; `thickness_mm` counts where SliceThickness is missing, empty or 0.

    Raises:
        RefusedInput: one of them is missing or malformed; the message names the file.
        UsageError: SliceThickness contradicts `thickness_mm`.
    """
    name = f"{entry.name} frame {frame + 1}" if frames > 1 else entry.name
    given: dict[str, tuple[float, ...]] = {}
    if thickness_mm is not None and not value_of(header, "SliceThickness"):
        given["SliceThickness"] = (thickness_mm,)
    stated = given | {
        keyword: numbers(header, keyword, count, name, why)
        for keyword, (count, why) in NEEDED.items()
        if keyword not in given
    }
    slope, thickness, pixel = stated["RescaleSlope"][0], stated["SliceThickness"][0], stated["PixelSpacing"]
    if not given:
        agreed_thickness(thickness, thickness_mm, f"SliceThickness of {name}")
    if slope <= 0:
        raise RefusedInput(
            f"RescaleSlope is not positive in {name}. Found {slope:g}. Expected a positive number. Export the series again."
        )
    if min(*pixel, thickness) <= 0:
        raise RefusedInput(
            f"PixelSpacing and SliceThickness must be positive in {name}. Found {pixel[0]:g}, {pixel[1]:g} and "
            f"{thickness:g} mm. Where the thickness is 0, {GIVE_THICKNESS}."
        )
    return Slice(
        entry=entry,
        frame=frame,
        frames=frames,
        header=header,
        position_mm=stated["ImagePositionPatient"],
        orientation=stated["ImageOrientationPatient"],
        pixel_mm=pixel,
        rows=int(stated["Rows"][0]),
        columns=int(stated["Columns"][0]),
        thickness_mm=thickness,
        slope=slope,
        intercept=stated["RescaleIntercept"][0],
        padding=_padding(header, name),
        highest_stored=2 ** (int(stated["BitsStored"][0]) - _signed(header)) - 1,
    )


def _padding(header: Dataset, name: str) -> tuple[int, int] | None:
    """PixelPaddingValue and PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2), in the sign of PixelRepresentation."""
    if value_of(header, "PixelPaddingValue") is None:
        return None
    value = numbers(header, "PixelPaddingValue", 1, name, "")[0]
    limit = value
    if value_of(header, "PixelPaddingRangeLimit") is not None:
        limit = numbers(header, "PixelPaddingRangeLimit", 1, name, "")[0]
    signed = _signed(header)
    first, last = sorted(_as_stored(int(item), signed) for item in (value, limit))
    return first, last


def _signed(header: Dataset) -> bool:
    return bool(value_of(header, "PixelRepresentation") == 1)


def _as_stored(value: int, signed: bool) -> int:
    # Some writers put -2000 as US (63536) or the reverse; both are the same 16 bits.
    bits = value & 0xFFFF
    return bits - 0x10000 if signed and bits >= 0x8000 else bits
