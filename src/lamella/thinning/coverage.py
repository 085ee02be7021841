"""What a scan is like, measured from its voxels and header, beside what a model's training covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError
from lamella.metrics import (
    LEAST_NOISE_VOXELS,
    lung_mask,
    noise_sd_in_plane,
    sharpness_in_plane,
    shows_lungs,
    soft_tissue_mask,
    window_side_px,
)
from lamella.volume import Volume

_BLOCKS, _BLOCK = 3, 6
"""Noise and sharpness are measured in so many blocks of so many slices, evenly spread."""

_WINDOW_MM = 4.0
_TISSUES_HU = ((0.0, 100.0), (-150.0, 150.0))
"""Homogeneous tissue; with fat, where a small field of view holds too little."""

_ENOUGH_VOXELS = 5000
_LUNG_PIXEL_MM = 2.5
"""Lungs are looked for in about such pixels and slices: they are large."""

_WITHOUT_LUNGS = ("head", "limb")
"""Regions with air that is no lung, if the header names them."""

Range = tuple[float, float]


@dataclass(frozen=True)
class ScanFacts:
    """A scan as its voxels and its header describe it; None where there is too little to measure.

    Attributes:
        pixel_mm: the longer side of a pixel.
        noise_hu: standard deviation in homogeneous tissue, times the root of the slice thickness in mm: that of slices of
            1 mm at the same dose.
        sharpness_per_mm: in cycles a mm, where the modulation transfer function of the plane is 0.5.
        body_part: chest, abdomen, head, neck, spine or limb, as the header says, or else chest where there are lungs; empty
            where neither says any.
        lungs: whether figures of lungs are given: voxels show them, and the header names no region without any.
    """

    pixel_mm: float
    noise_hu: float | None
    sharpness_per_mm: float | None
    body_part: str
    lungs: bool


@dataclass(frozen=True)
class Covered:
    """What training covered: least and greatest value among its series, as they are and in thick slices.

    Attributes:
        pixel_mm, noise_hu, sharpness_per_mm: as in `ScanFacts`.
        body_parts: of its scans.
        phantoms: body parts that it saw as phantoms alone.
    """

    pixel_mm: Range
    noise_hu: Range | None = None
    sharpness_per_mm: Range | None = None
    body_parts: tuple[str, ...] = ()
    phantoms: tuple[str, ...] = ()


_COMPARED = {
    "pixel_mm": ("pixels", "mm", 1.1),
    "noise_hu": ("noise, for slices of 1 mm,", "HU", 1.25),
    "sharpness_per_mm": ("sharpness in the plane (MTF 0.5)", "cycles/mm", 1.15),
}
"""Field -> its name, its unit, and by what factor a range must be exceeded: about what a measurement is off by."""


def scan_facts(volume: Volume) -> ScanFacts:
    """Measure a scan; in a large one in some of its slices."""
    lungs, part = lungs_shown(volume), body_part_of(volume)
    return ScanFacts(
        max(volume.geometry.pixel_mm), _noise_hu(volume), _sharpness(volume), part or ("chest" if lungs else ""), lungs
    )


def body_part_of(volume: Volume) -> str:
    """The body part that the header says; empty where it says none, or is none."""
    return str(getattr(volume.header, "body_part", ""))


def may_hold_lungs(volume: Volume) -> bool:
    """Whether the header names no region without lungs."""
    return body_part_of(volume) not in _WITHOUT_LUNGS


def lungs_shown(volume: Volume) -> bool:
    """Whether figures of lungs make sense: the header allows for lungs, and voxels show them."""
    if not may_hold_lungs(volume):
        return False
    geometry = volume.geometry
    steps = [max(1, round(_LUNG_PIXEL_MM / mm)) for mm in (geometry.spacing_mm, *geometry.pixel_mm)]
    coarse: NDArray[np.float32] = volume.hu[:: steps[0], :: steps[1], :: steps[2]].astype(np.float32)
    small = Volume.from_array(
        coarse,
        spacing_mm=steps[0] * geometry.spacing_mm,
        thickness_mm=geometry.thickness_mm,
        pixel_mm=[n * mm for n, mm in zip(steps[1:], geometry.pixel_mm, strict=True)],
    )
    return shows_lungs(small.hu, lung_mask(small.hu), small.geometry)


def outside(facts: ScanFacts, covered: Covered | None) -> list[str]:
    """One line, if anything of a scan lies outside what training covered: what, found, covered."""
    if covered is None:
        return []
    told = []
    for name, (what, unit, slack) in _COMPARED.items():
        value, span = getattr(facts, name), getattr(covered, name)
        if value is not None and span is not None and not span[0] / slack <= value <= span[1] * slack:
            told.append(f"{what} of {value:.3g} {unit} (covered: {span[0]:.3g} to {span[1]:.3g} {unit})")
    known = covered.body_parts
    if known and facts.body_part and facts.body_part not in known:
        only = "as phantoms alone, and " if facts.body_part in covered.phantoms else ""
        told.append(f"body part {facts.body_part} (covered: {only}{', '.join(known)})")
    if not told:
        return []
    return [
        f"The scan is outside what the model was trained for: {'; '.join(told)}. Expect less than the published quality."
    ]


def covered_by(scans: Iterable[tuple[ScanFacts, bool]]) -> Covered:
    """The ranges that scans span.

    Args:
        scans: each with whether it is a phantom; at least one.
    """
    every = list(scans)
    parts = {phantom: {one.body_part for one, is_one in every if is_one == phantom} - {""} for phantom in (False, True)}
    return Covered(
        _range([one.pixel_mm for one, _ in every]) or (0.0, np.inf),
        _range([one.noise_hu for one, _ in every]),
        _range([one.sharpness_per_mm for one, _ in every]),
        tuple(sorted(parts[False])),
        tuple(sorted(parts[True] - parts[False])),
    )


def _range(values: Sequence[float | None]) -> Range | None:
    known = [float(f"{value:.3g}") for value in values if value is not None]
    return (min(known), max(known)) if known else None


def _blocks(volume: Volume) -> Iterator[Volume]:
    """Some slices of it, spread evenly."""
    count = len(volume.hu)
    if count <= _BLOCKS * _BLOCK:
        yield volume
        return
    for first in np.linspace(0, count - _BLOCK, _BLOCKS + 2).round().astype(int)[1:-1]:
        yield volume.part(slice(int(first), int(first) + _BLOCK))


def _noise_hu(volume: Volume) -> float | None:
    window_px = window_side_px(min(volume.geometry.pixel_mm), _WINDOW_MM)
    margin = window_px // 2
    inner = (slice(None), *[slice(margin, -margin)] * 2)
    measured, weights = [], []
    for block in _blocks(volume):
        for tissue_hu in _TISSUES_HU:
            soft = soft_tissue_mask(block.hu, block.geometry, range_hu=tissue_hu)
            if (found := int(soft[inner].sum())) >= _ENOUGH_VOXELS:
                break
        if found >= LEAST_NOISE_VOXELS:
            measured.append(noise_sd_in_plane(block.hu, soft, "scan", window_px))
            weights.append(found)
    if not any(measured):
        return None
    return float(np.average(measured, weights=weights)) * float(np.sqrt(volume.geometry.thickness_mm))


def _sharpness(volume: Volume) -> float | None:
    try:
        return sharpness_in_plane(np.concatenate([block.hu for block in _blocks(volume)]), volume.geometry.pixel_mm)
    except LamellaError:
        return None
