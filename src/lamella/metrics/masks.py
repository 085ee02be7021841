"""Where to measure: body, lungs and their vessels, soft tissue, bone. Made from the truth, never from a prediction.

Plain thresholds and connected components: the same regions for every method compared, not an anatomical segmentation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.metrics.checks import Hu, Mask
from lamella.volume import Geometry

BODY_HU = -500.0
"""Above: tissue; below: lung and air."""

LUNG_HU = (-1000.0, -500.0)
"""Air and lung parenchyma, with partial volume at vessels and walls left out."""

SOFT_TISSUE_HU = (0.0, 100.0)
"""Muscle, blood and solid organs; no fat, no bone, little contrast medium."""

BONE_HU = 200.0
"""Calcified tissue; also blood, kidneys and bowel full of contrast medium."""

VESSEL_HU = -500.0
"""Above, inside the lung region: vessels, walls of airways, nodules."""

AIR_INSIDE_HU = -970.0
"""Median HU of parenchyma lies above it, even in emphysema; that of air in sinuses, throat, bowel or a test object does not."""

LEAST_LUNG_ML = 30.0

_TABLE_OPENING_PX = 3
_LUNG_SHARE = 0.05
_SMOOTHING_MM = 2.0
_FLAT_HU_PER_MM = 8.0
_MARGIN_MM = 2.0
_BONE_SMOOTHING_MM = 1.0
_BONE_PART_MM3 = 100.0
_CLOSING_MM = 5.0
_HOLE_MM2 = 700.0
_PLEURA_PX = 2


def body_mask(hu: Hu) -> Mask:
    """The body with everything inside it: the largest connected part above -500 HU, its holes filled slice by slice.

    Thin shells that only touch the body (table top, blankets) are cut off by an in-plane opening before the largest
    part is chosen; what the opening took off the skin is grown back.

    Args:
        hu: (z, y, x) HU of a thin or thick CT.

    Returns:
        (z, y, x) mask with lungs, airways and bowel gas; empty where nothing is above -500 HU.
    """
    tissue = hu > BODY_HU
    disc = _disc(_TABLE_OPENING_PX)
    opened = np.stack([ndimage.binary_opening(plane, disc) for plane in tissue])
    largest = _parts(opened, lambda sizes: np.arange(len(sizes)) == sizes.argmax())
    body = np.empty(tissue.shape, dtype=np.bool_)
    for index, plane in enumerate(largest):
        grown = (
            ndimage.binary_dilation(plane, iterations=_TABLE_OPENING_PX, mask=tissue[index]) if plane.any() else plane
        )
        body[index] = ndimage.binary_fill_holes(grown)
    return body


def lung_mask(hu: Hu, body: Mask | None = None) -> Mask:
    """Air inside the body, -1000 to -500 HU: lung parenchyma and the large airways, without vessels.

    The threshold acts on a 3 x 3 in-plane average, so that noise does not choose the voxels that are scored. Parts
    with less than a twentieth of the largest part's voxels are dropped: small bowel gas, folds of skin.

    Args:
        body: (z, y, x) from `body_mask`; made here when None.

    Returns:
        (z, y, x) mask; empty in a scan without lungs.
    """
    body = body_mask(hu) if body is None else body
    air = np.zeros(hu.shape, dtype=np.bool_)
    for index, plane in enumerate(hu):
        smooth = ndimage.uniform_filter(plane.astype(np.float32), 3, mode="nearest")
        air[index] = body[index] & (smooth >= LUNG_HU[0]) & (smooth < LUNG_HU[1])
    return _parts(air, lambda sizes: sizes >= _LUNG_SHARE * sizes.max())


def shows_lungs(hu: Hu, lung: Mask, geometry: Geometry) -> bool:
    """Whether `lung_mask` holds lungs: enough of it, and its inside is no air.

    The inside is what lies a pixel from the mask's border in the slice, where air and tissue would mix.
    """
    inner = _shrunk(lung, [0, 1, 1])
    litre = np.count_nonzero(lung) * float(np.prod(_spacing_mm(geometry))) / 1e6
    return bool(1e3 * litre >= LEAST_LUNG_ML and inner.any() and np.median(hu[inner]) > AIR_INSIDE_HU)


def soft_tissue_mask(
    hu: Hu, geometry: Geometry, body: Mask | None = None, range_hu: tuple[float, float] = SOFT_TISSUE_HU
) -> Mask:
    """Homogeneous soft tissue: where noise can be measured because nothing else is there.

    A copy smoothed by a 3-D Gaussian of 2 mm sigma lies within the range and changes by less than 8 HU/mm; the region is
    then eroded by 2 mm on every side.

    Args:
        body: (z, y, x) from `body_mask`; None counts the whole image.
        range_hu: of the smoothed copy.

    Returns:
        (z, y, x) mask.
    """
    spacing_mm = _spacing_mm(geometry)
    smooth = _smoothed(hu, geometry, _SMOOTHING_MM)
    flat = (smooth >= range_hu[0]) & (smooth <= range_hu[1])
    steepness = np.zeros(hu.shape, dtype=np.float32)
    for axis, step_mm in enumerate(spacing_mm):
        if hu.shape[axis] > 1:
            steepness += np.gradient(smooth, step_mm, axis=axis) ** 2
    flat &= steepness < _FLAT_HU_PER_MM**2
    if body is not None:
        flat &= body
    return _shrunk(flat, [round(_MARGIN_MM / step_mm) for step_mm in spacing_mm])


def bone_mask(hu: Hu, geometry: Geometry, body: Mask) -> Mask:
    """Calcified tissue in the body: above 200 HU once smoothed by 1 mm, in parts of at least 100 mm^3.

    A threshold cannot tell bone from contrast medium: in enhanced scans the heart, large vessels, kidneys and filled bowel
    are in it too, and the inside of soft vertebrae is not. Figures in it are those of dense tissue with steep borders.

    Args:
        body: (z, y, x) from `body_mask`.

    Returns:
        (z, y, x) mask.
    """
    dense = (_smoothed(hu, geometry, _BONE_SMOOTHING_MM) > BONE_HU) & body
    voxel_mm3 = float(np.prod(_spacing_mm(geometry)))
    return _parts(dense, lambda sizes: sizes >= _BONE_PART_MM3 / voxel_mm3)


def lung_region(lung: Mask, geometry: Geometry) -> Mask:
    """The lungs with their vessels, airway walls and nodules: `lung_mask`, closed.

    A 3-D closing by 5 mm on every side takes in what is up to 10 mm thick and surrounded by lung; then holes of up to
    7 cm^2 in a slice are filled (larger vessels, nodules). Larger holes stay: where the lungs touch before and behind
    it, the heart is one. What touches the chest wall or the mediastinum and is thicker than 10 mm stays outside.

    Args:
        lung: (z, y, x) from `lung_mask`.

    Returns:
        (z, y, x) mask that contains `lung`.
    """
    spacing_mm = _spacing_mm(geometry)
    reach = [round(_CLOSING_MM / step_mm) for step_mm in spacing_mm]
    region = _closed(lung, reach)
    largest_hole = _HOLE_MM2 / (spacing_mm[1] * spacing_mm[2])
    for plane in region:
        if plane.any():
            holes = ndimage.binary_fill_holes(plane) & ~plane
            plane |= holes & ~_parts(holes, lambda sizes: sizes >= largest_hole)
    return region


def vessel_mask(hu: Hu, lung: Mask, region: Mask, threshold_hu: float = VESSEL_HU) -> Mask:
    """Vessel-like tissue in the lungs: denser than lung, inside the lung region.

    Above the threshold once smoothed in the slice with weights 1, 2, 1 in both directions: narrow enough to keep a vessel of
    one pixel, wide enough that noise chooses few voxels. Two pixels along the region's border, the pleura, are left out.
    Walls of airways and nodules are in it; it is no segmentation of vessels.

    Args:
        lung: (z, y, x) from `lung_mask`; slices without lung have no vessels.
        region: (z, y, x) from `lung_region`.
        threshold_hu: vessels lie above it.

    Returns:
        (z, y, x) mask.
    """
    inner = _shrunk(region, [0, _PLEURA_PX, _PLEURA_PX])
    vessels = np.zeros(hu.shape, dtype=np.bool_)
    weights = np.array([0.25, 0.5, 0.25])
    for index in np.flatnonzero(lung.any(axis=(1, 2))):
        smooth = hu[index].astype(np.float32)
        for axis in (0, 1):
            smooth = ndimage.correlate1d(smooth, weights, axis=axis, mode="nearest")
        vessels[index] = inner[index] & (smooth > threshold_hu)
    return vessels


def shrunk_along_z(mask: Mask, slices: int) -> Mask:
    """The mask less what lies within so many slices of its upper and lower border.

    For noise: a thick slice that reaches from homogeneous tissue into something else leaves errors in a restoration
    that are no noise. The distance wanted is the thickness of the thick slices. The ends of the volume are no border.

    Args:
        mask: (z, y, x).
        slices: how far to shrink, at least 0.

    Returns:
        (z, y, x) mask.
    """
    return _shrunk(mask, [slices, 0, 0])


def box_around(mask: Mask, margin: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """Slices, rows and columns that hold a mask and so many voxels around it; all of them where the mask is empty."""
    box = []
    for axis, (size, room) in enumerate(zip(mask.shape, margin, strict=True)):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, size - 1)
        box.append(slice(max(0, first - room), min(size, last + 1 + room)))
    return box[0], box[1], box[2]


def _spacing_mm(geometry: Geometry) -> tuple[float, float, float]:
    return (geometry.spacing_mm, *geometry.pixel_mm)


def _smoothed(hu: Hu, geometry: Geometry, sigma_mm: float) -> NDArray[np.float32]:
    """(z, y, x) float32 copy, blurred by a 3-D Gaussian of so many millimetres."""
    smooth = hu.astype(np.float32)
    for axis, step_mm in enumerate(_spacing_mm(geometry)):
        smooth = ndimage.gaussian_filter1d(smooth, sigma_mm / step_mm, axis=axis, mode="nearest")
    return np.asarray(smooth)


def _closed(mask: Mask, reach: list[int]) -> Mask:
    """Dilated, then eroded, by a box of so many voxels on every side, as if the image went on as it ends."""
    room = [(2 * steps, 2 * steps) for steps in reach]
    grown = np.pad(mask, room, mode="edge")
    for axis, steps in enumerate(reach):
        if steps:
            grown = ndimage.maximum_filter1d(grown, 2 * steps + 1, axis=axis, mode="nearest")
    inner = tuple(slice(before, size - before) for (before, _), size in zip(room, grown.shape, strict=True))
    return np.ascontiguousarray(_shrunk(grown, reach)[inner])


def _shrunk(mask: Mask, reach: list[int]) -> Mask:
    """Eroded by a box of so many voxels on every side; the image's border is no border of the mask."""
    for axis, steps in enumerate(reach):
        if steps:
            mask = ndimage.minimum_filter1d(mask, 2 * steps + 1, axis=axis, mode="nearest")
    return np.asarray(mask, dtype=np.bool_)


def _parts(mask: Mask, chosen: Callable[[NDArray[np.intp]], Mask]) -> Mask:
    """The connected parts of a 2-D or 3-D mask that are chosen by their sizes in voxels."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(chosen(sizes)[labels] & mask)


def _disc(radius_px: int) -> Mask:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(y**2 + x**2 <= radius_px**2)
