"""What a training covers, measured on its own series: the ranges in a model's card."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from lamella.data.views import SeriesSettings
from lamella.phantom import paint_phantom
from lamella.physics.simulate import simulate_thick
from lamella.sources.source import read_source
from lamella.thinning.coverage import Covered, ScanFacts, covered_by, scan_facts
from lamella.volume import Volume, round_hu

_THICK_MM = 5.0
"""Series are also measured in such slices: noise and edges that vary along z average out, and others do not."""

_THINNER = 1.4
"""A series is averaged to thick slices if these are at least so many times thicker."""

_PHANTOM_PARTS = ("chest", "head")


def covered_by_series(folder: Path, series: Iterable[SeriesSettings]) -> Covered:
    """Measure every training series, as it is and in slices of 5 mm.

    Args:
        folder: the data folder.
        series: at least one; those that are named twice are measured once.
    """
    unique = {(one.path, one.phantom, one.slices): one for one in series}
    return covered_by(facts for one in unique.values() for facts in _facts(folder, one))


def _facts(folder: Path, series: SeriesSettings) -> Iterator[tuple[ScanFacts, bool]]:
    phantom = series.phantom
    volume = paint_phantom(phantom) if phantom else read_source(folder / series.path)
    if series.slices is not None:
        volume = volume.part(slice(*series.slices))
    volume = dataclasses.replace(volume, hu=round_hu(volume.hu))
    versions, geometry = [volume], volume.geometry
    if _THINNER * geometry.thickness_mm <= _THICK_MM and geometry.spacing_mm * geometry.shape[0] >= _THICK_MM:
        thick = simulate_thick(volume, _THICK_MM, _THICK_MM, "box")
        versions.append(Volume(thick.hu, thick.geometry, volume.header))
    for one in versions:
        facts = scan_facts(one)
        if phantom:
            facts = dataclasses.replace(facts, body_part=phantom.region if phantom.region in _PHANTOM_PARTS else "")
        yield facts, phantom is not None
