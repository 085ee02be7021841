"""What a lung function laboratory reads off a CT: how much of the lung is emphysema-like, and its HU histogram.

Both emphysema indices sit in the dark tail of the histogram, so noise biases them: it widens the tail, and a noisier
image of the same lung shows more low attenuation and a lower percentile (den Harder et al., Eur Radiol Exp 2:30, 2018).
A restoration that smooths the noise away reads too little emphysema however small its error. They are therefore compared
with the real thin scan at its own noise, and read beside the noise ratios.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.metrics.checks import Hu, Mask, check_grid, check_mask, finite, some_voxels

EMPHYSEMA_HU = -950.0
"""Lung below this counts as emphysema-like in thin slices (Gevenois et al., Am J Respir Crit Care Med 152, 1995)."""

MILD_EMPHYSEMA_HU = -910.0
"""The same in slices of several millimetres, whose mean hides small holes (Müller et al., Chest 94:782, 1988)."""

PERCENTILE = 15.0
"""Of lung density in studies of emphysema (Parr et al., Respir Res 9:21, 2008)."""


def laa_percent(hu: Hu, lung: Mask, threshold_hu: float = EMPHYSEMA_HU, case: str = "image") -> float:
    """Low attenuation area: per cent of the lung's voxels below -950 HU (LAA-950). Noise raises it.

    Args:
        lung: (z, y, x) from `lung_mask` of the truth.
        threshold_hu: voxels below it count, those at it do not.
    """
    values = _inside(hu, lung, case)
    return 100.0 * float(np.count_nonzero(values < threshold_hu)) / values.size


def perc15_hu(hu: Hu, lung: Mask, case: str = "image") -> float:
    """The HU that 15 % of the lung's voxels lie below (Perc15, in HU: grams per litre less 1000). Noise lowers it.

    Between two voxels the percentile is interpolated linearly. Arguments and errors as `laa_percent`.
    """
    return float(np.percentile(_inside(hu, lung, case), PERCENTILE))


def histogram_distance_hu(prediction: Hu, truth: Hu, mask: Mask, case: str = "prediction") -> float:
    """1-D Wasserstein distance in HU between the histograms of prediction and truth: how far HU must move on average.

    Both have the same number of voxels, so it is the mean distance of the two sorted lists. A plain offset of the whole
    histogram reads as its size; where voxels lie does not matter.
    """
    check_grid(prediction, truth, case)
    # "stable" is a radix sort for the 16-bit integers of a CT
    ours = np.sort(_inside(prediction, mask, case), kind="stable")
    real = np.sort(_inside(truth, mask, f"truth of {case}"), kind="stable")
    return float(np.abs(ours.astype(np.float64) - real).mean())


def _inside(hu: Hu, mask: Mask, case: str) -> NDArray[Any]:
    """(n,) the masked voxels, finite and at least one."""
    check_mask(mask, hu, case)
    values = hu[mask]
    some_voxels(values.size, case)
    if not np.issubdtype(values.dtype, np.integer):
        finite(values, case)
    return values
