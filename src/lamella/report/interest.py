"""What to show: the planes, the crop and the enlargement that show most."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from lamella.report.views import Image, View
from lamella.volume import Volume

BODY_HU = -400.0
"""Above this is body; lungs and the air around are below."""

LUNG_HU, BONE_HU = -500.0, 250.0
_LUNG_SHARE, _BONE_SHARE = 0.12, 0.3
_SAMPLED_SLICES = 24

_DETAIL_HU = (-500.0, 400.0)
"""Detail counts in this range: edges of organs, vessels and bones more than texture within the lungs."""

_SEARCH_MM = 45.0
"""How far from the body's centre the plane of greatest detail is looked for."""


def planes_of_interest(volume: Volume) -> tuple[float, float]:
    """Positions in mm, across rows and across columns, of the planes near the body's centre with most detail along z.

    A volume without anything above BODY_HU is cut in its middle.
    """
    geometry = volume.geometry
    skip = [max(1, n // 128) for n in geometry.shape]
    hu = np.clip(volume.hu[:, :: skip[1], :: skip[2]], *_DETAIL_HU).astype(np.float32)
    body = hu > BODY_HU
    detail = np.abs(np.diff(hu, axis=0)) if len(hu) > 1 else np.zeros_like(hu)
    positions = []
    for axis in (1, 2):
        step = float(np.linalg.norm(geometry.affine[:3, axis]))
        start = float(geometry.axes[:, axis] @ geometry.affine[:3, 3])
        at_mm = start + np.arange(hu.shape[axis]) * skip[axis] * step
        mass = body.sum(axis=(0, 3 - axis)).astype(float)
        if not mass.any():
            positions.append(float(at_mm[len(at_mm) // 2]))
            continue
        centre = float((mass * at_mm).sum() / mass.sum())
        score = gaussian_filter(detail.sum(axis=(0, 3 - axis), dtype=np.float64), 1.0)
        score[np.abs(at_mm - centre) > max(_SEARCH_MM, step * skip[axis])] = -1.0
        positions.append(float(at_mm[int(np.argmax(score))]))
    return positions[0], positions[1]


def place_of_interest(volume: Volume) -> list[float]:
    """LPS mm of the point where the planes of greatest detail meet, half way along the slices."""
    row_mm, column_mm = planes_of_interest(volume)
    geometry = volume.geometry
    slice_mm = float(geometry.centres_mm[len(geometry.centres_mm) // 2])
    return [round(float(value), 2) for value in geometry.axes @ np.array([slice_mm, row_mm, column_mm])]


def window_of_interest(volume: Volume) -> str:
    """Name of the window for what a volume shows: lungs, or bone without much else, or soft tissue.

    A sample of slices is looked at, inside the body. Lungs fill a sixth to a half of a chest, a tenth of an abdomen with their
    bases, nothing of a head; bone fills up to a quarter of a head, and more of a hand or a foot.
    """
    from lamella.metrics.masks import body_mask  # metrics load torch, and other pictures need none

    hu = volume.hu[:: max(1, len(volume.hu) // _SAMPLED_SLICES)].astype(np.float32)
    body = hu[body_mask(hu)]
    if body.size and np.mean(body < LUNG_HU) > _LUNG_SHARE:
        return "lung"
    return "bone" if body.size and np.mean(body > BONE_HU) > _BONE_SHARE else "soft-tissue"


def around_body(image: Image, view: View, margin_mm: float) -> View:
    """The view cropped sideways to the body in its picture, with a margin; as it was where no body is seen."""
    columns = np.flatnonzero((image > BODY_HU).mean(axis=0) > 0.1)
    if len(columns) == 0:
        return view
    step = view.size_mm[0] / image.shape[1]
    low, high = columns[0] * step - margin_mm, (columns[-1] + 1) * step + margin_mm
    if view.signs[0] < 0:
        low, high = view.size_mm[0] - high, view.size_mm[0] - low
    edges = (max(view.across_mm[0], view.across_mm[0] + low), min(view.across_mm[1], view.across_mm[0] + high))
    return view.cut(edges, view.down_mm)


def detail_view(difference: Image, view: View, size_mm: tuple[float, float]) -> View:
    """The rectangle of `size_mm` (width, height) in a view where a (height, width) difference image is strongest."""
    width, height = (min(wanted, whole) for wanted, whole in zip(size_mm, view.size_mm, strict=True))
    step = (view.size_mm[0] / difference.shape[1], view.size_mm[1] / difference.shape[0])
    box = (max(1, int(width / step[0])), max(1, int(height / step[1])))
    sums = np.pad(difference.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inner = (
        sums[box[1] :, box[0] :] - sums[: -box[1], box[0] :] - sums[box[1] :, : -box[0]] + sums[: -box[1], : -box[0]]
    )
    row, column = (int(v) for v in np.unravel_index(int(np.argmax(inner)), inner.shape))
    left, top = min(column * step[0], view.size_mm[0] - width), min(row * step[1], view.size_mm[1] - height)
    if view.signs[0] < 0:
        left = view.size_mm[0] - left - width
    if view.signs[1] < 0:
        top = view.size_mm[1] - top - height
    across, down = view.across_mm[0] + left, view.down_mm[0] + top
    return view.cut((across, across + width), (down, down + height))
