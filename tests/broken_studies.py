"""Every kind of input that is refused, each with the function that builds it; the tables of the rooms' tests among them."""

from __future__ import annotations

import gzip
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from tests.dicom.test_one_acquisition import ALTERNATING
from tests.dicom.test_pixel_values import NO_HU as NO_HU_DICOM
from tests.dicom.test_refusals import WRONG_SERIES, WRONG_SLICES, along_z
from tests.dicom_builder import body_hu, build_enhanced, build_series, phantom_hu
from tests.nifti.test_nifti_refusals import NO_HU as NO_HU_NIFTI
from tests.nifti_builder import affine_for, ct, save

Build = Callable[[Path], Path]
"""Writes below a new folder, and returns SOURCE."""


def series(hu: NDArray[Any] | None = None, **how: Any) -> Build:
    """A folder made by `build_series`."""

    def build(folder: Path) -> Path:
        build_series(folder, phantom_hu() if hu is None else hu, **how)
        return folder

    return build


def without(number: int) -> Build:
    """A series one of whose files is lost."""
    return changed(number, Path.unlink)


def changed(number: int, change: Callable[[Path], Any], **how: Any) -> Build:
    """A series one of whose files is not what it was."""

    def build(folder: Path) -> Path:
        build_series(folder, phantom_hu(), **how)
        change(folder / f"{number:04d}.dcm")
        return folder

    return build


def cut(count: int) -> Callable[[Path], Any]:
    """The file without its last bytes."""
    return lambda path: path.write_bytes(path.read_bytes()[:-count])


def first_bytes(count: int) -> Callable[[Path], Any]:
    """The beginning of the file."""
    return lambda path: path.write_bytes(path.read_bytes()[:count])


def added(**how: Any) -> Build:
    """A series, and something of another beside it."""

    def build(folder: Path) -> Path:
        build_series(folder, phantom_hu())
        build_series(folder, prefix="x", **how)
        return folder

    return build


def zipped(members: Callable[[Path], None]) -> Build:
    """A ZIP of what `members` writes."""

    def build(folder: Path) -> Path:
        members(folder / "in")
        with zipfile.ZipFile(folder / "in.zip", "w") as file:
            for path in sorted((folder / "in").iterdir()):
                file.write(path, path.name)
        return folder / "in.zip"

    return build


def nifti(array: NDArray[Any] | None = None, name: str = "in.nii", **how: Any) -> Build:
    """One NIfTI file."""

    def build(folder: Path) -> Path:
        folder.mkdir()
        path: Path = save(folder / name, ct() if array is None else array, **how)
        return path

    return build


def with_sidecar(stated: dict[str, Any]) -> Build:
    """NIfTI, and a sidecar that contradicts it or makes no sense."""

    def build(folder: Path) -> Path:
        path = nifti()(folder)
        (folder / "in.json").write_text(json.dumps(stated))
        return path

    return build


def files(**content: bytes) -> Build:
    """A folder of any files."""

    def build(folder: Path) -> Path:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
        return folder

    return build


def _half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _enhanced_twice(folder: Path) -> Path:
    build_enhanced(folder / "e.dcm", phantom_hu(), order=[0, 1, 2, 2, 4, 5, 6, 7])
    return folder / "e.dcm"


def _zip_in_zip(folder: Path) -> None:
    folder.mkdir(parents=True)
    zipfile.ZipFile(folder / "inner.zip", "w").close()


def _gz(folder: Path) -> Path:
    build_series(folder, phantom_hu(3))
    for path in list(folder.iterdir()):
        path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def _tilted(degrees: float) -> Build:
    angle = math.radians(degrees)
    turned = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    return series(orientation=turned, positions_mm=along_z([5] * 7))


def _padded_in_tissue() -> NDArray[np.int16]:
    hu = body_hu(8)
    hu[hu == 50] = 51
    hu[3, 14, 9] = 50
    return hu


def _named(kind: str, builds: Sequence[Build]) -> dict[str, Build]:
    return {f"{kind}-{number}": build for number, build in enumerate(builds)}


def _empty_end() -> NDArray[np.int16]:
    hu = body_hu(8)
    hu[-1] = -1024
    return hu


STUDIES: dict[str, Build] = {
    **_named("slice", [series(per_slice={3: change}) for change, _ in WRONG_SLICES]),
    **_named("series", [series(tags=tags) for tags, _ in WRONG_SERIES]),
    **_named(
        "alternating",
        [series(per_slice={k: {key: values[k % 2]} for k in range(8)}) for key, values in ALTERNATING],
    ),
    **_named("dicom-values", [series(np.asarray(hu, np.int16), signed=True, bits=16) for hu, _ in NO_HU_DICOM]),
    **_named("nifti-values", [nifti(array) for array, _ in NO_HU_NIFTI]),
    "missing": without(4),
    "uneven": series(positions_mm=along_z([5, 5, 5, 8, 8, 8, 8])),
    "drift": series(phantom_hu(41), thickness_mm=1.0, positions_mm=along_z([1.0] * 20 + [1.04] * 20)),
    "tilt": _tilted(15.0),
    "beside-the-axis": series(positions_mm=[(2.0 * (k == 3), 0.0, 5.0 * k) for k in range(8)]),
    "single": series(phantom_hu(1)),
    "single-file": lambda folder: series(phantom_hu(1))(folder) / "0000.dcm",
    "two-series": added(hu=phantom_hu(20), spacing_mm=1.0, thickness_mm=1.0, series_uid="1.2.3.2"),
    "two-acquisitions": added(
        hu=phantom_hu(seed=5), per_slice={k: {"SOPInstanceUID": f"1.2.3.7.{k}"} for k in range(8)}
    ),
    "counted-anew": series(phantom_hu(24), per_slice={k: {"InstanceNumber": k // 6 + 1} for k in range(24)}),
    "empty-end": series(_empty_end()),
    "nifti-empty-end": nifti(np.transpose(_empty_end(), (2, 1, 0))),
    "padding-in-tissue": series(_padded_in_tissue(), signed=True, bits=16, tags={"PixelPaddingValue": ("SS", 50)}),
    "iodine": series(body_hu(8), tags={"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "IODINE"]}),
    "beyond-bits": series(per_slice={1: {"stored": np.full((16, 20), 5000, np.uint16)}}),
    "pixels-cut": changed(5, cut(100)),
    "pixels-missing": series(per_slice={1: {"PixelData": None}}),
    "jpeg-ls-cut": changed(2, cut(300), syntax=uid.JPEGLSLossless),
    "jpeg-2000-cut": changed(2, cut(300), syntax=uid.JPEG2000Lossless),
    "deflate-cut": changed(1, cut(40), syntax=uid.DeflatedExplicitVRLittleEndian),
    "header-cut": changed(2, first_bytes(400)),
    "empty-copy": changed(7, first_bytes(0)),
    "zeros": changed(7, lambda path: path.write_bytes(bytes(5000))),
    "enhanced-frame-twice": _enhanced_twice,
    "zip-missing": zipped(lambda folder: [build_series(folder, phantom_hu()), (folder / "0004.dcm").unlink()][0]),
    "zip-in-zip": zipped(_zip_in_zip),
    "zip-cut": lambda folder: _half(zipped(lambda place: build_series(place, phantom_hu()))(folder)),
    "gz": _gz,
    "gz-last-slice": changed(7, lambda path: path.write_bytes(gzip.compress(path.read_bytes()))),
    "empty-folder": files(),
    "letter": files(letter=b"hello"),
    "nifti-4d": nifti(ct((6, 7, 5, 2))),
    "nifti-one-slice": nifti(ct((6, 7, 1))),
    "nifti-no-axes": nifti(sform=0, qform=0),
    "nifti-sheared": nifti(affine=affine_for() + np.eye(4, k=1) * [[0], [1.3], [0], [0]], qform=0),
    "nifti-cut": lambda folder: _half(nifti(ct((20, 20, 10)))(folder)),
    "nifti-gz-cut": lambda folder: _half(nifti(ct((20, 20, 10)), "in.nii.gz")(folder)),
    "nifti-infinite": nifti(np.where(ct() > 2900, np.inf, ct()).astype(np.float32)),
    "sidecar-of-another": with_sidecar({"SliceThickness": 5, "SpacingBetweenSlices": 2.5}),
    "sidecar-of-words": with_sidecar({"SliceThickness": "Mustermann"}),
}
"""Name -> what builds it."""
