"""A scan as evaluations see it: its HU, cropped to the body, and where to measure in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

import lamella.metrics as metrics
from lamella.errors import RefusedInput
from lamella.metrics.checks import Mask
from lamella.phantom import PhantomSettings
from lamella.results.schema import Kind
from lamella.thinning.coverage import may_hold_lungs
from lamella.volume import SAME_GRID_MM, Geometry, Volume, round_hu

_MARGIN_PX = 12
"""Kept around the body when the air beside it is cropped away."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A thin series and where to measure in it.

    Attributes:
        name: of the scan, or of the patient where several are of one: a group in intervals and tests.
        kind: where it comes from.
        person: whether it shows a person.
        volume: HU, cropped to the body if asked for.
        masks: region -> (z, y, x), made from these HU.
        lung_region: the lungs with their vessels.
        whole: geometry before cropping, for results of other tools.
        box: (rows, columns) of `whole` that were kept.
        phantom: how it was painted; None for a scan.
    """

    name: str
    kind: Kind
    person: bool
    volume: Volume
    masks: dict[str, Mask]
    lung_region: Mask
    whole: Geometry
    box: tuple[slice, slice]
    phantom: PhantomSettings | None = None

    def part(self, slices: slice, rows: slice = slice(None), columns: slice = slice(None)) -> Scan:
        """The part of it within some slices, rows and columns; the masks are cut, not made anew."""
        box = slices, rows, columns
        first, last, _ = slices.indices(self.whole.shape[0])
        step_mm = self.whole.spacing_mm
        kept = [
            slice(old.start + new.indices(old.stop - old.start)[0], old.start + new.indices(old.stop - old.start)[1])
            for old, new in zip(self.box, (rows, columns), strict=True)
        ]
        return replace(
            self,
            volume=self.volume.part(*box),
            masks={name: mask[box] for name, mask in self.masks.items()},
            lung_region=self.lung_region[box],
            whole=self.whole.with_slices(last - first, step_mm, first * step_mm, self.whole.thickness_mm),
            box=(kept[0], kept[1]),
        )


def scan_of(name: str, kind: Kind, person: bool, volume: Volume, crop: bool) -> Scan:
    """A scan with its masks, cropped to the body if asked for (and if there is one)."""
    whole, body = volume.geometry, metrics.body_mask(volume.hu)
    _, rows, columns = metrics.box_around(body if crop else np.ones_like(body), (0, _MARGIN_PX, _MARGIN_PX))
    volume = volume.part(slice(None), rows, columns)
    body = np.ascontiguousarray(body[:, rows, columns])
    lung = metrics.lung_mask(volume.hu, body)
    if not (may_hold_lungs(volume) and metrics.shows_lungs(volume.hu, lung, volume.geometry)):
        lung[:] = False  # air of sinuses, throat, bowel or a test object: figures of lungs would be of nothing
    region = metrics.lung_region(lung, volume.geometry)
    masks = {
        "body": body,
        "lung": lung,
        "soft": metrics.soft_tissue_mask(volume.hu, volume.geometry, body),
        "bone": metrics.bone_mask(volume.hu, volume.geometry, body),
        "vessel": metrics.vessel_mask(volume.hu, lung, region),
    }
    return Scan(name, kind, person, volume, masks, region, whole, (rows, columns))


def require_same_plane(one: Geometry, other: Geometry, case: str) -> None:
    """Refuse two grids whose pixels do not lie on each other.

    Raises:
        RefusedInput: rows, columns, their directions or their positions differ.
    """
    if one.apart_mm(other, in_plane=True) > SAME_GRID_MM:
        found = (
            f"{g.shape[1]} x {g.shape[2]} pixels of {g.pixel_mm[0]:.4g} x {g.pixel_mm[1]:.4g} mm" for g in (one, other)
        )
        raise RefusedInput(
            f"Two volumes of case {case} do not share the in-plane grid. Found {' and '.join(found)}, expected the same "
            f"pixels, directions and positions within {SAME_GRID_MM} mm. Bring the result to the grid of the scan first."
        )


def softened(volume: Volume, sigma_mm: float) -> Volume:
    """The volume blurred in the slice by a Gaussian, as a softer kernel would have left it, in whole HU."""
    sigma_px = [0.0, *(sigma_mm / mm for mm in volume.geometry.pixel_mm)]
    return replace(volume, hu=round_hu(ndimage.gaussian_filter(volume.hu.astype(np.float32), sigma_px)))
