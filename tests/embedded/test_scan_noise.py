from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tests.small_model import upright

from lamella.embedded.scan_noise import ScanNoise, measure_noise
from lamella.metrics import noise_sd_in_plane
from lamella.physics.grid_pair import GridPair
from lamella.physics.slice_operator import covering_grid
from lamella.thinning.grid import thin_grid
from lamella.volume import Volume

NOISE_HU = 20.0


def tissue(
    smoothing_mm: float,
    anatomy_hu: float = 0.0,
    pixel_mm: float = 0.8,
    spacing_mm: float = 5.0,
    rows: int = 200,
    noise_hu: float = NOISE_HU,
) -> Volume:
    """Slices of 5 mm of 40 HU with noise of a ramp filter and a Gaussian, and anatomy that drifts from slice to slice."""
    shape, rng = (round(8 * 5 / spacing_mm), rows, rows), np.random.default_rng(0)
    along = np.fft.fftfreq(rows, pixel_mm)
    frequency = np.hypot(along[:, None], along[: rows // 2 + 1])
    response = np.sqrt(frequency) * np.exp(-2 * (np.pi * smoothing_mm * frequency) ** 2)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * response, s=shape[1:])
    noise *= noise_hu / noise.std()
    if spacing_mm < 5:  # slices that overlap share half of their noise
        noise = (noise + np.roll(noise, 1, axis=0)) / np.sqrt(2)
    steps = gaussian_filter(rng.standard_normal(shape), (0, 2 / pixel_mm, 2 / pixel_mm), mode="wrap")
    hu = 40 + noise + anatomy_hu * np.cumsum(steps / steps.std(), axis=0)
    hu[:, :8] = -1000
    return Volume(hu.round().astype(np.int16), upright(shape, spacing_mm, 5.0, pixel_mm))


def grids_of(thick: Volume) -> GridPair:
    """To slices of 1 mm."""
    longer, _ = covering_grid(thin_grid(thick.geometry, spacing_mm=1.0), thick.geometry)
    return GridPair.between(longer, thick.geometry)


def measured(thick: Volume) -> ScanNoise:
    """The noise, which there is."""
    noise = measure_noise(thick, grids_of(thick))
    assert noise is not None
    return noise


def sigma_hu(noise: ScanNoise, thick: Volume) -> float:
    """The noise of the thick slices that was found."""
    return noise.white_hu * float(np.sqrt((grids_of(thick).operator.matrix ** 2).sum(axis=1)).mean())


@pytest.mark.parametrize(("smoothing_mm", "shown"), [(0.3, 1.02), (0.7, 0.88), (1.2, 0.56), (1.8, 0.31)])
@pytest.mark.parametrize("spacing_mm", [5.0, 2.5])
def test_noise_of_any_texture_is_found_whole(smoothing_mm: float, shown: float, spacing_mm: float) -> None:
    # SPEC C2, C3: soft kernels leave coarse noise, of which a window of 4 mm shows a third in the worst case
    thick = tissue(smoothing_mm, spacing_mm=spacing_mm)
    noise = measured(thick)
    narrow = noise_sd_in_plane(thick.hu, noise.soft, "thick", noise.window_px)
    assert narrow == pytest.approx(shown * NOISE_HU, rel=0.05)
    # The coarsest lets the mask of even tissue leave out where it is strongest.
    assert sigma_hu(noise, thick) == pytest.approx(NOISE_HU, rel=0.05 if smoothing_mm < 1.5 else 0.18)


def test_anatomy_that_changes_from_slice_to_slice_is_no_coarse_noise() -> None:
    # SPEC C3: a wide window takes it for noise, the difference of neighbours still for some of it
    thick = tissue(0.3, anatomy_hu=8.0, noise_hu=6.0)
    quiet = measured(thick)
    assert noise_sd_in_plane(thick.hu, quiet.soft, "slices", quiet.wide_px) > 2 * 6.0
    assert quiet.coarse < 1.05


def test_usual_noise_is_left_as_it_is_shown() -> None:
    assert 1.0 <= measured(tissue(0.0)).coarse < 1.02


def test_the_same_noise_is_found_in_fine_and_in_common_pixels() -> None:
    # SPEC C2: a head's pixels are half as long as a chest's; coarse noise in millimetres is coarser still in pixels
    fine, common = (measured(tissue(0.7, pixel_mm=pixel_mm)).white_hu for pixel_mm in (0.45, 0.8))
    assert fine == pytest.approx(common, rel=0.1)


def test_too_little_tissue_is_measured_with_the_narrow_window_alone() -> None:
    thick = tissue(1.2)
    few = Volume(thick.hu[:2], upright((2, 200, 200), 5.0, 5.0, 0.8))  # no two slices twice the distance apart
    small = tissue(1.2, pixel_mm=0.5, rows=40)
    for volume in (few, small):
        noise = measured(volume)
        assert noise.coarse == 1.0
        assert noise.wide_px == noise.window_px


def test_a_sample_is_measured_whole_where_it_has_another_texture() -> None:
    # SPEC C8: noise as strong before and after it was given the scan's texture
    coarse = measured(tissue(1.2))
    inside = np.s_[:, 12:]
    fine, same = (tissue(smoothing_mm).hu[inside] - 40.0 for smoothing_mm in (0.3, 1.2))
    soft = np.ones(fine.shape, bool)
    assert coarse.sampled_hu(fine, soft) == pytest.approx(coarse.sampled_hu(same, soft), rel=0.05)
    assert coarse.in_plane_hu(same, soft, "same") == pytest.approx(NOISE_HU, rel=0.05)
