"""A data set shaped like the reference's, made of thin series: one ZIP a scan, each with the series and a thickened one.

    python benchmarks/make_ape.py OUT APE=SERIES non-APE=SERIES ... [--thickness-mm 5] [--spacing-mm 5]
    python benchmarks/make_ape.py data APE=../shared/ct/train/lidc-0314-1.0mm non-APE=../shared/ct/train/lungfcp-0001-2mm-at-1mm

Then: lamella prepare configs/ape.yaml data=OUT (four to six scans: split.train=0.5 split.validation=0.25)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path


def make(source: Path, target: Path, thickness_mm: float = 5.0, spacing_mm: float = 5.0) -> None:
    """One ZIP: the DICOM files of a thin series, and the same thickened as a derived series of the same study."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        thick = Path(work) / "thick"
        command = [sys.executable, "-m", "lamella", "degrade", str(source), str(thick), "--quiet"]
        command += ["--thickness-mm", str(thickness_mm), "--spacing-mm", str(spacing_mm)]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(target, "w") as archive:  # stored: DICOM that is compressed already does not shrink
            for name, folder in (("series-1", thick), ("series-2", source)):
                for file in sorted(f for f in folder.rglob("*") if f.is_file()):
                    archive.write(file, f"{name}/{file.relative_to(folder)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("series", nargs="+", metavar="CATEGORY=SERIES")
    parser.add_argument("--thickness-mm", type=float, default=5.0)
    parser.add_argument("--spacing-mm", type=float, default=5.0)
    asked = parser.parse_args()
    for number, one in enumerate(asked.series, 1):
        category, _, source = one.partition("=")
        target = asked.out / category / f"{number:03d}.zip"
        make(Path(source), target, asked.thickness_mm, asked.spacing_mm)
        print(f"wrote {target}")


if __name__ == "__main__":
    main()
