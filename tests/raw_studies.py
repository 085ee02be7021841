"""ZIPs of phantom studies as a hospital would deliver them, and what is asked of `lamella prepare`."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lamella.cli import main
from lamella.data.prepare_settings import CategorySettings, PrepareSettings
from lamella.phantom import PhantomSettings, paint_phantom, write_phantom_study


def zipped(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*.dcm")):
            archive.write(file, file.relative_to(folder))


def study(folder: Path, seed: int) -> Path:
    """A thin and a thick series of one phantom."""
    write_phantom_study(
        folder / "b", paint_phantom(PhantomSettings(shape=(20, 32, 32), pixel_mm=3.0, nodules=0, seed=seed)), seed=seed
    )
    thicken = ["degrade", str(folder / "b"), str(folder / "a"), "--thickness-mm", "5", "--spacing-mm", "5", "--quiet"]
    assert main(thicken) == 0
    return folder


def settings(raw: Path, out: Path) -> PrepareSettings:
    categories = (CategorySettings("APE", "APE/*.zip"), CategorySettings("non-APE", "non-APE/*.zip"))
    return PrepareSettings(str(raw), str(out), categories, workers=1)
