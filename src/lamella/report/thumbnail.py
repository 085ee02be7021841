"""A small picture of one result for a list of many: thick on the left, thin on the right, along the slices."""

from __future__ import annotations

import imagecodecs
import numpy as np

from lamella.report.interest import around_body, planes_of_interest
from lamella.report.views import common_region, sample, views_along_slices
from lamella.volume import Volume
from lamella.window import SOFT_TISSUE, HuWindow

WIDTH_PX, TALLEST_PX = 180, 200
_GAP_PX, _MARGIN_MM = 4, 8.0


def thumbnail(source: Volume, answer: Volume, window: HuWindow = SOFT_TISSUE) -> bytes:
    """PNG of one plane, coronal for axial slices, in the same millimetres and window twice.

    Args:
        source: thick slices, shown as slices.
        answer: thin ones, in the same place.
        window: in which both are shown.

    Returns:
        The file's bytes: 8-bit grey, two pictures of at most WIDTH_PX x TALLEST_PX.

    Raises:
        LamellaError: the volumes do not lie in the same place.
    """
    region = common_region([source.geometry, answer.geometry])
    view = views_along_slices(answer.geometry, region, planes_of_interest(answer))[0]
    view = around_body(sample(answer, view, (256, 64)), view, _MARGIN_MM)
    scale = min(WIDTH_PX / view.size_mm[0], TALLEST_PX / view.size_mm[1])
    size_px = max(1, round(scale * view.size_mm[0])), max(1, round(scale * view.size_mm[1]))
    both = [sample(source, view, size_px, as_slices=True), sample(answer, view, size_px)]
    grey = [np.clip((one - window.low_hu) / window.width_hu, 0, 1) * 255 for one in both]
    gap = np.zeros((size_px[1], _GAP_PX))
    return bytes(imagecodecs.png_encode(np.rint(np.hstack([grey[0], gap, grey[1]])).astype(np.uint8)))
