"""Every geometry the embedded model is for: gain over cubic interpolation, by thickness, spacing and target spacing.

    python benchmarks/geometries.py [--model embedded] [SERIES[:FIRST:LAST] ...]
    python benchmarks/geometries.py ../shared/ct/train/lidc-0314-1.0mm:225:275 ../shared/ct/train/qin-0003-3mm

A thin series is averaged to thick slices (box, whole HU) and, where a coarser target is asked for, to the truth of that
target. Two phantom chests are always among the series: one of 0.5 mm slices, one of 1 mm. Figures are PSNR (4095 HU) of mode
mean within the body less that of cubic interpolation placed by position, on target slices that lie within the slabs.
Then the same scan at 1.00 and at 1.01 mm: error, noise and edges of the two must be alike.

Prints Markdown; docs/explanation/geometries.md is its answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.embedded.model import EmbeddedModel
from lamella.evaluate.cases import covered_slices, thickened_case
from lamella.evaluate.scans import Scan, scan_of
from lamella.evaluate.settings import GeometrySettings
from lamella.models.shipped import find_model
from lamella.phantom import PhantomSettings, paint_phantom
from lamella.physics.slice_operator import SliceOperator, along_z, cubic_matrix
from lamella.sources.source import read_source
from lamella.thinning.grid import thin_grid
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Geometry, Volume, round_hu

THICK_MM = (
    (2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (5.0, 5.0), (6.0, 6.0), (7.5, 7.5), (8.0, 8.0), (10.0, 10.0),
    (3.0, 2.0), (5.0, 2.5), (5.0, 4.0), (8.0, 5.0), (10.0, 5.0),
    (2.0, 3.0), (3.0, 5.0), (5.0, 7.0), (8.0, 10.0),
)  # fmt: skip
"""(thickness, spacing): contiguous, overlapping, with gaps."""
TARGETS_MM = (0.5, 0.625, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
LEAST_SLICES = 3
"""Fewer thick slices say nothing."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "series", nargs="*", help="a thin series, perhaps with the first slice and the one after the last"
    )
    parser.add_argument("--model", default="embedded")
    asked = parser.parse_args()
    model = EmbeddedModel.read(find_model(asked.model))
    scans = [_phantom(0.5, 200), _phantom(1.0, 120), *(_read(text) for text in asked.series)]
    print(f"Model {model.name}, SHA-256 {model.sha256[:12]}.", end=" ")
    print("Figures: PSNR of `mean` in the body minus that of cubic interpolation, dB.\n")
    print("## Thickness and spacing\n")
    print("Target: the series' own slices.\n")
    _table([f"{t:g} every {s:g}" for t, s in THICK_MM], scans, lambda scan, i: gain_db(scan, model, *THICK_MM[i]))
    print("\n## Target spacing\n\nFrom 5 mm slices every 5 mm; the truth averaged to the target's width.\n")
    _table([f"{t:g} mm" for t in TARGETS_MM], scans, lambda scan, i: gain_db(scan, model, 5.0, 5.0, TARGETS_MM[i]))
    print("\n## 1.00 and 1.01 mm\n\nFrom 5 mm slices every 5 mm, against the truth interpolated to the same slices.\n")
    print(
        "| series | target, mm | RMSE, HU | edge width z, mm | noise in plane, HU | noise along z, HU | edge roughness |"
    )
    print("|---|---|---|---|---|---|---|")
    for scan in scans:
        for target_mm in (1.0, 1.01):
            print(f"| {scan.name} | {target_mm:.2f} | {' | '.join(appearance(scan, model, target_mm))} |", flush=True)
    return 0


def _phantom(spacing_mm: float, slices: int) -> Scan:
    settings = PhantomSettings((slices, 192, 192), spacing_mm, 1.8, thickness_mm=spacing_mm, seed=7)
    return scan_of(f"phantom chest, {spacing_mm:g} mm", "phantom", False, paint_phantom(settings), crop=True)


def _read(text: str) -> Scan:
    path, *part = text.split(":")
    volume = read_source(Path(path))
    kept = volume.part(slice(*map(int, part))) if part else volume
    return scan_of(Path(path).name, "thickened", True, kept, crop=True)


def _table(rows: list[str], scans: list[Scan], figure: Callable[[Scan, int], float | None]) -> None:
    print(f"| | {' | '.join(scan.name for scan in scans)} |")
    print("|---" * (len(scans) + 1) + "|")
    for i, row in enumerate(rows):
        cells = [figure(scan, i) for scan in scans]
        print(f"| {row} | {' | '.join('-' if c is None else f'{c:+.2f}' for c in cells)} |", flush=True)


@dataclass(frozen=True, eq=False)
class Question:
    """Thick slices, target slices that lie within their slabs, the truth there and where the body is."""

    thick: Volume
    grid: Geometry
    truth: NDArray[np.float32]
    body: NDArray[np.bool_]


def question(scan: Scan, thickness_mm: float, spacing_mm: float, target_mm: float | None = None) -> Question | None:
    """Ask for a geometry; None where the series is too thick or too short for it."""
    series = scan.volume.geometry
    own = min(series.spacing_mm, series.thickness_mm)
    target_mm = target_mm or series.spacing_mm
    if thickness_mm < 1.4 * series.thickness_mm or spacing_mm < 1.4 * series.spacing_mm:
        return None
    if target_mm < own - 1e-6 or target_mm > spacing_mm:
        return None
    if series.shape[0] * series.spacing_mm < thickness_mm + (LEAST_SLICES - 1) * spacing_mm:
        return None
    hu = torch.from_numpy(scan.volume.hu.astype(np.float32))
    thick = thickened(scan, thickness_mm, spacing_mm)
    if abs(target_mm - series.spacing_mm) < 1e-6:
        grid, truth = _within(series, thick.geometry)
        return Question(thick, grid, hu[truth].numpy(), scan.masks["body"][truth])
    grid, _ = _within(thin_grid(thick.geometry, spacing_mm=target_mm), thick.geometry)
    truth_hu = SliceOperator.between(series, grid, ridge=0.0).blur(hu).numpy()
    return Question(thick, grid, truth_hu, _at(scan.masks["body"], series, grid))


def thickened(scan: Scan, thickness_mm: float, spacing_mm: float) -> Volume:
    """The scan in thick slices, as an evaluation has it."""
    return thickened_case("", "", scan, GeometrySettings(thickness_mm, spacing_mm)).thick


def _within(grid: Geometry, thick: Geometry) -> tuple[Geometry, slice]:
    """The slices of a grid that lie within the slabs, as wide as they are apart; and which of its slices they are."""
    touched, scored = covered_slices(grid, thick)
    first, count, step_mm = touched.start + scored.start, scored.stop - scored.start, grid.spacing_mm
    return grid.with_slices(count, step_mm, first * step_mm, step_mm), slice(first, first + count)


def _at(mask: NDArray[np.bool_], series: Geometry, grid: Geometry) -> NDArray[np.bool_]:
    """A mask of the series at the slices of another grid: the nearest slice's."""
    return mask[np.abs(series.centres_mm[:, None] - grid.centres_mm).argmin(axis=0)]


def gain_db(
    scan: Scan, model: EmbeddedModel, thickness_mm: float, spacing_mm: float, target_mm: float | None = None
) -> float | None:
    """PSNR of the mean over that of cubic interpolation, within the body."""
    asked = question(scan, thickness_mm, spacing_mm, target_mm)
    if asked is None:
        return None
    errors = []
    cubic = metrics.aligned_cubic(asked.thick.hu, asked.thick.geometry.centres_mm, asked.grid.centres_mm)
    for hu in (thin(asked.thick, model, asked.grid, ThinSettings()).volume.hu, round_hu(cubic)):
        errors.append(metrics.rmse_hu(hu.astype(np.float32), asked.truth, asked.body))
    return float(20 * np.log10(errors[1] / errors[0]))


def appearance(scan: Scan, model: EmbeddedModel, target_mm: float) -> list[str]:
    """Figures of the mean at a target spacing that show a jump of sharpness or noise."""
    thick, series = thickened(scan, 5.0, 5.0), scan.volume.geometry
    grid, _ = _within(thin_grid(thick.geometry, spacing_mm=target_mm), thick.geometry)
    between = cubic_matrix(series.centres_mm, grid.centres_mm)
    truth = along_z(between, torch.from_numpy(scan.volume.hu.astype(np.float32))).numpy()
    hu = thin(thick, model, grid, ThinSettings()).volume.hu
    body, soft = _at(scan.masks["body"], series, grid), _at(scan.masks["soft"], series, grid)
    edges = metrics.find_edges_z(truth, target_mm, body)
    width = f"{metrics.edge_width_z_mm(hu, edges, target_mm):.2f}" if len(edges) else "-"
    return [
        f"{metrics.rmse_hu(hu.astype(np.float32), truth, body):.1f}",
        width,
        f"{metrics.noise_sd_in_plane(hu, soft):.2f}",
        f"{metrics.noise_sd_along_z(hu, soft):.2f}",
        f"{metrics.edge_second_difference_ratio(hu, truth, target_mm, body):.3f}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
