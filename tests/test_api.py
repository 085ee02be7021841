"""`import lamella`: names, weight, and that a result is the command's."""

from __future__ import annotations

import doctest
import inspect as signatures
import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import lamella
import lamella.api
import lamella.volume
from lamella.cli import main
from lamella.thinning.settings import ThinSettings

OFFERED = {
    "Geometry", "LamellaError", "ModelError", "NonFiniteError", "RefusedInput", "StudyResult", "UsageError", "Volume",
    "from_nibabel", "from_simpleitk", "inspect", "load_model", "read", "read_series", "simulate_thick", "thin", "write",
}  # fmt: skip
MEASURED_EVERY_TIME = ("seconds", "peak_rss_bytes")


def test_names() -> None:
    assert set(lamella.__all__) >= OFFERED
    assert set(dir(lamella)) >= OFFERED
    for name in lamella.__all__:
        assert getattr(lamella, name) is not None
    assert lamella.read_series is lamella.read
    assert (Path(lamella.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="best"):
        _ = lamella.best  # type: ignore[attr-defined]


def test_the_import_is_light() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import lamella; took = time.perf_counter() - began\n"
        "dir(lamella), lamella.RefusedInput\n"
        "print(took, [name for name in ('torch', 'numpy', 'typer') if name in sys.modules])"
    )
    took = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, loaded = done.stdout.split(" ", 1)
        assert loaded.strip() == "[]"
        took.append(float(seconds))
    assert min(took) <= 0.15 * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.mark.parametrize("module", [lamella.api, lamella.volume])
def test_examples(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def test_the_signature_shows_every_setting() -> None:
    shown = set(signatures.signature(lamella.thin).parameters)
    assert shown >= {one.name for one in fields(ThinSettings)} | {"volume", "spacing_mm", "like", "model", "progress"}


def test_a_series_that_is_read_without_the_patient_gives_what_the_command_gives(
    thick_study: Path, tiny_model: Path, tmp_path: Path
) -> None:
    # issue 27, item 6
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    command = [
        "thin",
        str(thick_study),
        str(tmp_path / "c"),
        "--model",
        str(tiny_model),
        "--spacing-mm",
        "2.5",
        "--quiet",
    ]
    assert main([*command, "--deidentify", "--deidentify-key", str(key)]) == 0
    volume = lamella.read(thick_study, deidentify=True, deidentify_key=str(key))
    result = lamella.thin(volume, model=str(tiny_model), spacing_mm=2.5)
    lamella.write(result, tmp_path / "p")
    by_command, by_python = ([pydicom.dcmread(file) for file in sorted((tmp_path / one).iterdir())] for one in "cp")
    assert by_command == by_python
    assert by_python[0].PatientIdentityRemoved == "YES"
    assert result.report["output"]["series_uid"] == by_python[0].SeriesInstanceUID
    with pytest.raises(lamella.UsageError, match="Found no --deidentify"):
        lamella.read(thick_study, deidentify_key=key)


@pytest.mark.parametrize("name", ["out", "out.nii.gz"])
def test_a_result_is_the_commands(
    thick_study: Path, thin_study: Path, tiny_model: Path, tmp_path: Path, name: str
) -> None:
    for folder in ("command", "python"):
        (tmp_path / folder).mkdir()
    by_command, by_python = tmp_path / "command" / name, tmp_path / "python" / name
    asked = ["--like", str(thin_study), "--mode", "texture", "--steps", "2", "--seed", "7", "--precision", "fp32"]
    report = tmp_path / "report.json"
    command = [
        "thin",
        str(thick_study),
        str(by_command),
        "--model",
        str(tiny_model),
        "--quiet",
        "--report",
        str(report),
    ]
    assert main([*command, *asked]) == 0
    result = lamella.thin(
        lamella.read(thick_study),
        like=lamella.read(thin_study),
        model=lamella.load_model(tiny_model),
        mode="texture",
        steps=2,
        seed=7,
        precision="fp32",
    )
    lamella.write(result, by_python)
    written, returned = json.loads(report.read_text()), json.loads(json.dumps(result.report))
    assert set(written) == set(returned)
    assert set(written["seconds"]) - set(returned["seconds"]) == {"read", "load", "write"}
    if name.endswith(".nii.gz"):
        returned["output"]["series_uid"] = None
        assert by_command.read_bytes() == by_python.read_bytes()
    else:
        files = [sorted(folder.iterdir()) for folder in (by_command, by_python)]
        for one, other in zip(*files, strict=True):
            headers = [pydicom.dcmread(file) for file in (one, other)]
            assert one.name == other.name
            for keyword in (
                "SOPInstanceUID",
                "SeriesNumber",
                "DerivationDescription",
                "SeriesDescription",
                "PixelData",
            ):
                assert headers[0][keyword].value == headers[1][keyword].value, keyword
            assert headers[0].SeriesInstanceUID == returned["output"]["series_uid"]
    for key in set(written) - set(MEASURED_EVERY_TIME):
        assert written[key] == returned[key], key


def test_one_model_serves_many(thick_volume: lamella.Volume, tiny_model: Path) -> None:
    model = lamella.load_model(tiny_model)
    first, second = (lamella.thin(thick_volume, slices=14, model=model).volume for _ in range(2))
    np.testing.assert_array_equal(first.hu, second.hu)
    by_name = lamella.thin(thick_volume, slices=14, model=tiny_model)
    np.testing.assert_array_equal(first.hu, by_name.volume.hu)
    assert repr(by_name).count("\n") == 0
    assert "14 x 42 x 50" in repr(by_name)


def test_warnings_of_like_and_of_the_reader_are_in_the_report(
    thick_study: Path, thin_study: Path, tiny_model: Path, tmp_path: Path
) -> None:
    thick = lamella.read(thick_study)
    short = lamella.simulate_thick(lamella.read(thin_study), 3.0, 3.0)  # six slabs of 3 mm: 18 of the 20 mm
    like = lamella.thin(short, like=lamella.read(thin_study), model=tiny_model)
    assert any("2 of its 20 slices lie beyond" in text for text in like.report["warnings"])
    lamella.write(thick, tmp_path / "thick.nii.gz")
    (tmp_path / "thick.json").unlink()
    from_file = lamella.thin(lamella.read(tmp_path / "thick.nii.gz"), model=tiny_model)
    assert any("thickness is unknown in NIfTI" in text for text in from_file.report["warnings"])
    assert from_file.report["notice"] == lamella.RESEARCH_ONLY
    assert from_file.report["source"] == {"series_uid": None, "slices": 4, "spacing_mm": 5.0, "thickness_mm": 5.0}


def test_inspect_says_what_is_there(thick_study: Path) -> None:
    found = lamella.inspect(thick_study)
    assert found.series[0].slices == 4
    assert found.refusal is None


def test_spread_and_overwrite(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    result = lamella.thin(lamella.read(thick_study), model=tiny_model, spread=True)
    lamella.write(result, tmp_path / "out", spread=tmp_path / "sd.nii.gz")
    assert nib.load(tmp_path / "sd.nii.gz").shape == (40, 48, 20)
    with pytest.raises(lamella.UsageError, match="OUTPUT exists"):
        lamella.write(result, tmp_path / "out")
    lamella.write(result, tmp_path / "out", overwrite=True)
    plain = lamella.thin(lamella.read(thick_study), model=tiny_model)
    with pytest.raises(lamella.UsageError, match="no spread"):
        lamella.write(plain, tmp_path / "other", spread=tmp_path / "other.nii.gz")
    with pytest.raises(lamella.UsageError, match="inside OUTPUT"):
        lamella.write(result, tmp_path / "other", spread=tmp_path / "other" / "sd.nii.gz")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "sd.nii.gz"]


def test_slices_of_others_are_never_replaced(thick_study: Path, thin_study: Path, tiny_model: Path) -> None:
    before = {file.name: file.read_bytes() for file in thin_study.iterdir()}
    with pytest.raises(lamella.UsageError):
        lamella.write(lamella.thin(lamella.read(thick_study), model=tiny_model), thin_study, overwrite=True)
    assert {file.name: file.read_bytes() for file in thin_study.iterdir()} == before


def test_the_source_is_never_replaced(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Lamella may write the source too, under the names of its results."""
    source = tmp_path / "thick"
    shutil.copytree(thick_study, source)
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    result = lamella.thin(lamella.read(source), model=tiny_model)
    with pytest.raises(lamella.UsageError, match="OUTPUT holds the source"):
        lamella.write(result, source, overwrite=True)
    assert {file.name: file.read_bytes() for file in source.iterdir()} == before
    lamella.write(result, tmp_path / "out")
    lamella.write(result, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("character_set", [True, False])
def test_a_header_that_cannot_be_copied_is_refused(
    thick_study: Path, tiny_model: Path, tmp_path: Path, character_set: bool
) -> None:
    thick = lamella.read(thick_study)
    for header in thick.header.slices:  # type: ignore[union-attr]
        if not character_set:
            header.pop("SpecificCharacterSet", None)
        header[0x00200010] = pydicom.DataElement(0x00200010, "FD", 1.5)
    result = lamella.thin(thick, model=tiny_model)
    with pytest.raises(lamella.RefusedInput, match="StudyID"):
        lamella.write(result, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_dicom_header_becomes_nifti(thick_volume: lamella.Volume, tiny_model: Path, tmp_path: Path) -> None:
    result = lamella.thin(thick_volume, slices=14, model=tiny_model)
    assert result.report["output"]["series_uid"] is None
    with pytest.raises(lamella.LamellaError, match=r"no DICOM header.*\.nii"):
        lamella.write(result, tmp_path / "out")
    with pytest.raises(lamella.UsageError, match="volume alone"):
        lamella.write(result.volume, tmp_path / "out")
    lamella.write(result, tmp_path / "out.nii")
    assert nib.load(tmp_path / "out.nii").shape == (50, 42, 14)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.json", "out.nii"]


def test_several_samples_are_counted(thick_volume: lamella.Volume, tiny_model: Path) -> None:
    two = lamella.thin(thick_volume, slices=14, model=tiny_model, mode="texture", samples=2, steps=1)
    assert "2 samples" in repr(two)
    assert "1 step, seed 0, sample 1 of 2" in two.derivations[0].description


def test_an_array_is_no_volume(thick_volume: lamella.Volume, tiny_model: Path) -> None:
    with pytest.raises(lamella.UsageError, match=r"Found ndarray.*Volume\.from_array"):
        lamella.thin(thick_volume.hu, model=tiny_model)  # type: ignore[arg-type]
    with pytest.raises(lamella.UsageError, match="Found str"):
        lamella.thin(thick_volume, like="THIN", model=tiny_model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"slices": 9, "spacing_mm": 1.0}, "exclude each other"),
        ({"steps": 4}, "not sampled in steps"),
        ({"samples": 2}, "only one mean"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"precision": "fp8"}, "fp8"),
        ({"memory_gb": -1.0}, "above 0"),
    ],
)
def test_wrong_requests(thick_volume: lamella.Volume, tiny_model: Path, asked: dict[str, object], message: str) -> None:
    with pytest.raises(lamella.UsageError, match=message):
        lamella.thin(thick_volume, **{"model": tiny_model, **asked})  # type: ignore[arg-type]
