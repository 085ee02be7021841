"""The last step of every answer: nothing below air, consistent with the measurement, whole HU; and how consistent it is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamella.physics.grid_pair import GridPair
from lamella.physics.repair import Bridged
from lamella.physics.slice_operator import SliceOperator, along_z
from lamella.volume import AIR_HU, Volume, round_hu

_ROUNDS = 200
"""At most this many alternations between "can be stored" and "consistent with the measurement"; most columns need a few."""

_PLAIN_ROUNDS = 40
_RELAXATION = 1.9
"""After the plain rounds the rest of the columns go this many times as far as the projection; anything below 2 converges. The
plain rounds change least, so they come first."""

_CHECK_ROUNDS = 20
_PROGRESS = 0.95
"""After so many rounds a column must be nearer to the range by this factor, or it is left as it is: no answer lies in both."""

_HIGHEST_HU = float(np.iinfo(np.int16).max)
"""The highest value that int16 stores."""

_OUTSIDE_HU = 0.25
"""A column is done when nothing in it lies further outside the range than this: rounding does the rest."""

_TOUCH = 1e-6
"""A thin slice with less weight than this in a slab touches it only by the rounding of positions."""

_MISFIT_HU = 1.0
_WORST_HU = 30.0
"""Misfit above which a report says so, root mean square and in the worst voxel; rounding and the ridge of overlapping slabs
stay below."""


def to_stored_hu(image: Tensor, thick: Tensor, grids: GridPair) -> NDArray[np.int16]:
    """Nothing below air, consistent with the measurement, whole numbers.

    Only the columns that need it are changed, before rounding. A slab that averages to the lowest value holds nothing else; a
    thin slice that also lies in another slab is left to the projections.

    Args:
        image: (D, y, x) HU, changed in place.
        thick: (K, y, x) HU, the measurement.
        grids: between the two grids.
    """
    touched = (image.amin(dim=0) < AIR_HU) | (image.amax(dim=0) > _HIGHEST_HU) | (thick.amin(dim=0) <= AIR_HU)
    hu = round_hu(image.numpy())
    if bool(touched.any()):
        columns, measured = image[:, touched][..., None], thick[:, touched][..., None]
        _alternate(columns, measured, grids.operator)
        lies_in = (grids.operator.matrix > _TOUCH).T.astype(np.float64)
        empty = (measured <= AIR_HU).float()
        columns[(along_z(lies_in, empty) > 0) & (along_z(lies_in, 1 - empty) == 0)] = AIR_HU
        hu[:, touched.numpy()] = round_hu(columns[..., 0].numpy())
    return hu


def _alternate(columns: Tensor, measured: Tensor, operator: SliceOperator) -> None:
    """Make (D, n, 1) columns consistent and keep them in the range, in place, where both can be had.

    Both conditions are convex: alternating projections reach what they have in common, the sooner for going too far each
    time (the relaxation method of Agmon and of Motzkin and Schoenberg, Canad. J. Math. 6, 1954).
    """
    left, last = torch.arange(columns.shape[1]), torch.full((columns.shape[1],), torch.inf)
    for turn in range(_ROUNDS):
        inside = columns[:, left].clamp(AIR_HU, _HIGHEST_HU)
        columns[:, left] = operator.project(inside, measured[:, left])
        found = columns[:, left, 0]
        distance = torch.maximum(AIR_HU - found.amin(dim=0), found.amax(dim=0) - _HIGHEST_HU)
        going = distance > _OUTSIDE_HU
        if turn % _CHECK_ROUNDS == _CHECK_ROUNDS - 1:
            going &= distance < _PROGRESS * last
            last = distance
        left, last, inside = left[going], last[going], inside[:, going]
        if not len(left):
            return
        if turn >= _PLAIN_ROUNDS:
            columns[:, left] += (_RELAXATION - 1) * (columns[:, left] - inside)
    columns[:, left] = operator.project(columns[:, left].clamp(AIR_HU, _HIGHEST_HU), measured[:, left])


def consistency(thin_volume: Volume, thick_volume: Volume, bridged: Bridged | None = None) -> dict[str, float]:
    """How well averaging the written integers over each thick slice gives the thick slice back, in HU.

    Only thick slices whose slab lies within the thin grid are counted, where slabs overlap the outermost do not; and only
    measured ones: not the one that was bridged.
    """
    thin, thick = thin_volume.geometry, thick_volume.geometry
    half = thick.thickness_mm / 2
    edge = thin.spacing_mm / 2 + 1e-6
    inside = (thick.centres_mm - half >= thin.centres_mm[0] - edge) & (
        thick.centres_mm + half <= thin.centres_mm[-1] + edge
    )
    kept = np.flatnonzero(inside)
    if not len(kept):
        return dict.fromkeys(("consistency_rmse_hu", "consistency_mean_hu", "consistency_worst_hu"), float("nan"))
    part = thick.with_slices(len(kept), thick.spacing_mm, float(kept[0]) * thick.spacing_mm, thick.thickness_mm)
    operator = SliceOperator.between(thin, part)
    measured = torch.from_numpy(thick_volume.hu[kept[0] : kept[-1] + 1].astype(np.float32))
    misfit = operator.residual(torch.from_numpy(thin_volume.hu.astype(np.float32)), measured).double()
    if bridged is not None:
        misfit = misfit[torch.from_numpy(kept != bridged.index)]
    return {
        "consistency_rmse_hu": round(float(misfit.square().mean().sqrt()), 4),
        "consistency_mean_hu": round(float(misfit.mean()), 4),
        "consistency_worst_hu": round(float(misfit.abs().max()), 4),
    }


def misfit_warnings(kept: dict[str, float], ridge: float) -> list[str]:
    """Warnings where `consistency` found more than rounding."""
    misfit, worst = kept["consistency_rmse_hu"], kept["consistency_worst_hu"]
    if not (misfit > _MISFIT_HU or worst > _WORST_HU):
        return []
    why = (
        "slabs overlap so much that the measurement is kept less strictly, not to amplify its noise."
        if ridge
        else f"hardly any slices of this spacing with nothing below {AIR_HU} HU average to them. This happens where the target "
        "is hardly finer than the input, or where overlapping slices contradict each other; a finer target may do."
    )
    return [
        f"Averaged over the thick slices, the result differs from them by {misfit:.1f} HU (root mean square; {worst:.0f} HU in "
        f"the worst voxel): {why}"
    ]
