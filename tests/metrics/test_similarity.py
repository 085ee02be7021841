from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from lamella.errors import LamellaError, NonFiniteError
from lamella.metrics import ssim
from lamella.metrics.similarity import _spread

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}


def noisy_pair(shape: tuple[int, int, int] = (13, 15, 18)) -> tuple[np.ndarray, np.ndarray]:
    """HU with structure in every direction, and the same with errors."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    truth = 400 * np.sin(z / 2) * np.cos(y / 3) * np.sin(x / 4) - 200 + rng.normal(0, 20, shape)
    return truth + rng.normal(0, 60, shape), truth


def test_parity_with_the_sum_over_one_window():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 100, (1, 11, 11)), rng.normal(0, 100, (1, 11, 11))
    b += a
    # the formula of Wang et al. 2004 on the single window that fits, weights written out
    offset = np.arange(-5, 6)
    weight = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    weight /= weight.sum()
    mean_a, mean_b = (weight * a[0]).sum(), (weight * b[0]).sum()
    var_a, var_b = (weight * (a[0] - mean_a) ** 2).sum(), (weight * (b[0] - mean_b) ** 2).sum()
    cov = (weight * (a[0] - mean_a) * (b[0] - mean_b)).sum()
    c1, c2 = (0.01 * 400) ** 2, (0.03 * 400) ** 2
    expected = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    assert ssim(a, b, 400) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("plane", list(PLANES))
@pytest.mark.parametrize(("range_hu", "black_hu"), [(4095, 0.0), (400, 0.0), (3072, -1024.0)])
def test_parity_with_scikit_image(plane, range_hu, black_hu):  # SPEC C8: three planes
    pair = noisy_pair()
    theirs = [
        structural_similarity(
            a - black_hu,
            b - black_hu,
            data_range=range_hu,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(*(np.moveaxis(volume, PLANES[plane], 0) for volume in pair), strict=True)
    ]
    assert ssim(*pair, range_hu, plane=plane, black_hu=black_hu) == pytest.approx(np.mean(theirs), abs=1e-9)


def test_parity_with_torchmetrics_inside():
    prediction, truth = noisy_pair()
    _, every = structural_similarity_index_measure(
        *(torch.from_numpy(volume)[:, None] for volume in (prediction, truth)),
        data_range=4095.0,
        return_full_image=True,
    )
    # its mean takes in windows that reach past the image; ours are the inner ones
    assert ssim(prediction, truth, 4095) == pytest.approx(float(every[..., 5:-5, 5:-5].mean()), abs=1e-6)


def test_planes_are_those_of_the_axis_moved_to_the_front():
    prediction, truth = noisy_pair()
    for plane, axis in PLANES.items():
        moved = [np.ascontiguousarray(np.moveaxis(volume, axis, 0)) for volume in (prediction, truth)]
        assert ssim(prediction, truth, 400, plane=plane) == ssim(*moved, 400)


def test_fewer_planes_are_the_mean_of_those_planes():
    prediction, truth = noisy_pair((24, 12, 12))
    chosen = _spread(24, 5)
    each = [ssim(prediction[[i]], truth[[i]], 400) for i in chosen]
    assert ssim(prediction, truth, 400, planes=5) == pytest.approx(np.mean(each), rel=1e-12)
    assert (
        ssim(prediction, truth, 400, planes=24)
        == ssim(prediction, truth, 400, planes=99)
        == ssim(prediction, truth, 400)
    )


@pytest.mark.parametrize("count", [24, 100, 275])
def test_chosen_planes_lie_one_in_each_part_and_at_all_phases_of_a_thick_slice(count):
    chosen = _spread(count, 20)
    assert (chosen >= np.arange(20) * count // 20).all()
    assert (chosen < (np.arange(20) + 1) * count / 20).all()
    # the middles of 20 parts of 100 slices would all be the same slice of five
    assert set(chosen % 5) == set(range(5))


def test_whole_numbers_do_not_wrap_around():
    prediction, truth = (np.rint(volume).astype(np.int16) for volume in noisy_pair())
    assert ssim(prediction * 30, truth * 30, 4095) == pytest.approx(
        ssim(prediction * 30.0, truth * 30.0, 4095), rel=1e-12
    )


def test_ssim_of_equals_is_1_and_falls_with_noise():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 100, (2, 16, 20))
    little, much = truth + rng.normal(0, 10, truth.shape), truth + rng.normal(0, 100, truth.shape)
    assert ssim(truth, truth, 4095) == pytest.approx(1.0)
    assert 1.0 > ssim(little, truth, 400) > ssim(much, truth, 400) > 0.0


def test_nan_is_an_error_in_every_plane():  # SPEC A19
    prediction, truth = noisy_pair()
    prediction[6, 7, 8] = np.nan
    for plane in PLANES:
        with pytest.raises(NonFiniteError, match="case-17"):
            ssim(prediction, truth, 4095, "case-17", plane=plane)


def test_refuses_thin_stacks_and_requests_that_make_no_sense():
    few = np.zeros((10, 12, 14))
    assert ssim(few, few, 400) == 1.0
    with pytest.raises(LamellaError, match=r"coronal planes of at least 11 x 11. case-1: found \(10, 14\)"):
        ssim(few, few, 400, "case-1", plane="coronal")
    with pytest.raises(LamellaError, match=r"sagittal planes of at least 11 x 11. case-1: found \(10, 12\)"):
        ssim(few, few, 400, "case-1", plane="sagittal")
    with pytest.raises(LamellaError, match="Unknown orientation 'oblique'"):
        ssim(few, few, 400, plane="oblique")
    with pytest.raises(LamellaError, match="at least one plane"):
        ssim(few, few, 400, planes=0)
    with pytest.raises(LamellaError, match="data range must be a positive number"):
        ssim(few, few, np.inf)
    with pytest.raises(LamellaError, match="same grid"):
        ssim(few, few[:4], 400)
