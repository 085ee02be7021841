"""Contact sheets of an evaluation: the places where a result is worst, sorted by what the truth shows there."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lamella.nifti.image import read_nifti
from lamella.report.interest import BONE_HU, LUNG_HU
from lamella.report.markup import number
from lamella.report.views import Image, common_region, sample, views_along_slices
from lamella.results.evidence import WorstPlace, by_kind
from lamella.results.schema import CaseRecord, Results
from lamella.volume import AIR_HU, Volume
from lamella.window import BONE, LUNG, SOFT_TISSUE, HuWindow

TILE_PX, _GAP_PX = 64, 2
DIFFERENCE_HU = 400.0
"""The difference is grey at 0, white and black at plus and minus so much."""


@dataclass(frozen=True)
class Strip:
    """One place: a PNG as a data URI, and what it is in words."""

    uri: str
    words: str


@dataclass(frozen=True)
class ContactSheet:
    """Places of one kind of difference.

    Attributes:
        title: of what.
        about: what the tiles of a strip are.
        kinds: (kind, how many and their share, strips), kinds without a place left out.
    """

    title: str
    about: str
    kinds: Sequence[tuple[str, str, Sequence[Strip]]]


def shares(places: tuple[WorstPlace, ...]) -> dict[str, str]:
    """Kind -> how many of the places show it, and their share."""
    return {
        kind: f"{len(ones)} ({100 * len(ones) / len(places):.0f} %)" for kind, ones in by_kind(places).items() if ones
    }


def contact_sheets(folder: Path, found: Results, case: CaseRecord) -> list[ContactSheet]:
    """The sheets of a case: furthest from the truth, and furthest from cubic interpolation; none without kept volumes."""
    harm, kept = case.harm, case.volumes
    if harm is None or not (kept.thick and kept.truth and harm.method in kept.methods):
        return []
    names = {"truth": kept.truth, "thick": kept.thick, harm.method: kept.methods[harm.method]}
    if "cubic" in kept.methods:
        names = {"truth": kept.truth, "thick": kept.thick, "cubic": kept.methods["cubic"], **names}
    volumes = {name: read_nifti(folder / file) for name, file in names.items()}
    label = found.label(harm.method)
    tiles = ", ".join({"truth": "truth", "thick": "thick", "cubic": "cubic"}.get(name, label) for name in volumes)
    sheets = []
    for places, other, named in (
        (harm.from_truth, "truth", "the truth"),
        (harm.from_cubic, "cubic", "cubic interpolation"),
    ):
        if places and other in volumes:
            title = f"Where {label} is furthest from {named}: {len(places)} places"
            about = (
                f"From left to right: {tiles}, and {label} minus {named} (grey is 0, white {DIFFERENCE_HU:g} HU). "
                f"Coronal, {harm.size_mm:g} mm wide; thick slices as they are. Kinds follow from the truth alone."
            )
            sheets.append(ContactSheet(title, about, _kinds(places, volumes, (harm.method, other), harm.size_mm)))
    return sheets


def _kinds(
    places: tuple[WorstPlace, ...], volumes: Mapping[str, Volume], pair: tuple[str, str], size_mm: float
) -> list[tuple[str, str, Sequence[Strip]]]:
    found: list[tuple[str, str, Sequence[Strip]]] = []
    ranks = {one: rank for rank, one in enumerate(places, start=1)}
    counts = shares(places)
    for kind, ones in by_kind(places).items():
        if ones:
            found.append((kind, counts[kind], [_strip(one, ranks[one], volumes, pair, size_mm) for one in ones]))
    return found


def _strip(place: WorstPlace, rank: int, volumes: Mapping[str, Volume], pair: tuple[str, str], size_mm: float) -> Strip:
    images = place_images(place, volumes, size_mm)
    window = _window(images["truth"])
    grey = [np.clip((image - window.low_hu) / window.width_hu, 0, 1) for image in images.values()]
    grey.append(np.clip((images[pair[0]] - images[pair[1]]) / (2 * DIFFERENCE_HU) + 0.5, 0, 1))
    gap = np.zeros((TILE_PX, _GAP_PX))
    row = np.hstack([part for tile in grey for part in (tile, gap)][:-1])
    x, y, z = (number(mm, 0) for mm in place.position_mm)
    words = f"{rank}: {number(place.difference_hu, 0, plus=True)} HU at {x}, {y}, {z} mm"
    return Strip(f"data:image/png;base64,{base64.b64encode(_png(row)).decode()}", words)


def place_images(place: WorstPlace, volumes: Mapping[str, Volume], size_mm: float) -> dict[str, Image]:
    """Name -> (TILE_PX, TILE_PX) HU around a place, coronal for axial slices; thick slices as slices."""
    geometry = volumes["truth"].geometry
    along = geometry.axes.T @ np.array(place.position_mm)
    region = common_region([one.geometry for one in volumes.values()])
    view = views_along_slices(geometry, region, (float(along[1]), float(along[2])))[0]
    across, down, _ = view.axes
    half = size_mm / 2
    edges = [(float(along[axis]) - half, float(along[axis]) + half) for axis in (across, down)]
    view = view.cut(edges[0], edges[1])
    beyond = [_beyond(edges[n], region[axis], view.signs[n]) for n, axis in enumerate((across, down))]
    images = {name: sample(one, view, (TILE_PX, TILE_PX), as_slices=name == "thick") for name, one in volumes.items()}
    for image in images.values():
        image[beyond[1], :] = image[:, beyond[0]] = AIR_HU
    return images


def _beyond(edges_mm: tuple[float, float], has_mm: tuple[float, float], sign: int) -> NDArray[np.bool_]:
    """(TILE_PX,) pixels across or down a tile that lie outside the volumes."""
    at_mm = edges_mm[0] + (np.arange(TILE_PX) + 0.5) * (edges_mm[1] - edges_mm[0]) / TILE_PX
    return np.asarray((at_mm < has_mm[0]) | (at_mm > has_mm[1]))[::sign]


def _window(truth: Image) -> HuWindow:
    """The window for what a tile shows."""
    mean = float(np.mean(truth))
    return LUNG if mean < LUNG_HU / 2 else BONE if float(np.max(truth)) > 2 * BONE_HU else SOFT_TISSUE


def _png(grey: NDArray[np.floating]) -> bytes:
    return bytes(imagecodecs.png_encode(np.rint(255 * grey).astype(np.uint8)))
