"""Volumes small enough for a page: cropped to the body, coarser in the slice and in HU until they fit a budget.

Along the slice axis nothing is ever reduced: that is where thick and thin differ. What was done is said in words.
"""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
import base64
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError, NonFiniteError
from lamella.report.views import common_region, edges_mm, step_mm
from lamella.volume import SAME_GRID_MM, Geometry, Volume

Role = Literal["thick", "thin", "truth", "error", "spread"]

BUDGET_BYTES = 48_000_000
"""What the volumes of a page may take, in base64: the page itself stays under 50 MB."""

_STEPS = ((1, 1.0), (1, 2.0), (1, 4.0), (2, 1.0), (2, 2.0), (2, 4.0), (3, 2.0), (3, 4.0), (4, 4.0), (4, 8.0), (6, 8.0))
"""(pixels averaged per side, HU a step), tried in this order."""

_BODY_HU, _BODY_SHARE, _MARGIN_MM = -400.0, 0.02, 10.0
"""A row or column belongs to the body where more than this share of it is above this value."""

_SPREAD_PERCENTILE = 99.5
_LEVEL = 6
_PROBES = 6
"""Slices that are packed to guess the size of a volume."""

_SAFETY = 1.03
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class PageVolume:
    """One pane of a page.

    Attributes:
        id: lower-case letters, digits and hyphens; unique on its page.
        label: heading of its pane.
        role: how it is shown: "thick" as slices, "error" in blue and orange, "spread" in one hue, the others in grey.
        volume: its HU; None for a difference.
        minus: of a difference, the ids of minuend and subtrahend; it is formed by the page and costs no bytes.

    Raises:
        LamellaError: an id of other characters, or not exactly one of `volume` and `minus`.
    """

    id: str
    label: str
    role: Role
    volume: Volume | None = None
    minus: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.id):
            raise LamellaError(f"The id of a pane holds a-z, 0-9 and hyphens only. Found {self.id!r}.")
        if (self.volume is None) == (self.minus is None):
            raise LamellaError(f"The pane {self.id!r} needs either a volume or a difference, not both or neither.")


@dataclass(frozen=True)
class Packed:
    """Volumes as the page's viewer takes them.

    Attributes:
        volumes: for `LamellaViewer.create`; each names its block.
        blocks: name -> base64 of a gzip NIfTI-1, int16 with a slope.
        note: what was done to them, in words.
        bytes: of all blocks.
    """

    volumes: tuple[dict[str, Any], ...]
    blocks: dict[str, str]
    note: str
    bytes: int


@dataclass(frozen=True)
class _Plan:
    """What is done to every volume: the box that is kept (mm along slice, row and column axis), averaging, HU a step."""

    box: tuple[tuple[float, float], ...]
    cropped: bool
    pixels: int
    step_hu: float


def pack_volumes(volumes: Sequence[PageVolume], budget_bytes: int = BUDGET_BYTES) -> Packed:
    """Pack what a page shows, as finely as the budget allows.

    Args:
        volumes: in the order of their panes; those of the first are unpacked first by the page.
        budget_bytes: what all blocks may take together.

    Raises:
        NonFiniteError: a volume holds NaN or infinity.
        LamellaError: nothing to pack, ids that are not unique or unknown, volumes that do not lie in the same place or
            orientation, a difference of different grids, or a budget that even the coarsest picture exceeds.
    """
    shown = [(one, one.volume) for one in volumes if one.volume is not None]
    _check(volumes, shown)
    box, cropped = _body_box(shown)
    for pixels, step_hu in _STEPS:
        plan = _Plan(box, cropped, pixels, step_hu)
        if _SAFETY * sum(_guess_bytes(one.role, volume, plan) for one, volume in shown) > budget_bytes:
            continue
        blocks = {f"volume-{one.id}": _block(one.role, volume, plan) for one, volume in shown}
        if (total := sum(map(len, blocks.values()))) <= budget_bytes:
            specs = tuple(_spec(one) for one in volumes)
            return Packed(specs, blocks, _words(plan), total)
    raise LamellaError(
        f"The volumes do not fit a page of {budget_bytes / 1e6:.0f} MB even at their coarsest. Found {len(shown)} volumes, "
        f"the largest of shape {max(v.hu.shape for _, v in shown)}. Show fewer volumes, or give a larger budget."
    )


def _check(volumes: Sequence[PageVolume], shown: Sequence[tuple[PageVolume, Volume]]) -> None:
    if not shown:
        raise LamellaError("A page needs at least one volume to show. Found none.")
    ids = [one.id for one in volumes]
    if len(set(ids)) < len(ids):
        raise LamellaError(f"The panes of a page need different ids. Found {', '.join(ids)}.")
    for one, volume in shown:
        require_finite(one.label, volume)
    common_region([volume.geometry for _, volume in shown])
    by_id = {one.id: volume for one, volume in shown}
    for one in volumes:
        if one.minus is None:
            continue
        if unknown := [name for name in one.minus if name not in by_id]:
            raise LamellaError(
                f"The difference {one.id!r} needs the volume {unknown[0]!r}, which the page does not hold."
            )
        first, second = (by_id[name].geometry for name in one.minus)
        if first.apart_mm(second) > SAME_GRID_MM:
            raise LamellaError(
                f"The difference {one.id!r} needs two volumes on one grid. Found {_grid(first)} and {_grid(second)}."
            )


def require_finite(label: str, volume: Volume) -> None:
    """Refuse a volume that cannot be shown (SPEC A21).

    Raises:
        NonFiniteError: with the slice that holds NaN or infinity.
    """
    if volume.hu.dtype.kind != "f":
        return
    for index, plane in enumerate(volume.hu):
        if not np.isfinite(plane).all():
            raise NonFiniteError(
                f"The volume {label!r} cannot be shown: slice {index} of {len(volume.hu)} holds values that are not finite "
                "(NaN or infinity). Expected finite HU. Nothing was written."
            )


def _grid(geometry: Geometry) -> str:
    rows, columns = geometry.shape[1:]
    return f"{geometry.shape[0]} slices of {rows} x {columns} every {geometry.spacing_mm:.4g} mm"


def _spec(one: PageVolume) -> dict[str, Any]:
    """What the viewer is told of a pane."""
    spec: dict[str, Any] = {"id": one.id, "label": one.label, "role": one.role}
    if one.volume is None:
        return {**spec, "derived": {"minus": list(one.minus or ())}}
    geometry = one.volume.geometry
    spec["facts"] = f"{geometry.shape[0]} slices, every {geometry.spacing_mm:.3g} mm"
    if one.role == "spread":
        spec["range"] = [0.0, _round_up(float(np.percentile(one.volume.hu[:, ::4, ::4], _SPREAD_PERCENTILE)))]
    return {**spec, "data": f"#volume-{one.id}"}


def _round_up(value: float) -> float:
    """The next of 10, 20, 50, 100, ... HU."""
    return float(next((top for top in (10, 20, 30, 50, 75, 100, 150, 200, 300, 500) if value <= top), 1000))


def _body_box(shown: Sequence[tuple[PageVolume, Volume]]) -> tuple[tuple[tuple[float, float], ...], bool]:
    """mm along slice, row and column axis that hold the body of any volume, and whether this is less than all.

    The spread is left out: it is no picture of the body. Where nothing is body, everything is kept.
    """
    whole = [edges_mm(volume.geometry, axis) for axis in range(3) for _, volume in shown[:1]]
    box = [whole[0], whole[1], whole[2]]
    pictures = [volume for one, volume in shown if one.role != "spread"] or [volume for _, volume in shown]
    for axis in (1, 2):
        found: list[tuple[float, float]] = []
        for volume in pictures:
            counts = np.zeros(volume.hu.shape[axis])
            for plane in volume.hu:
                counts += (plane > _BODY_HU).sum(axis=2 - axis)
            share = counts / (volume.hu.size / volume.hu.shape[axis])
            inside = np.flatnonzero(share > _BODY_SHARE)
            if len(inside):
                low, step = edges_mm(volume.geometry, axis)[0], step_mm(volume.geometry, axis)
                found.append((low + inside[0] * step - _MARGIN_MM, low + (inside[-1] + 1) * step + _MARGIN_MM))
        if found:
            low_mm, high_mm = min(low for low, _ in found), max(high for _, high in found)
            box[axis] = (max(low_mm, whole[axis][0]), min(high_mm, whole[axis][1]))
    return tuple(box), tuple(box) != tuple(whole)


def _kept(geometry: Geometry, plan: _Plan) -> list[slice]:
    """Rows and columns inside the box, a multiple of the pixels that are averaged; equal grids are cut alike."""
    kept = []
    for axis in (1, 2):
        low, step, count = edges_mm(geometry, axis)[0], step_mm(geometry, axis), geometry.shape[axis]
        first = max(0, int(np.floor((plan.box[axis][0] - low) / step + 1e-6)))
        last = min(count, int(np.ceil((plan.box[axis][1] - low) / step - 1e-6)))
        blocks = max(1, (last - first) // plan.pixels)
        first = max(0, min(first, count - blocks * plan.pixels))
        kept.append(slice(first, min(count, first + blocks * plan.pixels)))
    return kept


def _planes(role: Role, volume: Volume, plan: _Plan, indices: Sequence[int]) -> Iterator[NDArray[np.int16]]:
    """Slices as they are packed, in steps of `_slope`."""
    rows, columns = _kept(volume.geometry, plan)
    slope, n = _slope(role, plan), plan.pixels
    for index in indices:
        plane = np.asarray(volume.hu[index, rows, columns], dtype=np.float32)
        if n > 1:
            n_y, n_x = min(n, plane.shape[0]), min(n, plane.shape[1])
            plane = plane.reshape(plane.shape[0] // n_y, n_y, plane.shape[1] // n_x, n_x).mean(axis=(1, 3))
        yield np.clip(np.rint(plane / slope), -32768, 32767).astype(np.int16)


def _slope(role: Role, plan: _Plan) -> float:
    """HU of a step: the spread has half the step of the others, for it is small and smooth."""
    return plan.step_hu / 2 if role == "spread" else plan.step_hu


def _guess_bytes(role: Role, volume: Volume, plan: _Plan) -> float:
    """Size of a block, from a few slices spread over the volume."""
    count = len(volume.hu)
    probes = sorted(set(np.linspace(0, count - 1, min(_PROBES, count)).round().astype(int).tolist()))
    packed = len(gzip.compress(b"".join(plane.tobytes() for plane in _planes(role, volume, plan, probes)), _LEVEL))
    return packed * count / len(probes) * 4 / 3


def _block(role: Role, volume: Volume, plan: _Plan) -> str:
    geometry = volume.geometry
    planes = list(_planes(role, volume, plan, range(len(volume.hu))))
    rows, columns = _kept(geometry, plan)
    n_y, n_x = (rows.stop - rows.start) // planes[0].shape[0], (columns.stop - columns.start) // planes[0].shape[1]
    affine = np.array(geometry.affine)
    # The centre of the first averaged block.
    affine[:3, 3] = geometry.position(0, rows.start + (n_y - 1) / 2, columns.start + (n_x - 1) / 2)
    affine[:3, 1] *= n_y
    affine[:3, 2] *= n_x
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(np.int16)
    header.set_data_shape((planes[0].shape[1], planes[0].shape[0], len(planes)))
    header.set_sform(_LPS_TO_RAS @ affine[:, [2, 1, 0, 3]], 1)
    header.set_qform(_LPS_TO_RAS @ affine[:, [2, 1, 0, 3]], 1)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = _slope(role, plan), 0.0, 352
    raw = header.binaryblock + b"\0\0\0\0" + b"".join(plane.astype("<i2").tobytes() for plane in planes)
    return base64.b64encode(gzip.compress(raw, _LEVEL, mtime=0)).decode("ascii")


def _words(plan: _Plan) -> str:
    done = []
    if plan.pixels > 1:
        done.append(
            f"every {plan.pixels} x {plan.pixels} pixels of a slice are averaged (so noise and errors look lower than they are)"
        )
    if plan.step_hu > 1:
        done.append(f"values are in steps of {plan.step_hu:g} HU")
    shown = "The pictures are cropped to the body and show" if plan.cropped else "The pictures show"
    if not done:
        return f"{shown} every voxel, rounded to whole HU; the files themselves are unchanged."
    return f"{shown} all slices; to keep the page small, {' and '.join(done)}. The files themselves are unchanged."
