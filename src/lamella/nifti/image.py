"""NIfTI-1 and NIfTI-2 single files <-> `Volume`, with nibabel for the header and nothing else.

NIfTI counts millimetres in RAS (x to the right, y to the front); `Volume` in LPS. Reading turns the axes into the order of
DICOM slices of that plane (axial: rows to the back, columns to the left, slices to the head), because the networks were
trained on no other; `NiftiHeader` keeps the turn, and writing undoes it, so that both files match voxel by voxel.

Source of the format: nifti1.h (NIfTI-1.1 data format, https://nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError, RefusedInput
from lamella.files.names import shown_name
from lamella.nifti.affine import LPS_RAS, affine_of, axes_of, unshear_of
from lamella.nifti.checks import (
    Values,
    check_hu,
    cut_off,
    expected_bytes,
    header_of,
    scale_of,
    shape_of,
)
from lamella.nifti.sidecar import NiftiLabel, read_sidecar
from lamella.physics.hounsfield import MAX_ABS_HU
from lamella.physics.mend import Unshear
from lamella.physics.repair import Repair, RepairKind
from lamella.volume import AIR_HU, GIVE_THICKNESS, Geometry, Volume, agreed_thickness

MAX_DEFLATE_RATIO = 1032
"""Deflate cannot inflate further (RFC 1951: 258 bytes from two bits), so a header that claims more is wrong."""

LARGE_BYTES, MAX_RATIO = 2**30, 100
"""Beyond this size CT does not deflate this far: the rest is a bomb."""

UNKNOWN_THICKNESS = (
    "thickness is unknown in NIfTI: taken equal to the spacing, {:.4g} mm. Slices that overlap are thicker, and the result "
    f"is then too smooth, by several dB: {GIVE_THICKNESS}, or put the JSON sidecar of dcm2niix beside the file"
)

_COMMENT = 6  # ecode of plain text, nifti1.h
_GZIP = b"\x1f\x8b"
_HEADER_BYTES = 544


@dataclass(frozen=True)
class NiftiHeader:
    """What `Volume.header` holds after reading NIfTI.

    Attributes:
        name: base name of the file.
        axes: the NIfTI axis that became (slice, row, column).
        flipped: which of (slice, row, column) run against the file's direction.
        code: sform or qform code of the affine (1 scanner, 2 aligned, ...).
        notes: everything assumed or replaced on the way.
        warnings: those notes that whoever asks for a result must see.
        synthetic: a model made up content, says the sidecar.
        repair: what was repaired on request.
    """

    name: str
    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    code: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    repair: Repair | None = None


_PLAIN = NiftiHeader("", (2, 1, 0), (False, False, False), 1, ())


def is_nifti(path: Path) -> bool:
    """Whether the file's first bytes, inflated where they are gzip, are a NIfTI header (also of a .hdr/.img pair).

    What is called NIfTI and is nothing else that is read counts, too: its reader says what is wrong with it.
    """
    with path.open("rb") as file:
        head = file.read(2)
        file.seek(0)
        try:
            head = gzip.GzipFile(fileobj=file).read(_HEADER_BYTES) if head == _GZIP else file.read(_HEADER_BYTES)
        except (OSError, EOFError, zlib.error):
            head = b""
    if head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
        return True
    other = head[:2] == b"PK" or head[128:132] == b"DICM"
    return path.name.lower().endswith((".nii", ".nii.gz")) and not other


def read_nifti(path: Path, thickness_mm: float | None = None, repair: RepairKind | None = None) -> Volume:
    """Reads a CT from NIfTI; the slice axis is the header's, or found by `lamella.nifti.affine.axes_of`.

    NIfTI does not know how thick a slice is. The JSON sidecar beside it may, or `thickness_mm`; where neither does, the
    spacing is taken, with a warning.

    Args:
        path: the file.
        thickness_mm: of the slabs.
        repair: "tilt" takes a shear of the slices out (`lamella.physics.mend.Unshear`); there is nothing else to repair,
            because the format has one spacing for all slices.

    Returns:
        hu (z, y, x) int16 where the file holds integers that fit, else float32; never below -1024 HU; `header` is a
        `NiftiHeader`.

    Raises:
        RefusedInput: not one regular 3-D volume in Hounsfield units, a damaged file, or a sidecar that contradicts it.
        UsageError: the sidecar contradicts `thickness_mm`.
    """
    path = Path(path)
    name = shown_name(path)
    sidecar = read_sidecar(path)
    thickness_mm = agreed_thickness(sidecar.thickness_mm, thickness_mm, f"SliceThickness of {sidecar.name}")
    header, data = _load(path)
    shape = shape_of(name, header)
    raw = np.frombuffer(data, header.get_data_dtype(), offset=int(header["vox_offset"]), count=int(np.prod(shape)))
    volume = volume_of(name, header, raw.reshape(shape, order="F"), scale_of(name, header), thickness_mm, repair)
    sidecar.check_spacing(name, volume.geometry.spacing_mm)
    return replace(volume, header=replace(cast(NiftiHeader, volume.header), synthetic=sidecar.synthetic))


def geometry_of(
    path: Path, thickness_mm: float | None = None, repair: RepairKind | None = None
) -> tuple[Geometry, str]:
    """Where the voxels of a NIfTI file lie, and the `descrip` of its header, without a look at its voxels.

    Raises:
        RefusedInput, UsageError: as `read_nifti`, for all that header and sidecar tell.
    """
    name = shown_name(path)
    sidecar, (header, _) = read_sidecar(path), _load(path, voxels=False)
    thickness_mm = agreed_thickness(sidecar.thickness_mm, thickness_mm, f"SliceThickness of {sidecar.name}")
    geometry, *_ = _placed(name, header, thickness_mm, repair)
    sidecar.check_spacing(name, geometry.spacing_mm)
    return geometry, bytes(header["descrip"]).rstrip(b"\0").decode("ascii", "replace")


def volume_of(
    name: str,
    header: Any,
    stored: NDArray[Any],
    scale: tuple[float, float],
    thickness_mm: float | None = None,
    repair: RepairKind | None = None,
) -> Volume:
    """The volume of nibabel's header and the array of stored values beside it, in the header's axis order; see `read_nifti`.

    `scale` is (slope, intercept) from stored values to HU; `name` is for messages.
    """
    geometry, place, unshear = _placed(name, header, thickness_mm, repair)
    hu, notes = _hu(name, stored.transpose(place.axes)[_steps(place.flipped)], scale)
    if unshear is not None:
        hu, repaired = unshear(hu)
        place = replace(place, repair=repaired)
    warnings = () if thickness_mm is not None else (UNKNOWN_THICKNESS.format(geometry.spacing_mm),)
    return Volume(hu, geometry, replace(place, notes=(*warnings, *notes, *place.notes), warnings=warnings))


def _placed(
    name: str, header: Any, thickness_mm: float | None, repair: RepairKind | None = None
) -> tuple[Geometry, NiftiHeader, Unshear | None]:
    """Where the voxels lie, how the axes turn, and what repairs them; the notes are what was assumed about that."""
    shape = shape_of(name, header)
    affine, code, assumed = affine_of(name, header, shape, sheared=repair == "tilt")
    axes, flipped = axes_of(affine, header.get_dim_info()[2], name)
    turned = (shape[axes[0]], shape[axes[1]], shape[axes[2]])
    if turned[0] < 2:
        raise RefusedInput(f"The NIfTI {name} holds a single slice. Expected at least 2: one has no spacing.")
    place = _reversed(affine[:, [*axes, 3]], turned, flipped)
    unshear = None if repair is None else unshear_of(name, turned, place, repair)
    if unshear is not None:
        turned, place, assumed = unshear.shape, unshear.affine, (unshear.note, *assumed)
    geometry = Geometry(turned, place, thickness_mm or float(np.linalg.norm(place[:3, 0])))
    return geometry, NiftiHeader(name, axes, flipped, code, tuple(assumed)), unshear


def write_nifti(path: Path, volumes: Sequence[Volume], header: object | None, label: NiftiLabel | None = None) -> None:
    """Writes one volume as 3-D, several as 4-D (the fourth axis counts them), gzipped where the name ends in .gz.

    Integers stay int16, so HU are exact. The same input gives the same bytes.

    Args:
        path: file to write; an existing one is replaced.
        volumes: of one geometry.
        header: the `header` of the volume they came from; a `NiftiHeader` brings its axis order and directions back,
            anything else gives (column, row, slice).
        label: goes into `descrip` and a comment extension.

    Raises:
        LamellaError: no volume, or different geometries.
    """
    if not volumes or any(one.geometry != volumes[0].geometry for one in volumes):
        raise LamellaError(
            f"{path.name}: one NIfTI file holds volumes of one geometry. Found {len(volumes)} that differ."
        )
    kept = header if isinstance(header, NiftiHeader) else _PLAIN
    geometry = volumes[0].geometry
    affine = _reversed(geometry.affine, geometry.shape, kept.flipped)
    back = np.argsort(kept.axes)
    arrays = [one.hu[_steps(kept.flipped)].transpose(back) for one in volumes]
    array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=-1)
    image = nib.Nifti1Image(array, LPS_RAS @ affine[:, [*back, 3]], dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, kept.code)
    image.set_qform(image.affine, kept.code)
    image.header.set_dim_info(slice=kept.axes[0])
    if label is not None:
        image.header["descrip"] = label.descrip.encode("ascii", "replace")
        image.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, label.json().encode()))
    with path.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            # No name and no time inside, so that equal volumes give equal files.
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _load(path: Path, *, voxels: bool = True) -> tuple[Any, bytes]:
    """The header (unchecked) and the file's inflated bytes, as many as the header promises, or its first ones only."""
    name, size = shown_name(path), path.stat().st_size
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            stream = cast(BufferedIOBase, gzip.GzipFile(fileobj=file) if packed else file)
            head = stream.read(_HEADER_BYTES)
            header = header_of(name, head)
            expected = expected_bytes(name, header)
            most = min(size * MAX_DEFLATE_RATIO, max(LARGE_BYTES, size * MAX_RATIO)) if packed else size
            if expected > most + _HEADER_BYTES:
                raise cut_off(name, size, expected)
            if not voxels:
                return header, head
            data = head + stream.read(max(0, expected - len(head)))
            # Reading past the end makes gzip compare its checksum.
            stream.read(1)
    except EOFError:
        raise cut_off(name, size, None) from None
    except (OSError, zlib.error) as error:
        raise RefusedInput(f"The NIfTI {name} is damaged ({type(error).__name__}). Copy or export it again.") from error
    if len(data) < expected:
        raise cut_off(name, len(data), expected)
    return header, data


def _steps(flipped: tuple[bool, bool, bool]) -> tuple[slice, ...]:
    return tuple(slice(None, None, -1 if flip else 1) for flip in flipped)


def _reversed(
    affine: NDArray[np.float64], shape: tuple[int, ...], flipped: tuple[bool, bool, bool]
) -> NDArray[np.float64]:
    """The affine of an array that is read backwards along the flipped axes."""
    affine = np.array(affine)
    for axis in np.flatnonzero(flipped):
        affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        affine[:3, axis] *= -1
    return affine


def _hu(
    name: str, turned: NDArray[Any], scale: tuple[float, float]
) -> tuple[NDArray[np.float32] | NDArray[np.int16], list[str]]:
    """Scales slice by slice into one new array and refuses what cannot be Hounsfield units."""
    slope, intercept = scale
    whole = turned.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    hu = np.empty(turned.shape, np.int16 if whole else np.float32)
    found = Values()
    for index, plane in enumerate(turned):
        with np.errstate(invalid="ignore", over="ignore"):
            values = plane * np.float64(slope) + intercept
        # NaN and infinities both survive min and max, as NaN or as themselves.
        if not (np.isfinite(values.min()) and np.isfinite(values.max())):
            raise RefusedInput(
                f"The NIfTI {name} holds {int((~np.isfinite(values)).sum()):,} values that are not finite (NaN or Inf) "
                f"in slice {index}. Replace them, for example by -1024 outside the scan."
            )
        found.add(values)
        hu[index] = np.clip(values, AIR_HU, MAX_ABS_HU)
    notes = check_hu(name, hu, found)
    return hu, [*([f"{found.below:,} voxels below -1024 HU set to air (-1024 HU)"] if found.below else []), *notes]
