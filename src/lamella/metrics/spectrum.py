"""Noise power in homogeneous tissue, in the slice and along z: is the texture of the noise that of the real scan?

Densities are two-sided: white noise of standard deviation s has the flat power s^2 times the voxel's size, and power
summed over all frequencies is the variance (Parseval). Detrending and windowing take power away, most of it at the lowest
frequencies; each frequency is divided by what they leave of white noise, so white noise reads flat. Where an image is
measured is decided by the mask alone, so a prediction and its truth are measured in the same regions.

Siewerdsen, Cunningham, Jaffray, "A framework for noise-power spectrum analysis of multidimensional images", Med Phys
29(11), 2002; regions and detrending as in Dolly et al., J Appl Clin Med Phys 17(3), 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lamella.errors import LamellaError
from lamella.metrics.checks import Hu, Mask, check_mask, finite

ROI_PX = 16
"""Side of the square regions in which noise is measured in the slice."""

RUN_SLICES = 16
"""Length of the runs of slices over which noise is measured along z."""

LEAST_ROIS = 10
"""With fewer regions the spectrum is mostly chance: each frequency is the mean of so many exponential draws."""

LEAST_COLUMNS = 500
"""Neighbouring columns are correlated, so far more of them are asked for."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A noise power spectrum.

    Attributes:
        frequency_per_mm: (n,) cycles/mm, rising, without 0.
        power: (n,) noise power, HU^2 mm^2 in the slice, HU^2 mm along z.
        measure: (n,) extent of the frequencies each value stands for (1/mm^2, 1/mm), both signs counted; that of the
            lowest holds frequency 0, which detrending takes away.
        nyquist_per_mm: highest frequency the grid carries along its axes; diagonal ones in the slice lie above it.
    """

    frequency_per_mm: NDArray[np.float64]
    power: NDArray[np.float64]
    measure: NDArray[np.float64]
    nyquist_per_mm: float

    @property
    def variance_hu2(self) -> float:
        """Power summed over all frequencies: the variance of the noise."""
        return float(self.power @ self.measure)


def noise_power_in_plane(
    hu: Hu, mask: Mask, pixel_mm: tuple[float, float], case: str = "image", roi_px: int = ROI_PX
) -> Spectrum:
    """Noise power in the slice, averaged over square regions and over direction.

    Regions do not overlap and lie wholly inside the mask. From each the best-fitting plane is taken away. Where a thick
    slice reaches from tissue into something else, a restoration has errors that are no noise, and they can double its
    power at the lowest frequencies: give a mask that keeps its distance along z (`shrunk_along_z`).

    Args:
        mask: (z, y, x) homogeneous tissue (`soft_tissue_mask` of the truth).
        pixel_mm: (between rows, between columns).
        roi_px: side of a region.

    Raises:
        LamellaError: shapes differ, or fewer than `LEAST_ROIS` regions fit.
    """
    check_mask(mask, hu, case)
    corners = [(z, y, x) for z in range(len(mask)) for y, x in _squares(mask[z], roi_px)]
    if len(corners) < LEAST_ROIS:
        raise LamellaError(
            f"Too little homogeneous tissue for a noise spectrum in the slice. {case}: found {len(corners)} regions of "
            f"{roi_px} x {roi_px} pixels, expected at least {LEAST_ROIS}. Leave the figure out for this scan."
        )
    cut = np.stack([hu[z, y : y + roi_px, x : x + roi_px] for z, y, x in corners]).astype(np.float64)
    planes = _planes(roi_px)
    flat = finite(cut, case).reshape(len(cut), -1)
    flat -= (flat @ planes.T) @ planes
    row_mm, column_mm = pixel_mm
    power = (np.abs(fft.fft2(flat.reshape(cut.shape))) ** 2).mean(axis=0) * (row_mm * column_mm / roi_px**2)
    kept = 1.0 - (np.abs(fft.fft2(planes.reshape(-1, roi_px, roi_px))) ** 2).sum(axis=0) / roi_px**2
    radius = np.hypot(fft.fftfreq(roi_px, row_mm)[:, None], fft.fftfreq(roi_px, column_mm)[None, :])
    nyquist = 0.5 / max(row_mm, column_mm)
    bins = np.rint(radius * roi_px / (2 * nyquist)).astype(int).ravel()
    counts = np.bincount(bins)
    used = np.flatnonzero(counts)[1:]  # without frequency 0
    measure = counts[used] / (row_mm * column_mm * roi_px**2)
    measure[0] += 1.0 / (row_mm * column_mm * roi_px**2)
    return Spectrum(
        np.bincount(bins, radius.ravel())[used] / counts[used],
        np.bincount(bins, power.ravel())[used] / np.bincount(bins, kept.ravel())[used],
        measure,
        nyquist,
    )


def noise_power_along_z(
    hu: Hu, mask: Mask, spacing_mm: float, case: str = "image", run_slices: int = RUN_SLICES
) -> Spectrum:
    """Noise power along z, averaged over columns of voxels.

    Runs of consecutive slices, each half overlapping the next; a column counts in a run where all of it lies in the
    mask. Straight lines are taken away, and a Hann window keeps the low frequencies from leaking into the high ones,
    where an interpolated volume has next to nothing. At the lowest two frequencies anatomy shows.

    Args:
        mask: (z, y, x) homogeneous tissue (`soft_tissue_mask` of the truth).
        run_slices: slices in a run.

    Raises:
        LamellaError: shapes differ, or fewer than `LEAST_COLUMNS` columns lie in the mask.
    """
    check_mask(mask, hu, case)
    prepared = _line_off_and_window(run_slices)
    total, count = np.zeros(run_slices // 2 + 1), 0
    for first in range(0, len(hu) - run_slices + 1, run_slices // 2):
        run = slice(first, first + run_slices)
        inside = mask[run].all(axis=0)
        if inside.any():
            columns = finite(hu[run, inside].astype(np.float64), case)
            total += (np.abs(fft.rfft(prepared @ columns, axis=0)) ** 2).sum(axis=1)
            count += columns.shape[1]
    if count < LEAST_COLUMNS:
        raise LamellaError(
            f"Too little homogeneous tissue for a noise spectrum along z. {case}: found {count} columns of {run_slices} "
            f"slices, expected at least {LEAST_COLUMNS}. Leave the figure out for this scan."
        )
    frequency = fft.rfftfreq(run_slices, spacing_mm)
    measure = np.full(len(frequency), 2.0 / (run_slices * spacing_mm))
    if run_slices % 2 == 0:
        measure[-1] /= 2  # the highest frequency has no counterpart of the other sign
    measure[1] += measure[0] / 2
    kept = (np.abs(fft.rfft(prepared, axis=0)) ** 2).sum(axis=1)
    power = total / count * spacing_mm / kept
    return Spectrum(frequency[1:], power[1:], measure[1:], 0.5 / spacing_mm)


def band_ratio(prediction: Spectrum, truth: Spectrum, low: float, high: float) -> float:
    """Noise power of the prediction over the truth's, between two parts of the Nyquist frequency.

    Args:
        prediction: measured in the same mask as the truth.
        truth: of the real thin scan.
        low: lower end, 0 to 1; belongs to the band.
        high: upper end; belongs to the band only where it is 1 or more, so that bands that touch share no frequency.

    Raises:
        LamellaError: the spectra have different frequencies, the band holds none, or the truth has no power in it.
    """
    if not np.array_equal(prediction.frequency_per_mm, truth.frequency_per_mm):
        raise LamellaError(
            "The spectra have different frequencies. Measure prediction and truth on one grid with one mask."
        )
    part = truth.frequency_per_mm / truth.nyquist_per_mm
    tolerance = 1e-9
    band = (part >= low - tolerance) & (part < (high - tolerance if high < 1.0 else high + tolerance))
    powers = [float(each.power[band] @ each.measure[band]) for each in (prediction, truth)]
    if powers[1] <= 0.0:
        raise LamellaError(
            f"The truth has no noise power between {low:g} and {high:g} of the Nyquist frequency: found "
            f"{int(band.sum())} frequencies there. Choose a wider band."
        )
    return powers[0] / powers[1]


def _squares(mask: NDArray[np.bool_], side: int) -> list[tuple[int, int]]:
    """Corners (row, column) of squares inside a 2-D mask that do not overlap: the first that fits, row by row."""
    if min(mask.shape) < side or np.count_nonzero(mask) < side**2:
        return []
    sums = np.pad(mask, ((1, 0), (1, 0))).astype(np.int64).cumsum(axis=0).cumsum(axis=1)
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    free = inside == side**2
    found = []
    for row in np.flatnonzero(free.any(axis=1)):
        while free[row].any():
            column = int(free[row].argmax())
            found.append((int(row), column))
            free[row : row + side, max(0, column - side + 1) : column + side] = False
    return found


def _planes(side: int) -> NDArray[np.float64]:
    """(3, side * side) orthonormal: constant, slope along rows, slope along columns."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    basis = np.stack([np.ones(side * side), y.ravel(), x.ravel()])
    return np.asarray(basis / np.sqrt((basis**2).sum(axis=1, keepdims=True)))


def _line_off_and_window(length: int) -> NDArray[np.float64]:
    """(length, length) matrix that takes the best line from a column and applies the window."""
    line = np.stack([np.ones(length), np.arange(length) - (length - 1) / 2])
    line /= np.sqrt((line**2).sum(axis=1, keepdims=True))
    window = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    return np.asarray(window[:, None] * (np.eye(length) - line.T @ line))
