"""Sharpness of the plane: a blur of known width has a known transfer function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lamella.errors import LamellaError
from lamella.metrics import sharpness_in_plane


def disc(sigma_mm: float, noise_hu: float = 0.0, pixel_mm: float = 0.5) -> np.ndarray:
    """A cylinder of 0 HU in air, blurred in the plane, finely painted and averaged to pixels."""
    fine = 4
    y, x = (np.mgrid[: 160 * fine, : 160 * fine] + 0.5) * pixel_mm / fine - 40.3
    plane = gaussian_filter(np.where(np.hypot(y, x) < 25, 0.0, -1000.0), sigma_mm * fine / pixel_mm)
    plane = plane.reshape(160, fine, 160, fine).mean(axis=(1, 3))
    rng = np.random.default_rng(5)
    return np.stack([plane + noise_hu * rng.standard_normal(plane.shape) for _ in range(6)]).astype(np.float32)


@pytest.mark.parametrize("sigma_mm", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("noise_hu", [0.0, 30.0])
def test_a_gaussian_blur_has_the_frequency_of_its_width(sigma_mm: float, noise_hu: float) -> None:
    expected = math.sqrt(math.log(2) / 2) / (math.pi * sigma_mm)
    assert sharpness_in_plane(disc(sigma_mm, noise_hu), (0.5, 0.5)) == pytest.approx(expected, rel=0.08)


def test_it_does_not_depend_on_the_pixels() -> None:
    coarse, fine = (sharpness_in_plane(disc(0.8, pixel_mm=mm), (mm, mm)) for mm in (0.7, 0.4))
    assert coarse == pytest.approx(fine, rel=0.08)


def test_without_edges_there_is_no_figure() -> None:
    with pytest.raises(LamellaError, match="found 0, expected 100"):
        sharpness_in_plane(np.zeros((5, 64, 64), np.float32), (0.5, 0.5))
