"""Where voxels are: `Geometry` (affine, shape, slice thickness) and `Volume` (HU array + geometry).

Axes, once and for all: arrays are (z, y, x) = (slice, row, column); the affine maps (z, y, x) indices to millimetres in
the DICOM patient system LPS (x to the patient's left, y to the back, z to the head; PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError

AIR_HU = -1024
"""HU of everything outside the scan's field of view: the lowest value a 12-bit CT stores."""

MAX_HU = 3071
"""The highest value a 12-bit CT stores."""

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
