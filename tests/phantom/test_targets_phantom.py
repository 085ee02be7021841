from __future__ import annotations

import itertools

import numpy as np
import pytest

from lamella.phantom import PhantomSettings, paint_phantom
from lamella.phantom.targets import LUMEN_HU, LUMENS_MM, SPECKS_MM, phantom_airways, phantom_specks

TARGETS = PhantomSettings(shape=(64, 160, 160), pixel_mm=1.0, noise_hu=0.0, region="targets", seed=2)


@pytest.fixture(scope="module")
def hu() -> np.ndarray:
    return paint_phantom(TARGETS).hu


def at(hu: np.ndarray, lps: tuple[float, float, float]) -> float:
    """HU of the voxel that holds a point."""
    z, y, x = (
        round(value - origin) for value, origin in zip(lps[::-1], TARGETS.geometry.affine[:3, 3][::-1], strict=True)
    )
    return float(hu[z, y, x])


def test_large_lumens_hold_gas_and_large_specks_their_density(hu: np.ndarray) -> None:
    for airway in phantom_airways(2):
        if airway.lumen_mm >= 6.0:
            assert at(hu, airway.centre_mm) == pytest.approx(LUMEN_HU, abs=30)
    for speck in phantom_specks(2):
        if speck.diameter_mm >= 4.0:
            assert at(hu, speck.centre_mm) > 0.6 * speck.hu


def test_every_size_is_there_and_no_part_touches_another() -> None:
    airways, specks = phantom_airways(0), phantom_specks(0)
    assert {one.lumen_mm for one in airways} == set(LUMENS_MM)
    assert {one.diameter_mm for one in specks} == set(SPECKS_MM)
    for one, other in itertools.combinations(airways, 2):
        ends = [
            np.array(each.centre_mm) + np.linspace(-5, 5, 21)[:, None] * np.array(each.axis) for each in (one, other)
        ]
        apart = np.linalg.norm(ends[0][:, None] - ends[1][None], axis=2).min()
        assert apart > one.lumen_mm / 2 + one.wall_mm + other.lumen_mm / 2 + other.wall_mm
    for one, other in itertools.combinations(specks, 2):
        assert (
            np.linalg.norm(np.subtract(one.centre_mm, other.centre_mm)) > (one.diameter_mm + other.diameter_mm) / 2 + 6
        )


def test_the_seed_moves_parts_along_the_slices_alone() -> None:
    for one, other in zip(phantom_specks(0), phantom_specks(1), strict=True):
        assert one.centre_mm[:2] == other.centre_mm[:2]
        assert one.centre_mm[2] != other.centre_mm[2]
        assert abs(one.centre_mm[2] - other.centre_mm[2]) <= 5.0
