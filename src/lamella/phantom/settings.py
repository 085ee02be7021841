"""Settings of a phantom: the grid, the seed and the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lamella.errors import LamellaError
from lamella.phantom.shapes import EDGE_MM
from lamella.volume import MAX_HU, Geometry

Region = Literal["chest", "head", "metal", "plates", "solids", "targets"]

MOST_HU = 32767
"""What int16 holds."""

THICKEST_MM = 3.0
"""Edges are as soft as in a thin slice; thicker slices would need softer ones."""


@dataclass(frozen=True)
class PhantomSettings:
    """The grid on which a phantom is sampled, and what is random.

    Attributes:
        shape: (slices, rows, columns).
        middle_mm: LPS position of the grid's middle; the origin lies in the heart or the middle of the brain.
        spacing_mm: distance between slice centres.
        pixel_mm: distance between rows and between columns.
        thickness_mm: slab width that the geometry records.
        seed: chooses vessels, nodules, textures and noise; of a head also size, folds and contrast medium.
        noise_hu: standard deviation of the noise in soft tissue; less in the lungs, more in the shoulders. 0: no noise.
        nodules: how many, with diameters from 3 to 12 mm; in a chest alone.
        round_field: whether voxels beyond the circle in the field of view are -1024 HU, as a scanner fills them.
        region: what is painted: a chest, a head, or a test object: rods of metal with streaks, plates and steps of flat
            material, solids of many densities, or airways and specks of known size.
        edge_mm: softness of edges and grain of the noise, as a reconstruction kernel sets them: standard deviation of the
            edges where pixels allow it.
        highest_hu: what is above is cut off; metal needs an extended range.

    Raises:
        LamellaError: a value out of range.
    """

    shape: tuple[int, int, int] = (160, 256, 256)
    spacing_mm: float = 1.0
    pixel_mm: float = 1.4
    thickness_mm: float = 1.0
    seed: int = 0
    noise_hu: float = 15.0
    nodules: int = 9
    middle_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    round_field: bool = False
    region: Region = "chest"
    edge_mm: float = EDGE_MM
    highest_hu: float = MAX_HU

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 2:
            raise LamellaError(f"A phantom needs at least two voxels on each axis. Found shape {self.shape}.")
        for name in ("spacing_mm", "pixel_mm", "thickness_mm"):
            value = getattr(self, name)
            if not 0.0 < value <= THICKEST_MM:
                raise LamellaError(
                    f"The phantom's {name} is out of range. Found {value:g}, expected more than 0 and at most "
                    f"{THICKEST_MM:g}. Paint a thin phantom and thicken it with lamella.physics.slice_operator."
                )
        if not 0.2 <= self.edge_mm <= 2.0:
            raise LamellaError(f"The phantom's edge_mm is out of range. Found {self.edge_mm:g}, expected 0.2 to 2.")
        if not MAX_HU <= self.highest_hu <= MOST_HU:
            raise LamellaError(
                f"The phantom's highest_hu is out of range. Found {self.highest_hu:g}, expected {MAX_HU} to {MOST_HU}."
            )
        if not 0.0 <= self.noise_hu <= 200.0:
            raise LamellaError(f"The phantom's noise is out of range. Found {self.noise_hu:g} HU, expected 0 to 200.")
        if not 0 <= self.nodules <= 24:
            raise LamellaError(f"The phantom has room for 0 to 24 nodules. Found {self.nodules}.")
        if self.seed < 0:
            raise LamellaError(f"The phantom's seed must not be negative. Found {self.seed}.")

    @property
    def geometry(self) -> Geometry:
        """Axial slices from the feet upwards, around `middle_mm`."""
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = self.spacing_mm, self.pixel_mm, self.pixel_mm, 1.0
        half = [(n - 1) / 2 for n in self.shape]
        reach_mm = np.array([half[2] * self.pixel_mm, half[1] * self.pixel_mm, half[0] * self.spacing_mm])
        affine[:3, 3] = np.array(self.middle_mm) - reach_mm
        return Geometry(self.shape, affine, self.thickness_mm)
