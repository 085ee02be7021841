"""Pictures of the document for people (issue: vessel trees in three dimensions, a coronal strip with a fissure)."""

from __future__ import annotations

import numpy as np
import pytest
from tests.report.results_builder import grid, thickened

from lamella.phantom import PhantomSettings, paint_phantom
from lamella.phantom.torso import fissure, horizontal_fissure
from lamella.report.anatomy import level_fissure_mm, on_slices, plot_fissure, plot_vessels, shaded
from lamella.volume import Volume, round_hu


@pytest.fixture(scope="module")
def chest() -> Volume:
    painted = paint_phantom(PhantomSettings((60, 224, 224), pixel_mm=1.4, noise_hu=8.0))
    return Volume(round_hu(painted.hu), painted.geometry)


def ball(depth: int) -> np.ndarray:
    """A field that is positive in a ball of 9 mm radius."""
    z, y, x = np.indices((60, 60, 60))
    return (9.0 - np.sqrt((z - 30.0) ** 2 + (y - depth) ** 2 + (x - 30.0) ** 2)).astype(np.float32)


def test_a_ball_is_a_disc_that_is_bright_where_the_light_comes_from() -> None:
    geometry = grid((60, 60, 60), 1.0, 1.0)
    picture = shaded(ball(15), np.zeros((60, 60, 60), dtype=np.bool_), geometry)
    drawn = (picture < 1).any(axis=2)
    assert drawn.sum() * 0.6**2 == pytest.approx(np.pi * 9.0**2, rel=0.06)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)).mean() for axis in (1, 0))
    assert (rows, columns) == pytest.approx((49.5, 49.5), abs=1.5)  # the middle of 100 pixels
    above, below = picture[56, 44].mean(), picture[43, 56].mean()  # rows run upwards
    assert above > below + 0.2


def test_what_lies_deeper_is_darker_and_the_lungs_are_a_shadow() -> None:
    geometry = grid((60, 60, 60), 1.0, 1.0)
    lungs = np.zeros((60, 60, 60), dtype=np.bool_)
    lungs[10:50] = True
    near, far = (shaded(ball(depth), lungs, geometry) for depth in (12, 46))
    assert near[50, 50].mean() > far[50, 50].mean() + 0.2
    assert near[30, 5].tolist() == pytest.approx([236 / 255, 239 / 255, 243 / 255])
    assert near[5, 5].tolist() == [1.0, 1.0, 1.0]


def test_thick_slices_are_drawn_as_slices() -> None:
    truth = Volume(np.arange(60, dtype=np.int16)[:, None, None] * np.ones((60, 4, 4), np.int16), grid((60, 4, 4)))
    thick = thickened(truth)
    own = on_slices(thick, truth.geometry)
    assert own[:, 0, 0].tolist() == np.repeat(thick.hu[:, 0, 0], 5).tolist()


@pytest.mark.slow
def test_the_strip_goes_through_a_level_fissure(chest: Volume) -> None:
    place = level_fissure_mm(chest)
    assert place is not None
    assert min(abs(float(one(*place))) for one in (fissure, horizontal_fissure)) < 3.0
    figure = plot_fissure({"Thick": thickened(chest), "Thin": chest}, "Thin")
    assert figure is not None
    thick, thin = (axes.get_images()[0].get_array() for axes in figure.axes)
    assert len(np.unique(thick, axis=0)) <= 10  # 40 mm of slices of 5 mm
    assert len(np.unique(thin, axis=0)) > 30


@pytest.mark.slow
def test_vessels_of_every_volume_are_drawn(chest: Volume) -> None:
    figure = plot_vessels({"Thick": thickened(chest), "Thin": chest}, "Thin")
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Thick", "Thin"]
    for axes in figure.axes:
        picture = np.asarray(axes.get_images()[0].get_array())
        assert 0.02 < (picture[..., 0] - picture[..., 2] > 0.02).mean() < 0.6


def test_where_there_are_no_lungs_there_is_no_picture() -> None:
    flat = Volume(np.full((20, 32, 32), 40, np.int16), grid((20, 32, 32)))
    assert plot_vessels({"Thin": flat}, "Thin") is None
    assert plot_fissure({"Thin": flat}, "Thin") is None
