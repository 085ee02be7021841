"""Thin slices by ECLARE, which trains a network on the very volume: its command, as its documentation says.

    python thin.py THICK.nii.gz THIN.nii.gz --thickness-mm 5 --patches 1000000

ECLARE reads NIfTI and makes slices as far apart as the pixels; an evaluation takes them by position. All of its training is
1,000,000 patches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

ALL_PATCHES = 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thick", type=Path)
    parser.add_argument("thin", type=Path)
    parser.add_argument("--thickness-mm", type=float, required=True)
    parser.add_argument("--thin-mm", type=float, help="not asked for: ECLARE makes isotropic voxels")
    parser.add_argument("--patches", type=int, default=ALL_PATCHES)
    asked = parser.parse_args()
    pixel_mm = min(nibabel.load(asked.thick).header.get_zooms())
    with tempfile.TemporaryDirectory(dir=asked.thin.parent, prefix=".eclare-") as made:
        words = ["--in-fpath", str(asked.thick), "--out-dir", made, "--n-patches", str(asked.patches)]
        words += ["--relative-slice-thickness", f"{asked.thickness_mm / pixel_mm:.4f}"]
        subprocess.run([Path(sys.executable).with_name("run-eclare"), *words], check=True, stdout=sys.stderr)
        found = nibabel.load(next(Path(made).glob("*_eclare.nii*")))
        hu = np.clip(np.rint(found.get_fdata(dtype=np.float32)), -1024, 3071).astype(np.int16)
        image = nibabel.Nifti1Image(hu, found.affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, asked.thin)
    share = asked.patches / ALL_PATCHES
    print(json.dumps({"notes": f"{asked.patches} patches, {100 * share:.3g} % of its own training."}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
