"""Where voxels are: `Geometry` (affine, shape, slice thickness) and `Volume` (HU array + geometry).

Axes, once and for all: arrays are (z, y, x) = (slice, row, column); the affine maps (z, y, x) indices to millimetres in
the DICOM patient system LPS (x to the patient's left, y to the back, z to the head; PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError, NonFiniteError, UsageError

AIR_HU = -1024
"""HU of everything outside the scan's field of view: the lowest value a 12-bit CT stores."""

MAX_HU = 3071
"""The highest value a 12-bit CT stores."""

SAME_GRID_MM = 0.05
"""Two grids whose corners lie nearer to each other than this are one: DICOM writes positions to about this."""

SAME_THICKNESS_MM = 0.05
"""A thickness given by hand may differ from the stated one by this much: people round to a decimal."""

_SAME_AXES = 1e-3
"""Largest difference between the unit vectors of two grids that still have one direction."""

_ORTHOGONAL_TOLERANCE = 1e-4
"""Largest cosine between two axes that still count as perpendicular."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """A regular stack of slices in space.

    Attributes:
        shape: (slices, rows, columns).
        affine: (4, 4) float64, homogeneous (z, y, x) voxel index -> LPS mm at voxel centres.
        thickness_mm: width of the slab each slice averages (DICOM SliceThickness). Not the distance between centres.

    Raises:
        LamellaError: axes not perpendicular, zero spacing, empty shape or a thickness that is not positive.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    thickness_mm: float

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "thickness_mm", float(self.thickness_mm))
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise LamellaError(f"The affine must be 4 x 4 finite numbers. Found shape {affine.shape}.")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise LamellaError(f"A volume needs three axes of at least one voxel. Found shape {self.shape}.")
        if not (np.isfinite(self.thickness_mm) and self.thickness_mm > 0):
            raise LamellaError(f"The slice thickness must be a positive number. Found {self.thickness_mm:g} mm.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() < 1e-6:
            raise LamellaError(f"The spacing must be positive on each axis. Found {lengths} mm.")
        unit = affine[:3, :3] / lengths
        worst = np.abs(unit.T @ unit - np.eye(3)).max()
        if worst > _ORTHOGONAL_TOLERANCE:
            raise LamellaError(
                f"The axes are not perpendicular (gantry tilt or shear): largest cosine between two axes {worst:.5f}, "
                f"allowed {_ORTHOGONAL_TOLERANCE:g}."
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Geometry)
            and self.shape == other.shape
            and self.thickness_mm == other.thickness_mm
            and bool(np.array_equal(self.affine, other.affine))
        )

    def __repr__(self) -> str:
        rows, columns = self.pixel_mm
        return (
            f"Geometry({' x '.join(map(str, self.shape))}, {self.thickness_mm:.4g} mm thick every {self.spacing_mm:.4g} mm, "
            f"pixel {rows:.4g} x {columns:.4g} mm)"
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.thickness_mm, self.affine.tobytes()))

    @property
    def spacing_mm(self) -> float:
        """Distance between neighbouring slice centres."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """(distance between rows, distance between columns), the order of DICOM PixelSpacing (0028,0030)."""
        return float(np.linalg.norm(self.affine[:3, 1])), float(np.linalg.norm(self.affine[:3, 2]))

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """(4, 4) (x, y, z) voxel index -> RAS mm: axis order and directions of NIfTI, nibabel and 3D Slicer."""
        return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine[:, [2, 1, 0, 3]])

    @cached_property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3) unit vectors in LPS; columns 0, 1, 2 point along rising slice, row and column index."""
        return np.asarray(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))

    @cached_property
    def centres_mm(self) -> NDArray[np.float64]:
        """(slices,) positions of the slice centres along the slice axis, rising, measured from the LPS origin."""
        start = float(self.axes[:, 0] @ self.affine[:3, 3])
        return np.asarray(start + self.spacing_mm * np.arange(self.shape[0]), dtype=np.float64)

    def position(self, z: float, y: float = 0.0, x: float = 0.0) -> NDArray[np.float64]:
        """LPS position in mm of a voxel index (may be fractional)."""
        return np.asarray((self.affine @ np.array([z, y, x, 1.0]))[:3])

    def same_axes(self, other: Geometry) -> bool:
        """Whether slices, rows and columns run in the same directions."""
        return np.allclose(self.axes, other.axes, atol=_SAME_AXES)

    def apart_mm(self, other: Geometry, *, in_plane: bool = False) -> float:
        """Largest distance between corresponding corners of two grids; infinite where shapes differ.

        Args:
            other: the other grid.
            in_plane: compare rows and columns only, wherever the two lie along the slice axis; infinite where their directions
                differ.
        """
        first = 1 if in_plane else 0
        if self.shape[first:] != other.shape[first:] or (in_plane and not self.same_axes(other)):
            return float("inf")
        ends = np.array(self.shape) - 1
        corners = [np.array([z, y, x]) * ends for z in ((0,) if in_plane else (0, 1)) for y in (0, 1) for x in (0, 1)]
        apart = np.array([self.position(*corner) - other.position(*corner) for corner in corners])
        return float(np.linalg.norm(apart @ self.axes[:, first:], axis=1).max())

    def with_slices(self, count: int, spacing_mm: float, first_offset_mm: float, thickness_mm: float) -> Geometry:
        """The same in-plane grid with other slices along the same axis.

        Args:
            count: number of slices.
            spacing_mm: distance between their centres.
            first_offset_mm: position of the new first centre along the slice axis, from this geometry's first centre.
            thickness_mm: slab width of the new slices.
        """
        affine = np.array(self.affine)
        affine[:3, 0] = self.axes[:, 0] * spacing_mm
        affine[:3, 3] = self.affine[:3, 3] + self.axes[:, 0] * first_offset_mm
        return Geometry((count, *self.shape[1:]), affine, thickness_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume in Hounsfield units.

    >>> volume = Volume.from_array(np.zeros((8, 64, 64)), spacing_mm=5.0, thickness_mm=5.0, pixel_mm=0.7)
    >>> volume
    Volume(float32, Geometry(8 x 64 x 64, 5 mm thick every 5 mm, pixel 0.7 x 0.7 mm))
    >>> volume.to_nibabel().shape
    (64, 64, 8)

    Attributes:
        hu: (z, y, x) float32 or int16.
        geometry: where the voxels are.
        header: what the reader keeps so that the answer can be written back (DICOM or NIfTI headers); opaque to every
            room but the one that made it.

    Raises:
        LamellaError: dtype or shape do not fit.
    """

    hu: NDArray[np.float32] | NDArray[np.int16]
    geometry: Geometry
    header: object | None = None

    def __post_init__(self) -> None:
        if self.hu.dtype not in (np.float32, np.int16):
            raise LamellaError(f"HU must be float32 or int16. Found {self.hu.dtype}.")
        if self.hu.shape != self.geometry.shape:
            raise LamellaError(f"The array has shape {self.hu.shape}, its geometry says {self.geometry.shape}.")

    def __repr__(self) -> str:
        return f"Volume({self.hu.dtype}, {self.geometry})"

    @classmethod
    def from_array(
        cls,
        hu: Any,
        *,
        spacing_mm: float,
        thickness_mm: float,
        pixel_mm: float | Sequence[float],
        origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> Volume:
        """A volume of axial slices from an array.

        Args:
            hu: (z, y, x) numbers in HU: slices towards the head, rows towards the back, columns towards the patient's left.
                int16 is kept, everything else becomes float32.
            spacing_mm: between slice centres.
            thickness_mm: of the slab that each slice averages.
            pixel_mm: (between rows, between columns), or one number for both.
            origin_mm: LPS position of the first voxel's centre.

        Raises:
            LamellaError: not three axes of numbers, or lengths that are not positive.
        """
        array = np.asarray(hu)
        if array.dtype.kind not in "iuf" or array.ndim != 3:
            raise LamellaError(f"HU must be a (z, y, x) array of numbers. Found {array.dtype}, {array.ndim} axes.")
        row_mm, column_mm = (float(one) for one in np.broadcast_to(pixel_mm, 2))
        if not min(spacing_mm, row_mm, column_mm) > 0:
            raise LamellaError(f"Spacings must be above 0 mm. Found {spacing_mm:g}, {row_mm:g} and {column_mm:g}.")
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm, row_mm, column_mm
        affine[:, 3] = *origin_mm, 1.0
        kept = array if array.dtype == np.int16 else array.astype(np.float32)
        return cls(kept, Geometry(kept.shape, affine, thickness_mm))

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """(4, 4) (x, y, z) voxel index -> RAS mm, as NIfTI counts; `geometry.affine` is (z, y, x) -> LPS mm."""
        return self.geometry.affine_ras

    def to_nibabel(self) -> Any:
        """The same as a `nibabel.Nifti1Image`: axes x, y, z, positions in RAS mm.

        `Nifti1Image(volume.hu, volume.geometry.affine)` would be a mirrored image with its axes in the wrong order.
        """
        import nibabel

        image = nibabel.Nifti1Image(self.hu.transpose(2, 1, 0), self.affine_ras)
        image.set_qform(self.affine_ras, 1)
        image.set_sform(self.affine_ras, 1)
        image.header.set_xyzt_units("mm")
        return image

    def part(self, slices: slice, rows: slice = slice(None), columns: slice = slice(None)) -> Volume:
        """The part within some slices, rows and columns (steps of 1), with its geometry moved along."""
        starts = [part.indices(n)[0] for part, n in zip((slices, rows, columns), self.geometry.shape, strict=True)]
        affine = np.array(self.geometry.affine)
        affine[:3, 3] = self.geometry.position(*starts)
        hu: Any = np.ascontiguousarray(self.hu[slices, rows, columns])
        return Volume(hu, Geometry(hu.shape, affine, self.geometry.thickness_mm), self.header)


GIVE_THICKNESS = "give it (--thickness-mm; of degrade --source-thickness-mm; thickness_mm in Python and configs)"
"""What to do where an input does not say how thick its slices are, for messages."""


def agreed_thickness(stated_mm: float | None, given_mm: float | None, where: str) -> float | None:
    """The slice thickness that an input states; where it states none, the one that was given.

    Args:
        stated_mm: None where the input says nothing.
        given_mm: None where nothing was given.
        where: the element and the file that state it, for the message.

    Raises:
        UsageError: both are there, and differ by more than rounding.
    """
    if stated_mm is None or given_mm is None:
        return given_mm if stated_mm is None else stated_mm
    if abs(stated_mm - given_mm) > SAME_THICKNESS_MM:
        raise UsageError(
            f"The slice thickness given contradicts the input. Found {given_mm:g} mm given, and {stated_mm:g} mm in {where}. "
            "Leave the thickness out to use the input's, or correct the input."
        )
    return stated_mm


def round_hu(hu: NDArray[Any]) -> NDArray[np.int16]:
    """The whole HU that are stored: to nearest, nothing below air, at most what int16 holds (metal is above 12 bits).

    Args:
        hu: (z, ...) HU.

    Raises:
        NonFiniteError: NaN or infinity; the message names the first slice.
    """
    stored = np.empty(hu.shape, dtype=np.int16)
    for index, plane in enumerate(hu):  # one at a time: no second float copy of the volume
        if not np.isfinite(plane).all():
            raise NonFiniteError(f"Slice {index} of the result holds NaN or infinity. Expected finite HU.")
        stored[index] = np.clip(np.rint(plane), AIR_HU, np.iinfo(np.int16).max)
    return stored
