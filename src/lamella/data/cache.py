"""Prepared cases on disk: lossless, compressed, readable by block.

A case is a folder, renamed into place when it is whole: `case.json` (ids, geometry, checksums) and one Blosc2 array of int16
a series. Planes are stored as differences between neighbours along a row, begun anew every `BLOCK` columns, so that a block
can be read without the rest of its row; then shuffled by bits and compressed with Zstandard. Blocks of 8 x 64 x 64 were the
smallest of the designs tried that a random read of 8 x 192 x 192 does not notice: `benchmarks/cache.py` measures size and
time beside JPEG-LS. Any int16 comes back exactly: the differences wrap around, and so does their sum.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamella.errors import LamellaError, RefusedInput
from lamella.files.atomic import sha256_of, staged_folder
from lamella.machine.extras import require
from lamella.volume import Geometry, Volume, round_hu

CASE, THIN, THICK = "case.json", "thin.b2nd", "thick.b2nd"
BLOCK = 64
"""Rows and columns of a block; the differences along a row begin anew at each."""

_CHUNK, _BLOCKS = (8, 256, 256), (8, BLOCK, BLOCK)
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class CachedVolume:
    """A series on disk; nothing is read before a block is asked for.

    Attributes:
        path: of the Blosc2 array.
        geometry: where the voxels are.
        sha256: of the file; checked once, when the first block is read.
    """

    path: Path
    geometry: Geometry
    sha256: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        return self.geometry.shape

    def __getitem__(self, block: tuple[slice, slice, slice]) -> NDArray[np.int16]:
        """A block of HU; only the blocks on disk that it touches are read.

        Raises:
            LamellaError: the file is missing, damaged, or was altered since it was written.
        """
        if any(part.step not in (None, 1) for part in block):
            raise LamellaError(f"A prepared volume is read in whole blocks, without steps. Found {block}.")
        z, y, x = (slice(*part.indices(size)[:2]) for part, size in zip(block, self.shape, strict=True))
        begin = x.start - x.start % BLOCK
        end = min(self.shape[2], -(-x.stop // BLOCK) * BLOCK)
        try:
            stored = self._array[z, y, begin:end]
        except (RuntimeError, OSError) as error:
            raise _damaged(self.path) from error
        return np.ascontiguousarray(_summed(np.asarray(stored))[..., x.start - begin : x.stop - begin])

    @cached_property
    def _array(self) -> Any:
        blosc2 = _blosc2()
        try:
            if sha256_of(self.path) != self.sha256:
                raise _damaged(self.path)
            array = blosc2.open(str(self.path), mode="r")
        except (RuntimeError, OSError, ValueError) as error:
            raise _damaged(self.path) from error
        if tuple(array.shape) != self.shape or array.dtype != np.int16:
            raise _damaged(self.path)
        return array

    def __getstate__(self) -> dict[str, Any]:
        """Without the opened array: another process opens its own."""
        return {"path": self.path, "geometry": self.geometry, "sha256": self.sha256}


@dataclass(frozen=True, eq=False)
class CachedCase:
    """One prepared case.

    Attributes:
        case_id: its name in the data set; of hashes, so it says nothing of a patient.
        category: folder it came from, as "APE".
        patient_id: pseudonym.
        thin, thick: the two series; a case may have a thin one only.
        about: everything else that `case.json` holds.
    """

    case_id: str
    category: str
    patient_id: str
    thin: CachedVolume
    thick: CachedVolume | None
    about: dict[str, Any]


def write_case(
    folder: Path,
    case_id: str,
    category: str,
    patient_id: str,
    thin: Volume,
    thick: Volume | None,
    *,
    overwrite: bool = False,
    **about: Any,
) -> None:
    """Write a case; `folder` appears whole or not at all.

    Args:
        folder: of the case.
        case_id, category, patient_id: see `CachedCase`.
        thin, thick: HU; fractions of a HU are rounded, as a scanner stores them.
        overwrite: replace an earlier case.
        about: what else to remember, as plain JSON types.

    Raises:
        UsageError: the folder exists and may not be replaced.
        RefusedInput: HU beyond int16.
        LamellaError: no room on the disk.
    """
    with staged_folder(folder, overwrite=overwrite, replaceable=(THIN, THICK, CASE)) as new:
        series: dict[str, Any] = {}
        for name, volume in ((THIN, thin), (THICK, thick)):
            if volume is None:
                continue
            _write(new / name, _whole(volume))
            series[name] = {**_plain(volume.geometry), "sha256": sha256_of(new / name)}
        ids = {"format": _FORMAT, "case_id": case_id, "category": category, "patient_id": patient_id}
        card = {**ids, "series": series, "about": about}
        (new / CASE).write_text(json.dumps({**card, "sha256": _card_sha256(card)}, indent=1), encoding="utf-8")


def open_case(folder: Path) -> CachedCase:
    """Read a case's card; its voxels stay on disk.

    Raises:
        LamellaError: no case, or one that cannot be read.
    """
    try:
        card = json.loads((folder / CASE).read_text(encoding="utf-8"))
        series, known, whole = card["series"], card["format"] == _FORMAT, card.pop("sha256") == _card_sha256(card)
        volumes = {name: CachedVolume(folder / name, _geometry(one), one["sha256"]) for name, one in series.items()}
        thin = volumes[THIN]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LamellaError(
            f"The prepared case {folder.name} cannot be read ({type(error).__name__}). Remove it and run `lamella prepare` "
            "again."
        ) from error
    if not known:
        raise LamellaError(f"The prepared case {folder.name} has format {card['format']}, expected {_FORMAT}.")
    if not whole:
        raise _damaged(folder / CASE)
    return CachedCase(
        card["case_id"], card["category"], card["patient_id"], thin, volumes.get(THICK), dict(card.get("about", {}))
    )


def verify_case(folder: Path) -> CachedCase:
    """Open a case and check that its files are the ones that were written.

    Raises:
        LamellaError: a file is missing or altered.
    """
    case = open_case(folder)
    for volume in (case.thin, case.thick):
        if volume is not None and (not volume.path.is_file() or sha256_of(volume.path) != volume.sha256):
            raise _damaged(volume.path)
    return case


def _card_sha256(card: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> LamellaError:
    return LamellaError(
        f"The prepared case {path.parent.name} is damaged: {path.name} is missing, cut off or altered. Remove the case's "
        "folder and run `lamella prepare` again."
    )


def _whole(volume: Volume) -> NDArray[np.int16]:
    if volume.hu.dtype == np.int16:
        return volume.hu  # type: ignore[return-value]  # just checked
    if not np.isfinite(volume.hu).all() or np.rint(volume.hu.max()) > np.iinfo(np.int16).max:
        raise RefusedInput("A series holds HU beyond 16 bits or not finite, and cannot be prepared.")
    return round_hu(volume.hu)


def _write(path: Path, hu: NDArray[np.int16]) -> None:
    blosc2 = _blosc2()
    settings = {"codec": blosc2.Codec.ZSTD, "clevel": 9, "filters": [blosc2.Filter.BITSHUFFLE], "nthreads": 1}
    chunks = tuple(min(a, b) for a, b in zip(_CHUNK, hu.shape, strict=True))
    blocks = tuple(min(a, b) for a, b in zip(_BLOCKS, chunks, strict=True))
    blosc2.asarray(_differences(hu), chunks=chunks, blocks=blocks, cparams=settings, urlpath=str(path), mode="w")


def _differences(hu: NDArray[np.int16]) -> NDArray[np.int16]:
    """Each voxel minus its left neighbour, but for the first column of each block; modulo 2^16."""
    stored = hu.copy()
    stored[..., 1:] -= hu[..., :-1]
    stored[..., ::BLOCK] = hu[..., ::BLOCK]
    return np.ascontiguousarray(stored)


def _summed(stored: NDArray[np.int16]) -> NDArray[np.int16]:
    """The way back, for columns that begin at a block."""
    hu = np.empty_like(stored)
    for first in range(0, stored.shape[-1], BLOCK):
        part = slice(first, first + BLOCK)
        np.cumsum(stored[..., part], axis=-1, dtype=np.int16, out=hu[..., part])
    return hu


def _plain(geometry: Geometry) -> dict[str, Any]:
    return {
        "shape": list(geometry.shape),
        "affine": geometry.affine.tolist(),
        "thickness_mm": geometry.thickness_mm,
    }


def _geometry(one: dict[str, Any]) -> Geometry:
    return Geometry(tuple(one["shape"]), np.array(one["affine"]), one["thickness_mm"])


def _blosc2() -> Any:
    """The package that compresses.

    Raises:
        UsageError: it is not installed.
    """
    require("train", "A prepared data set")
    import blosc2

    return blosc2
