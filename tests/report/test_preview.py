"""The preview: the same millimetres and window in all columns, the right way up, and never a NaN."""

from __future__ import annotations

import struct
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lamella import RESEARCH_ONLY
from lamella.errors import LamellaError, NonFiniteError, UsageError
from lamella.report.interest import detail_view, planes_of_interest
from lamella.report.layout import plan_rows
from lamella.report.preview import PreviewPanel, compose, render_preview
from lamella.report.views import View, common_region, sample, views_along_slices
from lamella.volume import Geometry, Volume
from lamella.window import SOFT_TISSUE

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
ORIENTATIONS = {
    "axial": ("z", "y", "x"),
    "axial, feet last": ("-z", "y", "x"),
    "axial, prone": ("z", "-y", "-x"),
    "coronal": ("y", "-z", "x"),
    "coronal, from behind": ("-y", "-z", "-x"),
    "sagittal": ("x", "-z", "y"),
}
"""Directions of rising slice, row and column."""


def geometry(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], directions: tuple[str, ...] = ("z", "y", "x")
) -> Geometry:
    """A grid centred on the origin."""
    affine = np.eye(4)
    for axis, name in enumerate(directions):
        affine[:3, axis] = np.array(AXES[name[-1]]) * (-1 if name[0] == "-" else 1) * spacing[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, affine, spacing[0])


def positions(grid: Geometry) -> NDArray[np.float64]:
    """(3, z, y, x) LPS mm of each voxel."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return np.moveaxis(index @ grid.affine[:3, :3].T + grid.affine[:3, 3], -1, 0)


def body(grid: Geometry) -> NDArray[np.float32]:
    """An ellipsoid of soft tissue with a bright ball to the left, the back and the head."""
    x, y, z = positions(grid)
    hu = np.where((x / 26) ** 2 + (y / 22) ** 2 + (z / 30) ** 2 < 1, 40.0, -1000.0)
    return np.where((x - 10) ** 2 + (y - 9) ** 2 + (z - 8) ** 2 < 5**2, 200.0, hu).astype(np.float32)


def panels() -> list[PreviewPanel]:
    thick, thin = geometry((12, 32, 40), (5.0, 2.0, 1.5)), geometry((60, 32, 40), (1.0, 2.0, 1.5))
    mean = Volume(body(thin), thin)
    return [
        PreviewPanel("Thick", Volume(body(thick), thick), as_slices=True),
        PreviewPanel("Cubic", mean),
        PreviewPanel("Lamella mean", mean, accent=True),
    ]


@pytest.fixture(scope="module")
def figure() -> Figure:
    return compose(panels(), title="A test body")


def columns(figure: Figure) -> dict[str, list]:
    """Row title -> its axes."""
    rows: dict[str, list] = {}
    for axes in figure.axes:
        rows.setdefault(axes.get_label().split(" | ")[0], []).append(axes)
    return rows


def test_all_columns_show_the_same_millimetres_in_the_same_window(figure: Figure) -> None:
    rows = columns(figure)
    assert list(rows) == ["coronal", "sagittal", "coronal, enlarged", "sagittal, enlarged"]
    for row in rows.values():
        assert len(row) == 3
        assert len({tuple(axes.images[0].get_extent()) for axes in row}) == 1
        assert len({axes.images[0].get_clim() for axes in row}) == 1
        assert len({axes.images[0].get_array().shape for axes in row}) == 1
    assert rows["coronal"][0].images[0].get_clim() == (-160.0, 240.0)


def test_aspect_is_physical_and_full_views_share_one_scale(figure: Figure) -> None:
    width, height = figure.get_size_inches() * figure.dpi
    scales = []
    for axes in figure.axes:
        left, right, bottom, top = axes.images[0].get_extent()
        box = axes.get_position()
        across, down = box.width * width / (right - left), box.height * height / (bottom - top)
        assert across == pytest.approx(down, rel=0.01)
        if "enlarged" not in axes.get_label():
            scales.append(across)
        # One pixel of the picture is one of the figure's: nothing is resampled twice.
        rows, cols = axes.images[0].get_array().shape
        assert (cols, rows) == (pytest.approx(box.width * width), pytest.approx(box.height * height))
    assert max(scales) == pytest.approx(min(scales), rel=0.01)
    coronal = figure.axes[0].images[0].get_extent()
    assert coronal[2] == pytest.approx(60.0)


def test_scale_bar_is_as_long_as_it_says(figure: Figure) -> None:
    for row in columns(figure).values():
        bars = [line for axes in row for line in axes.lines if line.get_gid() == "scale bar"]
        (label,) = (text.get_text() for text in row[0].texts if text.get_gid() != "letter")
        assert len(bars) == 3
        for bar in bars:
            start, end = bar.get_xdata()
            assert f"{end - start:g} mm" == label


def test_texts_name_spacing_and_research_use(figure: Figure) -> None:
    texts = " | ".join(text.get_text() for text in figure.texts)
    assert "5.0 mm every 5.0 mm  \N{RIGHTWARDS ARROW}  1.0 mm every 1.0 mm" in texts
    assert "A test body" in texts
    assert "12 slices to 60" in texts
    assert RESEARCH_ONLY in texts


EXPECTED = {
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
    "axial": ("R", "L", "A", "P"),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_head_up_and_right_on_the_left_for_every_orientation(orientation: str) -> None:
    grid = geometry((24, 30, 28), (2.5, 2.0, 2.2), ORIENTATIONS[orientation])
    volume = Volume(body(grid), grid)
    x, y, z = 10.0, 9.0, 8.0
    through = [float(grid.axes[:, axis] @ [x, y, z]) for axis in (1, 2)]
    views = views_along_slices(grid, common_region([grid]), (through[0], through[1]))
    slice_name = {"z": "axial", "y": "coronal", "x": "sagittal"}[ORIENTATIONS[orientation][0][-1]]
    assert {view.name for view in views} == set(EXPECTED) - {slice_name}
    for view in views:
        assert view.letters == EXPECTED[view.name]
        picture = sample(volume, view, (96, 96))
        rows, cols = np.nonzero(picture > 120)
        # The ball lies to the left, the back and the head: right of the middle, and above it unless the front is up.
        assert (cols.mean() + 0.5) / 96 * view.size_mm[0] - view.size_mm[0] / 2 == pytest.approx(
            y if view.name == "sagittal" else x, abs=1.2
        )
        assert (rows.mean() + 0.5) / 96 * view.size_mm[1] - view.size_mm[1] / 2 == pytest.approx(
            y if view.name == "axial" else -z, abs=1.2
        )


def test_oblique_series_is_labelled_by_its_dominant_directions() -> None:
    grid = geometry((20, 20, 20), (3.0, 2.0, 2.0))
    turn, tip = np.deg2rad(20.0), np.deg2rad(15.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    about_z = np.array([[np.cos(tip), -np.sin(tip), 0], [np.sin(tip), np.cos(tip), 0], [0, 0, 1]])
    affine = np.array(grid.affine)
    affine[:3] = about_z @ about_x @ affine[:3]
    oblique = Geometry(grid.shape, affine, 3.0)
    views = views_along_slices(oblique, common_region([oblique]), (0.0, 0.0))
    assert [(view.name, view.letters) for view in views] == [(n, EXPECTED[n]) for n in ("coronal", "sagittal")]


def coronal(grid: Geometry) -> View:
    return views_along_slices(grid, common_region([grid]), (0.0, 0.0))[0]


def test_thick_and_thin_are_drawn_at_the_same_positions() -> None:
    thick, thin = geometry((8, 16, 16), (5.0, 2.0, 2.0)), geometry((40, 16, 16), (1.0, 2.0, 2.0))
    x, _, z = positions(thick)
    ramp_thick = Volume((3 * z + 2 * x).astype(np.float32), thick)
    x, _, z = positions(thin)
    ramp_thin = Volume((3 * z + 2 * x).astype(np.float32), thin)
    view = coronal(thick)
    inner = np.s_[24:-24, 8:-8]
    assert np.allclose(sample(ramp_thick, view, (64, 160))[inner], sample(ramp_thin, view, (64, 160))[inner], atol=1e-3)


def test_slices_are_drawn_at_their_width() -> None:
    thick = geometry((8, 16, 16), (5.0, 2.0, 2.0))
    volume = Volume(np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], thick.shape).copy(), thick)
    picture = sample(volume, coronal(thick), (32, 160), as_slices=True)
    # 40 mm on 160 pixels, head up: eight bands of 20 pixels, the last slice first.
    bands = [(int(value), len(list(run))) for value, run in groupby(picture[:, 5])]
    assert bands == [(7 - i, 20) for i in range(8)]


def test_enlargement_is_where_the_difference_is() -> None:
    grid = geometry((60, 40, 40), (1.0, 2.0, 2.0))
    view = coronal(grid)
    difference = np.zeros((120, 160), dtype=np.float32)
    difference[20:24, 130:134] = 100.0
    part = detail_view(difference, view, (20.0, 12.0))
    # The spot: 65 to 67 mm from the left of 80, 10 to 12 mm from the top of 60.
    assert part.size_mm == pytest.approx((20.0, 12.0))
    assert part.across_mm[0] <= view.across_mm[0] + 65.0 + 1e-6
    assert part.across_mm[1] >= view.across_mm[0] + 67.0 - 1e-6
    assert part.down_mm[0] <= view.down_mm[1] - 12.0 + 1e-6
    assert part.down_mm[1] >= view.down_mm[1] - 10.0 - 1e-6


def test_what_stands_behind_the_result_moves_nothing() -> None:
    drawn = panels()
    other = np.array(drawn[-1].volume.hu)
    other[:, :10] = 900
    more = [*drawn, PreviewPanel("Truth", Volume(other, drawn[-1].volume.geometry))]
    rows = [plan_rows(one, SOFT_TISSUE, None, True) for one in (drawn, more)]
    assert [str(row.view) for row in rows[0]] == [str(row.view) for row in rows[1]]


def test_planes_go_through_the_body_wherever_it_lies() -> None:
    grid = geometry((20, 60, 60), (3.0, 2.0, 2.0))
    x, y, _ = positions(grid)
    hu = np.where((np.abs(x - 35) < 8) & (np.abs(y + 30) < 8), 40.0, -1000.0).astype(np.float32)
    hu[10:] += np.where(np.abs(x[10:] - 37) < 2, 100.0, 0.0).astype(np.float32) * (hu[10:] > 0)
    across_rows, across_columns = planes_of_interest(Volume(hu, grid))
    assert across_rows == pytest.approx(-30, abs=8)
    assert across_columns == pytest.approx(37, abs=3)
    empty = Volume(np.full(grid.shape, -1000, dtype=np.int16), grid)
    assert planes_of_interest(empty) == pytest.approx((0.0, 0.0), abs=2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_never_drawn(tmp_path: Path, value: float) -> None:
    # SPEC A21
    drawn = panels()
    hu = np.array(drawn[1].volume.hu)
    hu[59, 0, 0] = value
    drawn[1] = PreviewPanel("Cubic", Volume(hu, drawn[1].volume.geometry))
    with pytest.raises(NonFiniteError, match=r"'Cubic' cannot be shown: slice 59 of 60"):
        render_preview(tmp_path / "preview.png", drawn)
    assert not list(tmp_path.iterdir())


def test_png_is_as_wide_as_promised_and_reproducible(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        render_preview(tmp_path / name, panels(), title="x", details=False)
    data = (tmp_path / "one.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 2000
    assert 400 < height < 2000
    assert data == (tmp_path / "two.png").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_one_volume_alone_can_be_drawn() -> None:
    alone = compose(panels()[2:])
    assert [axes.get_label() for axes in alone.axes] == ["coronal | Lamella mean", "sagittal | Lamella mean"]


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png"):
        render_preview(tmp_path / "preview.jpg", panels())
    with pytest.raises(LamellaError, match="at least one volume"):
        compose([])
    grid = geometry((60, 32, 40), (1.0, 2.0, 1.5), ORIENTATIONS["sagittal"])
    with pytest.raises(LamellaError, match="different orientations"):
        compose([panels()[0], PreviewPanel("other", Volume(body(grid), grid))])
    far = panels()[2].volume.geometry.with_slices(60, 1.0, 500.0, 1.0)
    with pytest.raises(LamellaError, match="do not overlap along axis 0"):
        compose([panels()[0], PreviewPanel("other", Volume(np.zeros(far.shape, np.float32), far))])


@pytest.mark.slow
def test_drawing_needs_neither_pyplot_nor_torch() -> None:
    code = (
        "import sys, lamella.report.preview, lamella.phantom; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib.pyplot', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
