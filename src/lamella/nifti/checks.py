"""What a NIfTI header must say, and which values can be Hounsfield units; everything else is refused."""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from typing import Any

import nibabel as nib
from nibabel.spatialimages import HeaderDataError

from lamella.errors import RefusedInput
from lamella.physics.hounsfield import why_not_hu

MAX_VOXELS = 2**32
"""Most voxels a header may claim; a CT of 4,000 slices of 512 x 512 has 2**30."""


def cut_off(name: str, found: int, expected: int | None) -> RefusedInput:
    """The refusal of half a file."""
    numbers = f" Found {found:,} bytes; its header promises {expected:,}." if expected is not None else ""
    return RefusedInput(
        f"The NIfTI {name} is cut off, or its header claims too much.{numbers} Copy or export it again."
    )


def header_of(name: str, head: bytes) -> Any:
    """The nibabel header in these bytes, unchecked; refuses .hdr/.img pairs and what is no NIfTI."""
    kind = nib.Nifti2Header if head[4:7] in (b"n+2", b"ni2") else nib.Nifti1Header
    if head[344:347] == b"ni1" or head[4:7] == b"ni2":
        raise RefusedInput(f"The NIfTI {name} is a .hdr/.img pair. Expected a single .nii or .nii.gz file: convert it.")
    try:
        # Unchecked: nibabel's own check repairs zero spacings and prints to standard error.
        return kind(head[: kind.sizeof_hdr], check=False)
    except (HeaderDataError, ValueError, nib.wrapstruct.WrapStructError) as error:
        raise RefusedInput(f"The header of {name} is not NIfTI ({type(error).__name__}). Export it again.") from error


def shape_of(name: str, header: Any) -> tuple[int, int, int]:
    """The three dimensions; trailing ones are dropped, anything else is refused."""
    rank = int(header["dim"][0])
    dims = tuple(int(n) for n in header["dim"][1 : rank + 1]) if 1 <= rank <= 7 else ()
    if not dims or min(dims) < 1:
        raise RefusedInput(f"The NIfTI {name} has invalid dimensions. Found {dims or rank}. Export it again.")
    while len(dims) > 3 and dims[-1] == 1:
        dims = dims[:-1]
    if len(dims) != 3:
        raise RefusedInput(
            f"The NIfTI {name} is {len(dims)}-D. Found {' x '.join(map(str, dims))}; expected one 3-D volume. "
            "Split it first."
        )
    return dims


def expected_bytes(name: str, header: Any) -> int:
    """How long the file must be to hold what its header claims; refuses absurd claims before anything is allocated."""
    voxels = 1
    for n in shape_of(name, header):
        voxels *= n
    if voxels > MAX_VOXELS:
        raise RefusedInput(f"The header of {name} claims {voxels:,} voxels, at most {MAX_VOXELS:,}. It is damaged.")
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise RefusedInput(f"The NIfTI {name} has an unknown data type. Expected numbers of one channel.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise RefusedInput(f"The NIfTI {name} does not hold plain numbers. Found {dtype}; expected integers or floats.")
    offset = float(header["vox_offset"])
    if not header.sizeof_hdr <= offset <= 2**30 or offset != int(offset):
        raise RefusedInput(f"The NIfTI {name} has an invalid data offset. Found {offset:g}. Export it again.")
    return int(offset) + voxels * int(dtype.itemsize)


def scale_of(name: str, header: Any) -> tuple[float, float]:
    """(scl_slope, scl_inter); 1 and 0 where the header leaves them out."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise RefusedInput(f"The NIfTI {name} has a malformed scl_slope or scl_inter. Export it again.") from error
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def check_hu(name: str, lowest: float, highest: float) -> None:
    """Refuses a range of values that no CT has: every body and every scanner field holds something below water."""
    why = why_not_hu(lowest, highest)
    if why:
        raise RefusedInput(
            f"The values of {name} cannot be Hounsfield units ({why}). Found {lowest:g} to {highest:g}; expected CT, "
            "with air near -1000 and water near 0."
        )
