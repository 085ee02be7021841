"""The fuzz targets: some bytes as a source on a disk in memory -> read or refused in words, and nothing else."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import EnhancedCTImageStorage
from tests.dicom_builder import PATIENT_NAME
from tests.fuzz import dicom_files, mutate, nifti_files
from tests.fuzz.containers import unpack

from lamella.errors import LamellaError
from lamella.sources.source import inspect_source, read_source

INSPECTED = 8
"""One input in so many is inspected too."""


@dataclass(frozen=True)
class Target:
    """One fuzz target.

    Attributes:
        seeds: gives the inputs it starts from, by name.
        lay: (folder, input) -> the source that holds it.
        mutate: (input, most bytes, seed, libFuzzer's mutation) -> a changed input.
    """

    seeds: Callable[[], Mapping[str, bytes]]
    lay: Callable[[Path, bytes], Path]
    mutate: Callable[[bytes, int, int, mutate.Mutate], bytes]

    def run(self, folder: Path, data: bytes) -> None:
        """Reads one input.

        Raises:
            AssertionError: a volume that is none, a name in a message, `inspect` and reading that disagree.
            Exception: whatever the reader lets through.
        """
        source = self.lay(folder, data)
        refusal = _read(source)
        if zlib.crc32(data) % INSPECTED == 0:
            found = _inspect(source)
            assert (found is None) == (refusal is None), f"inspect says {found!r}, reading {refusal!r}"


def _read(source: Path) -> str | None:
    try:
        volume = read_source(source)
    except LamellaError as error:
        return _without_name(str(error))
    _without_name("".join(getattr(volume.header, "notes", ())))
    low, high = volume.hu.min(), volume.hu.max()
    assert low >= -1024, f"{low} HU"
    assert np.isfinite(high), f"{high} HU"
    return None


def _inspect(source: Path) -> str | None:
    try:
        found = inspect_source(source)
    except LamellaError as error:
        return _without_name(str(error))
    _without_name(repr(found))
    return found.refusal


def _without_name(text: str) -> str:
    assert PATIENT_NAME not in text, "a name in a message"
    return text


def _dicom(folder: Path, data: bytes) -> Path:
    """One file: an enhanced one alone, a slice beside a sound neighbour."""
    if EnhancedCTImageStorage.encode() in data:
        source = folder / "one.dcm"
        source.write_bytes(data)
        return source
    source = folder / "pair"
    if not source.exists():
        source.mkdir()
        (source / "0.dcm").write_bytes(dicom_files.series()[0])
    (source / "1.dcm").write_bytes(data)
    return source


def _folder(folder: Path, data: bytes) -> Path:
    source = folder / "many"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for k, file in enumerate(unpack(data)):
        (source / f"{k}.{'raw' if k % 2 else 'dcm'}").write_bytes(
            file
        )  # what is no DICOM is refused by its name or ignored
    return source


def _zip(folder: Path, data: bytes) -> Path:
    source = folder / "s.zip"
    source.write_bytes(data)
    return source


def _nifti(folder: Path, data: bytes) -> Path:
    kind, sidecar, image = (*unpack(data, most=3), b"", b"", b"")[:3]
    bits = kind[0] if kind else 0
    source = folder / ("v.nii.gz" if bits & (nifti_files.GZIP | nifti_files.RAW_GZIP) else "v.nii")
    source.write_bytes(gzip.compress(image, 1, mtime=0) if bits & nifti_files.GZIP else image)
    beside = folder / "v.json"
    beside.unlink(missing_ok=True)
    if bits & nifti_files.SIDECAR:
        beside.write_bytes(sidecar)
    return source


TARGETS = {
    "dicom": Target(
        lambda: {**dicom_files.slices(), **dicom_files.enhanced()},
        _dicom,
        mutate.mutate_dicom,
    ),
    "folder": Target(dicom_files.folders, _folder, mutate.mutate_folder),
    "zip": Target(dicom_files.zips, _zip, mutate.mutate_zip),
    "nifti": Target(nifti_files.niftis, _nifti, mutate.mutate_nifti),
}
