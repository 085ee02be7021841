"""What figures need of the truth of a case, measured once for all methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

import lamella.metrics as metrics
from lamella.errors import LamellaError, NonFiniteError
from lamella.evaluate.cases import Case
from lamella.evaluate.flat import FlatTruth, flat_truth
from lamella.evaluate.tasks import TaskTruth, task_truth
from lamella.evaluate.thresholds import TaskSettings
from lamella.metrics.checks import Hu, Mask
from lamella.physics.slice_operator import Profile, SliceOperator, covering_grid
from lamella.results.schema import TruthFigures

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Reference:
    """What figures need of the truth alone.

    Attributes:
        case: whose truth.
        tissue: where noise is measured: soft tissue, less what thick slices blur into it from beyond its ends.
        foci: the truth's small dense parts in the lungs; None without lung.
        noise: robust standard deviations in that tissue, HU, in plane and along z; None with less than
            `LEAST_NOISE_VOXELS` of it.
        floor: least RMSE in that tissue that the truth's own noise allows, HU: as measured, and if white along z; and that
            noise, however coarse.
        spectra: noise power of the truth, in plane and along z; None where there is too little tissue.
        levels: noise of each slice, HU.
        edges: strong edges along z, and their width in the truth; None where there are none.
        flat: flat material; None in scans of persons, and where there is none.
        tasks: what task figures need; None where none were asked for.
        asked: thresholds; the usual ones where no tasks were asked for.
    """

    case: Case
    tissue: Mask
    foci: metrics.DenseParts | None
    noise: tuple[float, float] | None
    floor: tuple[float, float, float] | None
    spectra: dict[str, metrics.Spectrum | None]
    levels: NDArray[np.float64] | None
    edges: tuple[metrics.EdgeSet, float] | None
    flat: FlatTruth | None
    tasks: TaskTruth | None
    asked: TaskSettings

    @property
    def figures(self) -> TruthFigures:
        """What the truth itself reads, where a method's figure is a difference or has no fixed best value."""
        hu, lungs, geometry = self.case.scan.volume.hu, self.case.scan.lung_region, self.case.scan.volume.geometry
        levels, period_mm = self.levels, self.case.thick.geometry.spacing_mm
        return TruthFigures(
            edge_width_z_mm=None if self.edges is None else self.edges[1],
            stripe_ratio=None
            if levels is None
            else _where_possible(lambda: metrics.stripe_power_ratio(levels, geometry.spacing_mm, period_mm)),
            laa_950_percent=_where_possible(lambda: metrics.laa_percent(hu, lungs)),
            laa_910_percent=_where_possible(lambda: metrics.laa_percent(hu, lungs, metrics.MILD_EMPHYSEMA_HU)),
            perc15_hu=_where_possible(lambda: metrics.perc15_hu(hu, lungs)),
            fissure_visible=self.tasks.sheets[1].visible if self.tasks and self.tasks.sheets else None,
            foci=None if self.foci is None else float(self.foci.is_focus.sum()),
        )


def _where_possible(compute: Callable[[], T]) -> T | None:
    """The value, or None where there is too little to measure it."""
    try:
        return compute()
    except NonFiniteError:
        raise
    except LamellaError:
        return None


def reference_of(case: Case, tasks: TaskSettings | None = None) -> Reference:
    """Measure the truth of a case; what tasks need of it where they are asked for."""
    hu, masks, geometry = case.scan.volume.hu, case.scan.masks, case.scan.volume.geometry
    reach = math.ceil(case.thick.geometry.thickness_mm / geometry.spacing_mm - 1e-6)
    asked = tasks or TaskSettings()
    soft, lungs = metrics.shrunk_along_z(masks["soft"], reach), case.scan.lung_region

    def edges() -> tuple[metrics.EdgeSet, float]:
        found = metrics.find_edges_z(hu, geometry.spacing_mm, masks["body"])
        return found, metrics.edge_width_z_mm(hu, found, geometry.spacing_mm, "truth")

    def noise() -> tuple[float, float]:
        return metrics.noise_sd_in_plane(hu, soft, "truth"), metrics.noise_sd_along_z(hu, soft, "truth")

    measured = _where_possible(noise) if np.count_nonzero(soft) >= metrics.LEAST_NOISE_VOXELS else None
    return Reference(
        case,
        soft,
        foci_of(hu, case, asked, "truth") if lungs.any() else None,
        measured,
        None if measured is None else _where_possible(lambda: _floor(case, soft, measured[0])),
        {
            "in_plane": _where_possible(lambda: metrics.noise_power_in_plane(hu, soft, geometry.pixel_mm, "truth")),
            "along_z": _where_possible(lambda: metrics.noise_power_along_z(hu, soft, geometry.spacing_mm, "truth")),
        },
        _where_possible(lambda: metrics.noise_per_slice(hu, soft, "truth")),
        _where_possible(edges),
        _where_possible(lambda: flat_truth(case.scan)),
        None if tasks is None else task_truth(case, tasks),
        asked,
    )


def foci_of(hu: Hu, case: Case, asked: TaskSettings, name: str) -> metrics.DenseParts:
    """The small dense foci of a volume on the case's scored slices."""
    region, geometry = case.scan.lung_region, case.scan.volume.geometry
    return metrics.dense_parts(hu, region, geometry, name, focus_hu=asked.focus_hu, focus_mm3=asked.focus_mm3)


def _floor(case: Case, soft: Mask, sd_hu: float) -> tuple[float, float, float]:
    """The noise floor in soft tissue with the noise's own correlation along z, as if it were white, and the noise.

    Nobody knows the profile of a real pair: its slabs count as boxes.
    """
    hu, geometry = case.scan.volume.hu, case.scan.volume.geometry
    # Noise that is too coarse for the window of 5 x 5 pixels cannot be guessed either.
    windows = metrics.IN_PLANE_WINDOW_PX, metrics.window_side_px(min(geometry.pixel_mm), metrics.WIDE_MM)
    sd_hu *= metrics.coarse_noise_ratio(hu, soft, metrics.slices_apart(geometry), windows) or 1.0
    profile = "box" if case.profile == "unknown" else cast(Profile, case.profile)
    longer, inside = covering_grid(case.grid, case.thick.geometry, profile)
    matrix = SliceOperator.between(longer, case.thick.geometry, profile).matrix
    correlation = metrics.noise_correlation_z(hu, soft)
    white = np.eye(1, len(correlation))[0]
    measured, as_white = (metrics.noise_floor_hu(sd_hu, each, matrix, inside) for each in (correlation, white))
    return measured, as_white, sd_hu
