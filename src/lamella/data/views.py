"""Thin volumes to learn from: a scan seen along its slice axis, and along its rows and columns.

Any axial scan is also thin data when y or x plays the slice axis, half a millimetre or so apart: most thick-slice scans are
usable only that way (self-supervision as in SMORE, Zhao et al., IEEE TMI 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamella.data.sources import TrainingSource
from lamella.errors import UsageError
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.slice_operator import cubic_matrix
from lamella.sources.source import read_source
from lamella.volume import AIR_HU, MAX_HU, Geometry, Volume

_ISOTROPIC = 1.3
"""A reformatted plane whose pixels are longer than this many times their width is interpolated to square pixels first."""


@dataclass(frozen=True)
class SeriesSettings:
    """One training series: a scan, or a phantom painted when training starts.

    Attributes:
        path: folder of the series, relative to the data folder.
        phantom: instead of a path.
        axial: weight of the view along the slice axis; 0 leaves it out.
        reformat: weight of each of the two views along rows and columns.
        slices: [first, last) slices used along the slice axis; the rest is held out.

    Raises:
        UsageError: neither path nor phantom, or both.
    """

    path: str = ""
    axial: float = 0.0
    reformat: float = 0.0
    slices: tuple[int, int] | None = None
    phantom: PhantomSettings | None = None

    def __post_init__(self) -> None:
        if bool(self.path) == (self.phantom is not None):
            raise UsageError("A training series needs either a path or a phantom. Found both or neither.")


def _square_pixels(hu: NDArray[np.int16], spacing_mm: float, pixel_mm: float) -> NDArray[np.int16]:
    """Interpolate along z so that a reformatted plane has (nearly) square pixels; near-square ones stay as they are."""
    if not _is_coarse(spacing_mm, pixel_mm):
        return hu
    known = np.arange(len(hu)) * spacing_mm
    wanted = np.arange(0.0, known[-1], pixel_mm)
    dense = np.tensordot(cubic_matrix(known, wanted).astype(np.float32), hu.astype(np.float32), axes=1)
    return np.clip(dense.round(), AIR_HU, MAX_HU).astype(np.int16)


def reformatted_bytes(geometry: Geometry) -> int:
    """Memory that the views of a scan along its rows and columns share."""
    pixel_mm = geometry.pixel_mm[1]
    closer = geometry.spacing_mm / pixel_mm if _is_coarse(geometry.spacing_mm, pixel_mm) else 1.0
    return int(2 * closer * math.prod(geometry.shape))


def _is_coarse(spacing_mm: float, pixel_mm: float) -> bool:
    return spacing_mm > _ISOTROPIC * pixel_mm


def views_of(name: str, volume: Volume, settings: SeriesSettings) -> list[TrainingSource]:
    """The views of one scan that `settings` ask for; the first axis of each plays the slice axis."""
    hu = np.clip(volume.hu, AIR_HU, MAX_HU).astype(np.int16)
    if settings.slices is not None:
        hu = hu[slice(*settings.slices)]
    of_array, spacing_mm = TrainingSource.of_array, volume.geometry.spacing_mm
    views = []
    if settings.axial:
        views.append(of_array(f"{name}/z", hu, spacing_mm, settings.axial))
    if settings.reformat:
        row_mm, column_mm = volume.geometry.pixel_mm
        plane = _square_pixels(hu, spacing_mm, column_mm)
        views.append(of_array(f"{name}/y", plane.transpose(1, 0, 2), row_mm, settings.reformat))
        views.append(of_array(f"{name}/x", plane.transpose(2, 0, 1), column_mm, settings.reformat))
    return views


def load_views(folder: Path, series: Sequence[SeriesSettings], key: str = "data.series") -> list[TrainingSource]:
    """Read every series of a data folder and cut its views.

    Raises:
        UsageError: the folder lacks a series.
    """
    views: list[TrainingSource] = []
    for item in series:
        if item.phantom:
            views += views_of(f"phantom-{item.phantom.seed}", paint_phantom(item.phantom), item)
            continue
        path = folder / item.path
        if not path.exists():
            raise UsageError(f"Training series {path} does not exist. Set data.folder to the folder that holds it.")
        views += views_of(item.path, read_source(path), item)
    if not views:
        raise UsageError(f"{key}: no series has a view with a weight above 0. Name some, with axial or reformat.")
    return views
