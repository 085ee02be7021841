"""Where a NIfTI header says that its voxels are; what is contradictory, singular or sheared is refused.

Method 2 (qform) and method 3 (sform) of nifti1.h, as the common readers have them: a qfac of 0 counts as 1, and a
quaternion that rounding made longer than 1 is a half turn.
"""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from typing import Any

import numpy as np
from nibabel.quaternions import quat2mat
from numpy.typing import NDArray

from lamella.errors import RefusedInput
from lamella.physics.mend import Unshear
from lamella.physics.repair import TILT_DEGREES, RepairKind, nothing_to_repair

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""LPS mm <-> RAS mm."""

QFORM_MM = 0.25
QFORM_RADIAN = 1e-3
"""sform and qform may differ by the larger of these at a corner: near half a turn, quaternions of float32 lose that much."""

QUATERNION_EXCESS = 1e-3
"""b^2 + c^2 + d^2 may exceed 1 by this much: a rounding, not another quantity."""

PIXDIM_RELATIVE = 0.01
"""How far the voxel size in pixdim may differ from that of the affine: both are rounded."""

SHEAR_VOXELS = 0.1
"""Shear may displace the far end of the volume by this many voxels: it counts as rounding and is taken out."""

SHEAR_COSINE = 1e-4
"""Largest cosine between two axes that is left as it is."""

MIN_DETERMINANT_MM3 = 1e-6
"""Smallest volume of a voxel that still counts as one."""

FLOAT32_BYTES, FLOAT32_RELATIVE, ARITHMETIC_RELATIVE = 4, 1e-6, 3e-7
"""Lengths of affine and pixdim that differ by less are one number; so are decimals and what float32 arithmetic leaves."""

EQUAL_SPACING = 1e-3
"""Relative difference up to which two axes count as equally spaced."""

# (LPS axis, sign) that slices, rows and columns of a DICOM series run along, by the LPS axis its slices stack up on.
_DICOM_LIKE = {2: ((2, 1), (1, 1), (0, 1)), 1: ((1, 1), (2, -1), (0, 1)), 0: ((0, -1), (2, -1), (1, 1))}
_METRE, _MILLIMETRE, _MICRON = 1, 2, 3

SQUARE = 1.6
"""Pixels whose sides differ more than this are no plane of a CT slice where another axis leaves square ones."""

Matrix = NDArray[np.float64]


@np.errstate(invalid="ignore")  # numpy warns of a NaN that signals; what is not finite is refused below
def affine_of(
    name: str, header: Any, shape: tuple[int, int, int], sheared: bool = False
) -> tuple[Matrix, int, tuple[str, ...]]:
    """(index -> LPS mm, code, what was assumed); `sheared` axes are returned as they are, not refused.

    Raises:
        RefusedInput: missing, contradictory, singular or sheared; `name` is for the message.
    """
    unit_code = int(header["xyzt_units"]) & 7
    if unit_code in (_METRE, _MICRON):
        raise RefusedInput(
            f"The NIfTI {name} is not in millimetres. Found unit code {unit_code} "
            f"({'metres' if unit_code == _METRE else 'micrometres'}); expected {_MILLIMETRE}. Where the numbers are "
            "millimetres all the same, correct xyzt_units; else convert them."
        )
    affine, code, notes = _stated(name, header, shape)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    stated = np.abs(header["pixdim"][1:4].astype(np.float64))
    if not np.allclose(lengths[stated > 0], stated[stated > 0], rtol=PIXDIM_RELATIVE, atol=0):  # 0 says nothing
        raise RefusedInput(
            f"pixdim and the affine of {name} disagree on the size of a voxel. Found {_mm(stated)} and {_mm(lengths)} mm, "
            f"allowed difference {100 * PIXDIM_RELATIVE:g} %. Export it again, or write the right size into both."
        )
    unit = affine[:3, :3] / lengths
    cosines = np.abs(unit.T @ unit - np.eye(3))
    drift = float((cosines * ((np.array(shape) - 1) * lengths)[:, None] / lengths).max())
    if drift > SHEAR_VOXELS and not sheared:
        raise RefusedInput(
            f"The affine of {name} is sheared (gantry tilt?). Found a cosine of {cosines.max():.5f} between two axes, "
            f"which displaces the last voxels by {drift:.2f} voxels, allowed {SHEAR_VOXELS:g}. Resample it to "
            "perpendicular axes first; `lamella thin --repair tilt` does that for a gantry tilt."
        )
    if cosines.max() > SHEAR_COSINE and drift <= SHEAR_VOXELS:
        affine = _perpendicular(affine, shape)
        notes = (*notes, f"shear of {drift:.2g} voxels over the whole volume taken out as rounding")
    if unit_code != _MILLIMETRE:
        notes = (*notes, "unit of length is unknown: millimetres assumed")
    return LPS_RAS @ _with_decimals(affine, header["pixdim"][1:4]), code, notes


def unshear_of(name: str, shape: tuple[int, int, int], affine: Matrix, repair: RepairKind) -> Unshear:
    """The repair of a grid in the order (slice, row, column), whose slices a gantry tilt sheared.

    Raises:
        RefusedInput: nothing is sheared, or it is not slices along their planes.
    """
    found = Unshear.of(shape, affine)
    row, column = (affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (1, 2))
    if abs(row @ column) > SHEAR_COSINE or found.angle_deg > TILT_DEGREES:
        raise RefusedInput(
            f"The affine of {name} is sheared, and not by a gantry tilt. Found a cosine of {row @ column:.5f} between rows and "
            f"columns, and slices {found.angle_deg:.2f} degrees off their normal; expected 0 and at most {TILT_DEGREES:g} "
            "degrees. Resample it to perpendicular axes first."
        )
    if repair != "tilt" or not found.starts_px.any():
        raise nothing_to_repair(repair, f"a NIfTI file, {name}, of one spacing along perpendicular axes")
    return found


def axes_of(affine: Matrix, slice_axis: int | None, name: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which file axis becomes (slice, row, column), and which of these are turned round.

    `slice_axis` is slice_dim of nifti1.h, which says it; many files leave it out.

    Raises:
        RefusedInput: slice_dim is that of a file whose axes were in another order; `name` is for the message.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    unit = affine[:3, :3] / lengths
    z = _slice_axis(lengths) if slice_axis is None else slice_axis
    plane, other = np.delete(lengths, z), _slice_axis(lengths)
    if other != z and _alike(*np.delete(lengths, other)) and plane.max() > SQUARE * plane.min():
        raise RefusedInput(
            f"slice_dim and the size of a voxel contradict each other in {name}. Found slices along axis {z + 1}, with pixels "
            f"of {_mm(plane)} mm; expected square ones, as slices along axis {other + 1} have. Where axes were exchanged and "
            f"dim_info was kept, set its slice_dim to {other + 1}, or dim_info to 0."
        )
    _, (row_axis, row_sign), (column_axis, column_sign) = _DICOM_LIKE[int(np.abs(unit[:, z]).argmax())]
    rest = [axis for axis in range(3) if axis != z]
    y = max(rest, key=lambda axis: abs(unit[row_axis, axis]))
    x = next(axis for axis in rest if axis != y)
    flip_y, flip_x = bool(unit[row_axis, y] * row_sign < 0), bool(unit[column_axis, x] * column_sign < 0)
    # As in DICOM, slices rise along column direction x row direction.
    normal = np.cross(unit[:, x] * (-1 if flip_x else 1), unit[:, y] * (-1 if flip_y else 1))
    return (z, y, x), (bool(normal @ unit[:, z] < 0), flip_y, flip_x)


def _slice_axis(lengths: NDArray[np.float64]) -> int:
    """The axis whose spacing differs from the other two: CT pixels are square. The coarsest where none or all do.

    Where all three are alike it is the third, as scanners write it.
    """
    alike = [_alike(*np.delete(lengths, axis)) for axis in range(3)]
    if sum(alike) == 1:
        return alike.index(True)
    return 2 if lengths[2] >= lengths.max() * (1 - EQUAL_SPACING) else int(lengths.argmax())


def _alike(one: float, other: float) -> bool:
    return bool(abs(one - other) <= EQUAL_SPACING * max(one, other))


def _stated(name: str, header: Any, shape: tuple[int, int, int]) -> tuple[Matrix, int, tuple[str, ...]]:
    """(index -> RAS mm, code, notes): sform where it is there and has a volume, else qform; where both do, they agree."""
    codes = {form: int(header[f"{form}_code"]) for form in ("sform", "qform")}
    if max(codes.values()) <= 0:
        raise RefusedInput(
            f"The NIfTI {name} has neither a sform nor a qform code, so the direction of its axes is unknown. "
            "Export it again with its orientation."
        )
    forms = {"sform": _sform(header), "qform": _qform(header)}
    valid = {form: affine for form, affine in forms.items() if codes[form] > 0 and affine is not None}
    if not valid:
        wrong = " and its ".join(form for form, code in codes.items() if code > 0)
        raise RefusedInput(
            f"The affine of {name} is singular or malformed: its {wrong} gives voxels no volume. Export it again."
        )
    if len(valid) == 2:
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1)
        difference = (valid["sform"] - valid["qform"])[:3] @ np.vstack([corners, np.ones(8)])
        apart = float(np.linalg.norm(difference, axis=0).max())
        size = float(np.linalg.norm(valid["sform"][:3, :3] @ (np.array(shape) - 1.0)))
        allowed = max(QFORM_MM, QFORM_RADIAN * size)
        if not apart <= allowed:
            raise RefusedInput(
                f"sform and qform of {name} disagree. Found {apart:.2f} mm between them at a corner, allowed "
                f"{allowed:.2f} mm. Export it again, or remove the wrong one."
            )
    used = next(iter(valid))
    failed = [form for form, code in codes.items() if code > 0 and form not in valid]
    notes = tuple(f"{form} is malformed: {used} is used" for form in failed)
    return valid[used], codes[used], notes


def _sform(header: Any) -> Matrix | None:
    rows = [header[f"srow_{axis}"].astype(np.float64) for axis in "xyz"]
    return _with_volume(np.vstack([*rows, [0.0, 0.0, 0.0, 1.0]]))


def _qform(header: Any) -> Matrix | None:
    """nifti1.h, method 2; None where it gives no place."""
    vector = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.float64)
    sizes = header["pixdim"][1:4].astype(np.float64)
    square = float(vector @ vector)
    if not (np.isfinite(vector).all() and square <= 1 + QUATERNION_EXCESS and (sizes > 0).all()):
        return None
    if square > 1:
        vector /= np.sqrt(square)
    b, c, d = vector
    a = float(np.sqrt(max(0.0, 1 - min(square, 1.0))))
    affine = np.eye(4)
    affine[:3, :3] = quat2mat((a, b, c, d)) * sizes
    affine[:3, 2] *= -1 if header["pixdim"][0] < 0 else 1
    affine[:3, 3] = [header[f"qoffset_{axis}"] for axis in "xyz"]
    return _with_volume(affine)


def _with_volume(affine: Matrix) -> Matrix | None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < MIN_DETERMINANT_MM3:
        return None
    return affine


def _with_decimals(affine: Matrix, sizes: NDArray[np.floating[Any]]) -> Matrix:
    """Voxel sizes as the decimals that float32 stands for: 2.5 and 0.7 as in DICOM, not 2.5000005 and 0.69999999."""
    if sizes.dtype.itemsize != FLOAT32_BYTES:
        return affine
    decimals = np.array([_decimal(size) for size in np.abs(sizes)])
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    finer = np.array(affine)
    finer[:3, :3] *= np.where(np.abs(decimals - lengths) <= FLOAT32_RELATIVE * lengths, decimals / lengths, 1.0)
    return finer


def _decimal(size: np.floating[Any]) -> float:
    """Four decimals where they are the number but for the arithmetic of float32; else the shortest that is this float32."""
    rounded = round(float(size), 4)
    return rounded if abs(rounded - float(size)) <= ARITHMETIC_RELATIVE * float(size) else float(str(size))


def _perpendicular(affine: Matrix, shape: tuple[int, int, int]) -> Matrix:
    """The nearest affine with perpendicular axes of the same lengths; the centre of the volume stays in its place."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / lengths)
    nearest = np.array(affine)
    nearest[:3, :3] = (left @ right) * lengths
    nearest[:3, 3] += (affine - nearest)[:3, :3] @ ((np.array(shape) - 1) / 2)
    return nearest


def _mm(lengths: Matrix) -> str:
    return " x ".join(f"{one:.4g}" for one in lengths)
