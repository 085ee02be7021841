"""The preview: thick, interpolated and thin side by side, coronal and sagittal, in the same millimetres and window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from lamella import RESEARCH_ONLY
from lamella.errors import LamellaError, UsageError
from lamella.files.atomic import staged_file
from lamella.report.layout import GAP_PX, MARGIN_PX, SIDE_PX, WIDTH_PX, PreviewPanel, Row, cell_px, plan_rows, result_of
from lamella.report.pack import require_finite
from lamella.report.views import View, sample
from lamella.volume import Geometry
from lamella.window import LUNG, SOFT_TISSUE, HuWindow

__all__ = ["PreviewPanel", "compose", "render_preview"]

_DPI = 100
_TOP_PX, _FOOT_PX = 176, 52
_BACK, _INK, _FAINT, _ACCENT, _BOX = "#0b0e13", "#f2f4f8", "#97a1b0", "#6fd3ff", "#ffc857"
_OUTLINE = [withStroke(linewidth=2.2, foreground="#000000b0")]
"""Keeps letters legible on bone."""


def render_preview(
    path: Path,
    panels: Sequence[PreviewPanel],
    *,
    title: str = "",
    window: HuWindow = SOFT_TISSUE,
    detail_window: HuWindow | None = LUNG,
    details: bool = True,
) -> None:
    """Write the preview as a PNG, WIDTH_PX wide.

    Args:
        path: where; must end in `.png`.
        panels: columns from left to right: first the source (thick), last the result, and what it is compared with may follow;
            any number from one.
        title: what was done to what, without anything of the patient.
        window: of the full views.
        detail_window: for enlargements that lie in lung; None: as `window`.
        details: add a row of enlargements per view, where source and result differ most.

    Raises:
        UsageError: the path does not end in .png.
        NonFiniteError: a volume holds NaN or infinity.
        LamellaError: no panels, or volumes that do not lie in the same place.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"A preview is a PNG picture. Found {path.name}, expected a name that ends in .png.")
    figure = compose(panels, title=title, window=window, detail_window=detail_window, details=details)
    with staged_file(path, overwrite=True) as file:
        figure.savefig(file, format="png", dpi=_DPI, facecolor=_BACK, metadata={"Software": "Lamella"})


def compose(
    panels: Sequence[PreviewPanel],
    *,
    title: str = "",
    window: HuWindow = SOFT_TISSUE,
    detail_window: HuWindow | None = LUNG,
    details: bool = True,
) -> Figure:
    """The preview as a figure; see `render_preview`. Axes are in mm: across from the left edge, down from the top."""
    if not panels:
        raise LamellaError("A preview needs at least one volume. Found none.")
    for panel in panels:
        require_finite(panel.label, panel.volume)
    details = details and len(panels) > 1
    rows = plan_rows(panels, window, detail_window, details)
    height = _TOP_PX + sum(row.size_px[1] + GAP_PX for row in rows) + _FOOT_PX
    figure = Figure(figsize=(WIDTH_PX / _DPI, height / _DPI), dpi=_DPI, facecolor=_BACK)
    _headings(figure, panels, rows, title)
    top = _TOP_PX
    for row in rows:
        for column, panel in enumerate(panels):
            left = SIDE_PX + MARGIN_PX + column * (cell_px(len(panels)) + GAP_PX)
            _draw(figure, panel, row, (left + (cell_px(len(panels)) - row.size_px[0]) // 2, top), first=column == 0)
        middle = top + row.size_px[1] / 2
        name = f"{row.title}\nC {row.window.centre_hu:g}  W {row.window.width_hu:g}"
        # A short scan makes low rows: its labels shrink rather than run into each other.
        size = min(16.0, 1.7 * row.size_px[1] / max(len(line) for line in name.splitlines()))
        _write(figure, MARGIN_PX + 10, middle, name, size, _FAINT, rotation=90, ha="center", va="center")
        top += row.size_px[1] + GAP_PX
    foot = f"{RESEARCH_ONLY}   Every column shows the same millimetres in the same window."
    if details:
        foot += "   Boxes: the enlargements below, where source and result differ most."
    _write(figure, WIDTH_PX / 2, height - _FOOT_PX / 2 + 2, foot, 16, _FAINT, ha="center", va="center")
    return figure


def _grid_text(geometry: Geometry) -> str:
    return f"{_mm(geometry.thickness_mm)} every {_mm(geometry.spacing_mm)}"


def _mm(value: float) -> str:
    """Two decimals where they are needed, else one: 5.0 mm, 1.25 mm."""
    text = f"{value:.2f}"
    return f"{text[:-1] if text.endswith('0') else text} mm"


def _headings(figure: Figure, panels: Sequence[PreviewPanel], rows: list[Row], title: str) -> None:
    source, result = panels[0].volume.geometry, result_of(panels).volume.geometry
    heading = _grid_text(source)
    if len(panels) > 1:
        heading += f"  \N{RIGHTWARDS ARROW}  {_grid_text(result)}"
    left = SIDE_PX + MARGIN_PX
    _write(figure, left, 44, heading, 32, _INK, weight="bold", va="center")
    windows = list(dict.fromkeys(f"centre {row.window.centre_hu:g}, width {row.window.width_hu:g} HU" for row in rows))
    counts = f"{source.shape[0]} slices" + (f" to {result.shape[0]}" if len(panels) > 1 else "")
    facts = "   \N{MIDDLE DOT}   ".join([*([title] if title else []), counts, "window " + "; enlarged ".join(windows)])
    _write(figure, left, 88, facts, 19, _FAINT, va="center")
    for column, panel in enumerate(panels):
        centre = left + column * (cell_px(len(panels)) + GAP_PX) + cell_px(len(panels)) / 2
        colour = _ACCENT if panel.accent else _INK
        _write(figure, centre, 131, panel.label, 23, colour, weight="bold", ha="center", va="center")
        _write(figure, centre, 158, _grid_text(panel.volume.geometry), 16, _FAINT, ha="center", va="center")


def _draw(figure: Figure, panel: PreviewPanel, row: Row, corner_px: tuple[int, int], first: bool) -> None:
    """One picture, sampled so that one of its pixels is one of the figure's."""
    (width, height), total = row.size_px, figure.get_figheight() * _DPI
    box = (corner_px[0] / WIDTH_PX, 1 - (corner_px[1] + height) / total, width / WIDTH_PX, height / total)
    axes = figure.add_axes(box, label=f"{row.title} | {panel.label}")
    image = sample(panel.volume, row.view, row.size_px, panel.as_slices)
    size = row.view.size_mm
    axes.imshow(
        image,
        cmap="gray",
        vmin=row.window.low_hu,
        vmax=row.window.high_hu,
        extent=(0.0, size[0], size[1], 0.0),
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_axis_off()
    _letters(axes, row)
    _scale_bar(axes, row, first)
    if row.marked is not None:
        left, top = offset_mm(row.view, row.marked)
        axes.add_patch(Rectangle((left, top), *row.marked.size_mm, fill=False, edgecolor=_BOX, linewidth=1.4))


def offset_mm(view: View, part: View) -> tuple[float, float]:
    """Left and top edge of a part of a view, in mm from the view's left and top edge."""
    across = part.across_mm[0] - view.across_mm[0] if view.signs[0] > 0 else view.across_mm[1] - part.across_mm[1]
    down = part.down_mm[0] - view.down_mm[0] if view.signs[1] > 0 else view.down_mm[1] - part.down_mm[1]
    return across, down


def _letters(axes: Axes, row: Row) -> None:
    left, right, top, bottom = row.view.letters
    for x, y, text, ha, va in (
        (0.012, 0.5, left, "left", "center"),
        (0.988, 0.5, right, "right", "center"),
        (0.5, 0.975, top, "center", "top"),
        (0.5, 0.025, bottom, "center", "bottom"),
    ):
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": ha, "va": va, "gid": "letter"}
        axes.text(x, y, text, fontsize=11, color=_ACCENT, weight="bold", path_effects=_OUTLINE, **place)


def _scale_bar(axes: Axes, row: Row, labelled: bool) -> None:
    width, height = row.view.size_mm
    mm_per_px = width / row.size_px[0]
    right, low = width - 14 * mm_per_px, height - 14 * mm_per_px
    bar: dict[str, Any] = {
        "solid_capstyle": "butt",
        "gid": "scale bar",
        "path_effects": [withStroke(linewidth=5.5, foreground="#000000b0")],
    }
    axes.plot([right - row.bar_mm, right], [low, low], color=_INK, linewidth=3, **bar)
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    if labelled:
        middle, above = right - row.bar_mm / 2, low - 7 * mm_per_px
        axes.text(middle, above, f"{row.bar_mm:g} mm", fontsize=11, color=_INK, ha="center", path_effects=_OUTLINE)


def _write(figure: Figure, x_px: float, y_px: float, text: str, size_px: float, colour: str, **how: Any) -> None:
    """Text at pixels from the top left corner."""
    height = figure.get_figheight() * _DPI
    figure.text(x_px / WIDTH_PX, 1 - y_px / height, text, fontsize=size_px * 72 / _DPI, color=colour, **how)
