"""What a NIfTI header must say, and which values can be Hounsfield units; everything else is refused."""

from __future__ import annotations

# mypy: disallow-untyped-calls=False
# nibabel is annotated in part only.
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from lamella.errors import RefusedInput
from lamella.physics.hounsfield import airy, doubts, odd_slice, sunken, why_not_hu, why_not_hu_volume
from lamella.volume import AIR_HU, MAX_HU

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
    if head[344:347] != b"n+1" and head[4:7] != b"n+2":
        what = "is empty" if not head else "does not begin as one"
        raise RefusedInput(f"{name} is no NIfTI file: it {what}. Copy or export it again.")
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
    if slope is not None and slope < 0:
        raise RefusedInput(
            f"scl_slope of {name} is not positive. Found {slope:g}; in Hounsfield units what is denser is higher. "
            "Export it again."
        )
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


@dataclass
class Values:
    """Counts of the values of a volume, slice by slice, before anything is clipped."""

    lowest: float = np.inf
    highest: float = -np.inf
    voxels: int = 0
    below: int = 0
    above: int = 0
    airy: int = 0
    sunken: int = 0

    def add(self, plane: NDArray[np.float64]) -> None:
        """Count one slice."""
        self.lowest, self.highest = min(self.lowest, float(plane.min())), max(self.highest, float(plane.max()))
        self.voxels += plane.size
        self.below += int(np.count_nonzero(plane < AIR_HU))
        self.above += int(np.count_nonzero(plane > MAX_HU))
        self.airy += airy(plane)
        self.sunken += sunken(plane)


def check_hu(name: str, hu: NDArray[Any], found: Values) -> list[str]:
    """Refuses what cannot be Hounsfield units, and returns notes on what is no measurement, as of DICOM.

    Args:
        name: of the file.
        hu: (z, y, x) HU.
        found: before clipping.
    """
    shares = (count / found.voxels for count in (found.above, found.airy, found.sunken))
    why = why_not_hu(found.lowest, found.highest) or why_not_hu_volume(hu, *shares)
    if why:
        raise RefusedInput(
            f"The values of {name} cannot be Hounsfield units ({why}). Found {found.lowest:g} to {found.highest:g}; expected "
            "CT, with air near -1000 and water near 0. Convert the CT again; where the surround was masked, set it to -1000."
        )
    if odd := odd_slice(hu):
        raise RefusedInput(
            f"Slice {odd[0] + 1} of {len(hu)} of {name} cannot be a slice of this scan: {odd[1]}. Its voxels were lost, or "
            "never measured. Convert the CT again, or cut empty slices off."
        )
    return doubts(hu, [f"slice {k + 1}" for k in range(len(hu))])
