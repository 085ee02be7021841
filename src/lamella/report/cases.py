"""The pictures of an evaluation: volumes of its cases, read, checked and packed into one budget."""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from lamella.errors import LamellaError
from lamella.nifti.image import read_nifti
from lamella.report.interest import place_of_interest
from lamella.report.markup import MINUS
from lamella.report.pack import PageVolume, pack_volumes
from lamella.report.page import view_of
from lamella.results.schema import CaseRecord, Results
from lamella.volume import Volume

_MOST_CASES = 4
"""Cases whose pictures a page holds: more would have to be coarse."""

_OFF = np.array([1e-3, 1e-3, 1e-3, 0.05])
"""How far a spread's axes and its corner may be off the truth's, in voxels."""

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the page shows of volumes.

    Attributes:
        views: per case, for the page's script.
        blocks: packed volumes.
        notes: case -> what was done to its pictures, or why there are none.
    """

    views: list[dict[str, Any]]
    blocks: dict[str, str]
    notes: dict[str, str]


def pictures_of(folder: Path, results: Results, budget_bytes: int) -> Pictures:
    """Read and pack the volumes of the first cases that have some; what one leaves of its share the next may use.

    Raises:
        RefusedInput: a volume is damaged, not finite or no CT.
        LamellaError: a volume is missing, or they do not fit together or into the budget.
    """
    having = [case for case in results.cases if case.volumes.thick and case.volumes.truth]
    shown = having[:_MOST_CASES]
    views: list[dict[str, Any]] = []
    blocks: dict[str, str] = {}
    notes: dict[str, str] = {}
    for number, case in enumerate(shown):
        left = budget_bytes - sum(len(text) for text in blocks.values())
        panes = _panes(folder, results, case, f"c{number}")
        packed = pack_volumes(panes, left // (len(shown) - number))
        truth = next(one.volume for one in panes if one.role == "truth" and one.volume is not None)
        views.append(view_of(case.id, packed, _at_start(panes), place_of_interest(truth)))
        blocks |= packed.blocks
        notes[case.id] = packed.note
    without = f"This page shows pictures of {len(shown)} of {len(results.cases)} cases, and none of this one"
    for case in results.cases:
        kept = (
            " to stay small; its volumes are in the folder of the evaluation" if case in having else "; none were kept"
        )
        notes.setdefault(case.id, f"{without}{kept}.")
    return Pictures(views, blocks, notes)


def _panes(folder: Path, results: Results, case: CaseRecord, prefix: str) -> list[PageVolume]:
    """Thick, the methods, the truth, the methods' errors, the spread."""
    volumes = case.volumes
    thick, truth = (read_nifti(_place(folder, name, case)) for name in (volumes.thick, volumes.truth) if name)
    panes = [PageVolume(f"{prefix}-thick", f"Thick, {case.thick.thickness_mm:g} mm", "thick", thick)]
    errors = []
    # A model's error is looked at before an interpolation's.
    first = results.of_kind("model", "outside")
    methods = sorted(volumes.methods.items(), key=lambda one: one[0] not in first)
    for number, (method, place) in enumerate(methods):
        name, label = f"{prefix}-thin-{number}", results.label(method)
        panes.append(PageVolume(name, label, "thin", read_nifti(_place(folder, place, case))))
        errors.append(
            PageVolume(f"{prefix}-error-{number}", f"{label} {MINUS} truth", "error", minus=(name, f"{prefix}-truth"))
        )
    panes.append(PageVolume(f"{prefix}-truth", f"Truth, {case.thin.thickness_mm:g} mm", "truth", truth))
    if volumes.spread:
        spread, of = _read_spread(folder, volumes.spread, case, truth), volumes.spread_of
        label = f"Spread of {results.label(of)}, 1 SD" if of else "Predicted spread, 1 SD"
        errors.append(PageVolume(f"{prefix}-spread", label, "spread", spread))
    return panes + errors


def _at_start(panes: list[PageVolume]) -> list[str]:
    """Thick, the first method, the truth, and that method's error."""
    roles = ("thick", "thin", "truth", "error")
    first = [next((one.id for one in panes if one.role == role), "") for role in roles]
    return [one.id for one in panes if one.id in first]


def _place(folder: Path, name: str, case: CaseRecord) -> Path:
    path = folder / name
    if not path.is_file():
        raise LamellaError(
            f"A volume of case {case.id} is missing: {name}. Expected it in {folder}. Copy the whole folder of the "
            "evaluation, or run `lamella evaluate` again."
        )
    return path


def _read_spread(folder: Path, name: str, case: CaseRecord, truth: Volume) -> Volume:
    """The spread, turned like the truth; it is no CT, so the reader of CT would refuse it.

    Raises:
        LamellaError: it does not lie on the truth's grid, or is not finite.
    """
    path = _place(folder, name, case)
    image: Any = nib.load(path)
    hu = np.asarray(image.dataobj, dtype=np.float32)
    affine = _RAS_TO_LPS @ image.affine
    fits = hu.ndim == 3
    if fits:
        # The truth's index (z, y, x) of the file's index (i, j, k); turned like the truth, it is the identity.
        turn = np.linalg.inv(truth.geometry.affine) @ affine
        order = nib.orientations.io_orientation(turn)
        off = turn @ nib.orientations.inv_ornt_aff(order, hu.shape) - np.eye(4)
        hu = nib.orientations.apply_orientation(hu, order)
        fits = hu.shape == truth.hu.shape and bool((np.abs(off) < _OFF).all())
    if not fits:
        raise LamellaError(
            f"The spread of case {case.id} does not lie on the grid of its truth: {name}, shape {hu.shape} against "
            f"{truth.hu.shape}. Run `lamella evaluate` again."
        )
    if not np.isfinite(hu).all():
        raise LamellaError(
            f"The spread of case {case.id} holds values that are not finite: {name}. Nothing was written."
        )
    return Volume(np.ascontiguousarray(hu), truth.geometry)
