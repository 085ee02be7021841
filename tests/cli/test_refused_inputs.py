"""The run, its dry run and `inspect` refuse the same inputs with the same words, and nothing appears at OUTPUT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.dicom_builder import PATIENT_NAME, body_hu, build_series

from lamella.cli import main

# SPEC C6


def offset(folder: Path) -> None:
    build_series(folder, body_hu(8) + np.int16(1024), signed=True, bits=16)


def two_phases(folder: Path) -> None:
    build_series(folder, body_hu(8), per_slice={k: {"AcquisitionNumber": 1 + k % 2} for k in range(8)})


def padding_in_tissue(folder: Path) -> None:
    hu = body_hu(8)
    hu[hu == 50] = 51
    hu[3, 14, 9] = 50
    build_series(folder, hu, signed=True, bits=16, tags={"PixelPaddingValue": ("SS", 50)})


def iodine(folder: Path) -> None:
    build_series(folder, body_hu(8), tags={"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "IODINE"]})


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (offset, "cannot be Hounsfield units"),
        (two_phases, "AcquisitionNumber 1 and 2 change 7 times"),
        (padding_in_tissue, "inside the body in 0003.dcm"),
        (iodine, "map of a material"),
    ],
)
def test_run_dry_run_and_inspect_say_the_same(
    build: Callable[[Path], None], why: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path / "in")
    out, said = str(tmp_path / "out"), []
    thin = ["thin", str(tmp_path / "in"), out, "--model", str(tiny_model), "--quiet"]
    for command in (thin, [*thin, "--dry-run"], ["inspect", str(tmp_path / "in"), "--quiet"]):
        assert main(command) == 3
        said.append(" ".join(capsys.readouterr().err.split()))
    assert why in said[0]
    assert said[0] == said[1] == said[2]
    assert PATIENT_NAME not in said[0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_strict_refuses_a_series_with_missing_parts(
    thick_study: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for file in thick_study.iterdir():
        header = pydicom.dcmread(file)
        header.NumberOfSeriesRelatedInstances = 99
        header.save_as(tmp_path / "in" / file.name)
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    thin = ["thin", source, out, "--model", str(tiny_model), "--quiet"]
    like = ["thin", str(thick_study), out, "--like", source, "--model", str(tiny_model), "--quiet"]
    degrade = ["degrade", source, out, "--thickness-mm", "10", "--spacing-mm", "10", "--quiet"]
    inspect, said = ["inspect", source, "--quiet"], []
    for command in (thin, [*thin, "--dry-run"], degrade, inspect, like):
        assert main([*command, "--strict"]) == 3
        said.append(" ".join(capsys.readouterr().err.split()))
        assert not (tmp_path / "out").exists()
    assert "NumberOfSeriesRelatedInstances says 99" in said[0]
    assert said == [said[0]] * 4 + [f"--like: {said[0]}"]
    for command in (inspect, [*like, "--dry-run"], degrade, [*thin, "--overwrite"]):
        assert main(command) == 0
    assert (tmp_path / "out").is_dir()
