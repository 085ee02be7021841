"""Structural similarity in the three planes a reader looks at.

Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE TIP
13(4), 2004, equation 13: 11 x 11 Gaussian window of sigma 1.5 pixels, K1 = 0.01, K2 = 0.03, population (co)variances.
Pixels, not millimetres: in the coronal and sagittal plane the window is 11 slices high, whatever their spacing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, check_grid, finite
from lamella.metrics.error import check_range

Plane = Literal["axial", "coronal", "sagittal"]
"""Planes of constant z, y and x."""

_AXES: dict[str, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
_SIGMA_PX = 1.5
_RADIUS_PX = 5
_K1, _K2 = 0.01, 0.03
_WEIGHTS = np.exp(-0.5 * (np.arange(-_RADIUS_PX, _RADIUS_PX + 1) / _SIGMA_PX) ** 2)
_WEIGHTS /= _WEIGHTS.sum()


def ssim(
    prediction: Hu,
    truth: Hu,
    data_range_hu: float,
    case: str = "prediction",
    *,
    plane: Plane = "axial",
    planes: int | None = None,
    black_hu: float = 0.0,
) -> float:
    """Structural similarity of the planes of one orientation, averaged over planes.

    Only windows that lie wholly inside a plane count, as in scikit-image.

    SSIM compares local means as a ratio, so it depends on which HU counts as black. With 0 (water) this is SSIM of the
    HU as they are; published benchmarks use values from 0 to 1 over [-1024, 2048], which is `black_hu=-1024` with a
    range of 3072. The two differ in the second digit.

    Args:
        prediction: (z, y, x) HU; a plane needs at least 11 x 11 pixels.
        data_range_hu: peak to peak range in HU, above 0.
        plane: axial (y, x), coronal (z, x) or sagittal (z, y).
        planes: at most so many planes, spread evenly over the volume; None takes all.
        black_hu: HU that counts as 0.

    Raises:
        LamellaError: shapes differ, planes smaller than the window, no plane asked for, or a range or orientation that
            does not exist.
    """
    check_range(data_range_hu)
    check_grid(prediction, truth, case)
    if plane not in _AXES:
        raise LamellaError(f"Unknown orientation {plane!r}. Expected one of {', '.join(_AXES)}.")
    if planes is not None and planes < 1:
        raise LamellaError(f"SSIM needs at least one plane. {case}: found {planes}.")
    predicted, true = (np.moveaxis(volume, _AXES[plane], 0) for volume in (prediction, truth))
    width = 2 * _RADIUS_PX + 1
    if min(true.shape[1:]) < width:
        raise LamellaError(
            f"SSIM needs {plane} planes of at least {width} x {width}. {case}: found {true.shape[1:]}. "
            "Leave this orientation out for so small a volume."
        )
    chosen = _spread(len(true), planes)
    total = 0.0
    for index in chosen:
        a = finite(predicted[index].astype(np.float64), case) - black_hu
        b = finite(true[index].astype(np.float64), f"truth of {case}") - black_hu
        total += _ssim_plane(a, b, data_range_hu)
    return total / len(chosen)


def _spread(count: int, wanted: int | None) -> NDArray[np.intp]:
    """Indices of at most `wanted` planes, one from each of as many equal parts of 0 ... count - 1.

    Where in its part is random, but always the same. The middles would do but for axial planes: a fixed distance beats with
    that of the thick slices, near whose centres every method is at its best.
    """
    if wanted is None or wanted >= count:
        return np.arange(count)
    part = np.arange(wanted)
    return ((part + np.random.default_rng(0).random(wanted)) * count / wanted).astype(np.intp)


def _ssim_plane(a: NDArray[np.float64], b: NDArray[np.float64], data_range_hu: float) -> float:
    c1, c2 = (_K1 * data_range_hu) ** 2, (_K2 * data_range_hu) ** 2
    # Equation 13 needs only the sum of the two variances: four local means instead of five.
    mean_a, mean_b, mean_squares, mean_product = _local_means(np.stack([a, b, a * a + b * b, a * b]))
    product = mean_a * mean_b
    squares = mean_a**2 + mean_b**2
    similarity = (2 * product + c1) * (2 * (mean_product - product) + c2)
    similarity /= (squares + c1) * (mean_squares - squares + c2)
    return float(similarity.mean())


def _local_means(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, y, x) -> (n, y - 10, x - 10): Gaussian means of the windows wholly inside."""
    inner = slice(_RADIUS_PX, -_RADIUS_PX)
    tall = ndimage.correlate1d(images, _WEIGHTS, axis=1)[:, inner]
    return np.asarray(ndimage.correlate1d(tall, _WEIGHTS, axis=2)[:, :, inner])
