"""What goes where on the preview: one row a view and window, one column a volume, sizes in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from lamella.report.interest import around_body, detail_view, planes_of_interest
from lamella.report.views import View, common_region, sample, views_along_slices
from lamella.volume import Volume
from lamella.window import HuWindow

WIDTH_PX = 2000
MARGIN_PX, GAP_PX, SIDE_PX = 28, 10, 44
"""Around the picture; between pictures; for the rows' names."""

_LARGEST_CELL_PX, _TALLEST_PX, _SMALLEST_PX = 960, 640, 8
_DETAIL_ASPECT = 0.62
_DETAIL_SHARE, _DETAIL_LEAST_MM = 0.3, 60.0
"""An enlargement shows this share of the widest view, and at least so many mm."""

_BODY_MARGIN_MM = 8.0
_LUNG_HU, _LUNG_SHARE = -500.0, 0.25


@dataclass(frozen=True, eq=False)
class PreviewPanel:
    """One column of the preview.

    Attributes:
        label: its heading.
        volume: what it shows.
        as_slices: show the nearest slice, as a viewer that does not interpolate (for the thick series).
        accent: highlight the heading.
    """

    label: str
    volume: Volume
    as_slices: bool = False
    accent: bool = False


@dataclass(frozen=True, eq=False)
class Row:
    """One view in one window, shown once per panel.

    Attributes:
        view: where.
        window: in which it is shown.
        title: its name at the side.
        size_px: (width, height) of each picture.
        bar_mm: length of the scale bar.
        marked: the part that is enlarged further down.
    """

    view: View
    window: HuWindow
    title: str
    size_px: tuple[int, int]
    bar_mm: float
    marked: View | None = None


def result_of(panels: Sequence[PreviewPanel]) -> PreviewPanel:
    """The last highlighted panel, or the last of all; what stands behind it is there to compare with."""
    return next((panel for panel in reversed(panels) if panel.accent), panels[-1])


def cell_px(columns: int) -> int:
    """Width of a column."""
    return (WIDTH_PX - 2 * MARGIN_PX - SIDE_PX - (columns - 1) * GAP_PX) // columns


def plan_rows(
    panels: Sequence[PreviewPanel], window: HuWindow, detail_window: HuWindow | None, details: bool
) -> list[Row]:
    """The full views, all at one scale, and below them the enlargements.

    Raises:
        LamellaError: the volumes do not lie in the same place.
    """
    result = result_of(panels).volume
    region = common_region([panel.volume.geometry for panel in panels])
    views = views_along_slices(result.geometry, region, planes_of_interest(result))
    views = [around_body(sample(result, view, (256, 256)), view, _BODY_MARGIN_MM) for view in views]
    cell = min(cell_px(len(panels)), _LARGEST_CELL_PX)
    widest = max(view.size_mm[0] for view in views)
    scale = min(cell / widest, _TALLEST_PX / max(view.size_mm[1] for view in views))
    full, enlarged = [], []
    for view in views:
        size_px, closer = _size_px(view, scale), None
        if details:
            wide_mm = min(view.size_mm[0], max(_DETAIL_LEAST_MM, _DETAIL_SHARE * widest))
            closer = _closest(panels, view, size_px, (wide_mm, _DETAIL_ASPECT * wide_mm))
            zoom = min(cell / closer.size_mm[0], _DETAIL_ASPECT * cell / closer.size_mm[1])
            closer_px = _size_px(closer, zoom)
            in_lung = float((sample(result, closer, closer_px) < _LUNG_HU).mean()) > _LUNG_SHARE
            chosen = detail_window if detail_window is not None and in_lung else window
            enlarged.append(Row(closer, chosen, f"{view.name}, enlarged", closer_px, _bar_mm(closer.size_mm[0])))
        full.append(Row(view, window, view.name, size_px, _bar_mm(view.size_mm[0]), closer))
    return full + enlarged


def _size_px(view: View, px_per_mm: float) -> tuple[int, int]:
    width, height = view.size_mm
    return max(_SMALLEST_PX, round(width * px_per_mm)), max(_SMALLEST_PX, round(height * px_per_mm))


def _closest(
    panels: Sequence[PreviewPanel], view: View, size_px: tuple[int, int], size_mm: tuple[float, float]
) -> View:
    """Where source and result differ most, noise smoothed away, in a wide window."""
    first, last = (
        gaussian_filter(np.clip(sample(panel.volume, view, size_px, panel.as_slices), -1000.0, 400.0), 1.2)
        for panel in (panels[0], result_of(panels))
    )
    return detail_view(np.abs(first - last), view, size_mm)


def _bar_mm(width_mm: float) -> float:
    """A round length, about a fifth of the width."""
    return float(max((length for length in (1, 2, 5, 10, 20, 50, 100) if length <= width_mm / 4), default=1))
