"""Flat material of phantoms and test objects: what bands and overshoot are measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

import lamella.metrics as metrics
from lamella.errors import LamellaError
from lamella.evaluate.methods import Answer
from lamella.evaluate.scans import Scan
from lamella.metrics.checks import Hu
from lamella.phantom import paint_phantom

_SCANNED_PX, _SCANNED_HU = 5, 5.0
"""Of a scanned object, slices averaged over so many pixels squared count as noiseless, and what they change by at most."""

_GAS_HU = -500.0
"""Gas is left out: its noise is another."""


@dataclass(frozen=True, eq=False)
class FlatTruth:
    """Where a scan is flat.

    Attributes:
        runs: number of the flat run that each voxel is in, 0 for none.
        steps: edges between two of them.
        sd_hu: deviation of the truth along z inside them: its noise.
    """

    runs: metrics.Runs
    steps: metrics.Steps
    sd_hu: float


def flat_truth(scan: Scan) -> FlatTruth:
    """Flat material of a phantom, or of an object that was scanned.

    Raises:
        LamellaError: the scan shows a person, or has none.
    """
    if scan.person:
        raise LamellaError("Flat material is measured in phantoms and test objects alone.")
    hu, spacing_mm = scan.volume.hu, scan.volume.geometry.spacing_mm
    if scan.phantom is None:
        clean: Hu = ndimage.uniform_filter(hu.astype(np.float32), (0, _SCANNED_PX, _SCANNED_PX))
        runs = metrics.flat_runs(clean, spacing_mm, _SCANNED_HU)
    else:
        clean = _noiseless(scan)
        runs = metrics.flat_runs(clean, spacing_mm)
    runs[clean <= _GAS_HU] = 0
    sd_hu = metrics.band_sd_hu(hu, runs, "truth")
    return FlatTruth(runs, metrics.find_steps(clean, runs, spacing_mm, sd_hu), sd_hu)


def _noiseless(scan: Scan) -> Hu:
    """The phantom as it was painted, on the voxels of the scan."""
    assert scan.phantom is not None, "only phantoms can be painted again"
    painted = paint_phantom(replace(scan.phantom, noise_hu=0.0))
    here, whole = scan.volume.geometry, painted.geometry
    first = np.linalg.solve(whole.affine[:3, :3], here.affine[:3, 3] - whole.affine[:3, 3]).round().astype(int)
    return painted.hu[tuple(slice(at, at + count) for at, count in zip(first, here.shape, strict=True))]


def flat_figures(answer: Answer, flat: FlatTruth) -> dict[str, float]:
    """Bands and overshoot of an answer."""
    figures = {"flat_sd_ratio": metrics.band_sd_hu(answer.hu, flat.runs, answer.method) / flat.sd_hu}
    if len(flat.steps.place):
        figures["overshoot_percent"] = metrics.overshoot_percent(answer.hu, flat.steps, answer.method)
    return figures
