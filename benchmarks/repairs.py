"""What `--repair` errs: where spheres lie after it, and whether the spread of a bridged slice holds its errors.

    python benchmarks/repairs.py [--model embedded] [SERIES ...]

A sphere of 40 HU in -800 HU is scanned whole, and with a fault in its middle: tilted by 15 degrees, with slices 15 % of their
spacing before and behind their places in turn, or without one slice. Both are made thin (1 mm), the second one after the
repair; the distance between the two centres is what the repair did. The greatest of several places of the sphere within a
slice counts.

Each SERIES (thin CT; its middle, 192 x 192 pixels) is averaged to 5 mm every 5 mm and loses one slice in its middle. Of the
body in the thin slices of that slab: the spread, root mean square, with the slice and with its bridge, and the share of errors
within 1.96 spreads.

Prints Markdown; docs/explanation/limits.md quotes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lamella
from lamella.metrics.spheres import Sphere, distance_mm, sphere_box, sphere_share
from lamella.physics.mend import Bridge, MakeEven, Mend, Unshear
from lamella.physics.repair import Repair
from lamella.sources.source import read_source
from lamella.thinning.grid import thin_grid
from lamella.thinning.model import ThinModel
from lamella.thinning.settings import ThinSettings
from lamella.thinning.thin import thin
from lamella.volume import Geometry, Volume

SLICES, BROKEN, PIXELS, PIXEL_MM = 13, 6, 64, 0.8
OUTSIDE_HU, INSIDE_HU = -800.0, 40.0
OFFSETS = (-0.4, -0.2, 0.0, 0.25, 0.5)
"""Of the sphere from the middle of the broken slice, in slice spacings."""

TILT_DEG, UNEVEN = 15.0, 0.15
"""Slices lie this share of their spacing before and behind their places, in turn."""

THICK_MM, WITHIN, CROP = 5.0, 1.96, 192


def scanned(
    sphere: Sphere, heights_mm: NDArray[np.float64], aside_mm: NDArray[np.float64], thickness_mm: float
) -> NDArray[np.int16]:
    """Upright slices at heights, each moved along its rows' axis as a tilt moves them; exact shares of the sphere."""
    hu = np.full((len(heights_mm), PIXELS, PIXELS), OUTSIDE_HU)
    plane = Geometry((1, PIXELS, PIXELS), np.diag([thickness_mm, PIXEL_MM, PIXEL_MM, 1.0]), thickness_mm)
    x, y, z = sphere.centre_mm
    places = np.arange(PIXELS) * PIXEL_MM
    for k, (height, aside) in enumerate(zip(heights_mm, aside_mm, strict=True)):
        offsets = (np.array([height - z]), places + aside - y, places - x)
        hu[k] += sphere_share(offsets, plane, sphere.diameter_mm / 2)[0] * (INSIDE_HU - OUTSIDE_HU)
    return np.rint(hu).astype(np.int16)


def upright(slices: int, spacing_mm: float) -> NDArray[np.float64]:
    """(z, y, x) index -> LPS mm of upright slices from the origin on."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = spacing_mm, PIXEL_MM, PIXEL_MM, 1.0
    return affine


def moved_mm(kind: str, spacing_mm: float, diameter_mm: float, off: float, model: ThinModel) -> float:
    """How far a repair moves the centre of a sphere."""
    middle = PIXELS * PIXEL_MM / 2
    sphere = Sphere((middle - 0.2, middle + 0.3, spacing_mm * (BROKEN + off)), diameter_mm)
    heights, none = spacing_mm * np.arange(SLICES), np.zeros(SLICES)
    affine = upright(SLICES, spacing_mm)
    whole = Volume(scanned(sphere, heights, none, spacing_mm), Geometry((SLICES, PIXELS, PIXELS), affine, spacing_mm))
    mend: Mend
    if kind == "tilt":
        aside = (np.arange(SLICES) - BROKEN) * spacing_mm * np.tan(np.radians(TILT_DEG))
        leaning = np.array(affine)
        leaning[1, 0], leaning[1, 3] = aside[1] - aside[0], aside[0]
        hu = scanned(sphere, heights, aside, spacing_mm)
        mend = Unshear.of(hu.shape, leaning)
        geometry = Geometry(mend.shape, mend.affine, spacing_mm)
    elif kind == "uneven":
        shifts = UNEVEN * spacing_mm * (-1.0) ** np.arange(SLICES)
        shifts[[0, -1]] = 0.0
        hu, mend, geometry = (
            scanned(sphere, heights + shifts, none, spacing_mm),
            MakeEven.of(heights + shifts),
            whole.geometry,
        )
    else:
        hu, geometry = np.delete(whole.hu, BROKEN, axis=0), whole.geometry
        mend = Bridge(BROKEN, SLICES - 1, float(heights[BROKEN]))
    repaired, record = mend(hu)
    centres = [
        centre(thinned(volume, model, done), sphere, spacing_mm)
        for volume, done in ((whole, None), (Volume(repaired, geometry), record))
    ]
    return float(np.linalg.norm(centres[1] - centres[0]))


def thinned(volume: Volume, model: ThinModel, repair: Repair | None) -> Volume:
    """Mode mean, 1 mm."""
    return thin(volume, model, thin_grid(volume.geometry, spacing_mm=1.0), bridged=repair and repair.bridged).volume


def centre(volume: Volume, sphere: Sphere, reach_mm: float) -> NDArray[np.float64]:
    """LPS middle of what stands out from the background around a sphere."""
    box, offsets = sphere_box(volume.geometry, sphere, sphere.diameter_mm / 2 + reach_mm)
    weight = np.clip(volume.hu[box] - (OUTSIDE_HU + 0.2 * (INSIDE_HU - OUTSIDE_HU)), 0.0, None)
    weight[distance_mm(offsets) > sphere.diameter_mm / 2 + reach_mm] = 0.0
    sums = [weight.sum(axis=other) for other in ((1, 2), (0, 2), (0, 1))]
    return np.asarray(
        volume.geometry.axes @ [np.average(at, weights=one) for at, one in zip(offsets, sums, strict=True)]
    )


def middle_of(volume: Volume) -> Volume:
    """The middle of each slice."""
    rows, columns = (slice(max(0, (n - CROP) // 2), max(0, (n - CROP) // 2) + CROP) for n in volume.hu.shape[1:])
    return volume.part(slice(None), rows, columns)


def bridged_spread(series: Path, model: ThinModel) -> tuple[float, float, float]:
    """(spread with the measured slice, with its bridge, share of errors within 1.96 of the latter) of one scan."""
    truth = middle_of(read_source(series))
    thick = lamella.simulate_thick(truth, THICK_MM, THICK_MM)
    at = thick.geometry.shape[0] // 2
    mend = Bridge(at, thick.geometry.shape[0] - 1, float(thick.geometry.centres_mm[at]))
    hu, record = mend(np.delete(thick.hu, at, axis=0))
    grid = thin_grid(thick.geometry, like=truth.geometry)
    first = int(np.argmin(np.abs(truth.geometry.centres_mm - grid.centres_mm[0])))
    slab = np.abs(grid.centres_mm - thick.geometry.centres_mm[at]) < THICK_MM / 2
    wanted = truth.hu[first : first + grid.shape[0]][slab].astype(np.float64)
    body = wanted > -500
    spreads, within = [], 0.0
    for volume, done in ((thick, None), (Volume(hu, thick.geometry), record)):
        result = thin(volume, model, grid, ThinSettings(spread=True), bridged=done and done.bridged)
        assert result.spread is not None
        spread, error = result.spread.hu[slab][body].astype(np.float64), (result.volume.hu[slab] - wanted)[body]
        spreads.append(float(np.sqrt((spread**2).mean())))
        within = float((np.abs(error) <= WITHIN * spread).mean())
    return spreads[0], spreads[1], within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="*", type=Path, metavar="SERIES")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--offsets", type=float, nargs="+", default=OFFSETS)
    given = parser.parse_args()
    model = lamella.load_model(given.model)
    print("| repair | slices every | sphere | centre moves by at most |\n|---|---|---|---|")
    cases = [
        ("tilt", 2.5, 12.0),
        ("tilt", 5.0, 20.0),
        *(
            ("uneven", every, diameter)
            for every, diameter in ((2.5, 5.0), (2.5, 8.0), (2.5, 12.0), (5.0, 10.0), (5.0, 16.0), (5.0, 20.0))
        ),
    ]
    cases += [("gap", spacing, spacing * spans) for spacing in (2.5, 5.0) for spans in (2.0, 3.2, 4.0, 5.0)]
    for kind, spacing, diameter in cases:
        most = max(moved_mm(kind, spacing, diameter, off, model) for off in given.offsets)
        print(f"| {kind} | {spacing:g} mm | {diameter:g} mm | {most:.2f} mm |", flush=True)
    if given.series:
        print(
            "\n| scan | spread of the slab | with its slice bridged | errors within 1.96 spreads |\n|---|---|---|---|"
        )
    for series in given.series:
        measured, bridged, within = bridged_spread(series, model)
        print(f"| {series.name} | {measured:.0f} HU | {bridged:.0f} HU | {100 * within:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
