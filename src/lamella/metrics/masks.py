"""Where to measure: the body, the lungs, homogeneous soft tissue. Made from the truth, never from a prediction.

Plain thresholds and connected components: the same regions for every method compared, not an anatomical segmentation.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lamella.metrics.checks import Hu, Mask
from lamella.volume import Geometry

BODY_HU = -500.0
"""Above: tissue; below: lung and air."""

LUNG_HU = (-1000.0, -500.0)
"""Air and lung parenchyma, with partial volume at vessels and walls left out."""

SOFT_TISSUE_HU = (0.0, 100.0)
"""Muscle, blood and solid organs; no fat, no bone, little contrast medium."""

_TABLE_OPENING_PX = 3
_LUNG_SHARE = 0.05
_SMOOTHING_MM = 2.0
_FLAT_HU_PER_MM = 8.0
_MARGIN_MM = 2.0


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
    largest = _largest_component(opened)
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
        hu: (z, y, x) HU.
        body: (z, y, x) from `body_mask`; made here when None.

    Returns:
        (z, y, x) mask; empty in a scan without lungs.
    """
    body = body_mask(hu) if body is None else body
    air = np.zeros(hu.shape, dtype=np.bool_)
    for index, plane in enumerate(hu):
        smooth = ndimage.uniform_filter(plane.astype(np.float32), 3, mode="nearest")
        air[index] = body[index] & (smooth >= LUNG_HU[0]) & (smooth < LUNG_HU[1])
    labels, count = ndimage.label(air)
    if count == 0:
        return air
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= _LUNG_SHARE * sizes.max())[labels] & air)


def soft_tissue_mask(hu: Hu, geometry: Geometry, body: Mask | None = None) -> Mask:
    """Homogeneous soft tissue: where noise can be measured because nothing else is there.

    A copy smoothed by a 3-D Gaussian of 2 mm sigma lies within 0 to 100 HU and changes by less than 8 HU/mm; the
    region is then eroded by 2 mm on every side.

    Args:
        hu: (z, y, x) HU of the truth.
        geometry: its geometry, for the spacings.
        body: (z, y, x) from `body_mask`; None counts the whole image.

    Returns:
        (z, y, x) mask.
    """
    spacing_mm = (geometry.spacing_mm, *geometry.pixel_mm)
    smooth = hu.astype(np.float32)
    for axis, step_mm in enumerate(spacing_mm):
        smooth = ndimage.gaussian_filter1d(smooth, _SMOOTHING_MM / step_mm, axis=axis, mode="nearest")
    flat = (smooth >= SOFT_TISSUE_HU[0]) & (smooth <= SOFT_TISSUE_HU[1])
    steepness = np.zeros(hu.shape, dtype=np.float32)
    for axis, step_mm in enumerate(spacing_mm):
        if hu.shape[axis] > 1:
            steepness += np.gradient(smooth, step_mm, axis=axis) ** 2
    flat &= steepness < _FLAT_HU_PER_MM**2
    if body is not None:
        flat &= body
    for axis, step_mm in enumerate(spacing_mm):
        width = 2 * round(_MARGIN_MM / step_mm) + 1
        flat = ndimage.minimum_filter1d(flat, width, axis=axis, mode="nearest")
    return np.asarray(flat, dtype=np.bool_)


def _largest_component(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _disc(radius_px: int) -> Mask:
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(y**2 + x**2 <= radius_px**2)
