"""Reading back finds every damage that was done to the written files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.derived_series import derive

from lamella.dicom import verify_written
from lamella.errors import LamellaError
from lamella.volume import Volume


def edited(keyword: str, value: Any) -> Any:
    def edit(path: Path) -> None:
        header = pydicom.dcmread(path)
        setattr(header, keyword, value)
        header.save_as(path)

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edited("ImagePositionPatient", [-120, -100, -47.998]), r"position .* 0\.0020 mm from where slice \d+ lies"),
        (edited("ImageOrientationPatient", [1, 0, 0, 0, -1, 0]), "far corner"),
        (edited("PixelSpacing", [0.5, 0.75]), "far corner"),
        (edited("SpacingBetweenSlices", 5), "SpacingBetweenSlices .* Found 5, expected 1"),
        (edited("SliceThickness", 5), "SliceThickness"),
        (edited("RescaleIntercept", -1024), "RescaleIntercept"),
        (edited("InstanceNumber", 2), "19 instance numbers"),
        (edited("SeriesInstanceUID", "1.2.3"), "2 series UIDs"),
        (edited("PixelData", bytes(16 * 20 * 2)), "voxels .* differ"),
        (edited("ImagePositionPatient", [-120, -100, -46]), r"voxels|slices"),
        (lambda path: path.unlink(), "19 files. Expected 20"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "voxels"),
        (lambda path: path.write_bytes(b""), "cannot be read back"),
        (lambda path: path.write_bytes(path.read_bytes()[:700]), "cannot be read back"),
    ],
)
def test_reading_back_finds_every_damage(tmp_path: Path, damage: Any, message: str) -> None:
    derived = derive(tmp_path)
    verify_written(derived.folder, derived.thin)
    damage(derived.files[4])
    with pytest.raises(LamellaError, match=message):
        verify_written(derived.folder, derived.thin)


def test_reading_back_compares_with_the_volume(tmp_path: Path) -> None:
    derived = derive(tmp_path)
    hu = derived.thin.hu.copy()
    hu[7, 3, 3] += 1
    with pytest.raises(LamellaError, match="those of slice 7"):
        verify_written(derived.folder, Volume(hu, derived.thin.geometry))
