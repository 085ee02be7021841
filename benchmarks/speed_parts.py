"""What `speed.py` measures with: processes of their own, phantoms as DICOM, and the two splines beside Lamella.

    python benchmarks/speed_parts.py build FOLDER SLICES SIZE PIXEL_MM
    python benchmarks/speed_parts.py cubic STUDY
    python benchmarks/speed_parts.py bspline STUDY

Each is run as a process of its own by `speed.py`, so that memory and start-up are counted apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORES = 2


@dataclass(frozen=True)
class Run:
    """One finished command: wall seconds, largest resident set of the process in bytes, what it printed."""

    seconds: float
    peak_bytes: int
    printed: str


def timed(command: list[str]) -> Run:
    """Run a command to its end. The peak is that of this child alone (wait4), not of all children so far."""
    with tempfile.TemporaryFile("w+") as printed:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if child.returncode != 0:
        raise SystemExit(f"Exit code {child.returncode} from: {' '.join(command)}\n{text[-4000:]}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_maxrss * kilobyte, text)


def build(folder: Path, slices: int, size: int, pixel_mm: float) -> None:
    """Paint the thin phantom, average it to 5 mm slices, write them; the folder appears only when it is whole."""
    import numpy as np
    import torch

    from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study
    from lamella.physics.slice_operator import SliceOperator, thick_grid
    from lamella.volume import Volume

    thin = paint_phantom(PhantomSettings(shape=(slices, size, size), spacing_mm=1.0, pixel_mm=pixel_mm))
    thick = thick_grid(thin.geometry, 5.0, 5.0)
    averages = SliceOperator.between(thin.geometry, thick).blur(torch.from_numpy(thin.hu.astype(np.float32)))
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        write_phantom_study(Path(unfinished) / "study", Volume(averages.numpy(), thick))
        os.replace(Path(unfinished) / "study", folder)


def cubic(study: Path) -> None:
    """Our baseline: read the study, interpolate it to 1 mm, print the seconds of the interpolation alone."""
    from lamella.metrics import aligned_cubic

    volume, thin_mm = to_thin(study)
    start = time.perf_counter()
    thin = aligned_cubic(volume.hu, volume.geometry.centres_mm, thin_mm)
    print(json.dumps({"seconds": time.perf_counter() - start, "slices": len(thin)}))


def bspline(study: Path) -> None:
    """SimpleITK's cubic B-spline of the same volume at the same slices, on as many threads."""
    import numpy as np
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(CORES)
    volume, thin_mm = to_thin(study)
    g = volume.geometry
    thick = sitk.GetImageFromArray(np.asarray(volume.hu, dtype=np.float32))
    thick.SetSpacing((g.pixel_mm[1], g.pixel_mm[0], g.spacing_mm))
    size = [thick.GetWidth(), thick.GetHeight(), len(thin_mm)]
    origin = [0.0, 0.0, float(thin_mm[0] - g.centres_mm[0])]
    spacing = [*thick.GetSpacing()[:2], 1.0]
    start = time.perf_counter()
    thin = sitk.Resample(
        thick,
        size,
        sitk.Transform(),
        sitk.sitkBSpline,
        origin,
        spacing,
        thick.GetDirection(),
        -1024.0,
        sitk.sitkFloat32,
    )
    print(json.dumps({"seconds": time.perf_counter() - start, "slices": thin.GetDepth()}))


def to_thin(study: Path) -> tuple[Any, Any]:
    """A study, and the positions in mm of slices of 1 mm that fill its slabs."""
    import numpy as np

    from lamella.dicom import read_series

    volume = read_series(study)
    centres_mm, step_mm = volume.geometry.centres_mm, volume.geometry.spacing_mm
    return volume, centres_mm[0] - step_mm / 2 + np.arange(round(len(centres_mm) * step_mm)) + 0.5


def positions_mm(folder: Path) -> list[float]:
    """Positions of the slices of a DICOM folder along their common normal, rising, straight from the files."""
    import numpy as np
    import pydicom

    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in folder.rglob("*") if file.is_file()]
    row, column = np.array(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(row, column)
    return sorted(float(normal @ np.array(header.ImagePositionPatient, dtype=float)) for header in headers)


def main() -> None:
    """See the module."""
    what, *rest = sys.argv[1:]
    if what == "build":
        build(Path(rest[0]), int(rest[1]), int(rest[2]), float(rest[3]))
    else:
        {"cubic": cubic, "bspline": bspline}[what](Path(rest[0]))


if __name__ == "__main__":
    main()
