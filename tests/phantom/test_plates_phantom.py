"""The test object of flat material: where it is flat, its contrasts, its grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lamella.metrics import find_steps, flat_runs
from lamella.phantom import PhantomSettings, paint_phantom

OBJECT = PhantomSettings(shape=(60, 120, 120), pixel_mm=1.0, noise_hu=0.0, region="plates", seed=1)


def test_most_of_it_is_flat_and_steps_are_as_faint_as_tissue_and_as_strong_as_bone() -> None:
    # No bands in flat material: plates, stairs, rods and spheres at soft-tissue and bone contrast
    hu = paint_phantom(OBJECT).hu
    flat = flat_runs(hu, 1.0)
    assert 0.4 < float((flat[hu > -500] > 0).mean()) < 0.95
    steps = find_steps(hu, flat, 1.0)
    contrast = np.abs(steps.upper - steps.lower)
    assert np.count_nonzero(contrast < 50) > 100
    assert np.count_nonzero(contrast > 200) > 100
    # every phase of thick slices of 5 mm
    assert len(set(steps.place[:, 0] % 5)) == 5


def test_seeds_differ_and_the_same_millimetre_holds_the_same_on_every_grid() -> None:
    coarse = paint_phantom(replace(OBJECT, shape=(21, 61, 61), spacing_mm=3.0, pixel_mm=3.0, thickness_mm=3.0)).hu
    fine = paint_phantom(replace(OBJECT, shape=(61, 61, 61), spacing_mm=1.0, pixel_mm=3.0, thickness_mm=3.0)).hu
    np.testing.assert_allclose(fine[::3], coarse, atol=0.1)
    assert float((np.abs(paint_phantom(OBJECT).hu - paint_phantom(replace(OBJECT, seed=2)).hu) > 5).mean()) > 0.1


def test_a_grid_elsewhere_shows_the_same_there_within_a_round_field() -> None:
    whole = paint_phantom(replace(OBJECT, shape=(20, 121, 121)))
    part = paint_phantom(replace(OBJECT, shape=(20, 41, 41), middle_mm=(20.0, -10.0, 0.0), round_field=True))
    shift = (part.geometry.affine[:3, 3] - whole.geometry.affine[:3, 3]).round().astype(int)
    assert tuple(shift) == (60, 30, 0)
    same = whole.hu[:, 30:71, 60:101]
    y, x = np.mgrid[-20:21, -20:21]
    inside = np.hypot(y, x) < 20
    np.testing.assert_allclose(part.hu[:, inside], same[:, inside], atol=0.05)
    assert (part.hu[:, np.hypot(y, x) > 21] == -1024).all()
    assert part.hu[0, 20, 0] != -1024
    assert part.hu[0, 20, 20] == pytest.approx(same[0, 20, 20], abs=0.05)
