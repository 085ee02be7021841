"""`lamella thin` from the outside: files, report, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import yaml
from tests.dicom_builder import PATIENT_NAME, build_series, phantom_hu

from lamella.cli import main
from lamella.dicom import read_series

Capture = pytest.CaptureFixture[str]


def left_in(folder: Path) -> list[str]:
    """Names in a folder, hidden ones too."""
    return sorted(entry.name for entry in folder.iterdir())


def test_dicom_to_dicom_with_report(thin_command: list[str], thick_study: Path, tmp_path: Path) -> None:  # SPEC A15, C5
    out, report = tmp_path / "out", tmp_path / "report.json"
    assert main([*thin_command, str(out), "--report", str(report)]) == 0
    thick, thin = read_series(thick_study), read_series(out)
    assert thin.geometry.shape == (20, 48, 40)
    # The thin grid covers exactly the extent of the thick slices.
    np.testing.assert_allclose(thin.geometry.centres_mm, thick.geometry.centres_mm[0] - 2.0 + np.arange(20), atol=1e-3)
    found = json.loads(report.read_text())
    assert {
        "lamella", "model", "settings", "seed", "device", "source", "output", "seconds", "peak_rss_bytes",
        "consistency_rmse_hu", "warnings",
    } <= set(found)  # fmt: skip
    assert found["source"] == {
        "series_uid": thick.header.series_uid,  # type: ignore[attr-defined]  # a SeriesHeader
        "slices": 4,
        "spacing_mm": 5.0,
        "thickness_mm": 5.0,
    }
    assert found["output"] == {
        "series_uid": thin.header.series_uid,  # type: ignore[attr-defined]
        "slices": 20,
        "spacing_mm": 1.0,
        "thickness_mm": 1.0,
    }
    assert set(found["seconds"]) >= {"read", "write"}
    assert found["peak_rss_bytes"] > 50e6
    assert len(found["model"]["sha256"]) == 64
    assert found["consistency_rmse_hu"] <= 0.5  # SPEC C1
    # The same figure from the files themselves: each five thin slices average to their thick one.
    averaged = thin.hu.reshape(4, 5, 48, 40).mean(axis=1)
    assert float(np.sqrt(np.mean((averaged - thick.hu) ** 2))) == pytest.approx(found["consistency_rmse_hu"], abs=1e-3)
    assert left_in(tmp_path) == ["out", "report.json"]


@pytest.mark.parametrize("count", [7, 20, 33])
def test_as_many_slices_as_asked_for(thin_command: list[str], tmp_path: Path, count: int) -> None:  # SPEC B8, B9
    out = tmp_path / "out.nii"
    assert main([*thin_command, str(out), "--slices", str(count)]) == 0
    assert nib.load(out).shape == (40, 48, count)


def test_slices_of_others_are_never_replaced(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    # scanners, too, may call their files IM_00001.dcm
    out, folder = tmp_path / "out", tmp_path / "scan"
    build_series(folder, phantom_hu(4), tags={"Manufacturer": "somebody"})
    out.mkdir()
    for number, file in enumerate(sorted(folder.iterdir()), start=1):
        file.rename(out / f"IM_{number:05d}.dcm")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert main([*thin_command, str(out), "--overwrite"]) == 2
    assert "DICOM that Lamella did not write" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_spread_without_room_leaves_nothing_at_output(
    thin_command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lamella.nifti.image.write_nifti", full)
    assert main([*thin_command, str(tmp_path / "out"), "--spread", str(tmp_path / "sd.nii.gz")]) == 1
    assert left_in(tmp_path) == []


def test_the_mean_has_no_steps(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main([*thin_command, str(tmp_path / "out"), "--steps", "8"]) == 2
    assert "8 steps, which need mode texture or sample" in capsys.readouterr().err


def test_an_ending_in_capitals_is_compressed_too(thin_command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "OUT.NII.GZ"
    assert main([*thin_command, str(out)]) == 0
    assert out.read_bytes()[:2] == b"\x1f\x8b"


def test_another_card_is_another_image(thin_command: list[str], tiny_model: Path, tmp_path: Path) -> None:
    # SPEC C5: the same SOPInstanceUID must never stand for two different images
    other = tmp_path / "model"
    shutil.copytree(tiny_model, other)
    card = yaml.safe_load((other / "model.yaml").read_text())
    card["calibration"]["scale_limit_hu"] = 5.0
    (other / "model.yaml").write_text(yaml.safe_dump(card))
    folders = [tmp_path / name for name in ("first", "again", "changed")]
    for folder in folders:
        command = [*thin_command, str(folder), *(["--model", str(other)] if folder.name == "changed" else [])]
        assert main(command) == 0
    first, again, changed = ({pydicom.dcmread(f).SOPInstanceUID for f in folder.iterdir()} for folder in folders)
    assert first == again
    assert not first & changed


def test_nifti_to_nifti_with_spread(thick_study: Path, tiny_model: Path, tmp_path: Path) -> None:
    thick, thin, spread = (tmp_path / name for name in ("thick.nii.gz", "thin.nii.gz", "sd.nii.gz"))
    degrade = ["degrade", str(thick_study), str(thick), "--thickness-mm", "5", "--spacing-mm", "5", "--quiet"]
    assert main(degrade) == 0
    command = ["thin", str(thick), str(thin), "--model", str(tiny_model), "--spread", str(spread), "--quiet"]
    assert main(command) == 0
    answer, sd = nib.load(thin), nib.load(spread)
    np.testing.assert_array_equal(answer.affine, sd.affine)
    assert answer.shape == sd.shape
    assert float(np.asarray(sd.dataobj).min()) > 0
    assert answer.header.get_zooms() == pytest.approx((3.0, 3.0, 1.0))


def test_samples_are_series_of_their_own(thin_command: list[str], tmp_path: Path) -> None:  # SPEC C3
    out = tmp_path / "out"
    command = [*thin_command, str(out), "--mode", "sample", "--samples", "2", "--steps", "2"]
    assert main(command) == 0
    assert left_in(out) == ["sample-01", "sample-02"]
    one, two = (read_series(out / name) for name in left_in(out))
    assert one.header.series_uid != two.header.series_uid  # type: ignore[attr-defined]
    for number, volume in enumerate((one, two), start=1):
        assert f"sample {number} RESEARCH" in volume.header.slices[0].SeriesDescription  # type: ignore[union-attr]
    assert not np.array_equal(one.hu, two.hu)
    four = tmp_path / "four.nii.gz"
    assert main([*thin_command, str(four), "--mode", "sample", "--samples", "2", "--steps", "2"]) == 0
    stacked = np.asarray(nib.load(four).dataobj)
    assert stacked.shape == (40, 48, 20, 2)
    # The same seed gives the same voxels (SPEC A14), whatever they are written as.
    np.testing.assert_array_equal(stacked[..., 1].transpose(2, 1, 0), two.hu)
    assert main([*command, "--overwrite"]) == 0


def test_dry_run_says_all_and_writes_nothing(
    thick_study: Path, tiny_model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    command = ["thin", str(thick_study), str(out), "--model", str(tiny_model), "--dry-run"]
    assert main([*command, "--report", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    for part in ("4 slices, 5 mm thick every 5 mm", "20 slices, 1 mm thick every 1 mm", "GiB", str(out), "r.json"):
        assert part in said
    assert left_in(tmp_path) == []


def test_preview_is_drawn(thin_command: list[str], tmp_path: Path) -> None:
    picture = tmp_path / "preview.png"
    assert main([*thin_command, str(tmp_path / "out"), "--preview", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert left_in(tmp_path) == ["out", "preview.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", "2"], "only one mean"),
        (["--spacing-mm", "1", "--slices", "9"], "exclude each other"),
        (["--mode", "best"], "mode"),
        (["--spacing-mm", "0"], "positive"),
        (["--report", "r.txt"], ".json"),
        (["--preview", "p.jpg"], ".png"),
        (["--spread", "sd.png"], ".nii"),
        (["--report", "OUT/r.json"], "inside OUTPUT"),
        (["--device", "abacus"], "abacus"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--like", "nowhere"], "nowhere"),
        (["--fast"], "--fast"),
    ],
)
def test_wrong_usage_is_2(
    thin_command: list[str], tmp_path: Path, capsys: Capture, options: list[str], message: str
) -> None:
    given = [option.replace("OUT", str(tmp_path / "out")) for option in options]
    assert main([*thin_command, str(tmp_path / "out"), *given]) == 2
    assert message in capsys.readouterr().err
    assert left_in(tmp_path) == []


def test_missing_source_is_2(tmp_path: Path, capsys: Capture) -> None:
    assert main(["thin", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "SOURCE does not exist" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_2_before_source_is_read(
    tiny_model: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "empty").mkdir()
    asked = ["thin", str(tmp_path / "empty"), str(tmp_path / "out"), "--model", str(tiny_model), "--device", "abacus"]
    assert main(asked) == 2
    assert "abacus" in capsys.readouterr().err


def test_nifti_cannot_become_dicom(thick_study: Path, tmp_path: Path, capsys: Capture) -> None:
    thick = tmp_path / "thick.nii"
    assert main(["degrade", str(thick_study), str(thick), "--thickness-mm", "5", "--spacing-mm", "5", "--quiet"]) == 0
    assert main(["thin", str(thick), str(tmp_path / "out")]) == 2
    assert "SOURCE is NIfTI" in capsys.readouterr().err


def test_refused_input_is_3_and_leaves_nothing(tiny_model: Path, tmp_path: Path, capsys: Capture) -> None:  # SPEC C6
    hu = phantom_hu(6)
    build_series(tmp_path / "source", hu, positions_mm=[(0, 0, z) for z in (0, 5, 10, 20, 25, 30)])
    out = tmp_path / "result" / "out"
    assert main(["thin", str(tmp_path / "source"), str(out), "--model", str(tiny_model), "--quiet"]) == 3
    said = capsys.readouterr()
    assert "10" in said.err
    assert "mm" in said.err
    assert PATIENT_NAME not in said.err + said.out
    assert left_in(tmp_path) == ["source"]


def test_coarser_target_is_3(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main([*thin_command, str(tmp_path / "out"), "--spacing-mm", "6"]) == 3
    assert "coarser than the input" in capsys.readouterr().err


def test_existing_output_is_2_and_stays(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.docx").write_text("years of work")
    assert main([*thin_command, str(out)]) == 2
    assert "OUTPUT exists" in capsys.readouterr().err
    assert main([*thin_command, str(out), "--overwrite"]) == 2
    assert "no result of Lamella" in capsys.readouterr().err
    assert left_in(out) == ["thesis.docx"]


def test_output_inside_source_is_2(thin_command: list[str], thick_study: Path, capsys: Capture) -> None:
    before = left_in(thick_study)
    assert main([*thin_command, str(thick_study / "out")]) == 2
    assert "inside SOURCE" in capsys.readouterr().err
    assert left_in(thick_study) == before


def test_existing_report_is_refused_before_the_work(thin_command: list[str], tmp_path: Path, capsys: Capture) -> None:
    report = tmp_path / "r.json"
    report.write_text("{}")
    assert main([*thin_command, str(tmp_path / "out"), "--report", str(report)]) == 2
    assert "OUTPUT exists" in capsys.readouterr().err
    assert left_in(tmp_path) == ["r.json"]


def test_altered_weights_are_1(thin_command: list[str], tiny_model: Path, tmp_path: Path, capsys: Capture) -> None:
    altered = tmp_path / "model"
    altered.mkdir()
    for file in tiny_model.iterdir():
        (altered / file.name).write_bytes(file.read_bytes())
    with (altered / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    command = [str(altered) if word == str(tiny_model) else word for word in thin_command]
    assert main([*command, str(tmp_path / "out")]) == 1
    assert "SHA-256" in capsys.readouterr().err
    assert left_in(tmp_path) == ["model"]
