"""Two pictures of a case that shows nobody: its lung vessels in three dimensions, and a fissure in a coronal strip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

import lamella.metrics as metrics
from lamella.metrics.masks import VESSEL_HU
from lamella.report.plots import FAINT, INK
from lamella.report.views import common_region, edges_mm, sample, views_along_slices
from lamella.volume import Geometry, Volume
from lamella.window import HuWindow

_STEP_MM = 0.6
"""Of the grid on which vessels are drawn."""

_NEAR, _FAR, _LUNG = (np.array(one) / 255 for one in ((255, 236, 214), (132, 38, 52), (236, 239, 243)))
"""Colours of a vessel in front, of one behind, and of the lungs' shadow."""

_LIGHT = np.array([0.45, -0.75, -0.48])
"""From above, the front and the reader's left, along z, y and x."""

STRIP_MM = (72.0, 40.0)
_STRIP_WINDOW = HuWindow(-750.0, 500.0)
_LEVEL = 0.7
"""A fissure lies level where so much of its normal is along the slices: there thick slices hide it."""

Image = NDArray[np.floating]


def plot_vessels(volumes: Mapping[str, Volume], truth: str) -> Figure | None:
    """The vessels of every volume as surfaces seen from the front; None where the truth shows no lungs.

    Vessels are those of the figures of tasks (`vessel_tree`): the same threshold and lungs, which are the truth's, for all.

    Args:
        volumes: name for people -> volume; thick slices are drawn as slices.
        truth: name of the truth among them.
    """
    geometry = volumes[truth].geometry
    hu = volumes[truth].hu
    lung = metrics.lung_mask(hu)
    region = metrics.lung_region(lung, geometry)
    if not region.any():
        return None
    box = metrics.box_around(region, (1, 1, 1))
    shadow = region[box]
    figure, panels = _panels(list(volumes), _size_mm(shadow, geometry), "Lung vessels from the front")
    for axes, volume in zip(panels, volumes.values(), strict=True):
        own = on_slices(volume, geometry)
        tree = metrics.vessel_tree(own, lung, region, geometry)
        near = ndimage.binary_dilation(tree.vessels, np.ones((3, 3, 3)))
        field = np.where(near, own[box].astype(np.float32) - VESSEL_HU, -400.0)
        axes.imshow(shaded(field, shadow, geometry), origin="lower", interpolation="nearest")
    return figure


def shaded(field: NDArray[np.floating], shadow: NDArray[np.bool_], geometry: Geometry) -> Image:
    """(height, width, 3) picture of the surface where a field turns positive, seen along the rows (from the front).

    Each ray stops at the first crossing, found between voxels; what lies deeper is darker, and what faces the light brighter.

    Args:
        field: (z, y, x), positive inside.
        shadow: (z, y, x) drawn flat where no ray stops.
        geometry: size of the voxels.

    Returns:
        Rows from the feet upwards, columns from the patient's right.
    """
    steps_mm = np.array([geometry.spacing_mm, *geometry.pixel_mm])
    fine = ndimage.zoom(np.clip(field, -400, 400), steps_mm / _STEP_MM, order=1, grid_mode=True, mode="nearest")
    fine = ndimage.gaussian_filter(fine, 0.7)
    inside = fine > 0
    hit, first = inside.any(axis=1), inside.argmax(axis=1)
    z, x = np.nonzero(hit)
    y = first[hit]
    before = np.maximum(y - 1, 0)
    low, high = fine[z, before, x], fine[z, y, x]
    depth = y - np.where(y > 0, high / np.maximum(high - low, 1e-6), 0.0)
    at = np.stack([z, depth, x])
    normal = np.stack(
        [ndimage.map_coordinates(np.gradient(fine, axis=axis), at, order=1, mode="nearest") for axis in range(3)],
        axis=1,
    )
    normal /= -np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)  # out of the vessel
    facing = np.clip(normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    behind = (depth / fine.shape[1])[:, None]
    picture = np.ones((*hit.shape, 3))
    flat = ndimage.zoom(
        shadow.any(axis=1).astype(np.float32), np.array(hit.shape) / np.array(shadow.shape)[[0, 2]], order=1
    )
    picture[flat > 0.5] = _LUNG
    picture[z, x] = (_NEAR * (1 - behind) + _FAR * behind) * (0.25 + 0.75 * facing)[:, None]
    return picture


def plot_fissure(volumes: Mapping[str, Volume], truth: str) -> Figure | None:
    """A coronal strip through the fissure that lies most level; None where the truth shows none.

    Args:
        volumes: name for people -> volume; thick slices are drawn as slices.
        truth: name of the truth among them.
    """
    place = level_fissure_mm(volumes[truth])
    if place is None:
        return None
    geometry = volumes[truth].geometry
    along = geometry.axes.T @ place
    view = views_along_slices(
        geometry, common_region([one.geometry for one in volumes.values()]), (along[1], along[2])
    )[0]
    edges = []
    for axis, size_mm in zip(view.axes[:2], STRIP_MM, strict=True):
        low, high = edges_mm(geometry, axis)
        start = float(np.clip(along[axis] - size_mm / 2, low, max(low, high - size_mm)))
        edges.append((start, min(high, start + size_mm)))
    view = view.cut(edges[0], edges[1])
    size_px = (round(6 * view.size_mm[0]), round(6 * view.size_mm[1]))
    figure, panels = _panels(list(volumes), view.size_mm, "A fissure, coronal")
    for axes, volume in zip(panels, volumes.values(), strict=True):
        coarse = volume.geometry.spacing_mm > 1.5 * geometry.spacing_mm
        image = sample(volume, view, size_px, as_slices=coarse)
        axes.imshow(image, cmap="gray", vmin=_STRIP_WINDOW.low_hu, vmax=_STRIP_WINDOW.high_hu, interpolation="nearest")
    return figure


def level_fissure_mm(truth: Volume) -> NDArray[np.float64] | None:
    """LPS mm of the middle of the largest piece of a fissure that lies level, in the coronal plane that holds most of it."""
    geometry = truth.geometry
    lung = metrics.lung_mask(truth.hu)
    region = metrics.lung_region(lung, geometry)
    if not region.any():
        return None
    sheets = metrics.find_sheets(truth.hu, region, metrics.vessel_mask(truth.hu, lung, region), geometry)
    level = sheets.points_mm[np.abs(sheets.normals @ geometry.axes[:, 0]) > _LEVEL]
    if not len(level):
        return None
    rows = np.rint((level @ geometry.axes[:, 1]) / (2 * geometry.pixel_mm[0])).astype(int)
    values, counts = np.unique(rows, return_counts=True)
    return np.asarray(np.median(level[rows == values[counts.argmax()]], axis=0))


def on_slices(volume: Volume, geometry: Geometry) -> NDArray[np.int16]:
    """A volume on another's slices: each the nearest of its own."""
    nearest = np.abs(volume.geometry.centres_mm[None] - geometry.centres_mm[:, None]).argmin(axis=1)
    return np.ascontiguousarray(volume.hu[nearest])


def _size_mm(region: NDArray[np.bool_], geometry: Geometry) -> tuple[float, float]:
    return region.shape[2] * geometry.pixel_mm[1], region.shape[0] * geometry.spacing_mm


def _panels(names: list[str], size_mm: tuple[float, float], title: str) -> tuple[Figure, list[Any]]:
    """Two by two panels without axes, of the shape of what is shown."""
    width = 9.6
    height = width * size_mm[1] / size_mm[0]
    figure = Figure(figsize=(width, height + 0.8), layout="constrained", facecolor="white")
    panels = list(figure.subplots(2, -(-len(names) // 2), squeeze=False).ravel())
    for axes in panels:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name, loc="left", color=INK, fontsize=11.5, fontweight="bold")
    figure.suptitle(title, color=FAINT, fontsize=10)
    return figure, panels[: len(names)]
