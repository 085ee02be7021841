"""What headless Chromium draws lies where it is in the patient, and is what the volumes hold.

SPEC A21: input, prediction, truth and error side by side in three planes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.report.browser import Page, open_page, require_browser
from tests.report.one_page import show

from lamella.nifti.image import read_nifti
from lamella.report.pack import PageVolume
from lamella.report.views import View, sample
from lamella.volume import Geometry, Volume
from lamella.window import SOFT_TISSUE

pytestmark = pytest.mark.browser

Directions = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

ORIENTATIONS: dict[str, Directions] = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "axial, feet last": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    "axial, prone": ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "oblique": ((0, -0.6, 0.8), (0, 0.8, 0.6), (1, 0, 0)),
}
"""LPS directions of rising slice, row and column."""

BALL_MM = np.array([18.0, 12.0, 15.0])
"""To the left, behind, towards the head."""


@pytest.fixture(scope="module", autouse=True)
def browser() -> None:
    require_browser()


def asymmetric(directions: Directions) -> Volume:
    """Soft tissue with a bright ball at BALL_MM."""
    shape, steps = (44, 60, 52), (2.0, 1.5, 1.6)
    affine = np.eye(4)
    for axis, direction in enumerate(directions):
        affine[:3, axis] = np.array(direction) * steps[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    place = index @ affine[:3, :3].T + affine[:3, 3]
    hu = np.where(np.linalg.norm(place - BALL_MM, axis=-1) < 6, 300, 0)
    return Volume(hu.astype(np.int16), Geometry(shape, affine, 2.0))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_left_is_left_in_every_orientation(tmp_path: Path, name: str) -> None:
    panes = [PageVolume("thin", "Thin", "thin", asymmetric(ORIENTATIONS[name]))]
    with open_page(show(tmp_path, panes, BALL_MM, plane="all"), size=(1000, 800)) as page:
        page.wait_for_pictures()
        assert page.run("return lamella.errors") == {}
        assert np.allclose(page.cursor(), BALL_MM, atol=0.01)
        read = "return lamella.viewer.valueAt('thin', arguments[0])"
        assert page.run(read, [float(v) for v in BALL_MM]) == 300
        for axis in range(3):
            mirrored = BALL_MM * np.where(np.arange(3) == axis, -1, 1)
            assert page.run(read, [float(v) for v in mirrored]) == 0
        assert page.run(read, [500.0, 0.0, 0.0]) is None
        page.run("lamella.viewer.setCross(false); lamella.viewer.setWindow({centre: 200, width: 100})")
        page.settle()
        # The ball is to the left, behind and above: in the right half of every picture (sagittal: behind is right), below
        # the middle where the front is up, above it where the head is.
        for plane, below in (("axial", True), ("coronal", False), ("sagittal", False)):
            image = page.pixels("thin", plane)[..., 0].astype(float)
            height, width = image.shape
            y, x = (np.mean(where) for where in np.nonzero(image[20:-35, 25:-25] > 128))  # without the letters
            assert x + 25 > width / 2, plane
            assert (y + 20 > height / 2) == below, plane
        letters = page.run("""
            return Object.fromEntries(Object.values(LamellaPlanes.PLANES).map(
                (plane) => [plane.name, LamellaPlanes.lettersOf(plane, lamella.viewer.frame).join(" ")]));
        """)
        # Planes follow the slices: those of a tilted series are tilted too.
        upright = {"axial": "R L A P", "coronal": "R L S I", "sagittal": "A P S I"}
        tilted = {"axial": "R L AI PS", "coronal": "R L SA IP", "sagittal": "AI PS SA IP"}
        assert letters == (tilted if name == "oblique" else upright)


@pytest.mark.parametrize(("pane", "as_slices"), [("c0-thick", True), ("c0-truth", False)])
def test_a_plane_is_the_one_that_the_preview_cuts(page: Page, results_folder: Path, pane: str, as_slices: bool) -> None:
    """Parity with `lamella.report.views.sample`, written for another purpose: same millimetres, same greys."""
    volume = read_nifti(results_folder / "volumes" / "case-0" / ("thick.nii.gz" if as_slices else "truth.nii.gz"))
    page.run("lamella.viewer.setCross(false); lamella.viewer.setCursor([0, 3, 0])")
    page.settle()
    image = page.pixels(pane, "coronal")[..., 0].astype(float)
    height, width = image.shape
    pixel, centre, at = page.run(
        """
        const view = lamella.viewer.panes.get(arguments[0]).views[0];
        return [view.pixel, view.centre, lamella.viewer.getCursor()];
        """,
        pane,
    )
    across = (centre[0] - width * pixel / 2, centre[0] + width * pixel / 2)
    down = (centre[1] - height * pixel / 2, centre[1] + height * pixel / 2)
    view = View("coronal", (2, 0, 1), (1, -1), ("R", "L", "S", "I"), across, down, at[1])
    grey = np.clip((sample(volume, view, (width, height), as_slices) - SOFT_TISSUE.low_hu) / SOFT_TISSUE.width_hu, 0, 1)
    inside = np.zeros(image.shape, bool)
    inside[35:-40, 40:-40] = True  # neither letters nor ruler
    x = across[0] + (np.arange(width) + 0.5) * pixel
    inside &= np.abs(x) < 40  # the page is cropped to the body
    difference = np.abs(image - 255 * grey)[inside]
    assert inside.sum() > 10_000
    assert np.percentile(difference, 99) <= 1.0
    assert image[inside].std() > 30


def test_thick_slices_are_drawn_as_slices_and_thin_ones_smoothly(page: Page) -> None:
    page.run("lamella.viewer.setCross(false); lamella.viewer.setZoom(4)")
    page.settle()
    assert rows_that_change(page, "c0-thick") < 0.1  # only where one slice ends
    assert rows_that_change(page, "c0-thin-0") > 0.8
    page.run("lamella.viewer.setSmooth(false)")
    page.settle()
    assert rows_that_change(page, "c0-thin-0") < 0.5


def rows_that_change(page: Page, pane: str) -> float:
    """Share of the rows of pixels that differ from the one above."""
    image = page.pixels(pane, "coronal")[40:-45, 200:300, 0].astype(int)
    return float(np.any(np.diff(image, axis=0) != 0, axis=1).mean())


def test_the_error_pane_is_the_difference(page: Page, results_folder: Path) -> None:
    thin, truth = (read_nifti(results_folder / f"volumes/case-0/{name}.nii.gz") for name in ("mean", "truth"))
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(20):
        z, y, x = (int(rng.integers(n // 4, 3 * n // 4)) for n in thin.hu.shape)
        place = [float(v) for v in thin.geometry.position(z, y, x)]
        expected = int(thin.hu[z, y, x]) - int(truth.hu[z, y, x])
        assert page.run("return lamella.viewer.valueAt('c0-error-0', arguments[0])", place) == expected
        seen.add(expected)
    assert len(seen) > 5


def test_the_error_is_blue_below_and_orange_above(page: Page) -> None:
    page.run("lamella.viewer.setErrorRange(25); lamella.viewer.setCross(false)")
    page.settle()
    image = page.pixels("c0-error-0", "coronal").astype(int)
    found = page.run("""
        const v = lamella.viewer, pane = v.panes.get("c0-error-0"), view = pane.views[0];
        const [right, , down] = pane.grid;
        return [...Array(200).keys()].map((i) => {
          const x = right.start + right.step * (12 + (i % 20) * 2), z = down.start + down.step * (15 + Math.floor(i / 20) * 3);
          const across = Math.floor((x - view.centre[0]) / view.pixel + view.canvas.width / 2);
          const along = Math.floor(-(z - view.centre[1]) / view.pixel + view.canvas.height / 2);
          return [pane.valueAt([x, v.at[1], z]), across, along];
        });
    """)
    strong = [(value, x, y) for value, x, y in found if abs(value) > 8]
    assert min(sum(value > 0 for value, _, _ in strong), sum(value < 0 for value, _, _ in strong)) >= 5
    for value, x, y in strong:
        red, _, blue = image[y, x]
        assert (red > blue) == (value > 0)
