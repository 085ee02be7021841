"""The test object of metal and the fine matrix (issue 28, item 7): what they hold, and that `thin` says what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import lamella
from lamella.errors import LamellaError
from lamella.metrics import sharpness_in_plane
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.phantom.metal import METAL_HU
from lamella.physics.simulate import simulate_thick
from lamella.volume import MAX_HU, Volume, round_hu

METAL = PhantomSettings((30, 96, 96), pixel_mm=1.8, noise_hu=0.0, region="metal", seed=1)


@pytest.mark.parametrize("highest_hu", [MAX_HU, 20_000])
def test_metal_is_cut_off_or_whole_and_streaks_lie_between_rods(highest_hu: int) -> None:
    volume = paint_phantom(replace(METAL, highest_hu=highest_hu))
    assert volume.hu.max() == pytest.approx(min(highest_hu, METAL_HU), rel=0.02)
    without = paint_phantom(replace(METAL, middle_mm=(0.0, 0.0, -300.0))).hu
    z, y, x = 15, 48, 48  # between the two thick rods
    assert volume.hu[z, y, x] < without[z, y, x] - 30
    far = volume.hu[z, 4:10, 4:10]
    assert np.abs(far + 1000).max() < 30


@pytest.mark.parametrize("highest_hu", [MAX_HU, 20_000])
def test_thin_keeps_metal_and_what_was_measured(highest_hu: int) -> None:
    painted = paint_phantom(replace(METAL, highest_hu=highest_hu))
    thick = simulate_thick(Volume(round_hu(painted.hu), painted.geometry), 5.0, 5.0, "box")
    done = lamella.thin(thick, spacing_mm=1.0)
    assert done.report["consistency_rmse_hu"] < 0.5
    assert done.volume.hu.max() > 0.9 * highest_hu


def test_a_photon_counting_matrix_is_fine_sharp_and_noisy_and_the_report_says_so() -> None:
    settings = PhantomSettings((18, 320, 320), pixel_mm=0.25, edge_mm=0.3, noise_hu=80.0, seed=5, middle_mm=(0, 52, 0))
    usual = replace(settings, edge_mm=0.7, noise_hu=8.0)
    sharp, soft = (
        sharpness_in_plane(paint_phantom(one).hu, (0.25, 0.25)) for one in (replace(settings, noise_hu=8.0), usual)
    )
    assert sharp > 1.25 * soft
    painted = paint_phantom(settings)
    thick = simulate_thick(Volume(round_hu(painted.hu), painted.geometry), 3.0, 3.0, "box")
    (said,) = [one for one in lamella.thin(thick, spacing_mm=1.0).report["warnings"] if "outside what the model" in one]
    assert "pixels of 0.25 mm" in said


@pytest.mark.parametrize(("change", "said"), [({"edge_mm": 0.1}, "edge_mm"), ({"highest_hu": 1000}, "highest_hu")])
def test_settings_out_of_range_are_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(LamellaError, match=said):
        replace(METAL, **change)
