"""Thin slices by SimpleITK's resampling, as its users call it: the identity transform into a thin grid.

    python thin.py THICK THIN.nii.gz --thin-mm 1.25 --interpolator bspline

THICK is a NIfTI file or a folder of one DICOM series. The thin slices fill the thick spacings: the first begins where the first
thick spacing does.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import SimpleITK as sitk

INTERPOLATORS = {"bspline": sitk.sitkBSpline, "sinc": sitk.sitkHammingWindowedSinc}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thick", type=Path)
    parser.add_argument("thin", type=Path)
    parser.add_argument("--thickness-mm", type=float, help="of the thick slices, which resampling does not ask for")
    parser.add_argument("--thin-mm", type=float, required=True, help="distance between thin slices")
    parser.add_argument("--interpolator", choices=sorted(INTERPOLATORS), required=True)
    asked = parser.parse_args()
    thick = read(asked.thick)
    columns, rows, slices = thick.GetSize()
    *pixel_mm, spacing_mm = thick.GetSpacing()
    count = math.floor(slices * spacing_mm / asked.thin_mm + 1e-6)
    first = thick.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, (asked.thin_mm / spacing_mm - 1) / 2))
    thin = sitk.Resample(
        thick,
        (columns, rows, count),
        sitk.Transform(),
        INTERPOLATORS[asked.interpolator],
        first,
        (*pixel_mm, asked.thin_mm),
        thick.GetDirection(),
        -1024.0,
        sitk.sitkFloat32,
    )
    sitk.WriteImage(sitk.Cast(sitk.Round(thin), sitk.sitkInt16), str(asked.thin))
    print(json.dumps({"notes": "Not told how thick the slices are."}))
    return 0


def read(source: Path) -> sitk.Image:
    """A NIfTI file, or the one series in a folder of DICOM."""
    if source.is_dir():
        return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source)))
    return sitk.ReadImage(str(source))


if __name__ == "__main__":
    raise SystemExit(main())
