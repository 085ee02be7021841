"""Seeds of the fuzz target that reads NIfTI: each is its kind, the sidecar and the file, packed."""

from __future__ import annotations

import io
import json
from typing import Any

import nibabel as nib
import numpy as np
from tests.fuzz.containers import pack

GZIP, SIDECAR, RAW_GZIP = 1, 2, 4
"""Bits of the kind: compressed by the target, with a sidecar, named .nii.gz as it is."""


def niftis() -> dict[str, bytes]:
    """Name -> an input of every number type, byte order, form, extension and sidecar."""
    found = {"plain": _input(_image()), "gz": _input(_image(), GZIP), "nifti2": _input(_image(kind=nib.Nifti2Image))}
    for dtype in ("u1", "i2", "u2", "i4", "f4", "f8", "i8"):
        found[dtype] = _input(_image(dtype=dtype))
        found[f"{dtype}-big"] = _input(_image(dtype=dtype, order=">"))
    found["nifti2-big"] = _input(_image(kind=nib.Nifti2Image, order=">"))
    found["extension"] = _input(_image(comment=b'{"SliceThickness": 5}'))
    found["extension-gz"] = _input(_image(comment=b"x" * 40, order=">"), GZIP)
    for code in ((0, 1), (1, 0), (0, 0)):
        found[f"forms-{code[0]}{code[1]}"] = _input(_image(codes=code))
    found["sheared"] = _input(_image(affine=np.array([[-1, 0, 0.001, 0], [0, -1, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])))
    found["coronal"] = _input(_image(affine=np.array([[-1.0, 0, 0, 0], [0, 0, 5, 0], [0, -1, 0, 0], [0, 0, 0, 1]])))
    sidecars = (
        {"SliceThickness": 5, "SpacingBetweenSlices": 5.0, "SyntheticData": "YES"},
        {"SliceThickness": -1},
        {"SpacingBetweenSlices": -5, "SliceThickness": None},
        [1, 2],
    )
    for k, sidecar in enumerate(sidecars):
        found[f"sidecar-{k}"] = _input(_image(), SIDECAR | (k % 2), json.dumps(sidecar).encode())
    return found


def _input(image: bytes, kind: int = 0, sidecar: bytes = b"") -> bytes:
    return pack([bytes([kind]), sidecar, image])


def _image(
    dtype: str = "i2",
    order: str = "<",
    kind: Any = nib.Nifti1Image,
    codes: tuple[int, int] = (1, 1),
    affine: Any = None,
    comment: bytes = b"",
) -> bytes:
    hu = np.random.default_rng(0).integers(-1024, 3072, (4, 4, 3))
    stored = (hu + 1024) // (16 if dtype == "u1" else 1) if dtype[0] == "u" else hu
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    affine = np.diag([-1.0, -1.0, 5.0, 1.0]) if affine is None else affine
    image = kind(stored.astype(dtype), affine, header)
    image.header.set_xyzt_units("mm")
    if dtype[0] == "u":
        image.header.set_slope_inter(16 if dtype == "u1" else 1, -1024)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    if comment:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(6, comment))
    buffer = io.BytesIO()
    image.to_stream(buffer)
    return buffer.getvalue()
